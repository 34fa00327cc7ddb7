//! The command line of `keyface-convert`.

use anyhow::{bail, ensure, Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use keyface::pack::{Pack, Precision, RecogniserManifest, SectionKind, Trust};
use keyface_convert::assemble::{self, Facts};
use keyface_convert::calibrate::{self, Faces};
use keyface_convert::checkpoint::Checkpoint;
use keyface_convert::config::Config;
use keyface_convert::defaults::LandmarkForm;
use keyface_convert::network::Network;
use keyface_convert::npz::Npz;
use keyface_convert::{defaults, dfa, export, run, verify};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Imports, quantises, verifies, exports, calibrates and signs Keyface model packs.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn a published or own checkpoint (.safetensors, .pt, .pth) into a pack.
    Import(Import),
    /// Build the default pack from the folder that training exports to.
    Pack(PackArgs),
    /// Run a network on stored inputs.
    Run(Run),
    /// Write a pack's network as standard ONNX, with the key points as an input.
    Export(Export),
    /// Make an int8 pack and report what it costs, layer by layer.
    Quantise(Quantise),
    /// Compare an int8 pack with its f32 reference.
    Verify(Verify),
    /// Put a table from score to false-match rate into a pack.
    Calibrate(Calibrate),
    /// Copy a pack with an ed25519 signature.
    Sign(Sign),
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    F32,
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(p: PrecisionArg) -> Precision {
        match p {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Int8 => Precision::Int8,
        }
    }
}

/// What the pack says of itself.
#[derive(Args)]
struct About {
    /// Name of the pack; the checkpoint's file name if not given.
    #[arg(long)]
    name: Option<String>,
    /// Licence of the weights.
    #[arg(long, default_value = "not stated")]
    licence: String,
    /// Where the training data came from.
    #[arg(long, default_value = "not stated")]
    provenance: String,
    /// Sign with the ed25519 secret key in this file: 32 bytes, or 64 hex digits.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl About {
    fn facts(&self, checkpoint: &Path) -> Result<Facts> {
        let stem = checkpoint.file_stem().map(|s| s.to_string_lossy().into_owned());
        Ok(Facts {
            name: self.name.clone().or(stem).unwrap_or_default(),
            licence: self.licence.clone(),
            provenance: self.provenance.clone(),
            secret_key: self.key.as_deref().map(read_key).transpose()?,
        })
    }
}

#[derive(Args)]
struct Import {
    checkpoint: PathBuf,
    /// JSON with the published configuration's keys (num_heads, rpe_config, ..), for what tensors cannot say.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    #[command(flatten)]
    about: About,
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
}

#[derive(Args)]
struct PackArgs {
    /// Folder with recogniser.json, recogniser.safetensors, landmark.json and landmark.safetensors.
    checkpoints: PathBuf,
    #[arg(long, value_enum, default_value = "int8")]
    precision: PrecisionArg,
    /// Keep the landmark network as the folder's landmark.onnx, in f32: the reference of the int8 one.
    #[arg(long)]
    landmark_onnx: bool,
    /// Sign with the ed25519 secret key in this file: 32 bytes, or 64 hex digits.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
}

#[derive(Args)]
struct Run {
    #[arg(long, value_name = "FILE", required_unless_present = "pack", conflicts_with = "pack")]
    checkpoint: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// With --checkpoint: as for import.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// With --checkpoint: arithmetic of the weights. A pack has its own.
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
    /// .npz with `image` (uint8 [N,3,H,W]) and, for a recogniser, `keypoints` (float32 [N,5,2]).
    #[arg(long, value_name = "NPZ")]
    input: PathBuf,
    #[arg(long, value_name = "NPZ")]
    output: PathBuf,
    /// Also write block_out (float32 [depth,N,tokens,dim]).
    #[arg(long)]
    blocks: bool,
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Args)]
struct Export {
    pack: PathBuf,
    #[arg(short, long, value_name = "ONNX")]
    output: PathBuf,
}

/// On what to compare, and what to do with the result.
#[derive(Args)]
struct Check {
    /// .npz with `image` (uint8 [N,3,H,W]) and `keypoints` (float32 [N,5,2]); 16 synthetic pictures if not given.
    #[arg(long, value_name = "NPZ")]
    images: Option<PathBuf>,
    /// Write the report as JSON.
    #[arg(long, value_name = "JSON")]
    report: Option<PathBuf>,
    /// Fail if the embedding cosine of any picture is lower.
    #[arg(long, value_name = "COSINE")]
    min_cosine: Option<f64>,
}

#[derive(Args)]
struct Quantise {
    checkpoint: PathBuf,
    /// As for import.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    check: Check,
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
}

#[derive(Args)]
struct Verify {
    pack: PathBuf,
    /// f32 pack of the same checkpoint.
    #[arg(long, value_name = "PACK")]
    against: PathBuf,
    #[command(flatten)]
    check: Check,
}

