//! A page for installers: what the camera sees with boxes and points, what is wrong with the picture, the last decisions, and enrolment by
//! name. Off unless the configuration has a table `[page]`; for browsers on this machine alone, and only with the token.
//!
//! The door comes first. It leaves at most five small pictures a second, and only while somebody watches; it waits for no lock, no
//! queue and no client, and what cannot be left at once is dropped. Answers are made on other threads. A page that cannot start, or
//! dies, is missing, and nothing else changes. What it shows is a picture and numbers; no template and no score leaves it.

pub mod desk;
pub mod http;
pub mod token;

use crate::config::{Config, PageTable};
use crate::counters::Counters;
use desk::{Desk, Message, Sight};
use http::{Request, Response, Server};
use keyface::detect::Detection;
use keyface::enrol::EnrolRules;
use keyface::frame::Frame;
use keyface::gallery::{HostKey, PersonId, PersonName};
use keyface::pipeline::Face;
use keyface_boards::picture::Picture;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use token::Token;

/// The longest side of the live view in pixels.
const SIDE: usize = 320;
/// Shortest time between two pictures.
const EVERY: Duration = Duration::from_millis(200);
/// Without a question for so long, nobody watches.
const WATCHED: Duration = Duration::from_secs(3);
/// Decisions that are shown.
const DECISIONS: usize = 12;
/// Frames that may wait at the enrolment's desk.
const WAITING: usize = 4;

const HTML: &str = include_str!("index.html");

/// The page, in the hands of the door's loop. Dropped, it ends its threads; only what a client still reads goes on, for seconds.
pub struct Page {
    shared: Arc<Shared>,
    enrolled: Receiver<PersonId>,
    decisions: VecDeque<Said>,
    /// Whether `decisions` has something that is not shown.
    news: bool,
    number: u64,
    last: Option<Instant>,
    desk: Option<std::thread::JoinHandle<()>>,
    /// Before the desk ends, no more questions are taken.
    server: Option<Server>,
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").field("server", &self.server).finish_non_exhaustive()
    }
}

struct Shared {
    token: Token,
    counters: Arc<Counters>,
    shown: Mutex<Shown>,
    start: Instant,
    /// When the live view was last asked for, in milliseconds since `start`, plus one; 0: never.
    asked_ms: AtomicU64,
    to_desk: SyncSender<Message>,
    shots: usize,
    desk: Arc<desk::Shared>,
}

/// What the door left last.
#[derive(Default)]
struct Shown {
    shot: Option<Arc<Shot>>,
    decisions: Vec<Said>,
}

/// A picture and what was found in it.
struct Shot {
    number: u64,
    picture: Picture,
    faces: Vec<Found>,
}

/// A face in pixels of the picture.
#[derive(Debug, Serialize)]
struct Found {
    #[serde(rename = "box")]
    rect: [f32; 4],
    points: [[f32; 2]; 5],
    /// Whether it is the one that was looked at.
    meant: bool,
    /// What is wrong with it.
    hints: Vec<&'static str>,
}

/// A decision as the program prints it.
#[derive(Debug, Clone, Serialize)]
struct Said {
    at_ms: u64,
    text: String,
}

/// The first line of the answer to `/live`; the picture as JPEG follows, if there is one.
#[derive(Serialize)]
struct Live<'a> {
    frame: u64,
    width: usize,
    height: usize,
    source: &'static str,
    trouble: bool,
    relay: bool,
    faces: &'a [Found],
    decisions: &'a [Said],
    enrolment: &'a desk::Status,
}

impl Page {
    /// Starts the page that `table` describes, for the door of `config`; `threshold` is the score from which on faces match there.
    ///
    /// # Errors
    /// A sentence: the token, the gallery's key or the port.
    pub fn start(
        table: &PageTable,
        config: &Config,
        threshold: f32,
        counters: &Arc<Counters>,
    ) -> Result<Page, String> {
        let token =
            Token::open(&table.token).map_err(|e| format!("{}: {e}", table.token.display()))?;
        let key_path = config.key_path();
        let key =
            HostKey::from_file(&key_path).map_err(|e| format!("{}: {e}", key_path.display()))?;
        let rules = EnrolRules { shots: table.shots, ..EnrolRules::new(threshold) };
        let (to_desk, messages) = sync_channel(WAITING);
        let (report, enrolled) = sync_channel(WAITING);
        let desk_shared = Arc::<desk::Shared>::default();
        let shared = Arc::new(Shared {
            token,
            counters: counters.clone(),
            shown: Mutex::default(),
            start: Instant::now(),
            asked_ms: AtomicU64::new(0),
            to_desk,
            shots: table.shots,
            desk: desk_shared.clone(),
        });
        let answering = shared.clone();
        let server = Server::start(table.listen, move |request| answering.answer(request))
            .map_err(|e| format!("{}: {e}", table.listen))?;
        let gallery = config.gallery.clone();
        let desk = Desk { gallery, key, rules, messages, enrolled: report, shared: desk_shared };
        let desk = std::thread::Builder::new().name("page-desk".into()).spawn(|| desk.run());
        let desk = desk.map_err(|e| e.to_string())?;
        log::info!(
            "the page is at http://{}/, its token in {}",
            server.address(),
            table.token.display()
        );
        Ok(Page {
            shared,
            enrolled,
            decisions: VecDeque::with_capacity(DECISIONS),
            news: false,
            number: 0,
            last: None,
            desk: Some(desk),
            server: Some(server),
        })
    }

