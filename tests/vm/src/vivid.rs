//! `vivid`, the kernel's virtual camera: enumeration, negotiation, streaming, every fault it can inject, its HDMI loop and its multi-planar
//! instance, and its driver unbound and bound again.

use crate::checks::{comes, frames, s, set, settings, until, wait, Checks};
use keyface_boards::settings::Settings;
use keyface_boards::source::{Source, State};
use keyface_boards::v4l2::{Device, Unfit};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const WEBCAM: &str = "/dev/video0";
const HDMI_IN: &str = "/dev/video1";
const HDMI_OUT: &str = "/dev/video2";
const PLANAR: &str = "/dev/video3";
const DRIVER: &str = "/sys/bus/platform/drivers/vivid";

/// Sizes are small: the VM computes slowly.
const SIZE: (u32, u32) = (640, 360);

fn open(node: &str, settings: &Settings) -> keyface_boards::error::Result<Source> {
    Source::open(&format!("v4l2:driver=vivid,path={node}"), settings)
}

/// What the camera says of itself, and what it makes of what it is asked for.
pub fn negotiation(c: &mut Checks) {
    let nodes = keyface_boards::v4l2::nodes();
    let sorted = nodes.windows(2).all(|w| w[0].as_os_str().len() <= w[1].as_os_str().len());
    c.check(nodes.len() == 4 && sorted, format!("nodes in order: {nodes:?}"));
    let Some(device) = c.some(Device::open(Path::new(WEBCAM)).ok(), "the webcam opens") else {
        return;
    };
    c.check(
        device.identity().driver == "vivid" && device.unfit().is_none(),
        "it is a capture node of vivid",
    );
    let offers = device.offers();
    let wanted = [b"YUYV", b"UYVY", b"NV12", b"NV21", b"YU12", b"RGB3", b"BGR3", b"GREY"];
    let has = |f: &[u8; 4]| offers.iter().any(|o| o.format == *f);
    c.check(
        wanted.iter().all(|f| has(f)),
        format!("{} formats are listed, ours among them", offers.len()),
    );
    let sizes = offers.iter().find(|o| o.format == *b"YUYV").map_or(0, |o| o.sizes.len());
    c.check(sizes >= 3, format!("{sizes} sizes are listed for YUYV"));
    c.check(device.controls().len() > 20, "controls are listed, those of odd types left out");
    drop(device);
    for format in wanted.into_iter().chain([b"Y16 "]) {
        let name = String::from_utf8_lossy(format).into_owned();
        let source = open(WEBCAM, &settings(format, SIZE)).ok();
        let Some(mut source) = c.some(source, format!("{name} is agreed to")) else { continue };
        let came = until(&mut source, s(8), |source| {
            source.current().is_some_and(|f| (f.width(), f.height()) == (640, 360))
        });
        c.check(came, format!("a frame of {name}: {}", source.describe()));
    }
    let raw = open(WEBCAM, &settings(b"RGGB", SIZE));
    c.check(raw.is_err_and(|e| e.to_string().contains("RGGB")), "raw Bayer is refused by name");
    let mut both = settings(b"MJPG", SIZE);
    both.formats.push(*b"YUYV");
    let source = open(WEBCAM, &both);
    c.check(
        source.is_ok_and(|s| s.describe().contains("YUYV")),
        "MJPG is not offered: the next choice is taken",
    );
    let source = open(WEBCAM, &settings(b"YUYV", (641, 361)));
    c.check(
        source.is_ok_and(|s| s.describe().contains("640x360")),
        "an odd size is rounded by the driver, and believed",
    );
    for (asked, got) in [(15, "15 frames/s"), (30, "25 frames/s")] {
        let source = open(WEBCAM, &Settings { fps: asked, ..settings(b"YUYV", (640, 480)) });
        let what = source.map_or_else(|e| e.to_string(), |s| s.describe());
        c.check(what.contains(got), format!("asked for {asked} frames a second: {what}"));
    }
}

