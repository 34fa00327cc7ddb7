//! The architecture behind a recogniser checkpoint, inferred from its tensors.

use crate::checkpoint::Checkpoint;
use crate::config::Config;
use anyhow::{bail, ensure, Context, Result};
use keyface::pack::{InputConvention, KeypointForm, Precision, RecogniserManifest, Rpe, Stem};
use std::collections::BTreeMap;

/// Buckets of a relative-position table: 7 row offsets by 7 column offsets.
pub const BUCKETS: usize = 49;

/// Head width of the published networks, assumed where neither tensors nor configuration say.
const PUBLISHED_HEAD_DIM: usize = 64;

/// An architecture and what had to be assumed to arrive at it.
#[derive(Debug, Clone)]
pub struct Network {
    /// Dimensions; `precision` is f32 and `model_id` zero until a pack is assembled.
    pub manifest: RecogniserManifest,
    /// Sentences for the person who imports; empty when tensors and configuration settled everything.
    pub assumed: Vec<String>,
}

impl Network {
    /// Infers every dimension from the tensors' shapes and checks that exactly the expected tensors are there.
    ///
    /// # Errors
    /// Names every missing, extra or misshapen tensor (at most ten of each), or the contradiction between tensors and
    /// configuration.
    pub fn infer(checkpoint: &Checkpoint, config: &Config) -> Result<Network> {
        let mut assumed = Vec::new();
        let need = |name: &str, rank: usize| {
            let shape = checkpoint.shape(name).with_context(|| {
                format!("tensor {name} is missing: this is no recogniser this tool knows")
            })?;
            ensure!(
                shape.len() == rank,
                "tensor {name} has shape {shape:?}, not {rank} dimensions"
            );
            Ok(shape)
        };
        let position = need("pos_embed", 3)?;
        let (tokens, embed_dim) = (position[1], position[2]);
        let grid = tokens.isqrt();
        ensure!(grid > 0 && grid * grid == tokens, "pos_embed has {tokens} tokens: no square grid");
        let stem = stem(checkpoint)?;
        let depth = checkpoint.entries().keys().filter_map(|n| block_of(n)).max();
        let depth = depth.context("there are no blocks")? + 1;
        let rpe = rpe(checkpoint, config, depth, &mut assumed)?;
        let num_heads = heads(checkpoint, config, embed_dim, depth, rpe, &mut assumed)?;
        let manifest = RecogniserManifest {
            input_size: grid * stem.stride(),
            input: InputConvention::RgbHalf,
            preprocessing: keyface::PREPROCESSING_VERSION,
            precision: Precision::F32,
            stem,
            embed_dim,
            depth,
            num_heads,
            mlp_dim: need("blocks.0.mlp.fc1.weight", 2)?[0],
            hidden_dim: need("feature.0.weight", 2)?[0],
            output_dim: need("feature.2.weight", 2)?[0],
            rpe,
            model_id: "0".repeat(64),
        };
        compare_with_config(&manifest, config)?;
        check_tensors(checkpoint, &manifest)?;
        Ok(Network { manifest, assumed })
    }
}

fn block_of(name: &str) -> Option<usize> {
    name.strip_prefix("blocks.")?.split('.').next()?.parse().ok().filter(|b| *b < 4096)
}

fn stem(checkpoint: &Checkpoint) -> Result<Stem> {
    if let Some(shape) = checkpoint.shape("patch_embed.proj.weight") {
        let &[_, 3, size, side] = shape else {
            bail!("tensor patch_embed.proj.weight has shape {shape:?}");
        };
        ensure!(size == side, "patches of {size} by {side} are not supported");
        return Ok(Stem::Patch { size });
    }
    let channels: Vec<usize> = (0..)
        .map_while(|i| checkpoint.shape(&format!("stem.{i}.conv.weight")))
        .map(|shape| shape.first().copied().unwrap_or(0))
        .collect();
    ensure!(
        !channels.is_empty(),
        "neither patch_embed.proj.weight nor stem.0.conv.weight exists: this is no recogniser this tool knows"
    );
    Ok(Stem::Conv { channels })
}

