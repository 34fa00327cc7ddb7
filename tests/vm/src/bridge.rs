//! `v4l2loopback`, which carries the pictures of a camera that only its maker's library can drive: with the module's options and the
//! selection of the boards' profiles. The module is loaded here and removed at the end.

use crate::checks::{comes, s, settings, until, wait, Checks};
use crate::vivid;
use keyface_boards::profile::Profile;
use keyface_boards::settings::Settings;
use keyface_boards::source::{Source, State};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MODULE: &str = "/modules/v4l2loopback.ko";
const OPTIONS: &str = "/host/v4l2loopback.conf";
const NODE: &str = "/dev/video42";
const SIZE: (u32, u32) = (640, 480);

/// A program that writes one picture for ever, as a bridge does.
fn writer(format: &str, picture: &[u8]) -> Option<Child> {
    let file = format!("/tmp/bridge.{format}");
    std::fs::write(&file, picture).ok()?;
    Command::new("/host/bin/feed")
        .args([NODE, format, "640", "480", &file, "25"])
        .stdout(Stdio::null())
        .spawn()
        .ok()
}

fn end(mut child: Child) -> bool {
    child.kill().is_ok() && child.wait().is_ok()
}

/// The bridge's camera of the profile for this machine.
fn selection() -> Option<String> {
    let profile = Profile::named("vm").ok()?;
    let camera = profile.cameras.into_iter().find(|c| c.name == "bridge")?;
    Some(camera.source.to_string())
}

/// All of it, if the module could be built.
pub fn all(c: &mut Checks) {
    if !Path::new(MODULE).exists() {
        println!("SKIPPED: there is no v4l2loopback for this kernel");
        return;
    }
    let options = std::fs::read_to_string(OPTIONS).unwrap_or_default();
    let options = options.lines().find_map(|l| l.strip_prefix("options v4l2loopback "));
    let words = options.unwrap_or_default().split(' ');
    let loaded = Command::new("insmod").arg(MODULE).args(words).status();
    c.check(
        loaded.is_ok_and(|s| s.success()) && wait(s(5), || Path::new(NODE).exists()),
        format!("v4l2loopback with the options of the support files: {NODE} is there"),
    );
    let Some(selection) = c.some(selection(), "the profile's camera") else { return };
    let yuyv = settings(b"YUYV", SIZE);
    let silent = Source::open(&selection, &yuyv).err().map(|e| e.to_string());
    c.check(silent.is_some(), format!("nobody writes yet: {}", silent.unwrap_or_default()));
    let patient = Source::open(&selection, &Settings { patient: true, ..yuyv }).ok();
    let Some(mut source) = c.some(patient, "a patient user waits for a writer") else { return };
    c.check(
        !until(&mut source, s(1), |s| s.current().is_some()) && source.state() == State::Lost,
        "as long as nobody writes: lost",
    );
    let picture = vivid::noise(b"YUYV", SIZE);
    let Some(first) = c.some(writer("YUYV", &picture), "a writer") else { return };
    c.check(comes(&mut source, &picture, s(20)), "YUYV: the written picture comes, byte for byte");
    c.check(end(first), "fault: the writer dies");
    c.check(
        until(&mut source, s(10), |s| matches!(s.state(), State::Stalled | State::Lost)),
        "noticed",
    );
    let again = vivid::noise(b"GREY", (2 * SIZE.0, SIZE.1));
    let Some(second) = c.some(writer("YUYV", &again), "another writer") else { return };
    c.check(comes(&mut source, &again, s(30)), "its picture comes, byte for byte");
    c.check(end(second), "it ends");
    drop(source);
    let picture = vivid::noise(b"GREY", SIZE);
    let Some(third) = c.some(writer("GREY", &picture), "a writer of GREY") else { return };
    let wanted = Settings { patient: true, ..settings(b"GREY", SIZE) };
    let source = Source::open(&selection, &wanted);
    c.check(
        source.is_ok_and(|mut source| comes(&mut source, &picture, s(20))),
        "GREY: the written picture comes, byte for byte",
    );
    c.check(end(third), "it ends");
    let removed = Command::new("rmmod").arg("v4l2loopback").status();
    c.check(removed.is_ok_and(|s| s.success()), "nothing holds the module");
}