    /// Leaves a frame and what was found in it, for whoever watches or enrols. `face` is the one that was described.
    pub fn see(&mut self, frame: &Frame<'_>, found: &[Detection], face: Option<&Face>) {
        if self.shared.desk.watching.load(Ordering::SeqCst) {
            let sight = match (face, found.len()) {
                (Some(face), _) => Sight::Face(Box::new(face.clone())),
                (None, 0 | 1) => Sight::Nobody,
                (None, _) => Sight::Several,
            };
            // A frame that the desk has no time for is dropped.
            let _ = self.shared.to_desk.try_send(Message::Saw(frame.timestamp_us(), sight));
        }
        if !self.shared.watched() || self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        (self.last, self.number) = (Some(Instant::now()), self.number + 1);
        let picture = Picture::of(frame, SIDE);
        let scale = picture.size().0 as f32 / frame.upright_size().0 as f32;
        let faces = found.iter().map(|d| shown(d, face, scale)).collect();
        let shot = Arc::new(Shot { number: self.number, picture, faces });
        if let Ok(mut shown) = self.shared.shown.try_lock() {
            shown.shot = Some(shot);
        }
    }

    /// Leaves a decision, in the words that the program prints.
    pub fn decided(&mut self, text: String) {
        if self.decisions.len() == DECISIONS {
            self.decisions.pop_back();
        }
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.decisions.push_front(Said { at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX), text });
        self.news = true;
    }

    /// Once a turn of the loop: shows new decisions, and says who was enrolled since the last turn.
    pub fn turn(&mut self) -> Option<PersonId> {
        if self.news {
            if let Ok(mut shown) = self.shared.shown.try_lock() {
                shown.decisions = self.decisions.iter().cloned().collect();
                self.news = false;
            }
        }
        self.enrolled.try_recv().ok()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        drop(self.server.take());
        self.shared.desk.stop.store(true, Ordering::SeqCst);
        if let Some(desk) = self.desk.take() {
            if desk.join().is_err() {
                log::error!("the page's enrolment died");
            }
        }
    }
}

fn shown(detection: &Detection, face: Option<&Face>, scale: f32) -> Found {
    let meant = face.filter(|face| face.detection == *detection);
    let r = detection.rect;
    Found {
        rect: [r.x, r.y, r.w, r.h].map(|v| v * scale),
        points: detection.points.map(|p| [p.x * scale, p.y * scale]),
        meant: meant.is_some(),
        hints: meant.map_or_else(Default::default, |f| f.quality.reasons.names().collect()),
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn watched(&self) -> bool {
        match self.asked_ms.load(Ordering::Relaxed) {
            0 => false,
            asked => self.now_ms().saturating_sub(asked) < WATCHED.as_millis() as u64,
        }
    }

    fn answer(&self, request: &Request) -> Response {
        match (request.path.as_str(), request.method) {
            ("/", "GET") => return html(),
            ("/live", "GET") | ("/enrol" | "/cancel", "POST") => {}
            ("/" | "/live" | "/enrol" | "/cancel", _) => {
                return Response::text(405, "another method")
            }
            _ => return Response::text(404, "there is nothing here"),
        }
        if !self.token.is(&request.token) {
            return Response::text(401, "the token is missing or wrong");
        }
        match request.path.as_str() {
            "/live" => self.live(),
            "/enrol" => self.enrol(&request.body),
            _ => self.tell(Message::Cancel),
        }
    }

    fn live(&self) -> Response {
        self.asked_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        let (shot, decisions) = {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            (shown.shot.clone(), shown.decisions.clone())
        };
        let enrolment = self.desk.status().clone();
        let mut picture = Vec::new();
        if let Some(shot) = &shot {
            let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut picture, 80);
            if shot.picture.upright().write_with_encoder(encoder).is_err() {
                picture.clear();
            }
        }
        let (width, height) = shot.as_ref().map_or((0, 0), |s| s.picture.size());
        let live = Live {
            frame: shot.as_ref().map_or(0, |s| s.number),
            width,
            height,
            source: self.counters.source_state().name(),
            trouble: self.counters.trouble(),
            relay: self.counters.relay_on(),
            faces: shot.as_ref().map_or(&[], |s| &s.faces),
            decisions: &decisions,
            enrolment: &enrolment,
        };
        let Ok(mut body) = serde_json::to_vec(&live) else {
            return Response::text(500, "the state cannot be written");
        };
        body.push(b'\n');
        body.append(&mut picture);
        Response { status: 200, kind: "application/octet-stream", body, nonce: String::new() }
    }

    fn enrol(&self, name: &[u8]) -> Response {
        let name =
            std::str::from_utf8(name).ok().and_then(|name| PersonName::new(name.trim()).ok());
        let Some(name) = name else {
            return Response::text(400, "no name that a gallery takes");
        };
        {
            let mut status = self.desk.status();
            if status.running {
                return Response::text(409, "an enrolment is going on");
            }
            let (running, text) = (true, String::from("starting"));
            *status = desk::Status {
                running,
                text,
                name: name.as_str().to_owned(),
                taken: 0,
                shots: self.shots,
            };
        }
        let told = self.tell(Message::Start(name));
        if told.status != 202 {
            *self.desk.status() = desk::Status::default();
        }
        told
    }

    fn tell(&self, message: Message) -> Response {
        match self.to_desk.try_send(message) {
            Ok(()) => Response::text(202, "taken"),
            Err(_) => Response::text(503, "busy, try again"),
        }
    }
}

/// The page itself, which is no secret. Its script and style run by a nonce of this answer's own.
fn html() -> Response {
    let mut bytes = [0u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return Response::text(500, "no random numbers");
    }
    let nonce: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let body = HTML.replace("NONCE", &nonce).into_bytes();
    Response { status: 200, kind: "text/html; charset=utf-8", body, nonce }
}