#[derive(Args)]
struct Calibrate {
    pack: PathBuf,
    /// .npz with `image`, `keypoints` and `identity` (integers [N]) of persons the network was not trained on.
    #[arg(long, value_name = "NPZ")]
    faces: PathBuf,
    /// As --faces, with `family` (integers [N]): a second table, of relatives.
    #[arg(long, value_name = "NPZ")]
    relatives: Option<PathBuf>,
    /// Write what the tables rest on as JSON.
    #[arg(long, value_name = "JSON")]
    report: Option<PathBuf>,
    /// Sign with the ed25519 secret key in this file: 32 bytes, or 64 hex digits.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
}

#[derive(Args)]
struct Sign {
    pack: PathBuf,
    /// ed25519 secret key: 32 bytes, or 64 hex digits.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Import(a) => import(&a),
        Command::Pack(a) => pack(&a),
        Command::Run(a) => run_network(&a),
        Command::Export(a) => export_network(&a),
        Command::Quantise(a) => quantise(&a),
        Command::Verify(a) => verify_pack(&a),
        Command::Calibrate(a) => calibrate_pack(&a),
        Command::Sign(a) => sign(&a),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn import(a: &Import) -> Result<()> {
    let facts = a.about.facts(&a.checkpoint)?;
    let what =
        import_to(&a.checkpoint, a.config.as_deref(), a.precision.into(), &facts, &a.output)?;
    println!("{}: {what}", a.output.display());
    Ok(())
}

/// Imports any network and says in words which.
fn import_to(
    path: &Path,
    config: Option<&Path>,
    precision: Precision,
    facts: &Facts,
    out: &Path,
) -> Result<String> {
    let checkpoint = Checkpoint::open(path)?;
    let config = config.map(Config::read).transpose()?.unwrap_or_default();
    let cannot = || format!("cannot import {}", path.display());
    if dfa::is_dfa(&checkpoint) {
        ensure!(precision == Precision::F32, "the landmark model runs in f32 only");
        let graph = dfa::graph(&checkpoint).with_context(cannot)?;
        assemble::dfa_only(&graph.encode(), facts, out)?;
        return Ok("landmark model of 1050 anchors".into());
    }
    let network = Network::infer(&checkpoint, &config).with_context(cannot)?;
    for sentence in &network.assumed {
        eprintln!("assumed: {sentence}");
    }
    let bar = bar(&checkpoint);
    let done = |n| bar.inc(n);
    let manifest = assemble::import(&checkpoint, &network, precision, None, facts, out, done)?;
    bar.finish_and_clear();
    Ok(describe(&manifest))
}

fn bar(checkpoint: &Checkpoint) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(checkpoint.total_bytes()).with_style(style)
}

fn describe(m: &RecogniserManifest) -> String {
    format!(
        "{} blocks of {}, {} heads, {} tokens, {:?}, {:?}, model {}",
        m.depth,
        m.embed_dim,
        m.num_heads,
        m.tokens(),
        m.rpe,
        m.precision,
        &m.model_id[..8]
    )
}

fn pack(a: &PackArgs) -> Result<()> {
    let key = a.key.as_deref().map(read_key).transpose()?;
    let form = if a.landmark_onnx { LandmarkForm::Onnx } else { LandmarkForm::Int8 };
    let manifest = defaults::build(&a.checkpoints, a.precision.into(), form, key, &a.output)?;
    let size = std::fs::metadata(&a.output)?.len();
    println!("{}: {size} bytes, {}", a.output.display(), describe(&manifest));
    Ok(())
}

fn run_network(a: &Run) -> Result<()> {
    let input = Npz::read(&a.input)?;
    let folder = tempfile::tempdir().context("no place for temporary files")?;
    let path = match (&a.checkpoint, &a.pack) {
        (Some(checkpoint), _) => {
            let path = folder.path().join("imported.kfpack");
            let precision = a.precision.unwrap_or(PrecisionArg::F32).into();
            import_to(checkpoint, a.config.as_deref(), precision, &Facts::default(), &path)?;
            path
        }
        (None, Some(pack)) => pack.clone(),
        (None, None) => bail!("give --checkpoint or --pack"),
    };
    let pack = Pack::open(&path, Trust::Anyone)?;
    if let (Some(wanted), Some(m)) = (a.precision, &pack.manifest().recogniser) {
        ensure!(
            m.precision == wanted.into(),
            "the pack is {:?}: import or quantise a checkpoint for another precision",
            m.precision
        );
    }
    let output = if pack.manifest().recogniser.is_some() {
        run::recogniser(&pack, &input, a.blocks, a.threads)?
    } else {
        dfa::run(dfa::section(&pack)?, &input)?
    };
    output.write(&a.output)
}

