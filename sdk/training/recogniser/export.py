"""Checkpoint -> what the Rust side reads.

    python -m recogniser.export --checkpoint RUN/last.pt --out DIR [--lfw DIR [--affine]]
    python -m recogniser.export --random --out DIR

Writes `recogniser.safetensors` (averaged weights, large matrices as float16), `recogniser.json` (configuration and
training facts) and `recogniser_vectors.npz` (synthetic pictures and what PyTorch computes on them). The rounding to
float16 is applied to the model before anything is measured or computed.
"""
from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from . import evaluate
from .data import SIZE, TEMPLATE
from .model import Config, Recogniser, load_tensors, macs, normalise

HALF_FROM = 4096                               # elements; smaller tensors stay float32


def stored(model: Recogniser) -> dict:
    """The tensors as written, by name."""
    out = {}
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value = value.reshape(1)           # as in the published files
        elif value.ndim >= 2 and value.numel() >= HALF_FROM:
            value = value.half()
        out[name] = value.contiguous().clone()
    return out


def synthetic(seed: int = 7, n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Noise, gradients and blobs, with plausible key points. No face of anybody."""
    g = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    images = []
    for i in range(n):
        a, b, c = g.uniform(-3, 3, (3, 3, 1, 1))
        wave = 0.5 + 0.5 * np.sin(a + 2 * b * x + 2 * c * y + 4 * g.uniform(0, 1) * x * y)
        blob = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / g.uniform(0.02, 0.2))
        noise = g.random((3, SIZE, SIZE)) if i % 2 else g.random((3, 14, 14)).repeat(8, 1).repeat(8, 2)
        images.append(0.5 * wave + 0.25 * blob + 0.25 * noise)
    images = np.clip(np.stack(images) * 255, 0, 255).astype(np.uint8)
    points = (TEMPLATE + g.normal(0, 4, (n, 5, 2))) / SIZE
    return images, points.astype(np.float32)


@torch.no_grad()
def enliven(model: Recogniser) -> Recogniser:
    """Random values of a size at which every tensor shows in the output: no zeros, no ones, no fading."""
    for name, value in model.state_dict().items():
        if "keypoint_linear" in name or "lookup_table" in name:
            value.normal_(0, 0.5)
        elif value.ndim >= 2 and "pos_embed" not in name:
            value.normal_(0, value[0].numel() ** -0.5)
        elif value.is_floating_point():
            value += 0.1 * torch.rand_like(value)
    return model


def export(model: Recogniser, out: pathlib.Path, facts: dict) -> Recogniser:
    """Write the three files; returns the model as stored, with rounded weights."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(stored(model), out / "recogniser.safetensors", metadata={"format": "pt"})
    (out / "recogniser.safetensors").chmod(0o644)
    rounded = Recogniser(model.cfg)
    load_tensors(rounded, load_file(out / "recogniser.safetensors"))
    rounded.eval()
    text = {
        "config": model.cfg.to_dict(),
        "outputs": "embedding before L2 normalisation, float32 [N,output_dim]; block_out float32 [depth,N,tokens,embed_dim]",
        "image": "uint8 RGB [N,3,112,112]; network input is (x/255-0.5)/0.5",
        "keypoints": "[N,5,2] x,y in 0..1 of the crop: left eye, right eye, nose, left mouth, right mouth",
        "parameters": sum(p.numel() for p in model.parameters()),
        "mmac": round(macs(model.cfg) / 1e6, 1),
        "training": facts,
    }
    (out / "recogniser.json").write_text(json.dumps(text, indent=1) + "\n")
    image, points = synthetic()
    trace: list = []
    with torch.no_grad():
        embedding = rounded(normalise(torch.from_numpy(image)), torch.from_numpy(points), trace)
    np.savez_compressed(
        out / "recogniser_vectors.npz", image=image, keypoints=points, embedding=embedding.numpy(),
        block_out=torch.stack(trace).numpy(),
    )
    return rounded


def main() -> None:
    from .train import load_ema

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint")
    source.add_argument("--random", action="store_true", help="untrained weights, for whoever needs the files early")
    p.add_argument("--out", required=True, type=pathlib.Path)
    p.add_argument("--lfw", help="folder of pairs.txt and aligned.tar: measure what was written")
    p.add_argument("--affine", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(1)
    if a.random:
        torch.manual_seed(0)
        model, facts = Recogniser(Config()), {"note": "random weights"}
        enliven(model)
    else:
        model, state = load_ema(a.checkpoint)
        given = state["args"]
        facts = {
            "data": "research crops of CelebA, UTKFace, the Sun-2013 landmark set and FIW (35,550), teacher MobileFaceNet",
            "use": "evaluation and development only",
            "samples": state["samples"], "steps": state["step"], "seconds": round(state["seconds"]),
            **{k: given[k] for k in ("seed", "batch", "lr", "weight_decay", "relation", "ema", "strong")},
        }
    rounded = export(model.eval(), a.out, facts)
    if a.lfw:
        pairs = evaluate.Pairs(a.lfw)
        facts["lfw_dev"] = {"pairs": len(pairs.same), "aligned": evaluate.aligned(rounded, pairs)}
        for level in evaluate.AFFINE if a.affine else ():
            facts["lfw_dev"][level] = evaluate.figures(pairs, evaluate.warped_scores(rounded, pairs, level))
        export(model, a.out, facts)
        print(json.dumps(facts["lfw_dev"], indent=1))


if __name__ == "__main__":
    main()
