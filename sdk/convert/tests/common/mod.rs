//! Checkpoints made from names, and Python for peers.
#![allow(dead_code)] // each test program uses its part

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// `count` numbers in -0.5..0.5: FNV-1a of the name, then splitmix64; `golden/make_golden.py` computes the same.
pub fn numbers(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (1..=count as u64).map(move |i| {
        let x = hash.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 40) as f64 / f64::from(1 << 24) - 0.5
    })
}

/// The value of one tensor, as `golden/make_golden.py` makes it.
pub fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    let leaf = name.rsplit('.').next().unwrap();
    let (factor, offset) = if name.contains("keypoint_linear") {
        (if leaf == "weight" { 2.5 } else { 1.0 }, 0.0)
    } else if leaf == "running_var" {
        (1.0, 1.0)
    } else if leaf == "bias" || leaf == "running_mean" {
        (0.3, 0.0)
    } else if leaf == "pos_embed" || name.contains("lookup_table") {
        (0.7, 0.0)
    } else if shape.len() <= 1 {
        (0.6, 1.0)
    } else {
        ((12.0 / shape[1..].iter().product::<usize>() as f64).sqrt(), 0.0)
    };
    numbers(name, shape.iter().product()).map(|u| (u * factor + offset) as f32).collect()
}

/// Tensors of a kind of `golden/kinds.json`, in a form that tests may change before it is written.
pub struct Made {
    pub config: serde_json::Value,
    pub tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

pub fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

pub fn kinds() -> Vec<String> {
    described().as_object().unwrap().keys().cloned().collect()
}

fn described() -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(golden("kinds.json")).unwrap()).unwrap()
}

impl Made {
    pub fn of(kind: &str) -> Made {
        let all = described();
        let shapes = all[kind]["shapes"].as_object().unwrap();
        let tensors = shapes
            .iter()
            .map(|(name, shape)| {
                let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
                let values = tensor(name, &shape);
                (name.clone(), shape, values)
            })
            .collect();
        Made { config: all[kind]["config"].clone(), tensors }
    }

    /// Writes a safetensors file; counters of batch norms as I64.
    pub fn write(&self, path: &Path) {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, shape, values) in &self.tensors {
            let start = data.len();
            let counter = name.ends_with("num_batches_tracked");
            if counter {
                data.extend_from_slice(&5i64.to_le_bytes());
            } else {
                values.iter().for_each(|v| data.extend_from_slice(&v.to_le_bytes()));
            }
            let dtype = if counter { "I64" } else { "F32" };
            let offsets = [start, data.len()];
            let info = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
            header.insert(name.clone(), info);
        }
        header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
        let json = serde_json::to_vec(&header).unwrap();
        let mut file = (json.len() as u64).to_le_bytes().to_vec();
        file.extend(json);
        file.extend(data);
        std::fs::write(path, file).unwrap();
    }

    pub fn config(&self) -> keyface_convert::config::Config {
        keyface_convert::config::Config::parse(&self.config.to_string()).unwrap()
    }
}

/// `../shared/golden`, if this checkout has it beside it (or `KEYFACE_SHARED` names it).
pub fn shared_golden() -> Option<PathBuf> {
    let shared = std::env::var_os("KEYFACE_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let golden = shared.join("golden");
    golden.is_dir().then_some(golden)
}

/// A Python with numpy, safetensors and onnxruntime: the one `KEYFACE_PYTHON` names, or a virtual environment that this makes
/// once from the package index. `None`, and a line that says why, where that is impossible.
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(|| find_python().inspect_err(|why| eprintln!("skipped: {why}")).ok()).clone()
}

fn find_python() -> Result<PathBuf, String> {
    const MODULES: &str = "import numpy, safetensors, onnxruntime";
    let works = |python: &Path| {
        Command::new(python).args(["-c", MODULES]).output().is_ok_and(|o| o.status.success())
    };
    if let Some(given) = std::env::var_os("KEYFACE_PYTHON").map(PathBuf::from) {
        return if works(&given) {
            Ok(given)
        } else {
            Err(format!("{} lacks one of: {MODULES}", given.display()))
        };
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let python = folder.join("bin/python");
    if works(&python) {
        return Ok(python);
    }
    let run = |command: &mut Command, what: &str| match command.output() {
        Ok(o) if o.status.success() => Ok(()),
        Ok(o) => Err(format!("{what}: {}", String::from_utf8_lossy(&o.stderr).trim())),
        Err(e) => Err(format!("{what}: {e}")),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder), "no virtual environment")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]);
    run(pip.args(["numpy", "safetensors", "onnxruntime"]), "pip cannot install the peers")?;
    if works(&python) {
        Ok(python)
    } else {
        Err("the peers were installed but do not load".into())
    }
}
