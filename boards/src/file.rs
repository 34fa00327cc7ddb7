//! Pictures as a source: one file, or a folder in the order of names; once, or for ever.

use crate::clock::{Backoff, Pacer};
use crate::error::{Error, Result};
use crate::picture::Picture;
use crate::settings::Settings;
use crate::source::{Capture, Health, State, Step};
use keyface::error::ErrorKind;
use keyface::frame::Frame;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that a folder is searched for; the case of letters does not matter.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// The most pictures of a folder.
const MAX_PICTURES: usize = 1_000_000;

/// Pictures of a file or folder, one after the other, at the rate of [`Settings::fps`].
///
/// Pictures keep the size and orientation that they state. In a folder, those that cannot be read are counted as damaged and passed over. A
/// folder that is played for ever is listed anew each time round, so pictures may come and go; while there is none, the
/// source is lost and looks again with back-off.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    for_ever: bool,
    pictures: Vec<PathBuf>,
    next: usize,
    /// With its stamp; 0 while it is not lent.
    current: Option<(Picture, u64)>,
    /// Whether this time round gave a picture.
    fruitful: bool,
    pacer: Pacer,
    backoff: Backoff,
    state: State,
    health: Health,
}

impl FileSource {
    /// The picture, or the folder of pictures, at `path`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where nothing is at `path` or the folder holds no picture (`*.jpg`, `*.jpeg`, `*.png`),
    /// [`ErrorKind::InvalidFrame`] where a single picture cannot be decoded, [`ErrorKind::Io`] where it cannot be read.
    pub fn open(path: &Path, for_ever: bool, settings: &Settings) -> Result<FileSource> {
        let pictures = list(path)?;
        if pictures.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("{}: no JPEG or PNG picture in this folder", path.display()),
            ));
        }
        let mut source = FileSource {
            path: path.to_owned(),
            for_ever,
            pictures,
            next: 0,
            current: None,
            fruitful: false,
            pacer: Pacer::new(settings.pace, settings.fps),
            backoff: Backoff::new(settings.backoff),
            state: State::Configured,
            health: Health::default(),
        };
        if source.is_single() {
            source.current = Some((Picture::open(path)?, 0));
        }
        Ok(source)
    }

    fn is_single(&self) -> bool {
        self.pictures.len() == 1 && self.pictures[0] == self.path
    }

    /// The next picture that can be decoded; `None` at the end of this time round.
    fn load(&mut self) -> Option<Picture> {
        while let Some(path) = self.pictures.get(self.next) {
            self.next += 1;
            // A single picture was decoded when it was opened.
            if let Some((picture, _)) = self.current.take() {
                return Some(picture);
            }
            match Picture::open(path) {
                Ok(picture) => return Some(picture),
                Err(e) => {
                    Health::count(&mut self.health.damaged);
                    log::warn!("passed over: {e}");
                }
            }
        }
        None
    }

    /// Starts the next time round. `false` where there is none, or nothing to show now.
    fn again(&mut self) -> bool {
        if self.is_single() {
            self.next = 0;
            return true;
        }
        let found = list(&self.path).unwrap_or_default();
        let usable = self.fruitful && !found.is_empty();
        (self.pictures, self.next, self.fruitful) = (found, 0, false);
        if !usable {
            if self.state != State::Lost {
                Health::count(&mut self.health.losses);
                self.state = State::Lost;
            }
            self.backoff.failed();
        }
        usable
    }
}

impl Capture for FileSource {
    fn advance(&mut self, wait: Duration) -> Step {
        let single = self.is_single();
        match &mut self.current {
            Some((_, stamp)) if single => *stamp = 0,
            current => *current = None,
        }
        if self.state == State::Closed {
            return Step::End;
        }
        if !self.backoff.wait(wait) || !self.pacer.wait(wait) {
            return Step::Nothing;
        }
        loop {
            if let Some(picture) = self.load() {
                self.current = Some((picture, self.pacer.stamp()));
                self.fruitful = true;
                self.backoff.worked();
                self.state = State::Streaming;
                Health::count(&mut self.health.frames);
                return Step::Ready;
            }
            if !self.for_ever {
                self.state = State::Closed;
                self.current = None;
                return Step::End;
            }
            if !self.again() {
                return Step::Nothing;
            }
        }
    }

