"""Makes the fixtures beside it: what the PyTorch reference computes on small networks of hash-made weights.

    OMP_NUM_THREADS=1 python make_golden.py

Weights and inputs follow from names alone (`number`, repeated in ../networks.rs), so only outputs are stored:
`KIND.npz` with `embedding` [2,24] and `block_out` [2,2,49,32] (float32), and `kinds.json` with configurations and shapes.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "training"))
from recogniser.model import Config, Recogniser, irpe, kprpe, load_tensors, normalise  # noqa: E402

FORMS = ["rel_keypoint_splithead_unshared", "rel_keypoint_splithead", "rel_keypoint_unshared", "rel_keypoint", "keypoint"]


def number(name: str, count: int) -> np.ndarray:
    """`count` numbers in -0.5..0.5: FNV-1a of the name, then splitmix64."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        x = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5


def tensor(name: str, shape: list) -> np.ndarray:
    u, leaf = number(name, int(np.prod(shape))), name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if "keypoint_linear" in name:
        u = u * (2.5 if leaf == "weight" else 1.0)
    elif leaf == "running_var":
        u = u + 1.0
    elif leaf in ("bias", "running_mean"):
        u = u * 0.3
    elif leaf == "pos_embed" or "lookup_table" in name:
        u = u * 0.7
    elif len(shape) == 1:
        u = u * 0.6 + 1.0
    else:
        u = u * math.sqrt(12.0 / int(np.prod(shape[1:])))
    return u.astype(np.float32).reshape(shape)


def main() -> None:
    small = dict(embed_dim=32, depth=2, mlp_ratio=2, num_heads=2, patch_size=16, output_dim=24, head_hidden=16)
    patch = dict(small, stem="patch", stem_channels=[])
    kinds = {f"kprpe_{form}": dict(patch, rpe_config=kprpe(form)) for form in FORMS}
    kinds |= {f"kprpe_{n}keypoints": dict(patch, rpe_config=kprpe(num_keypoints=n)) for n in (2, 3, 4)}
    kinds["vit"] = dict(patch, rpe_config=None)
    kinds["irpe_k"] = dict(patch, rpe_config=irpe())
    kinds["conv_stem"] = dict(small, stem="conv", stem_channels=[4, 8, 16, 32])
    image = ((number("image", 2 * 3 * 112 * 112) + 0.5) * 256).astype(np.uint8).reshape(2, 3, 112, 112)
    keypoints = (number("keypoints", 20) + 0.5).astype(np.float32).reshape(2, 5, 2)
    described = {}
    for kind, config in kinds.items():
        model = Recogniser(Config(**config)).eval()
        shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
        load_tensors(model, {name: tensor(name, shape) for name, shape in shapes.items()})
        trace: list = []
        with torch.no_grad():
            embedding = model(normalise(torch.from_numpy(image)), torch.from_numpy(keypoints), trace)
        np.savez_compressed(HERE / f"{kind}.npz", embedding=embedding.numpy(), block_out=torch.stack(trace).numpy())
        described[kind] = dict(config=model.cfg.to_dict(), shapes=shapes)
    (HERE / "kinds.json").write_text(json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