/// Streaming, and every fault that vivid injects.
pub fn faults(c: &mut Checks) {
    let settings = settings(b"YUYV", SIZE);
    let Some(mut source) = c.some(open(WEBCAM, &settings).ok(), "the webcam streams") else {
        return;
    };
    c.check(frames(&mut source, 30, s(20)) == 30, "30 frames");
    c.check(
        source.state() == State::Streaming && source.health().damaged == 0,
        "streaming, none damaged",
    );
    drop(source);
    let Some(mut source) = c.some(open(WEBCAM, &settings).ok(), "closed and opened again") else {
        return;
    };
    c.check(frames(&mut source, 10, s(8)) == 10, "10 frames more");

    let busy = open(WEBCAM, &settings);
    c.check(
        busy.is_err_and(|e| e.to_string().contains("in use")),
        "a second user is told that the camera is in use",
    );
    // Not even its format may a second user change.
    let other = open(WEBCAM, &Settings { size: (320, 180), ..settings.clone() });
    let unmoved = until(&mut source, s(5), |source| {
        source.current().is_some_and(|f| (f.width(), f.height()) == (640, 360))
    });
    c.check(
        other.is_err_and(|e| e.to_string().contains("in use")) && unmoved,
        "a second user who wants another size is told so too, and the first goes on",
    );
    let Ok(mut patient) = open(WEBCAM, &Settings { patient: true, ..settings.clone() }) else {
        return c.check(false, "a patient second user waits");
    };
    c.check(patient.state() == State::Lost, "a patient second user waits");
    drop(source);
    c.check(frames(&mut patient, 5, s(10)) == 5, "and gets the camera when it is free");
    let mut source = patient;

    let before = source.health();
    c.check(set(WEBCAM, "Inject V4L2_BUF_FLAG_ERROR", 0), "fault: a frame is marked as damaged");
    frames(&mut source, 8, s(8));
    c.check(source.health().damaged == before.damaged + 1, "it is refused and counted");

    c.check(set(WEBCAM, "Percentage of Dropped Buffers", 100), "fault: no frames");
    c.check(until(&mut source, s(8), |s| s.state() == State::Stalled), "noticed: stalled");
    set(WEBCAM, "Percentage of Dropped Buffers", 30);
    c.check(frames(&mut source, 10, s(12)) == 10, "frames again after the restart");
    let before = source.health().skipped;
    frames(&mut source, 30, s(15));
    c.check(
        source.health().skipped > before,
        "fault: three frames in ten are lost, and counted as gaps",
    );
    set(WEBCAM, "Percentage of Dropped Buffers", 0);

    c.check(set(WEBCAM, "Inject VIDIOC_QBUF Error", 0), "fault: a buffer is not taken back");
    c.check(frames(&mut source, 10, s(10)) == 10, "frames go on");
    let before = source.health().restarts;
    c.check(set(WEBCAM, "Inject Fatal Streaming Error", 0), "fault: the queue dies (EIO)");
    c.check(until(&mut source, s(5), |s| s.health().restarts > before), "noticed: restarted");
    c.check(frames(&mut source, 10, s(10)) == 10, "frames go on");
    drop(source);

    c.check(set(WEBCAM, "Inject VIDIOC_REQBUFS Error", 0), "fault: no buffers are granted");
    c.check(open(WEBCAM, &settings).is_err(), "an error at opening");
    c.check(set(WEBCAM, "Inject VIDIOC_STREAMON Error", 0), "fault: the stream does not start");
    c.check(open(WEBCAM, &settings).is_err(), "an error at opening");
    let source = open(WEBCAM, &Settings { patient: true, ..settings }).ok();
    let Some(mut source) = c.some(source, "opened once more") else { return };
    c.check(frames(&mut source, 5, s(8)) == 5, "frames again");

    let held = Device::open(Path::new(WEBCAM));
    c.check(set(WEBCAM, "Disconnect", 0), "fault: the camera is disconnected (ENODEV)");
    c.check(until(&mut source, s(5), |s| s.state() == State::Lost), "noticed: lost");
    let back = until(&mut source, s(1), |s| s.state() == State::Streaming);
    c.check(
        held.is_ok() && Device::open(Path::new(WEBCAM)).is_err() && !back,
        "it cannot be opened while somebody holds the old handle: still lost",
    );
    drop(held);
    c.check(frames(&mut source, 5, s(10)) == 5, "found again after the last user closed it");
    c.check(source.health().losses == 1, "one loss is counted");

    let unbound = std::fs::write(format!("{DRIVER}/unbind"), "vivid.0").is_ok();
    c.check(
        unbound && !Path::new(WEBCAM).exists(),
        "fault: the driver is unbound, the node is gone",
    );
    c.check(until(&mut source, s(5), |s| s.state() == State::Lost), "noticed: lost");
    let bound = std::fs::write(format!("{DRIVER}/bind"), "vivid.0").is_ok();
    c.check(
        bound && wait(s(5), || Path::new(WEBCAM).exists()),
        "the driver is bound, the node is back",
    );
    c.check(frames(&mut source, 5, s(10)) == 5, "frames from the camera that came back");
}