    fn frame(&self) -> Option<Frame<'_>> {
        let (picture, stamp) = self.current.as_ref().filter(|(_, stamp)| *stamp > 0)?;
        Some(picture.frame().with_timestamp(*stamp))
    }

    fn state(&self) -> State {
        self.state
    }

    fn health(&self) -> Health {
        self.health
    }

    fn describe(&self) -> String {
        let how = if self.for_ever { ", for ever" } else { "" };
        match self.is_single() {
            true => format!("picture {}{how}", self.path.display()),
            false => format!("{} pictures of {}{how}", self.pictures.len(), self.path.display()),
        }
    }
}

/// The file itself, or the pictures of a folder sorted by name.
fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("{}: {e}", path.display()))
        }
        _ => Error::io(path.display(), &e),
    };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut pictures = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)?.take(MAX_PICTURES) {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if EXTENSIONS.iter().any(|e| extension.eq_ignore_ascii_case(e)) {
            pictures.push(path);
        }
    }
    pictures.sort();
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Pace;
    use image::{Rgb, RgbImage};

    const SHORT: Duration = Duration::from_millis(1);

    fn settings() -> Settings {
        let backoff = (Duration::from_millis(10), Duration::from_millis(10));
        Settings { pace: Pace::Virtual, fps: 10, backoff, ..Settings::default() }
    }

    /// A PNG of one colour.
    fn save(path: &Path, grey: u8, width: u32) {
        RgbImage::from_pixel(width, 2, Rgb([grey; 3])).save(path).unwrap();
    }

    /// The grey value of the current frame.
    fn grey(source: &FileSource) -> Option<u8> {
        source.frame().map(|f| f.planes()[0].data[0])
    }

    #[test]
    fn a_folder_is_played_in_the_order_of_names_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        save(&dir.path().join("b.PNG"), 2, 3);
        save(&dir.path().join("a.png"), 1, 5);
        std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
        std::fs::write(dir.path().join("aa.jpg"), "no picture").unwrap();
        let mut source = FileSource::open(dir.path(), false, &settings()).unwrap();
        assert_eq!((source.state(), source.frame().is_none()), (State::Configured, true));
        assert_eq!((source.advance(SHORT), grey(&source)), (Step::Ready, Some(1)));
        assert_eq!(source.frame().unwrap().timestamp_us(), 100_000);
        assert_eq!((source.advance(SHORT), grey(&source)), (Step::Ready, Some(2)));
        assert_eq!(source.frame().unwrap().timestamp_us(), 200_000);
        for _ in 0..2 {
            assert_eq!((source.advance(SHORT), grey(&source)), (Step::End, None));
        }
        assert_eq!((source.health().frames, source.health().damaged), (2, 1));
        assert_eq!(source.state(), State::Closed);
    }

    #[test]
    fn one_picture_is_shown_once_or_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        save(&path, 9, 4);
        let mut once = FileSource::open(&path, false, &settings()).unwrap();
        assert_eq!((once.advance(SHORT), grey(&once)), (Step::Ready, Some(9)));
        assert_eq!((once.advance(SHORT), grey(&once)), (Step::End, None));
        let mut for_ever = FileSource::open(&path, true, &settings()).unwrap();
        // It is not read again.
        std::fs::remove_file(&path).unwrap();
        for n in 1..50 {
            assert_eq!((for_ever.advance(SHORT), grey(&for_ever)), (Step::Ready, Some(9)));
            assert_eq!(for_ever.frame().unwrap().timestamp_us(), n * 100_000);
        }
    }

    #[test]
    fn a_folder_that_empties_is_lost_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        save(&path, 3, 4);
        let mut source = FileSource::open(dir.path(), true, &settings()).unwrap();
        assert_eq!(source.advance(SHORT), Step::Ready);
        assert_eq!(source.advance(SHORT), Step::Ready);
        std::fs::remove_file(&path).unwrap();
        for _ in 0..30 {
            source.advance(SHORT);
        }
        assert_eq!((source.state(), source.frame().is_none()), (State::Lost, true));
        assert_eq!(source.health().losses, 1);
        save(&path, 4, 4);
        let back = (0..200).any(|_| source.advance(SHORT) == Step::Ready);
        assert_eq!((back, grey(&source), source.state()), (true, Some(4), State::Streaming));
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let open = |p: &Path| FileSource::open(p, true, &settings()).unwrap_err();
        assert_eq!(open(&dir.path().join("none.png")).kind(), ErrorKind::NotFound);
        assert_eq!(open(dir.path()).kind(), ErrorKind::NotFound);
        let bad = dir.path().join("bad.png");
        std::fs::write(&bad, "no picture").unwrap();
        let e = open(&bad);
        assert_eq!(e.kind(), ErrorKind::InvalidFrame);
        assert!(e.to_string().contains("bad.png"), "{e}");
    }
}