fn rpe(
    checkpoint: &Checkpoint,
    config: &Config,
    depth: usize,
    assumed: &mut Vec<String>,
) -> Result<Rpe> {
    let stated = config.rpe()?;
    let has = |leaf: &str| {
        checkpoint.shape(&format!("blocks.0.attn.{leaf}.lookup_table_weight")).is_some()
    };
    let found = if let Some(shape) = checkpoint.shape("keypoint_linear.weight") {
        let &[rows, inputs] = shape else {
            bail!("tensor keypoint_linear.weight has shape {shape:?}");
        };
        ensure!(
            rows > 0 && rows % BUCKETS == 0 && inputs % 2 == 0 && (4..=10).contains(&inputs),
            "tensor keypoint_linear.weight has shape {shape:?}: not 49 rows per table, 2 columns per key point"
        );
        let tables = rows / BUCKETS;
        let form = match stated {
            Some(Rpe::Kprpe { form, .. }) => form,
            _ => {
                let form = guess_form(tables, depth);
                assumed.push(format!(
                    "key-point tables are of the kind {form:?} (no configuration given)"
                ));
                form
            }
        };
        Rpe::Kprpe { form, num_keypoints: inputs / 2 }
    } else if has("rpe_q") || has("rpe_v") {
        Rpe::IrpeQkv
    } else if has("rpe_k") {
        Rpe::IrpeK
    } else {
        Rpe::None
    };
    match stated {
        Some(stated) if stated != found => {
            bail!("the configuration says {stated:?}, the tensors say {found:?}")
        }
        _ => Ok(found),
    }
}

fn guess_form(tables: usize, depth: usize) -> KeypointForm {
    if tables == 1 {
        KeypointForm::RelKeypoint
    } else if tables == depth {
        KeypointForm::RelKeypointUnshared
    } else if tables.is_multiple_of(depth) {
        KeypointForm::RelKeypointSplitheadUnshared
    } else {
        KeypointForm::RelKeypointSplithead
    }
}

fn heads(
    checkpoint: &Checkpoint,
    config: &Config,
    embed_dim: usize,
    depth: usize,
    rpe: Rpe,
    assumed: &mut Vec<String>,
) -> Result<usize> {
    let tables = checkpoint.shape("keypoint_linear.weight").map_or(0, |s| s[0] / BUCKETS);
    let from_tensors = match rpe {
        Rpe::Kprpe { form, .. } if form.per_head() => {
            Some(if form.per_block() { tables / depth } else { tables })
        }
        Rpe::IrpeK | Rpe::IrpeQkv => checkpoint
            .shape("blocks.0.attn.rpe_k.lookup_table_weight")
            .and_then(|s| (s.len() == 3 && s[1] > 0).then(|| embed_dim / s[1])),
        _ => None,
    };
    let heads = match (from_tensors, config.num_heads) {
        (Some(found), Some(stated)) if found != stated => {
            bail!("the configuration says {stated} heads, the tensors say {found}")
        }
        (Some(heads), _) | (None, Some(heads)) => heads,
        (None, None) => {
            let heads = (embed_dim / PUBLISHED_HEAD_DIM).max(1);
            assumed.push(format!(
                "{heads} heads, as in the published networks (the tensors do not say)"
            ));
            heads
        }
    };
    ensure!(
        heads > 0 && embed_dim.is_multiple_of(heads),
        "{heads} heads do not divide width {embed_dim}"
    );
    Ok(heads)
}

fn compare_with_config(m: &RecogniserManifest, config: &Config) -> Result<()> {
    let stated = [
        ("embed_dim", config.embed_dim, m.embed_dim),
        ("depth", config.depth, m.depth),
        ("patch_size", config.patch_size, m.stem.stride()),
        ("output_dim", config.output_dim, m.output_dim),
        ("input_size", config.input_side(), m.input_size),
    ];
    for (name, stated, found) in stated {
        if let Some(stated) = stated {
            ensure!(
                stated == found,
                "the configuration says {name} {stated}, the tensors say {found}"
            );
        }
    }
    Ok(())
}

