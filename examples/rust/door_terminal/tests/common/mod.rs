//! A gallery with one person, and folders of pictures to show to the terminal. The pictures are those of `examples/cli`.
#![allow(dead_code)] // each test uses a part

use door_terminal::config::Config;
use keyface::gallery::{HostKey, PersonName, Store, StoreOptions};
use keyface::pack::{Pack, Trust};
use keyface::pipeline::{Model, Options, Pipeline};
use keyface_boards::picture::Picture;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Who is enrolled.
pub const KNOWN: &str = "portrait-2012.jpg";
/// Who is not.
pub const STRANGER: &str = "astronaut.jpg";
/// Nobody.
pub const BLANK: &str = "blank.png";

/// A door's files.
pub struct Door {
    folder: TempDir,
}

impl Door {
    /// Enrols [`KNOWN`] as person 1.
    pub fn new() -> Door {
        let door = Door { folder: tempfile::tempdir().unwrap() };
        let model = Model::load(Pack::open(&pack(), Trust::Anyone).unwrap()).unwrap();
        let mut pipeline = Pipeline::new(&model, &Options::default()).unwrap();
        let picture = Picture::open(&pictures().join(KNOWN)).unwrap();
        let frame = picture.frame();
        let face = pipeline.detect(&frame).unwrap()[0];
        let template = &pipeline.describe(&frame, &face).unwrap().unwrap().template;
        let mut store = door.store();
        store.enrol(&name(), &[template], 0).unwrap();
        door
    }

    /// The gallery, to change it.
    pub fn store(&self) -> Store {
        let key = self.path("gallery.key");
        let key = if key.exists() { HostKey::from_file(&key) } else { HostKey::create_file(&key) };
        Store::open(&self.path("gallery"), &key.unwrap(), StoreOptions::default()).unwrap()
    }

    /// A file of this door.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The lines of a file of this door.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the relay did, from its log.
    pub fn relay(&self) -> Vec<String> {
        self.lines("relay").iter().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// A folder that shows these pictures in this order.
    pub fn show(&self, order: &[&str]) -> String {
        let folder = self.path("shown");
        std::fs::create_dir_all(&folder).unwrap();
        for (i, picture) in order.iter().enumerate() {
            let extension = Path::new(picture).extension().unwrap().to_str().unwrap();
            let to = folder.join(format!("{i:03}.{extension}"));
            if *picture == BLANK {
                std::fs::write(to, GREY).unwrap();
            } else {
                std::fs::copy(pictures().join(picture), to).unwrap();
            }
        }
        folder.to_str().unwrap().to_owned()
    }

    /// A configuration that shows `selection` and logs the relay.
    pub fn config(&self, selection: &str) -> Config {
        let relay = format!("log:{}", self.path("relay").display());
        Config::new(selection.to_owned(), self.path("gallery"), pack(), relay)
    }
}

/// The name of the person who is enrolled.
pub fn name() -> PersonName {
    PersonName::new("the known one").unwrap()
}

/// The default pack.
pub fn pack() -> PathBuf {
    root().join("sdk/models/default.kfpack")
}

fn pictures() -> PathBuf {
    root().join("examples/cli/pictures")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}

/// A PNG of 64x64 grey pixels.
const GREY: &[u8] = include_bytes!("../data/grey.png");
