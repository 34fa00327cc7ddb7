//! The command line of `keyface-convert`.

use anyhow::{bail, ensure, Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use keyface::pack::{Pack, Precision, RecogniserManifest, Trust};
use keyface_convert::assemble::{self, Facts};
use keyface_convert::checkpoint::Checkpoint;
use keyface_convert::config::Config;
use keyface_convert::defaults;
use keyface_convert::network::Network;
use keyface_convert::npz::Npz;
use keyface_convert::run;
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
    /// Folder with recogniser.safetensors, recogniser.json, landmark.onnx and landmark.json.
    checkpoints: PathBuf,
    #[arg(long, value_enum, default_value = "int8")]
    precision: PrecisionArg,
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
    let manifest = import_to(
        &a.checkpoint,
        a.config.as_deref(),
        a.precision.into(),
        &a.about.facts(&a.checkpoint)?,
        &a.output,
    )?;
    println!("{}: {}", a.output.display(), describe(&manifest));
    Ok(())
}

fn import_to(
    path: &Path,
    config: Option<&Path>,
    precision: Precision,
    facts: &Facts,
    out: &Path,
) -> Result<RecogniserManifest> {
    let checkpoint = Checkpoint::open(path)?;
    let config = config.map(Config::read).transpose()?.unwrap_or_default();
    let network = Network::infer(&checkpoint, &config)
        .with_context(|| format!("cannot import {}", path.display()))?;
    for sentence in &network.assumed {
        eprintln!("assumed: {sentence}");
    }
    let bar = bar(&checkpoint);
    let manifest =
        assemble::import(&checkpoint, &network, precision, None, facts, out, |n| bar.inc(n))?;
    bar.finish_and_clear();
    Ok(manifest)
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
    let manifest = defaults::build(&a.checkpoints, a.precision.into(), key, &a.output)?;
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
    run::recogniser(&pack, &input, a.blocks, a.threads)?.write(&a.output)
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
