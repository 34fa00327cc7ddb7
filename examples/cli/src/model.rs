//! Which pack is used, and the pipeline on it.

use crate::args::{ModelArgs, ThresholdArgs};
use crate::report::{Exit, Failure};
use keyface::calibration::Calibration;
use keyface::pack::{Pack, SectionKind, Trust};
use keyface::pipeline::{Model, Options, Pipeline};
use keyface_boards::selection::Selection;
use std::path::Path;
use std::sync::Arc;

/// The pack that ships with the tool, where the tree has it (build.rs).
#[cfg(default_pack)]
static BUILT_IN: Option<&[u8]> = Some(include_bytes!("../../../sdk/models/default.kfpack"));
#[cfg(not(default_pack))]
static BUILT_IN: Option<&[u8]> = None;

/// Lowest score of a match for a pack without calibration.
const DEFAULT_THRESHOLD: f32 = 0.35;

/// Rate of false matches where the command line gives none.
const DEFAULT_RATE: f64 = 1e-3;

/// A loaded pack and how to run it.
pub struct Loaded {
    /// The networks.
    pub model: Arc<Model>,
    /// Options for pipelines.
    pub options: Options,
    /// The pack's name for messages.
    pub name: String,
}

/// Opens the pack at `path`, or the built-in one.
pub fn open_pack(path: Option<&Path>, trust: Trust) -> Result<(Arc<Pack>, String), Failure> {
    let Some(path) = path else {
        let name = "built-in pack".to_owned();
        let Some(bytes) = BUILT_IN else {
            return Err(Failure::new(
                Exit::Pack,
                "no pack is built in: give --pack FILE or set KEYFACE_PACK",
            ));
        };
        let pack = Pack::from_bytes(bytes, trust).map_err(|e| Failure::sdk(&name, e))?;
        return Ok((pack, name));
    };
    let name = path.display().to_string();
    // A pack that cannot be read is the pack's trouble, not an internal error.
    let pack = Pack::open(path, trust).map_err(|e| Failure::sdk(&name, e).with_exit(Exit::Pack))?;
    Ok((pack, name))
}

/// Opens and loads the pack that the command line asks for.
pub fn load(args: &ModelArgs) -> Result<Loaded, Failure> {
    let (pack, name) = open_pack(args.pack.as_deref(), Trust::Anyone)?;
    let model = Model::load(pack).map_err(|e| Failure::sdk(&name, e))?;
    let options = Options {
        threads: args.threads.map_or(1, usize::from),
        long_side: usize::from(args.long_side),
        score_threshold: args.min_score,
        ..Options::default()
    };
    Ok(Loaded { model, options, name })
}

impl Loaded {
    /// A pipeline on the loaded networks.
    pub fn pipeline(&self) -> Result<Pipeline, Failure> {
        Pipeline::new(&self.model, &self.options).map_err(|e| Failure::sdk(&self.name, e))
    }

    /// Takes the threads of the camera's profile, if it has one and `args` does not say how many.
    pub fn fit_camera(&mut self, args: &ModelArgs, camera: &Selection) -> Result<(), Failure> {
        if let (None, Some(profile)) = (args.threads, camera.profile()?) {
            self.options.threads = profile.usable_threads();
            log::debug!("profile {}: {} threads", profile.name, self.options.threads);
        }
        Ok(())
    }

    /// The score from which two faces count as one person's: as the command line says, or by the pack's calibration, or, for a
    /// pack without one, a fixed score. `templates`: how many a probe is compared with.
    pub fn threshold(&self, args: &ThresholdArgs, templates: usize) -> Result<f32, Failure> {
        threshold(self.model.pack(), &self.name, args, templates)
    }
}

/// The table of strangers' scores, if `pack` holds one.
pub fn calibration(pack: &Pack) -> keyface::Result<Option<Calibration>> {
    let section = pack.section("calibration").filter(|s| s.kind == SectionKind::Calibration);
    section.map(|s| Calibration::parse(pack.bytes(s))).transpose()
}

fn threshold(
    pack: &Pack,
    name: &str,
    args: &ThresholdArgs,
    templates: usize,
) -> Result<f32, Failure> {
    if let Some(threshold) = args.threshold {
        return Ok(threshold);
    }
    let failed = |e| Failure::sdk(name, e);
    let Some(table) = calibration(pack).map_err(failed)? else {
        return match args.fmr {
            None => Ok(DEFAULT_THRESHOLD),
            Some(_) => Err(Failure::new(
                Exit::Usage,
                format!("{name}: holds no calibration, so --fmr says nothing: give --threshold"),
            )),
        };
    };
    if let Some(rate) = args.fmr {
        return table.threshold_for_fpir(f64::from(rate), templates).map_err(failed);
    }
    // Where the data do not reach the usual rate: the strictest that they do.
    table
        .threshold_for_fpir(DEFAULT_RATE, templates)
        .or_else(|_| table.threshold_for_fmr(table.lowest_fmr()))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyface::pack::{Manifest, PackWriter};

    fn pack(calibration: Option<&str>) -> Arc<Pack> {
        let manifest = Manifest {
            name: "test".into(),
            min_sdk: "0.1.0".into(),
            licence: String::new(),
            provenance: String::new(),
            recogniser: None,
            landmark: None,
            vectors: 0,
        };
        let mut writer = PackWriter::new(&manifest).unwrap();
        if let Some(json) = calibration {
            writer.blob("calibration", SectionKind::Calibration, json.as_bytes().to_vec()).unwrap();
        }
        Pack::from_bytes(&writer.finish(None), Trust::Anyone).unwrap()
    }

    #[test]
    fn the_calibration_decides_unless_told_otherwise() {
        let table = r#"{"version":1,"impostor_pairs":100000,"points":[[0.1,0.01],[0.3,0.001],[0.5,0.0001]]}"#;
        let pack = pack(Some(table));
        let of = |threshold, fmr, templates| {
            super::threshold(
                &pack,
                "p",
                &ThresholdArgs { threshold, fmr, hide_scores: false },
                templates,
            )
        };
        assert_eq!(of(None, None, 1).unwrap(), 0.3);
        assert_eq!(of(None, None, 5).unwrap(), 0.5, "five chances to match by accident");
        assert_eq!(of(None, None, 1000).unwrap(), 0.5, "the strictest that the data support");
        assert_eq!(of(None, Some(0.05), 1).unwrap(), 0.1);
        assert_eq!(of(Some(0.77), None, 1).unwrap(), 0.77);
        let refused = of(None, Some(1e-6), 1).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.message.contains("impostor pairs"), "{}", refused.message);
    }

    #[test]
    fn a_pack_without_calibration_has_a_fixed_score() {
        let of = |fmr| {
            super::threshold(
                &pack(None),
                "p",
                &ThresholdArgs { threshold: None, fmr, hide_scores: false },
                1,
            )
        };
        assert_eq!(of(None).unwrap(), DEFAULT_THRESHOLD);
        assert!(of(Some(0.01)).unwrap_err().message.contains("no calibration"));
    }
}
