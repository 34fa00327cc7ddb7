//! Cameras of the kernel's video interface (V4L2, single-planar): USB cameras, and CSI cameras behind a bridge.
//!
//! What a camera answers is believed, whatever was asked: format, size and rate are those that frames then come in. A node that has only
//! the multi-planar interface is refused with a sentence that says so.

mod abi;
mod device;
mod find;
mod layout;
mod queue;

pub use device::{ControlInfo, Device, Identity, Offer, Unfit};
pub use find::{matches_glob, nodes, Wanted};
pub use layout::{is_supported, name as format_name};

use crate::clock::Backoff;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::source::{Capture, Health, State, Step};
use crate::sys::monotonic_us;
use keyface::error::ErrorKind;
use keyface::frame::Frame;
use layout::Layout;
use queue::Queue;
use std::io;
use std::time::{Duration, Instant};

/// A camera. Frames are lent from the driver's buffers; motion JPEG and 16-bit grey pass through one buffer of ours.
///
/// The newest frame wins: when several wait, or the driver had run out of buffers, the older ones are passed over. A stream that falls silent
/// or fails is stopped and started; after [`Settings::restarts`] of that in a row, or when the camera is unplugged, it is closed and
/// searched for by driver and product with back-off. Nothing here panics, in `Drop` neither.
pub struct V4l2Source {
    wanted: Wanted,
    settings: Settings,
    /// Of the camera that was found first; no other product is taken for it later.
    known: Option<Identity>,
    stream: Option<Stream>,
    backoff: Backoff,
    state: State,
    health: Health,
    /// Restarts since the last frame.
    restarts: u32,
}

/// What exists while a camera is open.
struct Stream {
    queue: Queue,
    layout: Layout,
    rate: Option<f64>,
    /// The lent frame's time; 0 while none is lent.
    stamp: u64,
    /// The driver's count at the last sound frame.
    sequence: Option<u32>,
    to_pass_over: u32,
    /// When a sound frame or a start was last seen.
    last_sign: Instant,
}

impl std::fmt::Debug for V4l2Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("V4l2Source")
            .field("wanted", &self.wanted)
            .field("state", &self.state)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

impl V4l2Source {
    /// Opens the camera, agrees on a format, sets its controls and starts it. With [`Settings::patient`] a camera that is not there, or is busy,
    /// is waited for: the source is [`State::Lost`] until then.
    ///
    /// # Errors
    /// As [`Settings::check`]; [`ErrorKind::NotFound`] where there is no such camera, with what is there instead; [`ErrorKind::InvalidFrame`]
    /// where it offers no supported format; [`ErrorKind::Io`] where it is busy or refuses.
    pub fn open(wanted: &Wanted, settings: &Settings) -> Result<V4l2Source> {
        settings.check()?;
        wanted.check()?;
        let mut source = V4l2Source {
            wanted: wanted.clone(),
            settings: settings.clone(),
            known: None,
            stream: None,
            backoff: Backoff::new(settings.backoff),
            state: State::Closed,
            health: Health::default(),
            restarts: 0,
        };
        match source.connect() {
            Err(e) if settings.patient && e.kind() != ErrorKind::InvalidArgument => {
                log::warn!("waiting for the camera: {e}");
                source.state = State::Lost;
                source.backoff.failed();
            }
            done => done?,
        }
        Ok(source)
    }

    fn connect(&mut self) -> Result<()> {
        let device = self.wanted.open(self.known.as_ref())?;
        let identity = device.identity().clone();
        let stream = Stream::start(device, &self.settings)?;
        self.known = Some(identity);
        self.stream = Some(stream);
        self.state = State::Configured;
        log::info!("camera: {}", self.describe());
        Ok(())
    }

    /// Closes the camera and begins to search for it.
    fn lose(&mut self, cause: &dyn std::fmt::Display) {
        log::warn!("camera lost: {cause}");
        self.stream = None;
        self.restarts = 0;
        if self.state != State::Lost {
            Health::count(&mut self.health.losses);
            self.state = State::Lost;
        }
        self.backoff.failed();
    }

