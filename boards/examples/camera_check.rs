//! Runs a source and prints what happens as JSON lines: each change of state, and a summary. For tests on real and virtual cameras.
//!
//! ```text
//! camera_check SELECTION [--frames N] [--seconds S] [--format FOURCC] [--size WxH] [--fps N] [--buffers N] [--stall-ms N]
//!              [--set 'CONTROL=VALUE'].. [--expect FILE] [--out FILE] [--slow-ms N] [--patient]
//! camera_check KEYS --only-set 'CONTROL=VALUE'
//! ```
//! Ends after N frames or S seconds. `--expect`: the last frame's pixels, row by row without padding, must be the file's bytes. `--slow-ms`: works so
//! long on each frame. Exit code 0 if N frames came (and the last was as expected), else 1; 2 for a wrong command line or a source that does not open.
//! `--only-set` streams nothing: it sets a control of the camera that KEYS (`driver=vivid,bus=..`) name, which another program may be using.

use keyface_boards::error::{Error, Result};
use keyface_boards::settings::{parse_size, Control, Settings};
use keyface_boards::source::{Next, Source, State};
use keyface_boards::sys::monotonic_us;
use keyface_boards::v4l2::Wanted;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Options {
    selection: String,
    settings: Settings,
    frames: u64,
    seconds: f64,
    expect: Option<String>,
    out: Option<String>,
    slow: Duration,
    only_set: bool,
}

fn options() -> Result<Options> {
    let mut options = Options { frames: 10, seconds: 20.0, ..Options::default() };
    let mut words = std::env::args().skip(1);
    options.selection = words.next().ok_or_else(|| Error::argument("which source?"))?;
    while let Some(word) = words.next() {
        if word == "--patient" {
            options.settings.patient = true;
            continue;
        }
        let value =
            words.next().ok_or_else(|| Error::argument(format!("{word}: value missing")))?;
        let wrong = || Error::argument(format!("{word} {value}: not understood"));
        let number = || value.parse::<u64>().map_err(|_| wrong());
        let small = || value.parse::<u32>().map_err(|_| wrong());
        match word.as_str() {
            "--frames" => options.frames = number()?,
            "--seconds" => options.seconds = value.parse().map_err(|_| wrong())?,
            "--size" => options.settings.size = parse_size(&value).ok_or_else(wrong)?,
            "--fps" => options.settings.fps = small()?,
            "--buffers" => options.settings.buffers = small()?,
            "--stall-ms" => options.settings.stall = Duration::from_millis(number()?),
            "--slow-ms" => options.slow = Duration::from_millis(number()?),
            "--expect" => options.expect = Some(value),
            "--out" => options.out = Some(value),
            "--format" => {
                let mut format = [b' '; 4];
                let bytes = value.as_bytes();
                format.get_mut(..bytes.len()).ok_or_else(wrong)?.copy_from_slice(bytes);
                options.settings.formats = vec![format];
            }
            "--set" | "--only-set" => {
                options.only_set = word == "--only-set";
                let (name, value) = value.rsplit_once('=').ok_or_else(wrong)?;
                let value = value.parse().map_err(|_| wrong())?;
                options.settings.controls.push(Control { name: name.to_owned(), value });
            }
            _ => return Err(Error::argument(format!("{word}: no such option"))),
        }
    }
    Ok(options)
}

/// What the frames had in common.
#[derive(Default)]
struct Seen {
    pixels: Vec<u8>,
    shape: String,
    first: u64,
    last: u64,
    back: u64,
    /// The greatest age of a frame when it was lent.
    oldest_us: u64,
}

fn run(options: &Options) -> Result<bool> {
    if options.only_set {
        let device = Wanted::parse(&options.selection)?.open(None)?;
        return Ok(device.set_controls(&options.settings.controls) == 1);
    }
    let start = Instant::now();
    let mut source = Source::open(&options.selection, &options.settings)?;
    let mut state = State::Closed;
    let mut seen = Seen::default();
    let mut count = 0;
    while count < options.frames && start.elapsed().as_secs_f64() < options.seconds {
        match source.next(Duration::from_millis(100)) {
            Next::Frame(frame) => {
                count += 1;
                let stamp = frame.timestamp_us();
                if seen.first == 0 {
                    seen.first = stamp;
                }
                seen.back += u64::from(stamp <= seen.last);
                seen.last = stamp;
                seen.oldest_us = seen.oldest_us.max(monotonic_us().saturating_sub(stamp));
                let (w, h) = (frame.width(), frame.height());
                seen.shape = format!("{:?} {w}x{h}", frame.format());
                seen.pixels.clear();
                for (i, plane) in frame.planes().iter().enumerate() {
                    let (row, rows) = frame.format().plane_size(i, w, h);
                    for at in 0..rows {
                        seen.pixels.extend_from_slice(&plane.data[at * plane.stride..][..row]);
                    }
                }
                std::thread::sleep(options.slow);
            }
            Next::Nothing => {}
            Next::End => break,
        }
        if source.state() != state {
            state = source.state();
            println!(
                "{{\"at_ms\":{},\"state\":\"{state}\",\"source\":{:?}}}",
                start.elapsed().as_millis(),
                source.describe()
            );
        }
    }
    let equal = match &options.expect {
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
            Some(bytes == seen.pixels)
        }
        None => None,
    };
    if let Some(path) = &options.out {
        std::fs::write(path, &seen.pixels).map_err(|e| Error::io(path, &e))?;
    }
    let h = source.health();
    let span = seen.last.saturating_sub(seen.first) as f64 / 1e6;
    let rate = if span > 0.0 { (count - 1) as f64 / span } else { 0.0 };
    let equal_text = equal.map_or("null".to_owned(), |e| e.to_string());
    println!(
        "{{\"frames\":{count},\"wanted\":{},\"shape\":{:?},\"bytes\":{},\"equal\":{equal_text},\"rate\":{rate:.1},\"clock_back\":{},\"oldest_ms\":{},\"damaged\":{},\"skipped\":{},\"stalls\":{},\"restarts\":{},\"losses\":{}}}",
        options.frames,
        seen.shape,
        seen.pixels.len(),
        seen.back,
        seen.oldest_us / 1000,
        h.damaged,
        h.skipped,
        h.stalls,
        h.restarts,
        h.losses
    );
    Ok(count >= options.frames && equal != Some(false))
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("camera_check: {e}");
            ExitCode::from(2)
        }
    }
}
