//! The command line.

use crate::report::EXIT_CODES;
use clap::{Args, Parser, Subcommand};
use keyface::geometry::{Point, Points5};
use keyface::liveness::PassiveRules;
use keyface_boards::selection::FORMS;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Embedded face recognition: find, compare, enrol and identify faces; measure accuracy and speed.
#[derive(Debug, Parser)]
#[command(name = "keyface", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// Print JSON, one object a line (the forms are in examples/cli/README.md)
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more of what the SDK does
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Walk through the whole job on photographs that ship with the tool
    Demo(DemoArgs),
    /// Find faces and their five key points in pictures
    Detect(DetectArgs),
    /// Compute the embedding of the face in a picture
    Embed(EmbedArgs),
    /// Tell whether two pictures show the same person
    Compare(CompareArgs),
    /// Add a person to a gallery from one or more pictures
    Enroll(EnrollArgs),
    /// Find out who in a gallery a picture shows
    Identify(IdentifyArgs),
    /// List the people in a gallery
    List(GalleryArgs),
    /// Remove a person from a gallery
    Remove(RemoveArgs),
    /// Write all that a gallery stores about a person to a file
    Export(ExportArgs),
    /// Change a gallery to a new model pack, enrolling people again as they pass
    Migrate(MigrateArgs),
    /// Measure verification accuracy on a list of pairs
    Eval(EvalArgs),
    /// Measure a passive presentation-attack check on labelled pictures
    PadReport(PadReportArgs),
    /// Draw where the recogniser's key-point offsets send a patch's attention
    Explain(ExplainArgs),
    /// Measure accuracy on crops that are turned, scaled and shifted at random
    Affine(AffineArgs),
    /// Measure the speed of every step on this machine
    Bench(BenchArgs),
    /// Inspect and check model packs
    Pack(PackArgs),
    /// See what this board has, which camera is taken and why, and whether it is fit for faces
    Board(BoardArgs),
}

/// Which model, and how it runs.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Model pack [default: the one built in]
    #[arg(long, env = "KEYFACE_PACK", value_name = "FILE")]
    pub pack: Option<PathBuf>,
    /// Threads of the networks, at most one a CPU [default: the profile's where a board's camera is used, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: Option<u16>,
    /// Pictures are sampled down to this long side before detection, in pixels
    #[arg(long, default_value_t = 320, value_name = "PX", value_parser = clap::value_parser!(u16).range(64..=1920))]
    pub long_side: u16,
    /// Lowest detection score, 0 to 1 [default: the pack's]
    #[arg(long, value_name = "SCORE", value_parser = unit)]
    pub min_score: Option<f32>,
}

/// Where one face is expected.
#[derive(Debug, Args)]
pub struct OneFaceArgs {
    /// Where a picture shows several faces, take the largest instead of refusing it
    #[arg(long)]
    pub largest: bool,
}

/// Frames from a camera in place of pictures.
#[derive(Debug, Args)]
pub struct CameraArgs {
    /// Use a camera: this board's, a profile's by name, or any source ('keyface board selftest --help' lists the forms)
    #[arg(long, value_name = "PROFILE|SOURCE", num_args = 0..=1, require_equals = true, default_missing_value = "board:")]
    pub camera: Option<String>,
    /// Keep writing what the camera sees, with boxes, into a JPEG or PNG file, or onto the screen ('fb', a framebuffer)
    #[arg(long, requires = "camera", value_name = "FILE|fb")]
    pub preview: Option<PathBuf>,
}

/// When two faces count as one person's.
#[derive(Debug, Default, Args)]
pub struct ThresholdArgs {
    /// Lowest score of a match, -1 to 1 [default: by --fmr]
    #[arg(long, value_name = "SCORE", value_parser = cosine, allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Highest rate of false matches: of comparisons with strangers, in 'identify' of searches by strangers. The pack's
    /// calibration turns it into a threshold [default: 0.001, where the pack's data reach so far]
    #[arg(long, value_name = "RATE", value_parser = unit, conflicts_with = "threshold")]
    pub fmr: Option<f32>,
    /// Say only whether it is a match: a score tells an attacker how near a picture came
    #[arg(long)]
    pub hide_scores: bool,
}

