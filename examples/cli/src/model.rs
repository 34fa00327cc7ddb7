//! Which pack is used, and the pipeline on it.

use crate::args::{ModelArgs, ThresholdArgs};
use crate::report::{Exit, Failure};
use keyface::calibration::Calibration;
use keyface::pack::{Pack, SectionKind, Trust};
use keyface::pipeline::{Model, Options, Pipeline};
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
        threads: usize::from(args.threads),
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
}

impl Loaded {
    /// The score from which two faces count as one person's: as the command line says, or the pack's calibration, or, for a pack
    /// without one, [`DEFAULT_THRESHOLD`]. `templates`: how many a probe is compared with.
    pub fn threshold(&self, args: &ThresholdArgs, templates: usize) -> Result<f32, Failure> {
        if let Some(threshold) = args.threshold {
            return Ok(threshold);
        }
        let failed = |e| Failure::sdk(&self.name, e);
        let pack = self.model.pack();
        let Some(section) = pack.sections().iter().find(|s| s.kind == SectionKind::Calibration)
        else {
            if args.fmr.is_some() {
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "{}: holds no calibration, so --fmr has no meaning; give --threshold",
                        self.name
                    ),
                ));
            }
            return Ok(DEFAULT_THRESHOLD);
        };
        let table = Calibration::parse(pack.bytes(section)).map_err(failed)?;
        match (args.fmr, table.threshold_for_fpir(DEFAULT_RATE, templates)) {
            (Some(rate), _) => table.threshold_for_fpir(f64::from(rate), templates).map_err(failed),
            (None, Ok(threshold)) => Ok(threshold),
            // The strictest rate that the table knows.
            (None, Err(_)) => table.threshold_for_fmr(table.lowest_fmr()).map_err(failed),
        }
    }
}
