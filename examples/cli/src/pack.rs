//! `keyface pack info` and `keyface pack verify`.

use crate::args::{PackArgs, PackCommand};
use crate::model::{calibration, open_pack};
use crate::report::{Exit, Failure, Outcome, Output};
use keyface::calibration::Calibration;
use keyface::detect::Detector;
use keyface::engine::Recogniser;
use keyface::pack::{LandmarkNetwork, Manifest, Pack, Trust};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// Lowest cosine between a golden vector and what this machine computes. The integer kernels are exact, so only a defect falls below.
const GOLDEN_COSINE: f32 = 0.999;

/// `pack info`.
#[derive(Serialize)]
struct Info<'a> {
    file: &'a str,
    bytes: usize,
    digest: String,
    signer: Option<String>,
    manifest: &'a Manifest,
    calibration: Option<CalibrationJson>,
    sections: Vec<SectionJson<'a>>,
}

#[derive(Serialize)]
struct CalibrationJson {
    impostor_pairs: u64,
    lowest_fmr: f64,
}

#[derive(Serialize)]
struct SectionJson<'a> {
    name: &'a str,
    bytes: usize,
}

/// `pack verify`.
#[derive(Serialize)]
struct Verified<'a> {
    file: &'a str,
    ok: bool,
    digest: String,
    signer: Option<String>,
    vectors: usize,
    cosine: Option<f32>,
}

/// Runs the command.
pub fn run(args: &PackArgs, out: Output) -> Outcome {
    match &args.command {
        PackCommand::Info { file } => info(file.as_deref(), out),
        PackCommand::Verify { file, key } => {
            verify(file.as_deref(), key.map_or(Trust::Anyone, Trust::Key), out)
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn info(path: Option<&Path>, out: Output) -> Outcome {
    let (pack, file) = open_pack(path, Trust::Anyone)?;
    let manifest = pack.manifest();
    let table = calibration(&pack).map_err(|e| Failure::sdk(&file, e))?;
    out.object(&Info {
        file: &file,
        bytes: pack.len(),
        digest: hex(pack.digest()),
        signer: pack.signer().map(|k| hex(k)),
        manifest,
        calibration: table.as_ref().map(|t| CalibrationJson {
            impostor_pairs: t.impostor_pairs(),
            lowest_fmr: t.lowest_fmr(),
        }),
        sections: pack
            .sections()
            .iter()
            .map(|s| SectionJson { name: &s.name, bytes: s.byte_len() })
            .collect(),
    })?;
    out.text(in_words(&pack, &file, table.as_ref()))?;
    Ok(Exit::Done)
}

fn in_words(pack: &Pack, file: &str, table: Option<&Calibration>) -> String {
    let m = pack.manifest();
    let mut rows = vec![
        ("file", file.to_owned()),
        ("name", m.name.clone()),
        (
            "size",
            format!("{:.2} MB in {} sections", pack.len() as f64 / 1e6, pack.sections().len()),
        ),
        ("digest", hex(pack.digest())),
        ("signed by", pack.signer().map_or("nobody".to_owned(), |k| hex(k))),
        ("needs SDK", m.min_sdk.clone()),
        ("licence", m.licence.clone()),
        ("data", m.provenance.clone()),
    ];
    if let Some(r) = &m.recogniser {
        rows.push((
            "recogniser",
            format!(
                "{} blocks of {} wide, {} heads, {} tokens, {:?}, {:?}; {} numbers out",
                r.depth,
                r.embed_dim,
                r.num_heads,
                r.tokens(),
                r.rpe,
                r.precision,
                r.output_dim
            ),
        ));
        rows.push(("model id", r.model_id.clone()));
    }
    if let Some(l) = &m.landmark {
        rows.push((
            "landmarks",
            format!(
                "{}, cells of {:?} pixels, score from {}",
                match &l.network {
                    LandmarkNetwork::Convolutions { layers, .. } =>
                        format!("{} int8 convolutions", layers.len()),
                    LandmarkNetwork::Onnx { .. } => "f32 ONNX".to_owned(),
                },
                l.strides,
                l.score_threshold
            ),
        ));
    }
    if let Some(table) = table {
        let rates = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6];
        let known = rates
            .iter()
            .filter_map(|&r| Some(format!("{r:e} from {:.3}", table.threshold_for_fmr(r).ok()?)));
        let known: Vec<String> = known.collect();
        rows.push((
            "calibration",
            format!(
                "{} impostor pairs; false matches {}",
                table.impostor_pairs(),
                known.join(", ")
            ),
        ));
    }
    rows.push(("self-test", format!("{} golden vectors", m.vectors)));
    rows.iter().map(|(k, v)| format!("{k:12} {v}")).collect::<Vec<_>>().join("\n")
}

fn verify(path: Option<&Path>, trust: Trust, out: Output) -> Outcome {
    let (pack, file) = open_pack(path, trust)?;
    let cosine = self_test(&pack).map_err(|e| Failure::sdk(&file, e))?;
    let ok = cosine.is_none_or(|c| c >= GOLDEN_COSINE);
    let verified = Verified {
        file: &file,
        ok,
        digest: hex(pack.digest()),
        signer: pack.signer().map(|k| hex(k)),
        vectors: pack.manifest().vectors,
        cosine,
    };
    out.object(&verified)?;
    if !ok {
        return Err(Failure::new(
            Exit::Pack,
            format!(
                "{file}: the golden vectors come out differently on this machine: cosine {:.4}",
                cosine.unwrap_or(0.0)
            ),
        ));
    }
    let vectors = match cosine {
        Some(c) => format!("{} golden vectors reproduced, lowest cosine {c:.6}", verified.vectors),
        None => "no golden vectors to try".to_owned(),
    };
    let signed =
        verified.signer.as_deref().map_or("not signed".to_owned(), |k| format!("signed by {k}"));
    out.text(format_args!("{file}: sound; {signed}; {vectors}"))?;
    Ok(Exit::Done)
}

/// Loads both networks and runs the golden vectors; the lowest cosine, where there are any.
fn self_test(pack: &Arc<Pack>) -> keyface::Result<Option<f32>> {
    if pack.manifest().landmark.is_some() {
        Detector::new(pack, 320, None, 1)?;
    }
    if pack.manifest().recogniser.is_none() {
        return Ok(None);
    }
    let cosine = Recogniser::new(pack)?.self_test()?;
    Ok((pack.manifest().vectors > 0).then_some(cosine))
}