impl ThresholdArgs {
    /// A score as it may be told.
    pub fn shown(&self, score: f32) -> Option<f32> {
        (!self.hide_scores).then_some(score)
    }
}

/// Which gallery.
#[derive(Debug, Args)]
pub struct GalleryArgs {
    /// Gallery file
    #[arg(short, long, value_name = "FILE")]
    pub gallery: PathBuf,
    /// File with the key that opens the gallery, 32 random bytes [default: the gallery's name with .key]
    #[arg(long, env = "KEYFACE_KEY_FILE", value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// `keyface demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the annotated picture goes
    #[arg(long, default_value = "keyface-demo.png", value_name = "OUT.png")]
    pub draw: PathBuf,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface detect`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyface detect team.jpg --draw team-faces.png
  keyface detect --json *.jpg | jq '.faces | length'

Exits with 0 if a face was found in any picture, 1 if in none, 3 if a picture could not be read
(the others are still searched).")]
pub struct DetectArgs {
    /// Pictures, JPEG or PNG
    #[arg(required = true, value_name = "IMG")]
    pub pictures: Vec<PathBuf>,
    /// Write the picture with boxes and points as PNG; takes exactly one picture
    #[arg(long, value_name = "OUT.png")]
    pub draw: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface embed`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyface embed ana.jpg --out ana.npy
  keyface embed crop112.png --aligned --json
  keyface embed crop112.png --aligned --keypoints '38.3,51.7;73.5,51.5;56.0,71.7;41.5,92.4;70.7,92.2'")]
pub struct EmbedArgs {
    /// Picture, JPEG or PNG
    #[arg(value_name = "IMG")]
    pub picture: PathBuf,
    /// The picture is a 112x112 crop that is aligned already
    #[arg(long)]
    pub aligned: bool,
    /// Five points in pixels of the upright picture, in place of the detector's: left eye, right eye, nose, left and right
    /// mouth corner as seen in the picture
    #[arg(long, value_name = "X,Y;..", value_parser = points, allow_hyphen_values = true)]
    pub keypoints: Option<Points5>,
    /// Write the embedding as a NumPy array of float32
    #[arg(long, value_name = "F.npy")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub one: OneFaceArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface compare`
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyface compare passport.jpg door.jpg && echo same person")]
pub struct CompareArgs {
    /// First picture
    pub a: PathBuf,
    /// Second picture
    pub b: PathBuf,
    #[command(flatten)]
    pub threshold: ThresholdArgs,
    #[command(flatten)]
    pub one: OneFaceArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface enroll`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyface enroll --gallery door.kfgallery 'Ana Ruiz' ana1.jpg ana2.jpg ana3.jpg
  keyface enroll --gallery door.kfgallery 'Ana Ruiz' --camera
  keyface enroll --gallery door.kfgallery 'Ana Ruiz' --camera=v4l2:driver=uvcvideo --preview now.jpg

With --camera the person is guided to some good shots from different sides; --force then replaces a person of that
name. The shots are fused into one template, each weighted by its landmark score. Nothing is written if any shot is
unusable, if the shots do not look like one person, or if somebody else in the gallery looks like this one.")]
pub struct EnrollArgs {
    #[command(flatten)]
    pub gallery: GalleryArgs,
    /// Name or badge number, up to 64 bytes
    pub name: String,
    /// Pictures of this person, one face each
    #[arg(required_unless_present = "camera", conflicts_with = "camera", value_name = "IMG", num_args = 1..=32)]
    pub pictures: Vec<PathBuf>,
    #[command(flatten)]
    pub live: CameraArgs,
    /// Shots to take with --camera
    #[arg(long, default_value_t = 5, requires = "camera", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub shots: u8,
    /// Accept poor shots and look-alikes
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub threshold: ThresholdArgs,
    #[command(flatten)]
    pub one: OneFaceArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface identify`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyface identify --gallery door.kfgallery visitor.jpg
  keyface identify --gallery door.kfgallery --camera --seconds 30")]
pub struct IdentifyArgs {
    #[command(flatten)]
    pub gallery: GalleryArgs,
    /// Picture with one face
    #[arg(value_name = "IMG", required_unless_present = "camera", conflicts_with = "camera")]
    pub picture: Option<PathBuf>,
    #[command(flatten)]
    pub live: CameraArgs,
    /// How long to look for somebody with --camera, 1 to 3600
    #[arg(long, default_value_t = 10, requires = "camera", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
    #[command(flatten)]
    pub threshold: ThresholdArgs,
    #[command(flatten)]
    pub one: OneFaceArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface migrate`
#[derive(Debug, Args)]
#[command(
    after_help = "Every picture is a visit: whoever is recognised under the old model with a margin lends it to the new one; after
--shots of them the person is enrolled anew. Until then the old templates stay in force. Without pictures it only says how many remain.
Keyface keeps no pictures; if you have chosen to keep some, they serve as visits.

Examples:
  keyface migrate --gallery door.kfgallery --from old.kfpack --pack new.kfpack visit1.jpg visit2.jpg
  keyface migrate --gallery door.kfgallery --from old.kfpack --pack new.kfpack --finish"
)]
pub struct MigrateArgs {
    #[command(flatten)]
    pub gallery: GalleryArgs,
    /// Pack under which the people were enrolled
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Visits, each with one face
    #[arg(value_name = "IMG")]
    pub pictures: Vec<PathBuf>,
    /// Confident visits that enrol a person anew
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub shots: u8,
    /// How far above the old threshold a visit must score
    #[arg(long, default_value_t = 0.1, value_parser = unit)]
    pub margin: f32,
    /// End the change: remove the templates of the old model
    #[arg(long)]
    pub finish: bool,
    /// With --finish: also where people remain, who are then forgotten
    #[arg(long, requires = "finish")]
    pub abandon: bool,
    #[command(flatten)]
    pub threshold: ThresholdArgs,
    #[command(flatten)]
    pub one: OneFaceArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface remove`
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    pub gallery: GalleryArgs,
    /// Name as enrolled
    pub name: String,
}

/// `keyface export`
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyface export --gallery door.kfgallery 'Ana Ruiz' --out ana.json

FILE is JSON: {\"name\", \"templates\": [{\"record\", \"model\", \"enrolled_ms\", \"components\": [..]}]}. It is biometric data in
clear and open to its owner only (mode 0600); a file that exists is not overwritten.")]
pub struct ExportArgs {
    #[command(flatten)]
    pub gallery: GalleryArgs,
    /// Name as enrolled
    pub name: String,
    /// The new file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `keyface eval`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyface eval pairs.txt --root aligned.tar --aligned
  keyface eval frame_pairs.txt --root frames.tar --json

PAIRS has a line 'FIRST SECOND 1' for two pictures of one person, 'FIRST SECOND 0' for two people; names are
looked up under --root. A pair with a picture that cannot be used (damaged, or no face found) scores -1, that
is, counts as refused, and is counted in 'failed'. Where a picture shows several faces, the one that is large
and near the middle is taken.")]
pub struct EvalArgs {
    /// List of pairs
    #[arg(value_name = "PAIRS")]
    pub pairs: PathBuf,
    /// Folder or tar archive with the pictures
    #[arg(long, value_name = "DIR|TAR")]
    pub root: PathBuf,
    /// The pictures are 112x112 crops that are aligned already
    #[arg(long)]
    pub aligned: bool,
    /// With --aligned: let the detector find the key points in the crop, in place of the alignment template's
    #[arg(long, requires = "aligned")]
    pub find_points: bool,
    /// Runs of the list; each is judged by the threshold that suits the others
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub folds: u16,
    /// Pictures embedded at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface affine`
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyface affine pairs.txt --root aligned.tar --plot affine.png

Every picture of the list is warped about its middle, by uniform draws from the seed, within
  light    rotation 10 degrees, scale 10 %, shift  5 % of the side
  medium   rotation 20 degrees, scale 20 %, shift 10 %
  heavy    rotation 30 degrees, scale 25 %, shift 12 %
and embedded as it is, once with the key points that the pack's own landmark network finds in the warped crop
('found'; the alignment template's where it finds no face), once with the template's points carried along
('carried').")]
pub struct AffineArgs {
    /// List of pairs, as for eval
    #[arg(value_name = "PAIRS")]
    pub pairs: PathBuf,
    /// Folder or tar archive with aligned 112x112 crops
    #[arg(long, value_name = "DIR|TAR")]
    pub root: PathBuf,
    /// Seed of the warps
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write a plot of the accuracies as PNG
    #[arg(long, value_name = "OUT.png")]
    pub plot: Option<PathBuf>,
    /// Runs of the list; each is judged by the threshold that suits the others
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub folds: u16,
    /// Pictures embedded at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface bench`
#[derive(Debug, Args)]
#[command(after_help = "KEYFACE_CPU=scalar keyface bench measures a lower CPU level.")]
pub struct BenchArgs {
    /// Timed repetitions; the median is reported
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub repeat: u16,
    /// Instead, say where an embedding's time goes: milliseconds, GMAC/s and share of the roofline per operator
    #[arg(long)]
    pub profile: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface pad-report`
#[derive(Debug, Args)]
#[command(
    after_help = "DIR holds a folder bona-fide and one folder for each species of attack, such as print or replay. Rates are those of
ISO/IEC 30107-3, each with the upper 95 % bound that its number of presentations allows. The SDK ships no such model.

Example:
  keyface pad-report recordings --onnx anti-spoof.onnx --side 80 --real-class 1"
)]
pub struct PadReportArgs {
    /// Folder with labelled pictures
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The passive model: planar RGB in -1..1, logits out
    #[arg(long, value_name = "FILE")]
    pub onnx: PathBuf,
    /// Side of the model's input in pixels
    #[arg(long, default_value_t = PassiveRules::USUAL.side as u16, value_parser = clap::value_parser!(u16).range(16..=512))]
    pub side: u16,
    /// Side of the crop over the longer side of the face's box
    #[arg(long, default_value_t = PassiveRules::USUAL.expand)]
    pub expand: f32,
    /// Which output stands for a live face, from 0
    #[arg(long, default_value_t = PassiveRules::USUAL.real_class as u8)]
    pub real_class: u8,
    /// Probability of a live face from which the answer is 'real'
    #[arg(long, default_value_t = PassiveRules::USUAL.real_from, value_parser = unit)]
    pub real_from: f32,
    /// Probability of a live face up to which the answer is 'spoof'
    #[arg(long, default_value_t = PassiveRules::USUAL.spoof_to, value_parser = unit)]
    pub spoof_to: f32,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface explain`
#[derive(Debug, Args)]
#[command(
    after_help = "The upper rows show every block and head; red draws the query patch (black square), blue pushes it away.
The lowest row shows how the chosen block and head follow the face when it is turned or scaled.

Examples:
  keyface explain face.jpg -o offsets.png
  keyface explain face.jpg -o eye.png --block 0 --head 2 --query 38,52"
)]
pub struct ExplainArgs {
    /// Picture, JPEG or PNG
    #[arg(value_name = "IMG")]
    pub picture: PathBuf,
    /// PNG to write
    #[arg(short, long, value_name = "OUT.png")]
    pub out: PathBuf,
    /// Transformer block of the lowest row, from 0 [default: the one with the strongest offsets]
    #[arg(long)]
    pub block: Option<usize>,
    /// Attention head of the lowest row, from 0 [default: the one with the strongest offsets]
    #[arg(long)]
    pub head: Option<usize>,
    /// Query position in pixels of the 112x112 crop [default: the nose]
    #[arg(long, value_name = "X,Y", value_parser = point)]
    pub query: Option<Point>,
    #[command(flatten)]
    pub one: OneFaceArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `keyface pack`
#[derive(Debug, Args)]
pub struct PackArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: PackCommand,
}

/// `keyface pack ..`
#[derive(Debug, Subcommand)]
pub enum PackCommand {
    /// Show what a pack holds, its licence and where its data came from
    Info {
        /// Pack file [default: the one built in]
        #[arg(env = "KEYFACE_PACK")]
        file: Option<PathBuf>,
    },
    /// Check digest, structure and signature, load the networks and run the golden vectors
    Verify {
        /// Pack file [default: the one built in]
        #[arg(env = "KEYFACE_PACK")]
        file: Option<PathBuf>,
        /// Accept only packs signed by this ed25519 public key, 64 hex digits
        #[arg(long, value_name = "HEX", value_parser = public_key)]
        key: Option<PublicKey>,
    },
}

/// `keyface board`
#[derive(Debug, Args)]
pub struct BoardArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BoardCommand,
}

/// `keyface board ..`
#[derive(Debug, Subcommand)]
pub enum BoardCommand {
    /// Show the board, its profile, video nodes, the camera that is taken and why, GPIO lines
    #[command(after_help = "Exits with 0 if a camera works, 1 if none does.

Example:
  keyface board probe
  keyface board probe --profile raspberry-pi-5 --json | jq .chosen")]
    Probe {
        /// Built-in profile, or a file that ends in .toml [default: the one for this board]
        #[arg(long, value_name = "NAME|FILE")]
        profile: Option<String>,
    },
    /// Take frames for some seconds and judge rate, timestamps, damage, exposure, flicker, sharpness, colour order
    Selftest(SelftestArgs),
}

/// `keyface board selftest`
#[derive(Debug, Args)]
#[command(after_help = SELFTEST_HELP.as_str())]
pub struct SelftestArgs {
    /// Which source
    #[arg(long, default_value = "board:", value_name = "SELECTION")]
    pub source: String,
    /// How long, 1 to 600
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub seconds: u16,
    /// Write the last frame as JPEG or PNG
    #[arg(long, value_name = "FILE")]
    pub preview: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
}

static SELFTEST_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "Sources:\n{FORMS}\n\nExits with 0 if the camera is fit, be it poor, and 1 if not.\n\nExample:\n  \
         keyface board selftest --source v4l2:driver=uvcvideo --preview now.jpg"
    )
});

/// An ed25519 public key.
pub type PublicKey = [u8; 32];

fn unit(text: &str) -> Result<f32, String> {
    number(text, 0.0, 1.0)
}

fn cosine(text: &str) -> Result<f32, String> {
    number(text, -1.0, 1.0)
}

fn number(text: &str, low: f32, high: f32) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => Err(format!("not a number from {low} to {high}")),
    }
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let all_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes
        .filter(|_| all_hex)
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| "not 64 hex digits".to_owned())
}

