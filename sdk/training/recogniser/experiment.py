"""The paper's experiment at our scale: what relative position encoding by key points buys, and which part of it.

    python -m recogniser.experiment --data DATA --out RUNS            # train what is missing, then write the report
    python -m recogniser.experiment --data DATA --out RUNS --report   # from the runs that are there

One small network (convolutional stem, 49 tokens), trained from nothing with the same faces, steps, batches and augmentation (rotation of at most 7
degrees, scale 7 %, shift 3 %, mirroring, light and blur: nothing near the changes it is tested under); only the position encoding
differs. Every run is kept in RUNS/NAME-SEED and goes on where it was stopped. The report, EXPERIMENT.md and experiment.svg, goes to
--report-to.
"""
from __future__ import annotations

import argparse
import functools
import json
import pathlib

import numpy as np
import torch

from . import evaluate, train
from .data import SIZE, TEMPLATE
from .evaluate import AFFINE, aligned_scores, correct, on_template, warped_scores

BEST = "rel_keypoint_splithead_unshared"
NETWORK = "--stem-channels 16,32,64,96 --width 96 --depth 4 --heads 4 --mlp 3 --head-hidden 192".split()
BATCH = 48
RECIPE = f"--batch {BATCH} --lr 1e-2 --keypoint-rate 1.5 --warmup 50 --ema 0.99 --strong 0 --blind 0 --save-minutes 1 --eval-minutes 1000".split()
MAIN = ("ViT", "ViT + iRPE", "ViT + KP-RPE")
VARIANTS = {                                    # name: (encoding, key points)
    "ViT": ("none", 5),
    "ViT + iRPE": ("irpe", 5),
    "ViT + KP-RPE": (BEST, 5),
    "shared table": ("rel_keypoint", 5),
    "table per head": ("rel_keypoint_splithead", 5),
    "table per block": ("rel_keypoint_unshared", 5),
    "absolute key points": ("keypoint", 5),
    "4 key points": (BEST, 4),
    "3 key points": (BEST, 3),
    "2 key points": (BEST, 2),
}
LEVELS = ("aligned", *AFFINE)


def noisy(points, gen, sigma: float):
    return points + torch.randn(points.shape, generator=gen) * sigma


def without(points, _gen, lost: list, fill: bool):
    """Some key points lost: left on the template, or, with `fill`, put where the similarity of the others puts them."""
    out = points.clone()
    template = torch.from_numpy(TEMPLATE)
    out[:, lost] = template[lost]
    if fill:
        kept = [i for i in range(5) if i not in lost]
        a, b = template[kept], points[:, kept]
        a, centre = a - a.mean(0), b.mean(1, keepdim=True)
        b = b - centre
        cos = (b * a).sum((1, 2)) / a.square().sum()
        sin = (b[..., 1] * a[:, 0] - b[..., 0] * a[:, 1]).sum(1) / a.square().sum()
        rest = template[lost] - template[kept].mean(0)
        turned = torch.stack([cos[:, None] * rest[:, 0] - sin[:, None] * rest[:, 1],
                              sin[:, None] * rest[:, 0] + cos[:, None] * rest[:, 1]], -1)
        out[:, lost] = turned + centre
    return out


# What the trained KP-RPE network is told of the points, under heavy affine change, in place of the exact ones.
TOLD = {
    **{f"noise of {s} px": functools.partial(noisy, sigma=s) for s in (1, 2, 4)},
    "nose lost, on the template": functools.partial(without, lost=[2], fill=False),
    "nose lost, from the others": functools.partial(without, lost=[2], fill=True),
    "mouth lost, on the template": functools.partial(without, lost=[3, 4], fill=False),
    "mouth lost, from the others": functools.partial(without, lost=[3, 4], fill=True),
    "all lost, on the template": on_template,
}


def folder(out: pathlib.Path, name: str, seed: int) -> pathlib.Path:
    return out / f"{name.replace(' + ', '-').replace(' ', '-').lower()}-{seed}"


def finished(last: pathlib.Path, samples: int) -> bool:
    return last.exists() and torch.load(last, map_location="cpu", weights_only=True)["step"] >= samples // BATCH