    /// Stops and starts the stream, or gives the camera up if that has not helped.
    fn restart(&mut self, cause: &dyn std::fmt::Display) {
        if self.restarts >= self.settings.restarts {
            return self.lose(cause);
        }
        self.restarts += 1;
        if self.state != State::Stalled {
            Health::count(&mut self.health.stalls);
            self.state = State::Stalled;
        }
        Health::count(&mut self.health.restarts);
        log::warn!(
            "camera stalled: {cause}; restart {} of {}",
            self.restarts,
            self.settings.restarts
        );
        let warmup = self.settings.warmup;
        let restarted = self.stream.as_mut().map_or(Ok(()), |stream| stream.restart(warmup));
        if let Err(e) = restarted {
            self.lose(&e);
        }
    }

    fn failed(&mut self, e: &io::Error) {
        match e.raw_os_error() {
            // Unplugged, or its driver is gone.
            Some(libc::ENODEV | libc::ENXIO | libc::EBADF) => self.lose(e),
            _ => self.restart(e),
        }
    }
}

impl Stream {
    fn start(device: Device, settings: &Settings) -> Result<Stream> {
        let layout = agree(&device, settings)?;
        // Some drivers have no rate to choose.
        let rate = abi::set_rate(&device.file, settings.fps).ok().flatten();
        device.set_controls(&settings.controls);
        let path = device.path().display().to_string();
        let started = Queue::start(device, settings.buffers);
        let queue = started.map_err(|e| match e.raw_os_error() {
            Some(libc::ENOSPC) => Error::new(
                ErrorKind::Io,
                format!("{path}: not enough USB bandwidth; choose MJPG, a smaller size or a lower rate ({e})"),
            ),
            _ => Error::io(format_args!("{path}: cannot start the stream"), &e),
        })?;
        Ok(Stream {
            queue,
            layout,
            rate,
            stamp: 0,
            sequence: None,
            to_pass_over: settings.warmup,
            last_sign: Instant::now(),
        })
    }

    fn restart(&mut self, warmup: u32) -> io::Result<()> {
        self.stamp = 0;
        self.queue.restart()?;
        (self.sequence, self.to_pass_over) = (None, warmup);
        self.last_sign = Instant::now();
        Ok(())
    }

    /// One look at what the driver has. Whether a frame is lent now. `waited`: nothing waited at an earlier look, so what is there is new.
    fn look(&mut self, health: &mut Health, waited: bool) -> io::Result<bool> {
        let Some(newest) = self.queue.newest()? else {
            if waited {
                // Woken for nothing: a driver that goes on like that must not keep the processor busy.
                std::thread::sleep(Duration::from_millis(1));
            }
            return Ok(false);
        };
        // The driver had no buffer left: frames that came later are lost, and this one is old.
        let stale = newest.full && !waited;
        let filled = newest.filled;
        let refused = if filled.damaged {
            Err("marked as damaged by the driver")
        } else {
            self.layout.take(self.queue.bytes(&filled))
        };
        let before = self.sequence.filter(|_| newest.damaged == 0 && refused.is_ok());
        if let Some(before) = before {
            let gap = filled.sequence.wrapping_sub(before).saturating_sub(1);
            health.skipped = health.skipped.saturating_add(u64::from(gap));
        }
        health.damaged = health.damaged.saturating_add(newest.damaged);
        self.sequence = Some(filled.sequence);
        if let Err(cause) = refused {
            if !filled.damaged {
                Health::count(&mut health.damaged);
            }
            log::debug!("frame refused: {cause}");
            self.queue.pass_over(filled)?;
            return Ok(false);
        }
        self.last_sign = Instant::now();
        if self.to_pass_over > 0 || stale {
            self.to_pass_over = self.to_pass_over.saturating_sub(1);
            health.skipped = health.skipped.saturating_add(u64::from(stale));
            self.queue.pass_over(filled)?;
            return Ok(false);
        }
        self.stamp = if filled.stamp > 0 { filled.stamp } else { monotonic_us() };
        self.queue.lend(filled);
        Ok(true)
    }
}

