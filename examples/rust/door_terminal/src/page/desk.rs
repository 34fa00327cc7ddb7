//! Enrolment by name: a thread that takes what the door's own pipeline saw, steps the SDK's enrolment session, and stores its result.

use keyface::enrol::{EnrolRules, Guidance, Session, View};
use keyface::gallery::{HostKey, PersonId, PersonName, Store, StoreOptions};
use keyface::pipeline::Face;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An enrolment ends after so long, also when no frames come.
const LONGEST: Duration = Duration::from_secs(120);
const TURN: Duration = Duration::from_millis(100);

/// What the desk is told.
#[derive(Debug)]
pub enum Message {
    /// Enrol somebody of this name.
    Start(PersonName),
    /// Stop, and forget what was collected.
    Cancel,
    /// A frame of this time, in microseconds, showed this.
    Saw(u64, Sight),
}

/// What a frame showed.
#[derive(Debug)]
pub enum Sight {
    /// No face.
    Nobody,
    /// More than one.
    Several,
    /// One.
    Face(Box<Face>),
}

/// How the enrolment stands, for the page.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Status {
    /// Whether one is going on.
    pub running: bool,
    /// Who is enrolled.
    pub name: String,
    /// Shots taken.
    pub taken: usize,
    /// Shots wanted.
    pub shots: usize,
    /// What to tell the person, or what came of it.
    pub text: String,
}

/// What the desk shares with the page and the door.
#[derive(Debug, Default)]
pub struct Shared {
    status: Mutex<Status>,
    /// Whether the door is to pass on what it sees.
    pub watching: AtomicBool,
    /// Set to end the thread.
    pub stop: AtomicBool,
}

impl Shared {
    /// How the enrolment stands.
    pub fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own.
pub struct Desk {
    /// The gallery to enrol into.
    pub gallery: PathBuf,
    /// Its key.
    pub key: HostKey,
    /// How to enrol.
    pub rules: EnrolRules,
    /// What it is told.
    pub messages: Receiver<Message>,
    /// Who was enrolled, for the door.
    pub enrolled: SyncSender<PersonId>,
    /// What others see of it.
    pub shared: Arc<Shared>,
}

/// An enrolment that goes on.
struct Current {
    session: Session,
    name: PersonName,
    since: Instant,
}

impl Desk {
    /// Works until it is told to stop.
    pub fn run(self) {
        let mut current: Option<Current> = None;
        while !self.shared.stop.load(Ordering::SeqCst) {
            let message = match self.messages.recv_timeout(TURN) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match (message, current.take()) {
                (Some(Message::Start(name)), None) => current = self.start(name),
                (Some(Message::Cancel), Some(_)) => self.finish("cancelled".into()),
                (_, Some(ended)) if ended.since.elapsed() > LONGEST => {
                    self.finish("stopped: it took too long".into());
                }
                (Some(Message::Saw(time_us, sight)), Some(going)) => {
                    current = self.step(going, time_us, &sight);
                }
                (_, going) => current = going,
            }
        }
    }

    fn start(&self, name: PersonName) -> Option<Current> {
        match Session::new(self.rules) {
            Ok(session) => {
                self.shared.watching.store(true, Ordering::SeqCst);
                Some(Current { session, name, since: Instant::now() })
            }
            Err(e) => {
                self.finish(e.to_string());
                None
            }
        }
    }

    fn step(&self, mut current: Current, time_us: u64, sight: &Sight) -> Option<Current> {
        let view = match sight {
            Sight::Nobody => View::Nobody,
            Sight::Several => View::Several,
            Sight::Face(face) => View::Face {
                template: &face.template,
                quality: &face.quality,
                points: &face.detection.points,
            },
        };
        let guidance = match current.session.step(time_us, view) {
            Ok(guidance) => guidance,
            Err(e) => {
                self.finish(e.to_string());
                return None;
            }
        };
        {
            let mut status = self.shared.status();
            status.taken = current.session.taken();
            status.text = enroll::text(guidance, status.taken);
        }
        match guidance {
            Guidance::Complete => {
                let Current { session, name, .. } = current;
                let stored = self.store(session, &name);
                self.finish(match stored {
                    Ok(person) => format!("enrolled as person {}", person.0),
                    Err(e) => format!("not enrolled: {e}"),
                });
                None
            }
            Guidance::Failed => {
                self.finish(
                    "not enrolled: no set of good shots of one person came together".into(),
                );
                None
            }
            _ => Some(current),
        }
    }

    fn store(&self, session: Session, name: &PersonName) -> keyface::Result<PersonId> {
        let mut store = Store::open(&self.gallery, &self.key, StoreOptions::default())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let person = session.commit(&mut store, name, now)?;
        // The door writes it down; it is there for four, and one is enrolled at a time.
        let _ = self.enrolled.try_send(person);
        Ok(person)
    }

    fn finish(&self, text: String) {
        self.shared.watching.store(false, Ordering::SeqCst);
        let mut status = self.shared.status();
        (status.running, status.text) = (false, text);
    }
}
