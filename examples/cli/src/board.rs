//! `keyface board`: what this machine has, which camera is taken and why, and whether it is fit for faces.

use crate::args::{BoardArgs, BoardCommand, SelftestArgs};
use crate::model;
use crate::preview;
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::align::align;
use keyface::kernel::Kernels;
use keyface::sample::{Crop, CROP_SIDE};
use keyface_boards::board::{self, Board};
use keyface_boards::gpio;
use keyface_boards::profile::Profile;
use keyface_boards::selection::Selection;
use keyface_boards::selftest::{self, Check, Verdict};
use keyface_boards::settings::Settings;
use keyface_boards::sys::page_size;
use keyface_boards::v4l2::{format_name, nodes, Device, Unfit};
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct Probe<'a> {
    model: &'a str,
    compatible: &'a [String],
    profile: &'a str,
    why: &'a str,
    cpu: &'static str,
    cpu_expected: Option<&'static str>,
    cores: usize,
    threads: usize,
    page_size: u64,
    nodes: Vec<Node>,
    cameras: Vec<CameraLine>,
    chosen: Option<String>,
    controllers: Vec<Controller>,
    relay: Option<&'a str>,
    relay_found: Option<String>,
}

#[derive(Serialize)]
struct Node {
    path: String,
    driver: String,
    card: String,
    bus: String,
    formats: Vec<String>,
    note: &'static str,
}

#[derive(Serialize)]
struct CameraLine {
    name: String,
    source: String,
    refused: Option<String>,
}

#[derive(Serialize)]
struct Controller {
    path: String,
    label: String,
    lines: u32,
}

/// Runs the command.
pub fn run(args: &BoardArgs, out: Output) -> Outcome {
    match &args.command {
        BoardCommand::Probe { profile } => probe(profile.as_deref(), out),
        BoardCommand::Selftest(args) => selftest_camera(args, out),
    }
}

/// A node as `probe` shows it; its note says why there is no more to show.
fn node(path: &std::path::Path) -> Node {
    let (identity, formats, note) = match Device::open(path) {
        Ok(device) => {
            let formats = device.offers().iter().map(|o| format_name(o.format)).collect();
            let note = match device.unfit() {
                None => "",
                Some(Unfit::NoCamera) => "no capture node",
                Some(Unfit::MultiPlanar) => "multi-planar only, not supported",
            };
            (Some(device.identity().clone()), formats, note)
        }
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            (None, Vec::new(), "permission denied: join the group video")
        }
        Err(_) => (None, Vec::new(), "cannot be opened"),
    };
    let (driver, card, bus) = identity.map_or_else(Default::default, |i| (i.driver, i.card, i.bus));
    Node { path: path.display().to_string(), driver, card, bus, formats, note }
}

