//! What every source of frames is: a borrowed frame at a time, a state instead of errors, and counters.

use crate::error::Result;
use crate::selection::Selection;
use crate::settings::Settings;
use keyface::frame::Frame;
use std::fmt;
use std::time::Duration;

/// What one call of [`Source::next`] gave.
#[derive(Debug)]
pub enum Next<'a> {
    /// The newest frame, lent until the source is used again. Zero copies: for a camera it lies in the driver's buffer.
    Frame(Frame<'a>),
    /// No frame within the time allowed. [`Source::state`] says why; the source works on it, so call again.
    Nothing,
    /// The source has come to its end, which only files played once have. There will be no frame again.
    End,
}

/// How a source is.
///
/// ```text
/// Closed -> Configured -> Streaming <-> Stalled
///              ^              |            |
///              +--- Lost <----+------------+      a lost camera is searched for by identity, with back-off
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// At its end, or not opened yet.
    Closed,
    /// Opened, format agreed; no frame so far.
    Configured,
    /// Frames come.
    Streaming,
    /// Opened, but no frame came within the stall time; it is being restarted.
    Stalled,
    /// The camera, file or process is gone; it is being searched for.
    Lost,
}

impl State {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Configured => "configured",
            State::Streaming => "streaming",
            State::Stalled => "stalled",
            State::Lost => "lost",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a source has met since it was opened. Counters never go back; they stop at their largest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Frames lent.
    pub frames: u64,
    /// Frames refused: damaged, cut short, or marked so by the driver.
    pub damaged: u64,
    /// Sound frames passed over because a newer one was there, and gaps in the driver's count.
    pub skipped: u64,
    /// Times that no frame came within the stall time.
    pub stalls: u64,
    /// Times that streaming was stopped and started again.
    pub restarts: u64,
    /// Times that the camera, file or process was lost.
    pub losses: u64,
}

impl Health {
    /// One more, without overflow.
    pub(crate) fn count(counter: &mut u64) {
        *counter = counter.saturating_add(1);
    }
}

/// The result of [`Capture::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// [`Capture::frame`] holds a new frame.
    Ready,
    /// No new frame in time.
    Nothing,
    /// At its end.
    End,
}

/// A source of frames in two steps, so that the frame can be lent out of it. Applications use [`Source`].
///
/// Contract: `advance` returns after `wait` at the latest, plus what system calls on the device take; it never panics and reports
/// trouble as a [`State`]. After [`Step::Ready`], `frame` returns that frame until the next `advance`; otherwise `None`.
/// After the first frame neither allocates, except that files are read and decoded.
pub trait Capture: Send {
    /// Gives up the current frame and waits for the next.
    fn advance(&mut self, wait: Duration) -> Step;
    /// The current frame.
    fn frame(&self) -> Option<Frame<'_>>;
    /// How the source is.
    fn state(&self) -> State;
    /// What it has met.
    fn health(&self) -> Health;
    /// What it is, for people: device or file, format, size. Changes when another camera is found.
    fn describe(&self) -> String;
}

/// A source of frames.
///
/// ```
/// use keyface_boards::{settings::Settings, source::{Next, Source}};
/// use std::time::Duration;
///
/// # fn main() -> keyface_boards::error::Result<()> {
/// let mut source = Source::open("file:../examples/cli/pictures/astronaut.jpg", &Settings::default())?;
/// loop {
///     match source.next(Duration::from_millis(200)) {
///         Next::Frame(frame) => println!("{}x{}", frame.width(), frame.height()),
///         Next::Nothing => println!("the source is {}", source.state()),
///         Next::End => break,
///     }
/// }
/// # Ok(()) }
/// ```
pub struct Source {
    capture: Box<dyn Capture>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("what", &self.describe())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl<C: Capture + 'static> From<C> for Source {
    fn from(capture: C) -> Source {
        Source { capture: Box::new(capture) }
    }
}

impl Source {
    /// Opens what `selection` names; [`Selection`] has the forms.
    ///
    /// # Errors
    /// As [`Selection::parse`] and [`Selection::open`].
    pub fn open(selection: &str, settings: &Settings) -> Result<Source> {
        Selection::parse(selection)?.open(settings)
    }

    /// The newest frame, waiting for at most `wait`. The previous frame's buffer goes back to the driver first.
    pub fn next(&mut self, wait: Duration) -> Next<'_> {
        match self.capture.advance(wait) {
            Step::Ready => self.capture.frame().map_or(Next::Nothing, Next::Frame),
            Step::Nothing => Next::Nothing,
            Step::End => Next::End,
        }
    }

    /// The frame that the last [`Source::next`] lent, again; `None` if it lent none.
    #[must_use]
    pub fn current(&self) -> Option<Frame<'_>> {
        self.capture.frame()
    }

    /// How the source is.
    #[must_use]
    pub fn state(&self) -> State {
        self.capture.state()
    }

    /// What it has met since it was opened.
    #[must_use]
    pub fn health(&self) -> Health {
        self.capture.health()
    }

    /// What it is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        self.capture.describe()
    }

    /// Its parts, for a source that wraps another.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn into_capture(self) -> Box<dyn Capture> {
        self.capture
    }
}
