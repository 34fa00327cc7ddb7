//! A USB camera on the kernel's `uvcvideo`: formats, controls, damaged frames, stalls, unplugging.

use crate::checks::{comes, frames, pixels, s, settings, until, wait, Checks};
use crate::uvc::{Camera, Coding, Fault, Picture, Plug};
use keyface_boards::settings::{Control, Settings};
use keyface_boards::source::{Source, State};
use keyface_boards::v4l2::{nodes, Device};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const SIZE: (u32, u32) = (320, 240);

/// The camera in the test's hands.
pub type Shared = Arc<Mutex<Camera>>;

/// Sets what is wrong with the camera.
pub fn fault(camera: &Shared, fault: Fault) {
    camera.lock().unwrap_or_else(PoisonError::into_inner).fault = fault;
}

/// The camera's capture node, when there is one.
pub fn node() -> Option<PathBuf> {
    let is = |path: &PathBuf| {
        Device::open(path).is_ok_and(|d| d.identity().driver == "uvcvideo" && d.unfit().is_none())
    };
    nodes().into_iter().find(is)
}

fn open(settings: &Settings) -> Option<Source> {
    Source::open("v4l2:driver=uvcvideo,card=Keyface*", settings).ok()
}

/// All of it; the camera stays plugged in.
pub fn all(c: &mut Checks, camera: &Shared, pictures: &[Picture], mut plug: Plug) -> Option<Plug> {
    c.check(wait(s(20), || node().is_some()), "uvcvideo takes the camera");
    let device = c.some(node().and_then(|n| Device::open(&n).ok()), "its node opens")?;
    let formats: Vec<[u8; 4]> = device.offers().iter().map(|o| o.format).collect();
    c.check(formats == [*b"MJPG", *b"YUYV", *b"GREY"], "it offers MJPG, YUYV and GREY");
    controls(c, &device);
    drop(device);
    exact(c, pictures);
    damaged(c, camera);
    let mut source = c.some(open(&settings(b"MJPG", SIZE)), "it streams")?;
    frames(&mut source, 3, s(8));
    fault(camera, Fault::Stalled);
    c.check(until(&mut source, s(8), |s| s.state() == State::Stalled), "fault: it stalls; noticed");
    fault(camera, Fault::None);
    c.check(frames(&mut source, 5, s(10)) == 5, "frames after the stall");
    plug.pull();
    c.check(
        until(&mut source, s(8), |s| s.state() == State::Lost),
        "fault: it is unplugged; noticed: lost",
    );
    c.check(wait(s(5), || node().is_none()), "its node is gone");
    c.check(source.current().is_none(), "no frame is lent of a camera that is gone");
    plug = c.some(Plug::new(camera).ok(), "it is plugged in again")?;
    c.check(frames(&mut source, 5, s(30)) == 5, "found again by its identity");
    c.check(source.health().losses == 1, "one loss is counted");
    Some(plug)
}

fn controls(c: &mut Checks, device: &Device) {
    let exposure = |value| Control { name: "exposure_time_absolute".into(), value };
    let auto = |value| Control { name: "Auto Exposure".into(), value };
    let value =
        |name: &str| device.controls().iter().find(|i| i.name == name).and_then(|i| i.value);
    c.check(
        device.set_controls(&[exposure(300)]) == 0,
        "exposure is refused while it is automatic",
    );
    c.check(
        device.set_controls(&[auto(1), exposure(300)]) == 2,
        "manual mode first, then exposure",
    );
    c.check(value("Exposure Time, Absolute") == Some(300), "the camera has the value");
    let unknown = Control { name: "no such control".into(), value: 1 };
    c.check(
        device.set_controls(&[unknown, auto(3)]) == 1,
        "an unknown control does not stop the others",
    );
}

