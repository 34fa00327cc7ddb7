//! A person before the camera: frames with one face, hints for the person, and a picture of what the camera sees.

use crate::args::CameraArgs;
use crate::draw::{Canvas, GREEN, RED};
use crate::faces::Choice;
use crate::preview::{self, Screen};
use crate::report::{counted, Exit, Failure};
use keyface::detect::Detection;
use keyface::enrol::{Guidance, Session, View};
use keyface::geometry::Rect;
use keyface::pipeline::{Face, Pipeline};
use keyface_boards::selection::Selection;
use keyface_boards::settings::Settings;
use keyface_boards::source::{Next, Source, State};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Pause between two pictures of a preview.
const PREVIEW_EVERY: Duration = Duration::from_millis(250);

/// A camera with everything that the person before it sees.
pub struct Live {
    source: Source,
    screen: Option<Screen>,
    last_preview: Option<Instant>,
    hints: Hints,
    choice: Choice,
}

/// What a frame showed.
pub enum Seen {
    /// No frame in time.
    Nothing,
    /// A frame without a face.
    Nobody,
    /// A frame with several faces, none of which was to be taken.
    Several,
    /// A frame with one face, described, and its time in microseconds.
    Face(Box<Face>, u64),
    /// The source has ended.
    End,
}

impl Live {
    /// Opens the camera.
    pub fn open(args: &CameraArgs, camera: &Selection, choice: Choice) -> Result<Live, Failure> {
        let source = camera.open(&Settings::default())?;
        let screen = args.preview.as_deref().map(Screen::open).transpose()?;
        Ok(Live { source, screen, last_preview: None, hints: Hints::new(), choice })
    }

    /// What the camera is.
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// The next frame, described.
    pub fn look(&mut self, pipeline: &mut Pipeline) -> Result<Seen, Failure> {
        let frame = match self.source.next(Duration::from_millis(200)) {
            Next::Frame(frame) => frame,
            Next::End => return Ok(Seen::End),
            Next::Nothing => {
                if matches!(self.source.state(), State::Lost | State::Stalled) {
                    self.hints.show(&format!("the camera is {}", self.source.state()));
                }
                return Ok(Seen::Nothing);
            }
        };
        let failed = |e| Failure::sdk("the frame", e);
        let found = pipeline.detect(&frame).map_err(failed)?.to_vec();
        let chosen = self.choice.pick(&found, frame.upright_size()).ok();
        let due = self.last_preview.is_none_or(|last| last.elapsed() >= PREVIEW_EVERY);
        if let Some(screen) = self.screen.as_mut().filter(|_| due) {
            self.last_preview = Some(Instant::now());
            screen.show(&drawn(&frame, &found, chosen.as_ref()))?;
        }
        let Some(detection) = chosen else {
            return Ok(if found.is_empty() { Seen::Nobody } else { Seen::Several });
        };
        let time = frame.timestamp_us();
        match pipeline.describe(&frame, &detection).map_err(failed)? {
            Some(face) => Ok(Seen::Face(Box::new(face.clone()), time)),
            None => Ok(Seen::Nobody),
        }
    }

    /// Tells the person something.
    pub fn hint(&mut self, text: &str) {
        self.hints.show(text);
    }
}

/// The camera that the command line asks for, if it does: a source, or a profile by its name or file.
pub fn selection(args: &CameraArgs) -> Result<Option<Selection>, Failure> {
    Ok(match args.camera.as_deref() {
        Some(source) if source.contains(':') => Some(Selection::parse(source)?),
        Some(profile) => Some(Selection::Board(Some(profile.to_owned()))),
        None => None,
    })
}

/// The frame with the boxes of all faces, the chosen one green.
fn drawn(
    frame: &keyface::frame::Frame<'_>,
    found: &[Detection],
    chosen: Option<&Detection>,
) -> image::RgbImage {
    let picture = preview::upright(frame);
    let scale = picture.width() as f32 / frame.upright_size().0 as f32;
    let mut canvas = Canvas::new(picture);
    for face in found {
        let Rect { x, y, w, h } = face.rect;
        let colour = if chosen == Some(face) { GREEN } else { RED };
        canvas.rect(&Rect::new(x * scale, y * scale, w * scale, h * scale), colour);
    }
    canvas.into_image()
}

/// Takes the shots of `session`, with hints, until it is complete.
pub fn enrol(
    live: &mut Live,
    pipeline: &mut Pipeline,
    session: &mut Session,
    shots: usize,
) -> Result<(), Failure> {
    // Frames without a face carry no time of their own: the last face's is close enough.
    let mut time = 1;
    loop {
        let seen = live.look(pipeline)?;
        let step = |session: &mut Session, time, view: View<'_>| {
            session.step(time, view).map_err(|e| Failure::sdk("the frame", e))
        };
        let guidance = match &seen {
            Seen::Nothing => continue,
            Seen::End => {
                let taken = counted(session.taken(), "shot");
                let text = format!("the source ended after {taken} of {shots}");
                return Err(Failure::new(Exit::Input, text));
            }
            Seen::Nobody => step(session, time + 1, View::Nobody)?,
            Seen::Several => step(session, time + 1, View::Several)?,
            Seen::Face(face, at) => {
                time = *at;
                let (template, quality) = (&face.template, &face.quality);
                step(
                    session,
                    time,
                    View::Face { template, quality, points: &face.detection.points },
                )?
            }
        };
        let taken = session.taken();
        let dots = "#".repeat(taken) + &".".repeat(shots.saturating_sub(taken));
        live.hint(&format!("[{dots}] {}", words(guidance)));
        match guidance {
            Guidance::Complete => return Ok(()),
            Guidance::Failed => {
                let text = "no set of good shots of one person came together: start again";
                return Err(Failure::new(Exit::Input, text));
            }
            _ => {}
        }
    }
}

/// For the person before the camera.
fn words(guidance: Guidance) -> &'static str {
    match guidance {
        Guidance::Nobody => "step in front of the camera",
        Guidance::AnotherFace => "one person at a time, please",
        Guidance::TooFar => "come closer",
        Guidance::TooDark => "more light on the face",
        Guidance::TooBright => "less light on the face",
        Guidance::LowContrast => "turn away from the light behind you, or clean the lens",
        Guidance::Blurred => "hold still; is the lens in focus?",
        Guidance::TurnedTooFar => "face the camera",
        Guidance::Tilted => "hold your head upright",
        Guidance::PartlyOutside => "come into the middle of the picture",
        Guidance::Unclear => "take off what covers the face",
        Guidance::HoldStill => "hold still",
        Guidance::LookStraight => "look straight ahead",
        Guidance::TurnLeft => "turn a little to the left of the picture",
        Guidance::TurnRight => "turn a little to the right of the picture",
        Guidance::SomebodyElse => "this is somebody else",
        Guidance::Taken(_) => "thank you",
        Guidance::Complete => "done",
        Guidance::Failed => "stopped",
    }
}

/// One line on standard error: rewritten in place on a terminal, else a new line for each new hint.
struct Hints {
    terminal: bool,
    last: String,
}

impl Hints {
    fn new() -> Hints {
        Hints { terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    fn show(&mut self, text: &str) {
        if text == self.last {
            return;
        }
        text.clone_into(&mut self.last);
        let mut err = std::io::stderr().lock();
        // A terminal that went away must not end the enrolment.
        let _ = match self.terminal {
            true => write!(err, "\r\x1b[2K{text}").and_then(|()| err.flush()),
            false => writeln!(err, "{text}"),
        };
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        if self.terminal && !self.last.is_empty() {
            let _ = writeln!(std::io::stderr());
        }
    }
}