fn export_network(a: &Export) -> Result<()> {
    let pack = Pack::open(&a.pack, Trust::Anyone)?;
    if pack.manifest().recogniser.is_some() {
        export::graph(&pack)?.save(&a.output)
    } else {
        std::fs::write(&a.output, dfa::section(&pack)?)
            .with_context(|| format!("cannot write {}", a.output.display()))
    }
}

fn quantise(a: &Quantise) -> Result<()> {
    let folder = tempfile::tempdir().context("no place for temporary files")?;
    let reference = folder.path().join("f32.kfpack");
    let config = a.config.as_deref();
    let facts = a.about.facts(&a.checkpoint)?;
    import_to(&a.checkpoint, config, Precision::F32, &Facts::default(), &reference)?;
    // A pack that fails the check is not left behind.
    let draft = folder.path().join("int8.kfpack");
    let what = import_to(&a.checkpoint, config, Precision::Int8, &facts, &draft)?;
    check(&a.check, &reference, &draft)?;
    let pack = Pack::open(&draft, Trust::Anyone)?;
    let writer = assemble::copy(&pack, pack.manifest(), |_| true)?;
    assemble::save(writer, facts.secret_key.as_ref(), &a.output)?;
    println!("{}: {what}", a.output.display());
    Ok(())
}

fn verify_pack(a: &Verify) -> Result<()> {
    check(&a.check, &a.against, &a.pack)
}

fn check(a: &Check, reference: &Path, candidate: &Path) -> Result<()> {
    let reference = Pack::open(reference, Trust::Anyone)?;
    let candidate = Pack::open(candidate, Trust::Anyone)?;
    let m =
        reference.manifest().recogniser.as_ref().context("the reference holds no recogniser")?;
    let pictures = match &a.images {
        Some(path) => Npz::read(path)?,
        None => run::synthetic(16, m.input_size),
    };
    let shots = run::Shots::of(&pictures, m.input_size)?;
    let report = verify::compare(&reference, &candidate, &shots)?;
    println!("{report}");
    if let Some(path) = &a.report {
        write_json(path, &report)?;
    }
    let (worst, floor) = (report.embedding.worst, a.min_cosine.unwrap_or(-1.0));
    ensure!(worst >= floor, "embedding cosine {worst:.6} is below the floor {floor}");
    Ok(())
}

fn calibrate_pack(a: &Calibrate) -> Result<()> {
    let key = a.key.as_deref().map(read_key).transpose()?;
    let pack = Pack::open(&a.pack, Trust::Anyone)?;
    let faces = Faces::embed(&pack, &Npz::read(&a.faces)?)?;
    let mut scores = faces.scores();
    let (table, report) =
        calibrate::table(&faces, "strangers", &mut scores.strangers, &scores.genuine)?;
    let mut sections = vec![(calibrate::SECTION, table.to_json()?)];
    let mut reports = vec![report];
    if let Some(path) = &a.relatives {
        let faces = Faces::embed(&pack, &Npz::read(path)?)?;
        let mut scores = faces.scores();
        let (table, report) =
            calibrate::table(&faces, "relatives", &mut scores.relatives, &scores.genuine)?;
        sections.push((calibrate::RELATIVES, table.to_json()?));
        reports.push(report);
    }
    reports.iter().for_each(|report| println!("{report}"));
    if let Some(path) = &a.report {
        write_json(path, &reports)?;
    }
    let old = [calibrate::SECTION, calibrate::RELATIVES];
    let mut writer = assemble::copy(&pack, pack.manifest(), |name| !old.contains(&name))?;
    for (name, json) in sections {
        writer.blob(name, SectionKind::Calibration, json)?;
    }
    assemble::save(writer, key.as_ref(), &a.output)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}

fn sign(a: &Sign) -> Result<()> {
    let key = read_key(&a.key)?;
    let pack = Pack::open(&a.pack, Trust::Anyone)?;
    let writer = assemble::copy(&pack, pack.manifest(), |_| true)?;
    assemble::save(writer, Some(&key), &a.output)?;
    let signer = *Pack::open(&a.output, Trust::Anyone)?.signer().context("the copy is unsigned")?;
    println!("{}: signed by {}", a.output.display(), hex(&signer));
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn read_key(path: &Path) -> Result<[u8; 32]> {
    let raw = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if let Ok(key) = <[u8; 32]>::try_from(&raw[..]) {
        return Ok(key);
    }
    let wrong = || format!("{} holds neither 32 bytes nor 64 hex digits", path.display());
    let text = std::str::from_utf8(&raw).ok().map(str::trim).with_context(wrong)?;
    let mut key = [0u8; 32];
    ensure!(text.len() == 64 && text.is_ascii(), "{}", wrong());
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok().with_context(wrong)?;
    }
    Ok(key)
}