/// Agrees on the first wanted format that the camera offers; what it answers counts.
fn agree(device: &Device, settings: &Settings) -> Result<Layout> {
    let offers = device.offers();
    let offered = |f: &&[u8; 4]| offers.iter().any(|offer| offer.format == **f);
    let mut wanted: Vec<[u8; 4]> = settings.formats.iter().filter(offered).copied().collect();
    if wanted.is_empty() {
        // Drivers that list nothing, or nothing that is wanted, may still answer something usable.
        wanted.extend(settings.formats.first());
    }
    let mut refused = None;
    for format in wanted {
        match device.set_format(format, settings.size) {
            Ok(answer) => match Layout::new(&answer, settings.y16_bits) {
                Ok(layout) => return Ok(layout),
                Err(e) => refused = Some(e),
            },
            Err(e) => {
                let what = match e.raw_os_error() {
                    Some(libc::EBUSY) => "in use by another program, or no picture yet",
                    _ => "the format cannot be set",
                };
                refused = Some(Error::io(format_args!("{}: {what}", device.path().display()), &e));
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::argument("no format is wanted")))
}

impl Capture for V4l2Source {
    fn advance(&mut self, wait: Duration) -> Step {
        let until = Instant::now() + wait;
        let left = || until.saturating_duration_since(Instant::now());
        if let Some(stream) = &mut self.stream {
            stream.stamp = 0;
            if let Err(e) = stream.queue.give_back() {
                self.failed(&e);
            }
        }
        let mut waited = false;
        loop {
            let Some(stream) = &mut self.stream else {
                if !self.backoff.wait(left()) {
                    return Step::Nothing;
                }
                match self.connect() {
                    Ok(()) => Health::count(&mut self.health.restarts),
                    Err(e) => {
                        log::debug!("still lost: {e}");
                        self.backoff.failed();
                    }
                }
                continue;
            };
            let patience = self.settings.stall.saturating_sub(stream.last_sign.elapsed());
            let looked = if waited {
                let polled = stream.queue.poll(left().min(patience));
                polled.and_then(|came| Ok(came && stream.look(&mut self.health, true)?))
            } else {
                stream.look(&mut self.health, false)
            };
            waited = true;
            match looked {
                Ok(true) => {
                    self.backoff.worked();
                    (self.restarts, self.state) = (0, State::Streaming);
                    Health::count(&mut self.health.frames);
                    return Step::Ready;
                }
                Ok(false) => {
                    if stream.last_sign.elapsed() >= self.settings.stall {
                        let ms = self.settings.stall.as_millis();
                        self.restart(&format_args!("no sound frame for {ms} ms"));
                    }
                    if left().is_zero() {
                        return Step::Nothing;
                    }
                }
                Err(e) => self.failed(&e),
            }
        }
    }

    fn frame(&self) -> Option<Frame<'_>> {
        let stream = self.stream.as_ref().filter(|stream| stream.stamp > 0)?;
        let frame = stream.layout.frame(stream.queue.lent()?)?;
        let frame = frame.with_rotation(self.settings.rotation).with_mirror(self.settings.mirrored);
        Some(frame.with_timestamp(stream.stamp))
    }

    fn state(&self) -> State {
        self.state
    }

    fn health(&self) -> Health {
        self.health
    }

    fn describe(&self) -> String {
        let Some(stream) = &self.stream else { return format!("no camera v4l2:{}", self.wanted) };
        let (device, layout) = (&stream.queue.device, &stream.layout);
        let Identity { driver, card, bus } = device.identity();
        let rate = stream.rate.map_or(String::new(), |fps| format!(" at {fps:.0} frames/s"));
        format!(
            "{} {driver} '{card}' {bus}: {} {}x{}{rate}",
            device.path().display(),
            layout::name(layout.format),
            layout.size.0,
            layout.size.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted::parse("driver=no-such-driver").unwrap()
    }

    #[test]
    fn a_camera_that_is_not_there_is_an_error_or_waited_for() {
        let settings = Settings::default();
        let missing = V4l2Source::open(&wanted(), &settings).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let backoff = (Duration::from_millis(10), Duration::from_millis(20));
        let settings = Settings { patient: true, backoff, ..settings };
        let mut source = V4l2Source::open(&wanted(), &settings).unwrap();
        for _ in 0..5 {
            assert_eq!(source.advance(Duration::from_millis(15)), Step::Nothing);
            assert_eq!((source.state(), source.frame().is_none()), (State::Lost, true));
        }
        assert_eq!(source.health(), Health::default());
        assert!(source.describe().contains("driver=no-such-driver"));
    }
}
