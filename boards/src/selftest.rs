//! Is this camera fit for faces? Some seconds of frames, measured and judged.

use crate::source::{Health, Next, Source, State};
use keyface::frame::{Frame, PixelFormat};
use keyface::geometry::{Rect, Similarity};
use keyface::sample::{luma_stats, warp_into, LumaStats};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How a measurement was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Faces will be found, but fewer or worse.
    Poor,
    /// Not fit for use.
    Bad,
}

/// One measurement and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was measured.
    pub name: &'static str,
    /// How it was judged.
    pub verdict: Verdict,
    /// The figures in words.
    pub found: String,
    /// What to do; empty where it is good.
    pub advice: &'static str,
}

/// What a self-test found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The source for people.
    pub source: String,
    /// Frames that were measured.
    pub frames: u64,
    /// All checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|c| c.verdict).max().unwrap_or(Verdict::Bad)
    }
}

/// Side of the small picture of the frame's middle that sharpness is measured in, in pixels.
const SIDE: usize = 256;

/// What the frames showed together.
#[derive(Default)]
struct Seen {
    stamps: Vec<u64>,
    luma: Vec<LumaStats>,
    sharpness: Vec<f32>,
    /// Roughness of luma over roughness of chroma, for packed formats.
    order: Vec<f32>,
    shape: String,
}

/// Takes frames for as long as `time` and judges them; `fps` is the rate that was asked for. `each` sees every frame as it comes, for a
/// preview or more checks.
pub fn run(
    source: &mut Source,
    fps: u32,
    time: Duration,
    mut each: impl FnMut(&Frame<'_>),
) -> Report {
    let before = source.health();
    let mut seen = Seen::default();
    let mut small = vec![0; 3 * SIDE * SIDE];
    let start = Instant::now();
    while start.elapsed() < time {
        match source.next(Duration::from_millis(100)) {
            Next::Frame(frame) => {
                look(&frame, &mut small, &mut seen);
                each(&frame);
            }
            Next::Nothing => {}
            Next::End => break,
        }
    }
    let checks = judge(&seen, fps, before, source.health(), source.state());
    Report { source: source.describe(), frames: seen.stamps.len() as u64, checks }
}

fn look(frame: &Frame<'_>, small: &mut [u8], seen: &mut Seen) {
    let (w, h) = frame.upright_size();
    seen.stamps.push(frame.timestamp_us());
    seen.shape = format!("{:?} {w}x{h}", frame.format());
    seen.luma.extend(luma_stats(frame, &Rect::new(0.0, 0.0, w as f32, h as f32)));
    // The largest square in the middle.
    let scale = w.min(h) as f64 / SIDE as f64;
    let middle = |length: usize| (length as f64 - scale * SIDE as f64) / 2.0;
    let to_frame = Similarity::new(scale, 0.0, middle(w), middle(h));
    if to_frame.is_some_and(|to_frame| warp_into(frame, &to_frame, SIDE, small).is_ok()) {
        // Green carries most of the luma.
        seen.sharpness.push(roughness(&small[SIDE * SIDE..2 * SIDE * SIDE]));
    }
    seen.order.extend(byte_order(frame));
}

/// Mean difference of neighbours in a row over the mean deviation of all: high where edges are sharp, whatever the light.
fn roughness(plane: &[u8]) -> f32 {
    let n = plane.len() as f32;
    let mean = plane.iter().map(|&v| f32::from(v)).sum::<f32>() / n;
    let deviation = plane.iter().map(|&v| (f32::from(v) - mean).abs()).sum::<f32>() / n;
    let pairs = plane.chunks(SIDE).flat_map(|row| row.windows(2));
    let steps = pairs.map(|p| f32::from(p[0].abs_diff(p[1]))).sum::<f32>() / n;
    if deviation > 0.0 {
        steps / deviation
    } else {
        0.0
    }
}

/// For YUYV and UYVY: how much rougher the luma bytes are than the chroma bytes. Below 1 they are probably exchanged, as eyes and lenses give
/// colour less detail. `None` for other formats and for pictures without colour.
fn byte_order(frame: &Frame<'_>) -> Option<f32> {
    let luma_first = match frame.format() {
        PixelFormat::Yuyv => 0,
        PixelFormat::Uyvy => 1,
        _ => return None,
    };
    let plane = frame.planes()[0];
    let (mut luma, mut chroma) = (0u64, 0u64);
    for y in (0..frame.height()).step_by(8) {
        let row = &plane.data[y * plane.stride..][..2 * frame.width()];
        // Four bytes apart is the same channel of the next pair, in either order.
        let steps = |at: usize| -> u64 {
            row.iter()
                .skip(at)
                .step_by(4)
                .zip(row.iter().skip(at + 4).step_by(4))
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum()
        };
        luma += steps(luma_first) + steps(luma_first + 2);
        chroma += steps(1 - luma_first) + steps(3 - luma_first);
    }
    (luma.min(chroma) > 0).then(|| luma as f32 / chroma as f32)
}

fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let n = values.len().max(1) as f32;
    values.sum::<f32>() / n
}

