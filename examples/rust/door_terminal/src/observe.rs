//! From a frame to what was seen in it: detection, the choice of a face, its quality, its template, the gallery.

use crate::config::Config;
use crate::counters::{Counters, Stage};
use keyface::calibration::Calibration;
use keyface::decide::{Liveness, Seen};
use keyface::detect::{Detection, Detections};
use keyface::error::Result;
use keyface::frame::Frame;
use keyface::gallery::{Hit, HostKey, Reader, StoreOptions};
use keyface::pack::{Pack, SectionKind, Trust};
use keyface::pipeline::{Face, Model, Options, Pipeline};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A second face counts if it is at least this share of the first one's side: somebody passing far behind does not keep the door shut.
const ALSO_MEANT: f32 = 0.5;

/// Length and time of the gallery file when it was read.
type Mark = Option<(u64, SystemTime)>;

/// The pipeline and the gallery of one door.
pub struct Observer {
    pipeline: Pipeline,
    pack: Arc<Pack>,
    gallery: Reader,
    path: PathBuf,
    mark: Mark,
    /// Whether the gallery could be read when it last changed.
    current: bool,
    hits: heapless::Vec<Hit, 2>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("current", &self.current).finish_non_exhaustive()
    }
}

/// What a step failed on, for messages.
pub type Failure = (String, keyface::Error);

impl Observer {
    /// Opens the model and the gallery that `config` names.
    ///
    /// # Errors
    /// The file's name and the SDK's error.
    pub fn open(config: &Config) -> std::result::Result<Observer, Failure> {
        let of = |path: &Path| {
            let name = path.display().to_string();
            move |e| (name, e)
        };
        let pack = Pack::open(&config.pack, Trust::Anyone).map_err(of(&config.pack))?;
        let model = Model::load(pack.clone()).map_err(of(&config.pack))?;
        let unknown = |_| {
            let e = keyface::Error::new(keyface::ErrorKind::InvalidArgument, "no profile to use");
            (config.source.clone(), e)
        };
        let options = Options { threads: config.threads().map_err(unknown)?, ..Options::default() };
        let pipeline = Pipeline::new(&model, &options).map_err(of(&config.pack))?;
        let key_path = config.key_path();
        let key = HostKey::from_file(&key_path).map_err(of(&key_path))?;
        let mark = mark(&config.gallery);
        let gallery = Reader::open(&config.gallery, &key, StoreOptions::default());
        let gallery = gallery.map_err(of(&config.gallery))?;
        let path = config.gallery.clone();
        let hits = heapless::Vec::new();
        Ok(Observer { pipeline, pack, gallery, path, mark, current: true, hits })
    }

    /// The score from which on faces match, for the gallery as it is: as the configuration says, or from the pack's figures.
    ///
    /// # Errors
    /// [`keyface::ErrorKind::UnsupportedRate`] where those do not reach the rate that is asked for, or there are none.
    pub fn threshold(&self, config: &Config) -> Result<f32> {
        if let Some(threshold) = config.rules.threshold {
            return Ok(threshold);
        }
        let section = self.pack.section("calibration");
        let section = section.filter(|s| s.kind == SectionKind::Calibration);
        let none = keyface::Error::new(
            keyface::ErrorKind::UnsupportedRate,
            "the pack has no calibration: give rules.threshold in place of a rate",
        );
        let table = Calibration::parse(self.pack.bytes(section.ok_or(none)?))?;
        table.threshold_for_fpir(config.rules.false_match_rate, self.templates())
    }

    /// Templates in the gallery.
    #[must_use]
    pub fn templates(&self) -> usize {
        self.gallery.people().iter().map(|p| p.templates).sum()
    }

    /// Reads the gallery again if its file changed. While it cannot be read, nobody is recognised. Whether there is something new.
    pub fn refresh(&mut self, counters: &Counters) -> bool {
        let now = mark(&self.path);
        if self.current && now == self.mark {
            return false;
        }
        match self.gallery.refresh() {
            Ok(_) => {
                (self.current, self.mark) = (true, now);
                true
            }
            Err(e) => {
                log::error!("{}: {e}", self.path.display());
                counters.error(Stage::Gallery);
                self.current = false;
                false
            }
        }
    }

    /// Whether the gallery is as its file says.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.current
    }

    /// Looks at one frame. The number is that of faces found. `witness` is told of all of them, and of the one that was described.
    pub fn look(
        &mut self,
        frame: &Frame<'_>,
        counters: &Counters,
        witness: &mut dyn FnMut(&[Detection], Option<&Face>),
    ) -> (Seen<'_>, usize) {
        let failed = |stage, e: keyface::Error| {
            log::error!("{e}");
            counters.error(stage);
            Seen::Failed
        };
        let found = match self.pipeline.detect(frame) {
            Ok(found) => found.iter().copied().collect::<Detections>(),
            Err(e) => return (failed(Stage::Pipeline, e), 0),
        };
        let faces = found.len();
        let face = match choose(&found) {
            Meant::One(face) => face,
            other => {
                witness(&found, None);
                let nobody = matches!(other, Meant::Nobody);
                return (if nobody { Seen::Nobody } else { Seen::Several }, faces);
            }
        };
        let described = match self.pipeline.describe(frame, &face) {
            Ok(described) => described,
            Err(e) => return (failed(Stage::Pipeline, e), faces),
        };
        witness(&found, described);
        let Some(described) = described.filter(|d| d.quality.reasons.is_empty()) else {
            return (Seen::Poor, faces);
        };
        if !self.current {
            return (Seen::Failed, faces);
        }
        match self.gallery.search::<2>(&described.template) {
            Ok(hits) => self.hits = hits,
            Err(e) => return (failed(Stage::Gallery, e), faces),
        }
        (Seen::Face { hits: &self.hits, liveness: Liveness::NotChecked }, faces)
    }
}

enum Meant {
    Nobody,
    One(Detection),
    Several,
}

/// The largest face, unless another is nearly as large.
fn choose(found: &[Detection]) -> Meant {
    let side = |d: &Detection| d.rect.area().max(0.0).sqrt();
    let Some(largest) = found.iter().max_by(|a, b| side(a).total_cmp(&side(b))) else {
        return Meant::Nobody;
    };
    let meant = found.iter().filter(|d| side(d) >= ALSO_MEANT * side(largest)).count();
    if meant > 1 {
        Meant::Several
    } else {
        Meant::One(*largest)
    }
}

fn mark(path: &Path) -> Mark {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::geometry::{Point, Rect};

    fn face(side: f32) -> Detection {
        Detection {
            rect: Rect::new(0.0, 0.0, side, side),
            points: [Point::default(); 5],
            score: 0.9,
        }
    }

    #[test]
    fn the_face_in_front_is_meant() {
        assert!(matches!(choose(&[]), Meant::Nobody));
        assert!(
            matches!(choose(&[face(30.0), face(80.0)]), Meant::One(d) if d.rect.area() > 6000.0)
        );
        assert!(matches!(choose(&[face(60.0), face(80.0)]), Meant::Several));
        assert!(matches!(choose(&[face(80.0)]), Meant::One(_)));
    }
}