fn coordinates(text: &str) -> Option<Point> {
    let (x, y) = text.split_once(',')?;
    let point = Point::new(x.trim().parse().ok()?, y.trim().parse().ok()?);
    (point.x.abs() <= 1e5 && point.y.abs() <= 1e5).then_some(point)
}

fn point(text: &str) -> Result<Point, String> {
    coordinates(text).ok_or_else(|| "expected a point 'X,Y'".to_owned())
}

fn points(text: &str) -> Result<Points5, String> {
    let all: Option<Vec<Point>> = text.trim_end_matches(';').split(';').map(coordinates).collect();
    all.and_then(|p| p.try_into().ok())
        .ok_or_else(|| "expected five points 'X,Y;X,Y;X,Y;X,Y;X,Y'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn points_are_five_pairs() {
        let five = points("1,2;3,4; 5,6;7.5,8;-9,10").unwrap();
        assert_eq!(
            (five[0], five[3], five[4]),
            (Point::new(1.0, 2.0), Point::new(7.5, 8.0), Point::new(-9.0, 10.0))
        );
        for bad in [
            "",
            "1,2",
            "1,2;3,4;5,6;7,8;9",
            "1,2;3,4;5,6;7,8;9,nan",
            "1,2;3,4;5,6;7,8;9,10;11,12",
            "1,2;3,4;5,6;7,8;9,inf",
        ] {
            assert!(points(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_64_hex_digits() {
        assert_eq!(public_key(&"0f".repeat(32)).unwrap(), [15; 32]);
        for bad in ["", "0f", &"0g".repeat(32), &"+f".repeat(32), &"0f".repeat(33), "é"] {
            assert!(public_key(bad).is_err(), "{bad}");
        }
    }
}
