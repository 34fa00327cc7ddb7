//! The whole door: a photograph in the camera, the terminal's own program, and the relay as the kernel's debug file shows it.

use crate::checks::{s, wait, Checks};
use crate::pictures;
use crate::usb::{node, Shared};
use keyface::gallery::{HostKey, PersonName, Store, StoreOptions};
use keyface::pack::{Pack, Trust};
use keyface::pipeline::{Model, Options, Pipeline};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::PoisonError;
use std::time::Instant;

const PROGRAM: &str = "/host/bin/door_terminal";
const PACK: &str = "/host/default.kfpack";
const CONFIG: &str = "/tmp/door.toml";
const CONSUMER: &str = "door_terminal";

/// Who may pass, and who may not.
pub const KNOWN: &str = "/host/pictures/portrait-2012.jpg";
const STRANGER: &str = "/host/pictures/astronaut.jpg";
const SIZE: (u16, u16) = (640, 480);

/// The level of the relay's line, as the kernel's own file shows it: `hi`, `lo`, or nothing while nobody holds it.
fn line() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/debug/gpio").ok()?;
    let line = text.lines().find(|l| l.contains(CONSUMER))?;
    line.split_whitespace().skip_while(|w| *w != "out").nth(1).map(str::to_owned)
}

fn is(level: &str) -> bool {
    line().as_deref() == Some(level)
}

/// A gallery with the known person, enrolled from the photograph itself.
fn enrol() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::load(Pack::open(Path::new(PACK), Trust::Anyone)?)?;
    let mut pipeline = Pipeline::new(&model, &Options::default())?;
    let picture = keyface_boards::picture::Picture::open(Path::new(KNOWN))?;
    let face = *pipeline.detect(&picture.frame())?.first().ok_or("no face")?;
    let described = pipeline.describe(&picture.frame(), &face)?.ok_or("no face")?;
    let key = HostKey::create_file(Path::new("/tmp/gallery.key"))?;
    let mut store = Store::open(Path::new("/tmp/gallery"), &key, StoreOptions::default())?;
    store.enrol(&PersonName::new("the known one")?, &[&described.template], 0)?;
    Ok(())
}

fn configure(pulse_ms: u32) -> std::io::Result<()> {
    let text = format!(
        "source = 'v4l2:driver=uvcvideo'\ngallery = 'gallery'\npack = '{PACK}'\naudit = '/out/audit.jsonl'\n\
         metrics = '/out/metrics.prom'\ninterval_s = 1\n[relay]\nwire = 'gpio:9030000.pl061:2'\npulse_ms = {pulse_ms}\n\
         [camera]\nfps = 15\n[rules]\nvotes = 1\nwindow_ms = 60000\ncooldown_ms = 0\n"
    );
    std::fs::write(CONFIG, text)
}

/// Starts the terminal; its lines come through the channel, with the seconds since the start.
fn start() -> std::io::Result<(Child, Receiver<(f64, String)>)> {
    let began = Instant::now();
    let mut child =
        Command::new(PROGRAM).args(["--config", CONFIG]).stdout(Stdio::piped()).spawn()?;
    let (sender, receiver) = channel();
    let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("          terminal: {line}");
            if sender.send((began.elapsed().as_secs_f64(), line)).is_err() {
                return;
            }
        }
    });
    Ok((child, receiver))
}

/// Waits for a line that begins so; when it came.
fn line_of(lines: &Receiver<(f64, String)>, start: &str) -> Option<f64> {
    let until = Instant::now() + s(60);
    loop {
        let (at, line) =
            lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
        if line.starts_with(start) {
            return Some(at);
        }
    }
}

fn signal(child: &Child, signal: &str) -> bool {
    Command::new("kill").args([signal, &child.id().to_string()]).status().is_ok_and(|s| s.success())
}

/// Shows a photograph in the camera.
fn show(camera: &Shared, photo: &str) -> bool {
    let frame = pictures::load(Path::new(photo), SIZE.0, SIZE.1);
    let Ok(coded) = frame.and_then(|frame| pictures::codings(&frame)) else { return false };
    camera.lock().unwrap_or_else(PoisonError::into_inner).show(coded);
    true
}

/// The whole door; the camera shows frames of 640x480 and is plugged in.
pub fn all(c: &mut Checks, camera: &Shared) {
    let began = Instant::now();
    let enrolled = enrol();
    let seconds = began.elapsed().as_secs_f64();
    c.check(
        enrolled.is_ok(),
        format!(
            "somebody is enrolled, in {seconds:.1} s {}",
            enrolled.err().map_or(String::new(), |e| e.to_string())
        ),
    );
    c.check(wait(s(20), || node().is_some()), "the camera is there");
    c.check(configure(3000).is_ok(), "configuration");
    let checked = Command::new(PROGRAM).args(["--config", CONFIG, "--check-config"]).status();
    c.check(checked.is_ok_and(|s| s.success()), "--check-config finds it sound");

    let Ok((mut child, lines)) = start() else { return c.check(false, "the terminal starts") };
    let allowed = line_of(&lines, "allow 1");
    let took = allowed.map_or(String::new(), |at| format!(" {at:.1} s after its start"));
    c.check(allowed.is_some(), format!("from the picture in the camera to ALLOW{took}"));
    c.check(wait(s(2), || is("hi")), "the relay's line is high");
    let second = Command::new(PROGRAM).args(["--config", CONFIG]).stderr(Stdio::null()).status();
    c.check(second.is_ok_and(|s| s.code() == Some(6)), "a second program cannot take the line");
    c.check(show(camera, STRANGER), "a stranger stands in front of the camera");
    c.check(wait(s(20), || is("lo")), "the pulse ends: the line is low");
    while lines.try_recv().is_ok() {}
    c.check(
        line_of(&lines, "wait no match").or_else(|| line_of(&lines, "deny")).is_some(),
        "the stranger is not known",
    );
    c.check(is("lo"), "the line stays low");
    c.check(
        signal(&child, "-TERM") && child.wait().is_ok_and(|s| s.code() == Some(0)),
        "SIGTERM ends the terminal with 0",
    );
    c.check(line().is_none(), "the line is free");

    c.check(
        configure(60_000).is_ok() && show(camera, KNOWN),
        "a pulse of a minute, and the known person again",
    );
    for (name, code) in [("-TERM", Some(0)), ("-KILL", None)] {
        let Ok((mut child, lines)) = start() else { return c.check(false, "the terminal starts") };
        let open = line_of(&lines, "allow 1").is_some() && wait(s(2), || is("hi"));
        c.check(open, "the door is open");
        let ended = signal(&child, name) && child.wait().is_ok_and(|s| s.code() == code);
        c.check(ended, format!("{name} during the pulse"));
    }
    let released = Command::new(PROGRAM).args(["--config", CONFIG, "--release"]).status();
    c.check(released.is_ok_and(|s| s.success()), "--release after the kill");
    let audit = std::fs::read_to_string("/out/audit.jsonl").unwrap_or_default();
    let count = |what: &str| audit.lines().filter(|l| l.contains(what)).count();
    c.check(count("\"allow\"") >= 3, "every opening is in the audit log");
    let metrics = std::fs::read_to_string("/out/metrics.prom").unwrap_or_default();
    c.check(metrics.contains("keyface_door_frames_total"), "the counters are written");
}