fn probe(name: Option<&str>, out: Output) -> Outcome {
    let this = Board::this();
    let (profile, why) = this.profile(name)?;
    let kernels = Kernels::detect().map_err(|e| Failure::sdk("CPU", e))?;
    let nodes: Vec<Node> = nodes().iter().map(|path| node(path)).collect();
    let (opened, tried) = board::open(&profile.cameras, &Settings::default());
    let cameras = profile.cameras.iter().map(|camera| {
        let refused = match tried.iter().find(|t| t.camera == camera.name) {
            Some(tried) => tried.refused.as_ref().map(ToString::to_string),
            None => Some("not needed".to_owned()),
        };
        CameraLine { name: camera.name.clone(), source: camera.source.to_string(), refused }
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let controllers = gpio::controllers().into_iter().map(|c| Controller {
        path: c.path.display().to_string(),
        label: c.label,
        lines: c.lines,
    });
    let relay = profile.relay.as_deref();
    let report = Probe {
        model: &this.model,
        compatible: &this.compatible,
        profile: &profile.name,
        why: &why,
        cpu: kernels.level().name(),
        cpu_expected: profile.cpu.map(|level| level.name()),
        cores,
        threads: profile.usable_threads(),
        page_size: page_size(),
        nodes,
        cameras: cameras.collect(),
        chosen: opened.as_ref().ok().map(|(source, _)| source.describe()),
        controllers: controllers.collect(),
        relay,
        relay_found: relay.map(|wire| gpio::find(wire).unwrap_or_else(|cause| cause)),
    };
    show(&report, &profile, out)?;
    out.object(&report)?;
    Ok(if report.chosen.is_some() { Exit::Done } else { Exit::NoMatch })
}

fn show(report: &Probe<'_>, profile: &Profile, out: Output) -> Result<(), Failure> {
    let or =
        |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    out.text(format_args!("board    {}", or(report.model, "unknown")))?;
    out.text(format_args!("         {}", or(&report.compatible.join(", "), "no device tree")))?;
    out.text(format_args!("profile  {} ({}): {}", profile.name, profile.title, report.why))?;
    let expected = match report.cpu_expected {
        Some(level) if level != report.cpu => format!(", the profile expects {level}"),
        _ => String::new(),
    };
    out.text(format_args!(
        "cpu      {}{expected}; {} cores, {} threads of the profile's {}; pages of {} bytes",
        report.cpu, report.cores, report.threads, profile.threads, report.page_size
    ))?;
    if !profile.page_sizes.contains(&report.page_size) {
        out.text("         the profile does not know this size of page")?;
    }
    if report.nodes.is_empty() {
        out.text("video    no node /dev/video*")?;
    }
    for node in &report.nodes {
        let note = if node.note.is_empty() { node.formats.join(" ") } else { node.note.to_owned() };
        let Node { path, driver, card, bus, .. } = node;
        out.text(format_args!("video    {path} {driver} '{card}' {bus}: {note}"))?;
    }
    for camera in &report.cameras {
        let verdict = camera.refused.as_deref().unwrap_or("taken");
        out.text(format_args!("camera   {}: {}: {verdict}", camera.name, camera.source))?;
    }
    out.text(format_args!("chosen   {}", report.chosen.as_deref().unwrap_or("no camera works")))?;
    for c in &report.controllers {
        out.text(format_args!("gpio     {} {}: {} lines", c.path, c.label, c.lines))?;
    }
    match (report.relay, &report.relay_found) {
        (Some(wire), Some(found)) => out.text(format_args!("relay    {wire}: {found}")),
        _ => out.text("relay    none in the profile"),
    }
}

#[derive(Serialize)]
struct Selftest<'a> {
    source: &'a str,
    frames: u64,
    verdict: Verdict,
    checks: &'a [Check],
}

fn selftest_camera(args: &SelftestArgs, out: Output) -> Outcome {
    let settings = Settings::default();
    let selection = Selection::parse(&args.source)?;
    // A board's camera is tested as its profile wants it.
    let (mut source, fps) = match selection.profile()? {
        Some(profile) => {
            let (source, camera) = board::open(&profile.cameras, &settings).0?;
            (source, camera.settings.fps)
        }
        None => (selection.open(&settings)?, settings.fps),
    };
    let mut loaded = model::load(&args.model)?;
    loaded.fit_camera(&args.model, &selection)?;
    let mut pipeline = loaded.pipeline()?;
    let mut picture = None;
    let time = Duration::from_secs(u64::from(args.seconds));
    let mut report = selftest::run(&mut source, fps, time, |frame| {
        picture.get_or_insert_with(|| preview::upright(frame));
    });
    if let Some(frame) = source.current() {
        picture = Some(preview::upright(&frame));
        let faces = pipeline.detect(&frame).map_err(|e| Failure::sdk("the frame", e))?.to_vec();
        report.checks.push(colours(&frame, faces.first().map(|f| &f.points)));
    }
    if let (Some(path), Some(picture)) = (&args.preview, picture) {
        preview::save(&picture, path)?;
        out.text(format_args!("the last frame is in {}", path.display()))?;
    }
    out.text(format_args!("{}: {} frames", report.source, report.frames))?;
    for check in &report.checks {
        let verdict = match check.verdict {
            Verdict::Good => "good",
            Verdict::Poor => "poor",
            Verdict::Bad => "BAD ",
        };
        out.text(format_args!("{verdict}  {}: {}", check.name, check.found))?;
        if !check.advice.is_empty() {
            out.text(format_args!("      {}", check.advice))?;
        }
    }
    let verdict = report.verdict();
    out.object(&Selftest {
        source: &report.source,
        frames: report.frames,
        verdict,
        checks: &report.checks,
    })?;
    Ok(if verdict == Verdict::Bad { Exit::NoMatch } else { Exit::Done })
}

/// Skin is redder than blue in every colour of skin and light that a door sees; where it is not, red and blue are exchanged.
fn colours(
    frame: &keyface::frame::Frame<'_>,
    points: Option<&keyface::geometry::Points5>,
) -> Check {
    let mut crop = Crop::new();
    let aligned = points.and_then(|points| align(frame, points, &mut crop));
    let (verdict, found) = match aligned {
        None => (Verdict::Good, "no face in the last frame to judge by".to_owned()),
        Some(_) => {
            let mean = |plane: usize| {
                let at = plane * CROP_SIDE * CROP_SIDE;
                // Cheeks and nose: rows 50 to 90, columns 30 to 82.
                let rows = crop.pixels()[at..][..CROP_SIDE * CROP_SIDE].chunks(CROP_SIDE);
                let inner = rows.skip(50).take(40).flat_map(|row| &row[30..82]);
                inner.map(|&v| u32::from(v)).sum::<u32>() / (40 * 52)
            };
            let (red, blue) = (mean(0), mean(2));
            let verdict = if blue < red + 4 { Verdict::Good } else { Verdict::Poor };
            (verdict, format!("the face is {red} red, {blue} blue"))
        }
    };
    let advice = match verdict {
        Verdict::Good => "",
        _ => "red and blue may be exchanged: choose another format, or check the white balance",
    };
    Check { name: "colour order", verdict, found, advice }
}
