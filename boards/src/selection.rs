//! Which source, as a string: what `--source` and `--camera` take and what configuration files hold.

use crate::board::{self, Board};
use crate::error::{Error, Result};
use crate::file::FileSource;
use crate::profile::Profile;
use crate::settings::Settings;
use crate::source::Source;
use crate::v4l2::{V4l2Source, Wanted};
use crate::y4m::Y4mPipeSource;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The forms, for `--help`.
pub const FORMS: &str = "  v4l2:[KEY=VALUE,..]  a camera of the kernel; keys driver, card, bus (with * and ?), path: a link such as
                       /dev/v4l/by-id/..; v4l2: alone is the first camera
  board:[PROFILE]      the first camera of this board's profile, or of the one named, that works
  file:PATH            one picture, once
  dir:PATH             the pictures of a folder in the order of names, once
  loop:PATH            a picture or the pictures of a folder, for ever
  pipe:COMMAND         a program that writes YUV4MPEG2 to its standard output, for example
                       pipe:gst-launch-1.0 -q libcamerasrc ! video/x-raw,width=1280,height=720
                         ! videoconvert ! video/x-raw,format=I420 ! y4menc ! fdsink";

/// Which source. [`FORMS`] lists the strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// `v4l2:driver=uvcvideo,card=HD*`; [`Wanted::parse`] has the keys.
    V4l2(Wanted),
    /// `board:` or `board:PROFILE`: the cameras of a profile, in order.
    Board(Option<String>),
    /// `file:PATH` and `dir:PATH`, and `loop:PATH` with `for_ever`.
    File {
        /// A picture or a folder of pictures.
        path: PathBuf,
        /// Whether it starts anew at its end.
        for_ever: bool,
    },
    /// `pipe:COMMAND`.
    Pipe(String),
    /// `pattern:` or `pattern:WxH`: a moving test picture. Only with the feature `testing`.
    #[cfg(any(test, feature = "testing"))]
    Pattern(Option<(u32, u32)>),
    /// `faulty:SEED:SELECTION`: another source, with faults drawn from the seed. Only with the feature `testing`.
    #[cfg(any(test, feature = "testing"))]
    Faulty {
        /// The same seed gives the same faults.
        seed: u64,
        /// What is made to fail.
        inner: Box<Selection>,
    },
}

impl Selection {
    /// Reads a selection; opens nothing.
    ///
    /// # Errors
    /// [`keyface::error::ErrorKind::InvalidArgument`] with the forms that exist.
    pub fn parse(text: &str) -> Result<Selection> {
        let (form, rest) = text.split_once(':').unwrap_or(("", text));
        let missing = |what: &str| Error::argument(format!("{form}: {what} is missing"));
        let path = || match rest {
            "" => Err(missing("the path")),
            path => Ok(PathBuf::from(path)),
        };
        match form {
            "v4l2" => Ok(Selection::V4l2(Wanted::parse(rest)?)),
            "board" => Ok(Selection::Board(Some(rest.to_owned()).filter(|name| !name.is_empty()))),
            "file" | "dir" => Ok(Selection::File { path: path()?, for_ever: false }),
            "loop" => Ok(Selection::File { path: path()?, for_ever: true }),
            "pipe" if rest.trim().is_empty() => Err(missing("the command")),
            "pipe" => Ok(Selection::Pipe(rest.to_owned())),
            #[cfg(any(test, feature = "testing"))]
            "pattern" if rest.is_empty() => Ok(Selection::Pattern(None)),
            #[cfg(any(test, feature = "testing"))]
            "pattern" => {
                let size = crate::settings::parse_size(rest);
                let size = size.ok_or_else(|| Error::argument("pattern: WIDTHxHEIGHT expected"))?;
                Ok(Selection::Pattern(Some(size)))
            }
            #[cfg(any(test, feature = "testing"))]
            "faulty" => {
                let (seed, inner) = rest.split_once(':').ok_or_else(|| missing("the seed"))?;
                let seed =
                    seed.parse().map_err(|_| Error::argument("faulty: the seed is no number"))?;
                Ok(Selection::Faulty { seed, inner: Box::new(Selection::parse(inner)?) })
            }
            #[cfg(not(any(test, feature = "testing")))]
            "pattern" | "faulty" => Err(Error::argument(format!(
                "{form}: this program was built without the feature 'testing'"
            ))),
            _ => Err(Error::argument(format!(
                "{text}: no source of this form; the forms are\n{FORMS}"
            ))),
        }
    }

