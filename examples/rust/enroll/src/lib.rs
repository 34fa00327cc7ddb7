//! Enrolment at the camera: guides one person to some varied good views and stores what they have in common.
//!
//! The same flags and the same lines as `examples/c/enroll.c` and `examples/cpp/enroll.cpp`; a test of `keyface-ffi` compares them.

use clap::Parser;
use keyface::calibration::Calibration;
use keyface::detect::Detection;
use keyface::enrol::{EnrolRules, Guidance, Session, View};
use keyface::frame::Frame;
use keyface::gallery::{HostKey, PersonName, Store, StoreOptions};
use keyface::pack::{Pack, SectionKind, Trust};
use keyface::pipeline::{Model, Options, Pipeline};
use keyface_boards::settings::{Pace, Settings};
use keyface_boards::source::{Next, Source};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Stores one person in a gallery.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER)]
pub struct Args {
    /// Where frames come from: v4l2:.., file:PATH, dir:PATH, loop:PATH, pipe:COMMAND
    #[arg(long, value_name = "SELECTION")]
    pub source: String,
    /// Gallery; it and its key GALLERY.key are made if there are none
    #[arg(long, value_name = "FILE")]
    pub gallery: PathBuf,
    /// Model pack
    #[arg(long, value_name = "FILE")]
    pub pack: PathBuf,
    /// The person's name or badge number
    #[arg(long)]
    pub name: String,
    /// Shots to collect, 1 to 8
    #[arg(long, value_name = "N")]
    pub shots: Option<usize>,
    /// Score from which on faces match, in place of the pack's figures
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
}

const AFTER: &str = "\
Standard output has a line for each guidance that differs from the one before, then `enrolled NUMBER`.

Exit codes: 0 enrolled; 1 not enrolled; 2 wrong usage; 4 model or gallery; 5 source

Example:
  enroll --source v4l2: --gallery door.kfgallery --pack default.kfpack --name \"Ada Lovelace\"";

/// Why nobody was enrolled: the exit code and a sentence.
#[derive(Debug)]
pub struct Trouble(pub u8, pub String);

fn trouble<E: Display>(code: u8) -> impl Fn(E) -> Trouble {
    move |e| Trouble(code, e.to_string())
}

/// Enrols; writes guidance to `out`.
///
/// # Errors
/// The exit code and the cause.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Trouble> {
    let mut settings = Settings::default();
    // Pictures have the time of their number, so the same pictures give the same result.
    if ["dir:", "file:", "loop:"].iter().any(|form| args.source.starts_with(form)) {
        settings.pace = Pace::Virtual;
    }
    let (mut pipeline, mut session, mut store) = open(args).map_err(trouble(4))?;
    let name = PersonName::new(&args.name).map_err(trouble(1))?;
    let mut source = Source::open(&args.source, &settings).map_err(trouble(5))?;
    let mut last = None;
    loop {
        let guidance = match source.next(Duration::from_millis(200)) {
            Next::Nothing => continue,
            Next::End => {
                let text = "the source ended before the enrolment was complete";
                return Err(Trouble(1, text.into()));
            }
            Next::Frame(frame) => step(&mut pipeline, &mut session, &frame).map_err(trouble(1))?,
        };
        let line = text(guidance, session.taken());
        if last.as_ref() != Some(&line) {
            writeln!(out, "{line}").map_err(trouble(1))?;
            last = Some(line);
        }
        match guidance {
            Guidance::Failed => return Err(Trouble(1, "nobody was enrolled".into())),
            Guidance::Complete => break,
            _ => {}
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
    let person = session.commit(&mut store, &name, now).map_err(trouble(1))?;
    writeln!(out, "enrolled {}", person.0).map_err(trouble(1))
}

fn open(args: &Args) -> keyface::Result<(Pipeline, Session, Store)> {
    let pack = Pack::open(&args.pack, Trust::Anyone)?;
    let threshold = match args.threshold {
        Some(threshold) => threshold,
        None => threshold(&pack)?,
    };
    let mut rules = EnrolRules::new(threshold);
    rules.shots = args.shots.unwrap_or(rules.shots);
    let model = Model::load(pack)?;
    let pipeline = Pipeline::new(&model, &Options::default())?;
    let store = Store::open(&args.gallery, &key(&args.gallery)?, StoreOptions::default())?;
    Ok((pipeline, Session::new(rules)?, store))
}

/// One false match in a thousand.
fn threshold(pack: &Pack) -> keyface::Result<f32> {
    let section = pack.section("calibration").filter(|s| s.kind == SectionKind::Calibration);
    let none = keyface::Error::new(
        keyface::ErrorKind::UnsupportedRate,
        "the pack has no calibration: give --threshold",
    );
    Calibration::parse(pack.bytes(section.ok_or(none)?))?.threshold_for_fmr(1e-3)
}

/// Opens the key, or makes one beside a gallery that is new.
fn key(gallery: &Path) -> keyface::Result<HostKey> {
    let mut path = gallery.as_os_str().to_owned();
    path.push(".key");
    let path = Path::new(&path);
    if path.exists() {
        HostKey::from_file(path)
    } else {
        HostKey::create_file(path)
    }
}

/// One frame through the enrolment.
fn step(
    pipeline: &mut Pipeline,
    session: &mut Session,
    frame: &Frame<'_>,
) -> keyface::Result<Guidance> {
    let time = frame.timestamp_us();
    let face: Detection = match pipeline.detect(frame)? {
        [] => return session.step(time, View::Nobody),
        [face] => *face,
        _ => return session.step(time, View::Several),
    };
    match pipeline.describe(frame, &face)? {
        None => session.step(time, View::Nobody),
        Some(described) => {
            let view = View::Face {
                template: &described.template,
                quality: &described.quality,
                points: &face.points,
            };
            session.step(time, view)
        }
    }
}

/// What to tell the person, in the words of the three examples; `taken` counts the shots.
#[must_use]
pub fn text(guidance: Guidance, taken: usize) -> String {
    let fixed = match guidance {
        Guidance::Nobody => "step in front of the camera",
        Guidance::AnotherFace => "one person at a time",
        Guidance::TooFar => "come closer",
        Guidance::TooDark => "more light on the face",
        Guidance::TooBright => "less light on the face",
        Guidance::LowContrast => "turn away from the light behind",
        Guidance::Blurred => "hold still, or focus the lens",
        Guidance::TurnedTooFar => "face the camera",
        Guidance::Tilted => "hold the head upright",
        Guidance::PartlyOutside => "come into the middle of the picture",
        Guidance::Unclear => "take off what covers the face",
        Guidance::HoldStill => "hold still",
        Guidance::LookStraight => "look straight ahead",
        Guidance::TurnLeft => "turn a little to the left of the picture",
        Guidance::TurnRight => "turn a little to the right of the picture",
        Guidance::SomebodyElse => "this is not the person of the shots before",
        Guidance::Taken(_) => return format!("taken {taken}"),
        Guidance::Complete => "complete",
        Guidance::Failed => "failed",
    };
    fixed.to_owned()
}