def run(a, name: str, seed: int) -> pathlib.Path:
    """Train one network, unless it is there; returns its checkpoint."""
    out = folder(a.out, name, seed)
    last = out / "last.pt"
    if not finished(last, a.samples):
        rpe, points = VARIANTS[name]
        train.main([
            "--data", str(a.data), "--cache", str(a.cache or a.out / "cache" / "faces.npy"), "--out", str(out), "--resume",
            "--steps", str(a.samples // BATCH), "--seed", str(seed), "--rpe", rpe, "--num-keypoints", str(points), *NETWORK, *RECIPE,
        ])
    return last


def measured(checkpoint: pathlib.Path, pairs: evaluate.Pairs) -> dict:
    """Decided rightly or not, per pair: at each level with exact points, and under heavy change with what TOLD tells."""
    store = checkpoint.with_name("correct.npz")
    if store.exists() and store.stat().st_mtime > checkpoint.stat().st_mtime:
        return dict(np.load(store))
    model = train.load_ema(checkpoint)[0]
    right = lambda score: correct(score, pairs.same, pairs.folds)
    out = {"aligned": right(aligned_scores(model, pairs))}
    out |= {level: right(warped_scores(model, pairs, level)) for level in AFFINE}
    if "keypoint" in str(model.cfg.rpe_config) and checkpoint.parent.name.startswith("vit-kp-rpe"):
        out |= {told: right(warped_scores(model, pairs, "heavy", seen=seen)) for told, seen in TOLD.items()}
    np.savez(store, **out)
    return out


def interval(values: np.ndarray, seed: int = 1, draws: int = 4000) -> tuple[float, float, float]:
    """Mean and 95 % interval by bootstrap over pairs. values: [seeds, pairs]; the seeds of a pair stay together."""
    mean = values.mean(0)
    rng = np.random.default_rng(seed)
    means = mean[rng.integers(0, len(mean), (draws, len(mean)))].mean(1)
    return float(mean.mean()), *np.quantile(means, [0.025, 0.975]).tolist()


def percent(v: tuple, signed: bool = False) -> str:
    mid, low, high = (100 * x for x in v)
    sign = "+" if signed else ""
    return f"{mid:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def report(a, found: dict) -> str:
    """found: name -> list over seeds of the dict of `measured`."""
    stack = lambda name, key: np.stack([one[key] for one in found[name]]).astype(float)
    row = lambda cells: "| " + " | ".join(cells) + " |\n"
    head = lambda cells: row(cells) + row(["---"] * len(cells))
    seeds = lambda name: f"{len(found[name])}"
    text = f"""# The paper's experiment at our scale

Written by `python -m recogniser.experiment --samples {a.samples} --seeds {a.seeds}`; do not edit. KP-RPE (Kim et al., CVPR 2024) claims that position encoding by key points keeps
recognition working when faces are not aligned as in training. Here each network was trained from nothing on {a.samples:,} samples, {a.samples / 35_550:.1f}
passes over the same 35,550 faces, distilled from the same teacher, with mild augmentation only (rotation of at most 7 degrees, scale 7 %, shift 3 %). Network:
`{' '.join(NETWORK)}`. Recipe: `{' '.join(RECIPE)}`.

Accuracy in % on LFW's {len(next(iter(found.values()))[0]['aligned']):,} development pairs with 95 % intervals (bootstrap over pairs, mean of the seeds). Every
picture is warped on its own: light is 10 degrees, 10 % scale, 5 % shift; medium 20, 20, 10; heavy 30, 25, 12. Key points are carried along exactly.

"""
    text += head(["network", "seeds", *LEVELS])
    for name in MAIN:
        if name in found:
            text += row([name, seeds(name), *(percent(interval(stack(name, level))) for level in LEVELS)])
    text += "\n![accuracy under affine change](experiment.svg)\n\n## Does the claim hold?\n\nDifference in points, paired over pairs, same seeds:\n\n"
    text += head(["difference", *LEVELS])
    verdicts = []
    for better, base in (("ViT + KP-RPE", "ViT"), ("ViT + KP-RPE", "ViT + iRPE"), ("ViT + iRPE", "ViT")):
        if better in found and base in found:
            n = min(len(found[better]), len(found[base]))
            gaps = {level: interval(stack(better, level)[:n] - stack(base, level)[:n]) for level in LEVELS}
            text += row([f"{better} against {base}", *(percent(g, True) for g in gaps.values())])
            won = [level for level, g in gaps.items() if g[1] > 0]
            lost = [level for level, g in gaps.items() if g[2] < 0]
            open_ = [level for level in LEVELS if level not in won + lost]
            words = [f"{word} on {', '.join(levels)}" for word, levels in (("better", won), ("worse", lost), ("undecided", open_)) if levels]
            verdicts.append(f"- {better} against {base}: {'; '.join(words)}.")
    text += "\nWhere the interval excludes 0:\n\n" + "\n".join(verdicts) + "\n"
    rest = [name for name in VARIANTS if name in found and name not in MAIN]
    if rest:
        text += "\n## Which part of it\n\nSeed 1 of each; the first two rows are for comparison.\n\n" + head(["network", *LEVELS])
        for name in ("ViT", "ViT + KP-RPE", *rest):
            text += row([name, *(percent(interval(stack(name, level)[:1])) for level in LEVELS)])
        if "absolute key points" in found:
            text += """
With absolute key points the published code adds the same number to all keys of a query, which the softmax cancels: that network computes what a
plain ViT computes. Its row, which differs from ViT's by the random start alone, shows how much of a difference is chance.
"""
    if "ViT + KP-RPE" in found:
        text += "\n## What if the points are wrong or missing?\n\nKP-RPE under heavy change:\n\n" + head(["points told to the network", "accuracy", "against exact points"])
        exact = stack("ViT + KP-RPE", "heavy")
        for told in ("heavy", *TOLD):
            one = stack("ViT + KP-RPE", told)
            text += row(["exact" if told == "heavy" else told, percent(interval(one)), percent(interval(one - exact), True)])
        text += """
The landmark network of the SDK always gives five points, with a score that falls when they are wrong. An integrator whose own detector lacks
some fits the template to those it has and fills in the rest ("from the others"); with fewer than two the template's points stand for all five, as for
an aligned crop that is handed in without points.
"""
    return text


def plot(found: dict) -> str:
    """Accuracy by level, with intervals, as SVG."""
    width, height, left, right, top, bottom = 640, 360, 52, 150, 16, 40
    stack = lambda name, key: np.stack([one[key] for one in found[name]]).astype(float)
    lines = {name: [interval(stack(name, level)) for level in LEVELS] for name in MAIN if name in found}
    low = np.floor(20 * min(p[1] for line in lines.values() for p in line)) / 20
    x = lambda i: left + (width - left - right) * (i + 0.5) / len(LEVELS)
    y = lambda v: top + (height - top - bottom) * (1 - (v - low) / (1 - low))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for tick in np.arange(low, 1.001, 0.05):
        out.append(f'<path d="M{left} {y(tick):.1f}H{width - right}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{100 * tick:.0f} %</text>')
    for i, level in enumerate(LEVELS):
        out.append(f'<text x="{x(i):.1f}" y="{height - bottom + 20}" text-anchor="middle">{level}</text>')
    for k, ((name, line), colour) in enumerate(zip(lines.items(), ("#666666", "#1f77b4", "#d62728"))):
        at = [(x(i) + 6 * (k - 1), p) for i, p in enumerate(line)]
        track = " ".join(f"{u:.1f},{y(p[0]):.1f}" for u, p in at)
        out.append(f'<polyline points="{track}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<path d="M{u:.1f} {y(p[1]):.1f}V{y(p[2]):.1f}" stroke="{colour}"/><circle cx="{u:.1f}" cy="{y(p[0]):.1f}" r="3.5" fill="{colour}"/>'
                for u, p in at]
        out.append(f'<text x="{width - right + 8}" y="{top + 20 + 18 * k}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=pathlib.Path, default=pathlib.Path("../../shared/data"))
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--cache", type=pathlib.Path, help="decoded crops (default: OUT/cache/faces.npy)")
    p.add_argument("--samples", type=int, default=24_000)
    p.add_argument("--seeds", default="1,2,3", help="of the three main networks; the others take the first")
    p.add_argument("--report", action="store_true", help="train nothing")
    p.add_argument("--report-to", type=pathlib.Path, default=pathlib.Path("."))
    a = p.parse_args()
    seeds = [int(s) for s in a.seeds.split(",")]
    # First one seed of everything: a run that is cut short still says something about each.
    order = [(n, seeds[0]) for n in MAIN] + [(n, s) for s in seeds[1:] for n in MAIN]
    order[3:3] = [(n, seeds[0]) for n in VARIANTS if n not in MAIN]
    if not a.report:
        for i, (name, seed) in enumerate(order):
            print(f"experiment: {i + 1} of {len(order)}: {name}, seed {seed}", flush=True)
            measured(run(a, name, seed), evaluate.Pairs(a.data / "lfw_dev"))
    pairs = evaluate.Pairs(a.data / "lfw_dev")
    found = {}
    for name, seed in order:
        last = folder(a.out, name, seed) / "last.pt"
        if finished(last, a.samples):
            found.setdefault(name, []).append(measured(last, pairs))
    if not set(MAIN) <= set(found):
        raise SystemExit("experiment: one of the three main networks has no finished run yet")
    (a.report_to / "EXPERIMENT.md").write_text(report(a, found))
    (a.report_to / "experiment.svg").write_text(plot(found))
    print(json.dumps({name: {key: round(float(np.mean([one[key] for one in runs])), 4) for key in runs[0]} for name, runs in found.items()}, indent=1))


if __name__ == "__main__":
    main()