fn judge(seen: &Seen, fps: u32, before: Health, after: Health, state: State) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut check = |name, verdict, found: String, advice: &'static str| {
        let advice = if verdict == Verdict::Good { "" } else { advice };
        checks.push(Check { name, verdict, found, advice });
    };
    let frames = seen.stamps.len();
    if frames < 2 {
        let found = format!("{frames} frames; the source is {state}");
        check("frames", Verdict::Bad, found, "see what 'keyface board probe' says of the camera");
        return checks;
    }
    let grade = |bad: bool, poor: bool| match (bad, poor) {
        (true, _) => Verdict::Bad,
        (_, true) => Verdict::Poor,
        _ => Verdict::Good,
    };
    check("format", Verdict::Good, seen.shape.clone(), "");

    let damaged = after.damaged.saturating_sub(before.damaged);
    let share = damaged as f64 / (damaged + frames as u64) as f64;
    let found = format!("{damaged} of {} frames damaged", damaged + frames as u64);
    let advice = "try a shorter cable, a port without hub, a raw format in place of MJPG";
    check("damage", grade(share > 0.2, damaged > 0), found, advice);

    let stalls = after.stalls + after.losses - before.stalls - before.losses;
    let found = format!("{stalls} stalls and losses");
    check("stalls", grade(stalls > 1, stalls > 0), found, "look at the power supply and the cable");

    let back = seen.stamps.windows(2).filter(|w| w[1] <= w[0]).count();
    let found = format!("{back} of {frames} not later than the one before");
    check(
        "timestamps",
        grade(back > 0, false),
        found,
        "the driver's clock is broken: take another camera or a bridge",
    );

    let span = seen.stamps[frames - 1].saturating_sub(seen.stamps[0]).max(1);
    let rate = (frames - 1) as f64 * 1e6 / span as f64;
    let found = format!("{rate:.1} frames/s, {fps} asked for");
    let advice = "more light, exposure_dynamic_framerate = 0, MJPG or a smaller size";
    check("rate", grade(rate < 2.0, rate < 0.7 * f64::from(fps)), found, advice);

    let luma = |f: fn(&LumaStats) -> f32| mean(seen.luma.iter().map(f));
    let (level, deviation) = (luma(|l| l.mean), luma(|l| l.deviation));
    let (dark, bright) = (luma(|l| l.dark), luma(|l| l.bright));
    let found = format!(
        "mean {level:.0} of 255, {:.0} % black, {:.0} % white",
        100.0 * dark,
        100.0 * bright
    );
    let bad = !(16.0..=245.0).contains(&level) || deviation < 2.0;
    let poor = !(50.0..=205.0).contains(&level) || dark > 0.4 || bright > 0.2;
    check(
        "exposure",
        grade(bad, poor),
        found,
        "more light, a longer exposure, no window behind the people",
    );

    let levels: Vec<f32> = seen.luma.iter().map(|l| l.mean).collect();
    let swing = levels.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    let found = format!("brightness changes by {swing:.0} at most from frame to frame");
    let advice = "set the power line frequency; with a strobed infrared lamp use its bright frames";
    check("flicker", grade(false, swing > 25.0), found, advice);

    let sharpness = mean(seen.sharpness.iter().copied());
    let found = format!("roughness {sharpness:.3}");
    check(
        "sharpness",
        grade(sharpness < 0.01, sharpness < 0.03),
        found,
        "focus the lens, clean it, peel off its film",
    );

    if !seen.order.is_empty() {
        let order = mean(seen.order.iter().copied());
        let found = format!("luma {order:.1} times as rough as chroma");
        check(
            "byte order",
            grade(order < 0.7, order < 1.0),
            found,
            "the driver may have named the format wrongly: try another one",
        );
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_sound_source_is_good_and_a_black_one_bad() {
        let settings = Settings { fps: 50, ..Settings::default() };
        let mut source = Source::open("pattern:320x240", &settings).unwrap();
        let mut frames = 0;
        let report = run(&mut source, 50, Duration::from_millis(600), |_| frames += 1);
        assert_eq!(report.frames, frames);
        let verdict = |name: &str| report.checks.iter().find(|c| c.name == name).unwrap().verdict;
        for name in ["damage", "stalls", "timestamps", "exposure", "flicker"] {
            assert_eq!(verdict(name), Verdict::Good, "{name}: {report:?}");
        }
        let mut silent = Source::open("pipe:sleep 5", &settings).unwrap();
        let report = run(&mut silent, 50, Duration::from_millis(100), |_| ());
        assert_eq!((report.verdict(), report.frames), (Verdict::Bad, 0));
    }

    fn seen(frame: &Frame<'_>) -> Seen {
        let mut seen = Seen::default();
        for i in 0..10 {
            let frame = frame.with_timestamp(i * 100_000);
            look(&frame, &mut vec![0; 3 * SIDE * SIDE], &mut seen);
        }
        seen
    }

    fn verdicts(seen: &Seen) -> Vec<(&'static str, Verdict)> {
        let health = Health::default();
        let checks = judge(seen, 10, health, health, State::Streaming);
        checks.iter().filter(|c| c.verdict != Verdict::Good).map(|c| (c.name, c.verdict)).collect()
    }

    #[test]
    fn each_fault_is_told_by_its_check() {
        // Rough luma, smooth chroma.
        let good: Vec<u8> = (0..640 * 480 * 2usize)
            .map(|i| match i % 2 {
                0 => 60 + (i / 2 * 7919 % 131) as u8,
                _ => 128 + (i / 64 % 8) as u8,
            })
            .collect();
        let frame = |data, format| Frame::packed(format, 640, 480, data).unwrap();
        let as_it_is = seen(&frame(&good, PixelFormat::Yuyv));
        assert_eq!(verdicts(&as_it_is), []);
        let exchanged = seen(&frame(&good, PixelFormat::Uyvy));
        assert!(verdicts(&exchanged).contains(&("byte order", Verdict::Bad)));
        let black = vec![0; 640 * 480];
        let dark = seen(&frame(&black, PixelFormat::Grey8));
        assert_eq!(verdicts(&dark), [("exposure", Verdict::Bad), ("sharpness", Verdict::Bad)]);
        let mut frozen = seen(&frame(&good, PixelFormat::Yuyv));
        frozen.stamps[5] = frozen.stamps[4];
        assert_eq!(verdicts(&frozen), [("timestamps", Verdict::Bad)]);
        let mut slow = seen(&frame(&good, PixelFormat::Yuyv));
        slow.stamps.iter_mut().for_each(|t| *t *= 3);
        assert_eq!(verdicts(&slow), [("rate", Verdict::Poor)]);
        let health = Health { damaged: 5, stalls: 1, ..Health::default() };
        let checks = judge(&as_it_is, 10, Health::default(), health, State::Streaming);
        let of = |name: &str| checks.iter().find(|c| c.name == name).unwrap();
        assert_eq!(of("damage").verdict, Verdict::Bad);
        assert!(of("stalls").verdict == Verdict::Poor && !of("stalls").advice.is_empty());
    }
}