/// What is written to the HDMI output comes back from the input, byte for byte.
pub fn exact(c: &mut Checks) {
    c.check(
        set(HDMI_IN, "Loop Video", 1) && set(HDMI_IN, "OSD Text Mode", 2),
        "the HDMI loop is closed, without text",
    );
    for format in [b"YUYV", b"UYVY", b"NV12", b"NV21", b"YU12", b"RGB3", b"BGR3", b"GREY"] {
        let name = String::from_utf8_lossy(format).into_owned();
        let picture = noise(format, (1280, 720));
        let file = format!("/tmp/{name}");
        if std::fs::write(&file, &picture).is_err() {
            return c.check(false, format!("{file} is written"));
        }
        let feed = Command::new("/host/bin/feed")
            .args([HDMI_OUT, &name, "1280", "720", &file])
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut feed) = feed else { return c.check(false, "feed starts") };
        let mut line = String::new();
        if let Some(out) = feed.stdout.take() {
            // An empty line says that it has ended.
            let _ = BufReader::new(out).read_line(&mut line);
        }
        let source = open(HDMI_IN, &settings(format, (1280, 720)));
        let equal = line == "feeding\n"
            && source.is_ok_and(|mut source| comes(&mut source, &picture, s(10)));
        c.check(equal, format!("HDMI loop, {name}: {} bytes are equal", picture.len()));
        c.check(matches!(feed.try_wait(), Ok(None)), "the output was fed to the end");
        let _ = feed.kill();
        let _ = feed.wait();
        let _ = std::fs::remove_file(file);
    }
}

/// A frame that no converter leaves as it is.
pub fn noise(format: &[u8; 4], size: (u32, u32)) -> Vec<u8> {
    let pixels = size.0 * size.1;
    let bytes = match format {
        b"RGB3" | b"BGR3" => 3 * pixels,
        b"GREY" => pixels,
        b"YUYV" | b"UYVY" => 2 * pixels,
        _ => 3 * pixels / 2,
    };
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// A camera with the multi-planar interface only.
pub fn multi_planar(c: &mut Checks) {
    let device = Device::open(Path::new(PLANAR));
    c.check(
        device.is_ok_and(|d| d.unfit() == Some(Unfit::MultiPlanar)),
        "the multi-planar node is known as such",
    );
    let refused =
        open(PLANAR, &settings(b"NV12", SIZE)).err().map(|e| e.to_string()).unwrap_or_default();
    c.check(refused.contains("multi-planar"), format!("it is refused with a reason: {refused}"));
    let any = Source::open(
        "v4l2:",
        &Settings { stall: Duration::from_secs(1), ..settings(b"YUYV", SIZE) },
    );
    c.check(
        any.is_ok_and(|s| s.describe().contains(WEBCAM)),
        "any camera: the first capture node, never an output",
    );
    let none =
        Source::open("v4l2:driver=none", &settings(b"YUYV", SIZE)).err().map(|e| e.to_string());
    c.check(
        none.is_some_and(|e| e.contains("/dev/video3")),
        "a camera that is not there: what is there is named",
    );
}