    /// The profile that a `board:` selection takes its cameras from; `None` for every other form.
    ///
    /// # Errors
    /// As [`Board::profile`].
    pub fn profile(&self) -> Result<Option<Profile>> {
        match self {
            Selection::Board(name) => Ok(Some(Board::this().profile(name.as_deref())?.0)),
            _ => Ok(None),
        }
    }

    /// Opens the source.
    ///
    /// # Errors
    /// As [`Settings::check`], [`V4l2Source::open`], [`board::open`], [`FileSource::open`] and [`Y4mPipeSource::start`].
    pub fn open(&self, settings: &Settings) -> Result<Source> {
        settings.check()?;
        Ok(match self {
            Selection::V4l2(wanted) => V4l2Source::open(wanted, settings)?.into(),
            Selection::Board(name) => {
                let (profile, _) = Board::this().profile(name.as_deref())?;
                board::open(&profile.cameras, settings).0?.0
            }
            Selection::File { path, for_ever } => {
                FileSource::open(path, *for_ever, settings)?.into()
            }
            Selection::Pipe(command) => Y4mPipeSource::start(command, settings)?.into(),
            #[cfg(any(test, feature = "testing"))]
            Selection::Pattern(size) => {
                let size = size.unwrap_or(settings.size);
                crate::pattern::PatternSource::new(size, settings)?.into()
            }
            #[cfg(any(test, feature = "testing"))]
            Selection::Faulty { seed, inner } => {
                crate::fault::FaultySource::new(inner.open(settings)?, *seed).into()
            }
        })
    }
}

impl FromStr for Selection {
    type Err = Error;

    /// [`Selection::parse`].
    fn from_str(text: &str) -> Result<Selection> {
        Selection::parse(text)
    }
}

impl fmt::Display for Selection {
    /// The string that [`Selection::parse`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selection::V4l2(wanted) => write!(f, "v4l2:{wanted}"),
            Selection::Board(name) => write!(f, "board:{}", name.as_deref().unwrap_or_default()),
            Selection::File { path, for_ever: true } => write!(f, "loop:{}", path.display()),
            Selection::File { path, for_ever: false } => write!(f, "file:{}", path.display()),
            Selection::Pipe(command) => write!(f, "pipe:{command}"),
            #[cfg(any(test, feature = "testing"))]
            Selection::Pattern(None) => f.write_str("pattern:"),
            #[cfg(any(test, feature = "testing"))]
            Selection::Pattern(Some((w, h))) => write!(f, "pattern:{w}x{h}"),
            #[cfg(any(test, feature = "testing"))]
            Selection::Faulty { seed, inner } => write!(f, "faulty:{seed}:{inner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::error::ErrorKind;

    #[test]
    fn selections_read_back_what_they_write() {
        for text in [
            "v4l2:",
            "v4l2:driver=uvcvideo,card=HD *",
            "board:",
            "board:raspberry-pi-5",
            "file:a b.jpg",
            "loop:faces/",
            "pipe:cat a:b | c",
            "pattern:",
            "pattern:320x240",
            "faulty:7:loop:faces",
            "faulty:1:faulty:2:pattern:",
        ] {
            assert_eq!(Selection::parse(text).unwrap().to_string(), text);
        }
        let dir = Selection::parse("dir:faces").unwrap();
        assert_eq!(dir, Selection::parse("file:faces").unwrap());
    }

    #[test]
    fn only_a_board_has_a_profile() {
        let of = |text: &str| Selection::parse(text).unwrap().profile();
        let profile = of("board:raspberry-pi-5").unwrap().unwrap();
        assert_eq!((&profile.name[..], profile.threads), ("raspberry-pi-5", 4));
        assert!((1..=4).contains(&profile.usable_threads()));
        assert!(of("board:").unwrap().is_some());
        assert_eq!(of("pattern:").unwrap(), None);
        assert!(of("board:no-such-profile").is_err());
    }

    #[test]
    fn what_is_no_selection_is_refused() {
        for text in [
            "",
            "x",
            "x.jpg",
            "file:",
            "dir:",
            "pipe: ",
            "pattern:3",
            "faulty:x:pattern:",
            "faulty:3",
            "rtsp:x",
        ] {
            let refused = Selection::parse(text).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{text}");
        }
        assert!(Selection::parse("face.jpg").unwrap_err().to_string().contains("file:PATH"));
    }

    #[test]
    fn a_source_opens_by_its_string() {
        let settings = Settings { fps: 0, ..Settings::default() };
        assert!(Source::open("pattern:", &settings).unwrap_err().to_string().contains("fps"));
        let missing = Source::open("file:/nonexistent/x.jpg", &Settings::default()).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