fn exact(c: &mut Checks, pictures: &[Picture]) {
    for picture in pictures {
        let (name, want) = match picture.coding {
            Coding::Jpeg => (
                b"MJPG",
                image::load_from_memory(&picture.data)
                    .map(|i| i.to_rgb8().into_raw())
                    .unwrap_or_default(),
            ),
            Coding::Yuyv => (b"YUYV", picture.data.clone()),
            Coding::Grey => (b"GREY", picture.data.clone()),
        };
        let came =
            open(&settings(name, SIZE)).is_some_and(|mut source| comes(&mut source, &want, s(20)));
        c.check(
            came,
            format!(
                "{}: the frame equals the picture, byte for byte",
                String::from_utf8_lossy(name)
            ),
        );
    }
    let mut nv12 = settings(b"NV12", SIZE);
    nv12.formats.push(*b"MJPG");
    c.check(
        open(&nv12).is_some_and(|s| s.describe().contains("MJPG")),
        "NV12 is not offered: the next choice is taken",
    );
}

fn damaged(c: &mut Checks, camera: &Shared) {
    let Some(mut source) = c.some(open(&settings(b"MJPG", SIZE)), "MJPG streams") else { return };
    frames(&mut source, 3, s(8));
    fault(camera, Fault::Truncated);
    // What is on its way may still be whole.
    until(&mut source, s(3), |s| s.health().damaged > 0);
    let (before, mut lent) = (source.health().damaged, 0);
    until(&mut source, s(8), |source| {
        lent += usize::from(pixels(source).is_some());
        source.health().damaged >= before + 5
    });
    c.check(
        source.health().damaged >= before + 5 && lent == 0,
        format!("fault: MJPG cut in half; all are refused, {lent} were lent"),
    );
    fault(camera, Fault::Gap);
    // A frame cut in half may still be on its way; it counts as damaged just the same.
    let (before, mut lent) = (source.health(), 0);
    until(&mut source, s(8), |source| {
        lent += usize::from(pixels(source).is_some());
        source.health().damaged >= before.damaged + 5
    });
    c.check(
        source.health().damaged >= before.damaged + 5 && lent == 0,
        format!(
            "fault: MJPG without its middle, but with its end; all are refused, {lent} were lent"
        ),
    );
    fault(camera, Fault::ErrorBit);
    c.check(
        until(&mut source, s(8), |s| s.state() == State::Stalled || s.state() == State::Lost),
        "fault: the error bit; the driver drops the frames, noticed as a stall",
    );
    fault(camera, Fault::None);
    c.check(frames(&mut source, 5, s(20)) == 5, "frames again");
    drop(source);
    let Some(mut source) = c.some(open(&settings(b"YUYV", SIZE)), "YUYV streams") else { return };
    frames(&mut source, 3, s(8));
    fault(camera, Fault::Truncated);
    c.check(
        until(&mut source, s(8), |s| s.state() == State::Stalled),
        "fault: short YUYV frames; the driver drops them, noticed as a stall",
    );
    fault(camera, Fault::None);
    c.check(frames(&mut source, 5, s(20)) == 5, "frames again");
}

/// A product name that the kernel cuts in the middle of a character.
pub fn odd_name(c: &mut Checks, pictures: Vec<Picture>) {
    let name = format!("{}ü", "x".repeat(30));
    let camera = Arc::new(Mutex::new(Camera::new(&name, pictures)));
    let Some(plug) = c.some(Plug::new(&camera).ok(), "a camera with an odd name is plugged in")
    else {
        return;
    };
    let found = wait(s(20), || node().is_some());
    let source = Source::open("v4l2:driver=uvcvideo", &settings(b"MJPG", SIZE));
    let shown = source.as_ref().map_or_else(|e| e.to_string(), |s| s.describe());
    c.check(found && source.is_ok(), format!("a name cut inside a character: {shown}"));
    drop(source);
    plug.pull();
    c.check(wait(s(10), || node().is_none()), "it is unplugged");
    std::thread::sleep(Duration::from_millis(500));
}