/// Every tensor of a checkpoint of this architecture; counters of batch norms are left out.
fn expected(m: &RecogniserManifest) -> BTreeMap<String, Vec<usize>> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        all.insert(name, shape.to_vec());
    };
    let (d, tokens) = (m.embed_dim, m.tokens());
    add("pos_embed".into(), &[1, tokens, d]);
    match &m.stem {
        Stem::Patch { size } => {
            add("patch_embed.proj.weight".into(), &[d, 3, *size, *size]);
            add("patch_embed.proj.bias".into(), &[d]);
        }
        Stem::Conv { channels } => {
            let mut from = 3;
            for (i, &to) in channels.iter().enumerate() {
                add(format!("stem.{i}.conv.weight"), &[to, from, 3, 3]);
                for leaf in ["weight", "bias", "running_mean", "running_var"] {
                    add(format!("stem.{i}.bn.{leaf}"), &[to]);
                }
                from = to;
            }
        }
    }
    let table_shapes: &[(&str, bool)] = match m.rpe {
        Rpe::IrpeK => &[("rpe_k", false)],
        Rpe::IrpeQkv => &[("rpe_k", false), ("rpe_q", false), ("rpe_v", true)],
        _ => &[],
    };
    for b in 0..m.depth {
        let mut block = |leaf: &str, shape: &[usize]| add(format!("blocks.{b}.{leaf}"), shape);
        for norm in ["norm1", "norm2"] {
            block(&format!("{norm}.weight"), &[d]);
            block(&format!("{norm}.bias"), &[d]);
        }
        block("attn.qkv.weight", &[3 * d, d]);
        block("attn.proj.weight", &[d, d]);
        block("attn.proj.bias", &[d]);
        block("mlp.fc1.weight", &[m.mlp_dim, d]);
        block("mlp.fc1.bias", &[m.mlp_dim]);
        block("mlp.fc2.weight", &[d, m.mlp_dim]);
        block("mlp.fc2.bias", &[d]);
        for (leaf, values) in table_shapes {
            let head = d / m.num_heads;
            let shape = if *values { [1, BUCKETS, head] } else { [1, head, BUCKETS] };
            block(&format!("attn.{leaf}.lookup_table_weight"), &shape);
        }
    }
    for leaf in ["weight", "bias"] {
        add(format!("norm.{leaf}"), &[d]);
    }
    add("feature.0.weight".into(), &[m.hidden_dim, tokens * d]);
    add("feature.2.weight".into(), &[m.output_dim, m.hidden_dim]);
    for leaf in ["weight", "bias", "running_mean", "running_var"] {
        add(format!("feature.1.{leaf}"), &[m.hidden_dim]);
        add(format!("feature.3.{leaf}"), &[m.output_dim]);
    }
    if let Rpe::Kprpe { form, num_keypoints } = m.rpe {
        let tables = if form.per_head() { m.num_heads } else { 1 }
            * if form.per_block() { m.depth } else { 1 };
        add("keypoint_linear.weight".into(), &[BUCKETS * tables, 2 * num_keypoints]);
        add("keypoint_linear.bias".into(), &[BUCKETS * tables]);
    }
    all
}

fn check_tensors(checkpoint: &Checkpoint, m: &RecogniserManifest) -> Result<()> {
    check_against(checkpoint, &expected(m), |name, found, want| {
        // iRPE tables of their own for every head
        name.ends_with("lookup_table_weight")
            && found.len() == 3
            && found[0] == m.num_heads
            && found[1..] == want[1..]
    })
}

/// Compares a checkpoint's tensors with the expected ones; `also` may accept another shape.
pub(crate) fn check_against(
    checkpoint: &Checkpoint,
    expected: &BTreeMap<String, Vec<usize>>,
    also: impl Fn(&str, &[usize], &[usize]) -> bool,
) -> Result<()> {
    let mut problems = Vec::new();
    let missing: Vec<_> =
        expected.keys().filter(|n| checkpoint.shape(n).is_none()).map(String::as_str).collect();
    let extra: Vec<_> = checkpoint
        .entries()
        .keys()
        .filter(|n| !expected.contains_key(*n) && !n.ends_with("num_batches_tracked"))
        .map(String::as_str)
        .collect();
    list(&mut problems, "missing", &missing);
    list(&mut problems, "not expected", &extra);
    let misshapen: Vec<String> = expected
        .iter()
        .filter_map(|(name, want)| {
            let found = checkpoint.shape(name)?;
            (found != want.as_slice() && !also(name, found, want))
                .then(|| format!("{name} has shape {found:?}, not {want:?}"))
        })
        .collect();
    list(&mut problems, "misshapen", &misshapen.iter().map(String::as_str).collect::<Vec<_>>());
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

fn list(problems: &mut Vec<String>, what: &str, names: &[&str]) {
    const SHOWN: usize = 10;
    if !names.is_empty() {
        let more = names.len().saturating_sub(SHOWN);
        let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
        problems.push(format!("{what}: {}{tail}", names[..names.len() - more].join(", ")));
    }
}
