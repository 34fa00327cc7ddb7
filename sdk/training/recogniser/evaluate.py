"""Verification figures on LFW's development pairs, aligned and under random affine change.

    python -m recogniser.evaluate --checkpoint RUN/last.pt [--affine]
"""
from __future__ import annotations

import argparse
import json
import math
import pathlib

import numpy as np
import torch

from .data import SIZE, TEMPLATE, read_tar, warp
from .model import Recogniser, normalise

# rotation in degrees, scale, shift as a part of the side
AFFINE = {"light": (10, 0.10, 0.05), "medium": (20, 0.20, 0.10), "heavy": (30, 0.25, 0.12)}


class Pairs:
    """`pairs.txt` (`A.jpg B.jpg same`) beside `aligned.tar` of 112x112 crops."""

    def __init__(self, root: str | pathlib.Path):
        root = pathlib.Path(root)
        rows = [line.split() for line in (root / "pairs.txt").read_text().splitlines() if line.strip()]
        pictures = read_tar(root / "aligned.tar")
        names = sorted({n for r in rows for n in r[:2]})
        at = {n: i for i, n in enumerate(names)}
        self.images = torch.from_numpy(np.stack([pictures[n].transpose(2, 0, 1) for n in names]))
        self.a = np.array([at[r[0]] for r in rows])
        self.b = np.array([at[r[1]] for r in rows])
        self.same = np.array([r[2] == "1" for r in rows])
        self.folds = lfw_folds(self.same)


def lfw_folds(same: np.ndarray, fold: int = 600) -> np.ndarray:
    """LFW's folds hold 300 genuine and 300 impostor pairs; fewer pairs are halved class by class."""
    if len(same) >= 2 * fold and all(same[i : i + fold].sum() * 2 == fold for i in range(0, len(same), fold)):
        return np.arange(len(same)) // fold
    folds = np.zeros(len(same), int)
    for kind in (True, False):
        folds[np.flatnonzero(same == kind)[1::2]] = 1
    return folds


@torch.no_grad()
def embed(model: Recogniser, images: torch.Tensor, keypoints: torch.Tensor, batch: int = 64) -> np.ndarray:
    """Unit embeddings of uint8 (or 0..255 float) images."""
    model.eval()
    out = [model(normalise(x), k) for x, k in zip(images.split(batch), keypoints.split(batch))]
    return torch.nn.functional.normalize(torch.cat(out)).numpy()


def best_threshold(score, same) -> float:
    """The threshold of highest accuracy, midway between neighbouring scores."""
    order = np.argsort(-score)
    right = np.concatenate([[0], np.cumsum(np.where(same[order], 1, -1))]) + (~same).sum()
    best = int(right.argmax())
    s = np.concatenate([[score.max() + 1e-3], score[order], [score.min() - 1e-3]])
    return float((s[best] + s[best + 1]) / 2)


def correct(score, same, folds) -> np.ndarray:
    """Per pair: decided rightly at the threshold chosen on the other folds?"""
    out = np.zeros(len(same), bool)
    for f in np.unique(folds):
        here = folds == f
        out[here] = (score[here] > best_threshold(score[~here], same[~here])) == same[here]
    return out


def accuracy(score, same, folds) -> float:
    """Threshold chosen on the other folds, accuracy averaged over the folds."""
    right = correct(score, same, folds)
    return float(np.mean([right[folds == f].mean() for f in np.unique(folds)]))


def tar_at_far(score, same, far: float) -> float:
    impostor = np.sort(score[~same])[::-1]
    return float((score[same] > impostor[int(far * len(impostor))]).mean())


def wilson(p: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a proportion."""
    mid, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (mid - half) / (1 + z * z / n), (mid + half) / (1 + z * z / n)


def figures(pairs: Pairs, score) -> dict:
    acc = accuracy(score, pairs.same, pairs.folds)
    return {
        "accuracy": round(acc, 5),
        "interval": [round(v, 4) for v in wilson(acc, len(score))],
        "tar_at_far_1e-2": round(tar_at_far(score, pairs.same, 1e-2), 4),
        "threshold": round(best_threshold(score, pairs.same), 4),
    }


def template(n: int) -> torch.Tensor:
    return torch.from_numpy(TEMPLATE / SIZE).expand(n, 5, 2)


def aligned_scores(model, pairs: Pairs) -> np.ndarray:
    e = embed(model, pairs.images, template(len(pairs.images)))
    return (e[pairs.a] * e[pairs.b]).sum(1)


def aligned(model, pairs: Pairs) -> dict:
    return figures(pairs, aligned_scores(model, pairs))


def warped_scores(model, pairs: Pairs, level: str, seed: int = 1, seen=lambda points, gen: points) -> np.ndarray:
    """Cosine of each pair, every picture warped on its own. `seen` makes what the network is told of the points, which
    were carried along exactly: [n,5,2] pixels of the crop in and out."""
    angle, scale, shift = AFFINE[level]
    gen = torch.Generator().manual_seed(seed)
    out = []
    for side in (pairs.a, pairs.b):
        n = len(side)
        u = torch.rand(n, 4, generator=gen) * 2 - 1
        theta, factor = u[:, 0] * angle * math.pi / 180, 1 / (1 + u[:, 1] * scale)
        c, s = torch.cos(theta) * factor, torch.sin(theta) * factor
        matrix = torch.stack([c, -s, s, c], -1).reshape(n, 2, 2)
        points = torch.from_numpy(TEMPLATE).expand(n, 5, 2)
        x, moved = warp(pairs.images[side].float(), points, matrix, u[:, 2:] * shift * SIZE, offset=0)
        out.append(embed(model, x, seen(moved, torch.Generator().manual_seed(seed + 1)) / SIZE))
    return (out[0] * out[1]).sum(1)


def on_template(points, _gen):
    """Points that say nothing: the template's own, whatever the picture shows."""
    return torch.from_numpy(TEMPLATE).expand_as(points)


def main() -> None:
    from .train import load_ema

    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--lfw", default="../../shared/data/lfw_dev")
    p.add_argument("--affine", action="store_true", help="also light / medium / heavy, with exact and with template points")
    a = p.parse_args()
    model, pairs = load_ema(a.checkpoint)[0], Pairs(a.lfw)
    result = {"pairs": len(pairs.same), "aligned": aligned(model, pairs)}
    for level in AFFINE if a.affine else ():
        result[level] = figures(pairs, warped_scores(model, pairs, level))
        result[f"{level}_template_points"] = figures(pairs, warped_scores(model, pairs, level, seen=on_template))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
