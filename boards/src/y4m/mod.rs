//! Frames that another program writes to a pipe as YUV4MPEG2: `rpicam-vid`, `gst-launch-1.0 .. ! y4menc ! fdsink`, `ffmpeg -f yuv4mpegpipe -`.
//!
//! This is the bridge to cameras that only their maker's library can drive, without a kernel module. The stream names its own size.

mod format;
mod reader;

use crate::clock::Backoff;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::source::{Capture, Health, State, Step};
use format::Header;
use keyface::frame::{Frame, Rotation};
use reader::Reader;
use std::time::{Duration, Instant};

/// Runs a command and takes the frames from its standard output.
///
/// A thread reads without pause, so the newest frame wins and the program never has to wait. If the program ends it is started again, with
/// back-off; if it falls silent it is killed first. Dropping the source kills the program and all that it started in its process group.
#[derive(Debug)]
pub struct Y4mPipeSource {
    command: String,
    rotation: Rotation,
    mirrored: bool,
    stall: Duration,
    warmup: u32,
    reader: Option<Reader>,
    /// The header that `frame` was read under.
    header: Option<Header>,
    frame: Vec<u8>,
    stamp: u64,
    to_pass_over: u32,
    last_sign: Instant,
    backoff: Backoff,
    state: State,
    health: Health,
}

/// How many whole frames `bytes` hold as a stream; none where a frame would be longer than `most`.
#[cfg(feature = "testing")]
pub(crate) fn whole_frames(mut bytes: &[u8], most: usize) -> usize {
    let header = match Header::read(&mut bytes) {
        Ok(header) if header.frame_len() <= most => header,
        _ => return 0,
    };
    let mut frame = vec![0; header.frame_len()];
    let mut count = 0;
    while let Ok(true) = header.read_frame(&mut bytes, &mut frame) {
        Frame::packed(header.format, header.width, header.height, &frame)
            .expect("a whole frame is a frame");
        count += 1;
    }
    count
}

impl Y4mPipeSource {
    /// Starts `command` with `sh -c`. What it writes to standard error goes to this program's.
    ///
    /// # Errors
    /// [`keyface::error::ErrorKind::InvalidArgument`] where the command is empty, [`keyface::error::ErrorKind::Io`] where no shell
    /// can be started. That a program ends at once or writes something else shows as [`State::Lost`].
    pub fn start(command: &str, settings: &Settings) -> Result<Y4mPipeSource> {
        if command.trim().is_empty() {
            return Err(Error::argument("pipe: the command is empty"));
        }
        let reader = Reader::start(command).map_err(|e| Error::io("sh", &e))?;
        Ok(Y4mPipeSource {
            command: command.to_owned(),
            rotation: settings.rotation,
            mirrored: settings.mirrored,
            stall: settings.stall,
            warmup: settings.warmup,
            reader: Some(reader),
            header: None,
            frame: Vec::new(),
            stamp: 0,
            to_pass_over: settings.warmup,
            last_sign: Instant::now(),
            backoff: Backoff::new(settings.backoff),
            state: State::Configured,
            health: Health::default(),
        })
    }

    /// The program is gone or useless: ends it, and waits before the next.
    fn lose(&mut self, state: State) {
        self.reader = None;
        self.backoff.failed();
        if self.state != state {
            let counter = match state {
                State::Stalled => &mut self.health.stalls,
                _ => &mut self.health.losses,
            };
            Health::count(counter);
        }
        self.state = state;
    }

    fn restart(&mut self) {
        match Reader::start(&self.command) {
            Ok(reader) => {
                Health::count(&mut self.health.restarts);
                self.reader = Some(reader);
                self.to_pass_over = self.warmup;
                self.last_sign = Instant::now();
            }
            Err(e) => {
                log::warn!("pipe: cannot start sh: {e}");
                self.backoff.failed();
            }
        }
    }
}

impl Capture for Y4mPipeSource {
    fn advance(&mut self, wait: Duration) -> Step {
        self.stamp = 0;
        let until = Instant::now() + wait;
        let left = || until.saturating_duration_since(Instant::now());
        loop {
            let Some(reader) = &self.reader else {
                if !self.backoff.wait(left()) {
                    return Step::Nothing;
                }
                self.restart();
                continue;
            };
            match reader.take(&mut self.frame, left()) {
                reader::Taken::Frame { header, stamp, skipped } => {
                    self.last_sign = Instant::now();
                    self.health.skipped = self.health.skipped.saturating_add(skipped);
                    self.header = Some(header);
                    if self.to_pass_over > 0 {
                        self.to_pass_over -= 1;
                        continue;
                    }
                    self.stamp = stamp;
                    self.backoff.worked();
                    self.state = State::Streaming;
                    Health::count(&mut self.health.frames);
                    return Step::Ready;
                }
                reader::Taken::Nothing => {
                    if self.last_sign.elapsed() > self.stall {
                        log::warn!("pipe: no frame for {} ms", self.stall.as_millis());
                        self.lose(State::Stalled);
                    }
                    return Step::Nothing;
                }
                reader::Taken::Ended(cause) => {
                    log::warn!("pipe: {cause}");
                    self.lose(State::Lost);
                }
            }
        }
    }

    fn frame(&self) -> Option<Frame<'_>> {
        let header = self.header.as_ref().filter(|_| self.stamp > 0)?;
        let frame = Frame::packed(header.format, header.width, header.height, &self.frame).ok()?;
        let frame = frame.with_range(header.range).with_rotation(self.rotation);
        Some(frame.with_mirror(self.mirrored).with_timestamp(self.stamp))
    }

    fn state(&self) -> State {
        self.state
    }

    fn health(&self) -> Health {
        self.health
    }

    fn describe(&self) -> String {
        match &self.header {
            Some(h) => {
                format!("pipe {}x{} {:?} from: {}", h.width, h.height, h.format, self.command)
            }
            None => format!("pipe from: {}", self.command),
        }
    }
}

#[cfg(test)]
mod tests;
