"""Figures on the held-out tenth.

    python -m landmark.evaluate --data DATA --checkpoint RUN/last.pt --out figures.json
"""
from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from . import data as D
from .model import LandmarkNet, cells, decode

NMS_IOU = 0.45
SAME_IOU = 0.7          # cells whose boxes overlap the best one's by more see the same face: their points are averaged


@dataclass
class Found:
    score: np.ndarray       # [n], falling
    box: np.ndarray         # [n, 4] x0 y0 x1 y1
    points: np.ndarray      # [n, 5, 2]


@dataclass
class HeldOut:
    scenes: list[D.Picture]
    crops: D.Crops
    index: np.ndarray       # the held-out hand-labelled crops
    seed: int


def held_out_set(scenes: list[D.Picture], crops: D.Crops, seed: int) -> HeldOut:
    hand = ~np.isnan(crops.manual).any((1, 2))
    index = np.array([i for i in np.flatnonzero(hand) if D.held_out(crops.ids[i], seed)], int)
    return HeldOut([s for s in scenes if D.held_out(s.ident, seed)], crops, index, seed)


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    wh = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0)
    inter = wh.prod(1)
    area = lambda b: (b[..., 2:] - b[..., :2]).prod(-1)
    return inter / (area(box) + area(boxes) - inter + 1e-9)


def nms(score: np.ndarray, box: np.ndarray, limit: float = NMS_IOU) -> list[int]:
    keep, order = [], np.argsort(-score, kind="stable")
    while len(order):
        i, order = order[0], order[1:]
        keep.append(int(i))
        order = order[iou(box[i], box[order]) < limit]
    return keep


@torch.no_grad()
def detect(net: LandmarkNet, pixels: np.ndarray, floor: float = 0.05) -> Found:
    """Faces of one uint8 picture [H, W, 3], padded with black to multiples of 32 as the SDK does."""
    h, w = pixels.shape[:2]
    padded = np.zeros((-(-h // 32) * 32, -(-w // 32) * 32, 3), np.uint8)
    padded[:h, :w] = pixels
    x = (torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
    score, box, points = (t[0].numpy() for t in decode(net(x), *cells(*padded.shape[:2])))
    top = np.flatnonzero(score > floor)
    top = top[np.argsort(-score[top], kind="stable")][:400]
    score, box, points = score[top], box[top], points[top]
    keep = nms(score, box)
    mean = points[keep]
    for face, i in enumerate(keep):
        same = iou(box[i], box) > SAME_IOU
        mean[face] = np.average(points[same], axis=0, weights=score[same] ** 2)
    return Found(score[keep], box[keep], mean)


def match(found: Found, faces: list[D.Face], smallest: float = 20.0, least: float = 0.5) -> tuple[list[float], list[tuple[float, bool]], list[int]]:
    """(score of the detection of each real face, 0 when missed; (score, false) of detections that count; faces)."""
    real = [i for i, f in enumerate(faces) if not f.ignore and D.size_of(f.box) >= smallest]
    other = [i for i in range(len(faces)) if i not in real]
    hit = {i: 0.0 for i in real}
    judged = []
    for s, b in zip(found.score, found.box):
        o = iou(b, np.array([faces[i].box for i in real]).reshape(-1, 4))
        o = np.where([hit[i] > 0 for i in real], 0, o) if len(real) else o
        if len(o) and o.max() >= least:
            hit[real[int(o.argmax())]] = float(s)
            judged.append((float(s), False))
            continue
        q = np.array([faces[i].box for i in other]).reshape(-1, 4)
        mid = (b[:2] + b[2:]) / 2
        inside = ((q[:, :2] <= mid) & (mid <= q[:, 2:])).all(1)
        if not len(q) or not ((iou(b, q) >= 0.3) | inside).any():
            judged.append((float(s), True))
    return list(hit.values()), judged, real


def recall(net: LandmarkNet, scenes: list[D.Picture], per_picture: float = 0.1, least: float = 0.5) -> dict:
    hits, judged, sizes, sets = [], [], [], []
    for s in scenes:
        h, j, real = match(detect(net, np.asarray(s.image)), s.faces, least=least)
        hits += h
        judged += j
        sizes += [D.size_of(s.faces[i].box) for i in real]
        sets += [s.ident.split("_")[0]] * len(real)
    false = sorted((s for s, f in judged if f), reverse=True)
    allowed = int(per_picture * len(scenes))
    threshold = false[allowed] + 1e-6 if len(false) > allowed else 0.05
    hits, sizes, sets = np.array(hits), np.array(sizes), np.array(sets)
    ok = hits > threshold
    out = {"recall": float(ok.mean()), "threshold": float(threshold), "faces": len(hits), "pictures": len(scenes), "iou": least}
    for v in (0.3, 0.4, 0.5):
        out[f"recall_at_{v}"] = float((hits > v).mean())
        out[f"false_per_picture_at_{v}"] = sum(f > v for f in false) / len(scenes)
    for lo, hi in ((20, 40), (40, 80), (80, 160), (160, 400)):
        m = (sizes >= lo) & (sizes < hi)
        out[f"recall_{lo}_{hi}px"] = [float(ok[m].mean()) if m.any() else None, int(m.sum())]
    for part in sorted(set(sets)):
        out[f"recall_{part}"] = [float(ok[sets == part].mean()), int((sets == part).sum())]
    return out


def best_face(found: Found, truth: np.ndarray) -> int | None:
    """The strongest face whose box holds the middle of the true points."""
    mid = truth.mean(0)
    for i, b in enumerate(found.box):
        if (b[:2] <= mid).all() and (mid <= b[2:]).all():
            return i
    return None


def affine_crop(rng: np.random.Generator, pixels: np.ndarray, points: np.ndarray, rot: float, scale: float, shift: float,
                size: int = 112) -> tuple[np.ndarray, np.ndarray]:
    """The centre 112x112 of a 144 crop under a random turn, scale and shift (black outside), and its points."""
    a = math.radians(rng.uniform(-rot, rot))
    k = 1 + rng.uniform(-scale, scale)
    at = np.full(2, size / 2) + rng.uniform(-shift, shift, 2) * size
    m = D.matrix(k, a, np.full(2, 72.0), at)
    img = D.warp(Image.fromarray(pixels), m, size, size)
    return np.asarray(img), points @ m[:, :2].T + m[:, 2]


HEAVY, MEDIUM, LIGHT = (30, 0.25, 0.12), (20, 0.20, 0.10), (10, 0.10, 0.05)


def point_error(net: LandmarkNet, held: HeldOut, warp: tuple[float, float, float] | None = None, floor: float = 0.05,
                turn: float | None = None, size: int = 144) -> dict:
    """Mean point error over inter-ocular distance against hand labels; `warp` as affine_crop, `turn` fixed degrees."""
    errs, scores, missed, vec = [], [], 0, []
    rng = np.random.default_rng(held.seed + 1)
    for i in held.index:
        px, pts = np.asarray(held.crops.pixels[i]), held.crops.manual[i]
        if warp:
            px, pts = affine_crop(rng, px, pts, *warp)
        elif turn is not None or size != 144:
            m = D.matrix(size / 144, math.radians(turn or 0), np.full(2, 72.0), np.full(2, size / 2))
            px, pts = np.asarray(D.warp(Image.fromarray(px), m, size, size)), pts @ m[:, :2].T + m[:, 2]
        found = detect(net, px, floor)
        j = best_face(found, pts)
        if j is None:
            missed += 1
            continue
        iod = np.linalg.norm(pts[1] - pts[0])
        d = found.points[j] - pts
        vec.append(d / iod)
        errs.append(np.linalg.norm(d, axis=1) / iod)
        scores.append(found.score[j])
    e, s = np.array(errs).reshape(-1, 5), np.array(scores)
    if not len(e):
        return {"error": None, "missed": missed, "faces": 0}
    rank = lambda v: np.argsort(np.argsort(v)).astype(float)
    m = e.mean(1)
    q = np.quantile(s, [0.1, 0.9])
    return {"error": float(m.mean()), "median": float(np.median(m)), "over_10pct": float((m > 0.1).mean()), "missed": missed,
            "faces": len(m), "by_point": e.mean(0).round(4).tolist(), "bias": np.mean(vec, 0).round(4).tolist(),
            "score_corr_spearman": float(np.corrcoef(rank(s), rank(m))[0, 1]) if len(m) > 2 else None,
            "score_corr_log_pearson": float(np.corrcoef(s, np.log(m))[0, 1]) if len(m) > 2 else None,
            "error_lowest_score_tenth": float(m[s <= q[0]].mean()), "error_highest_score_tenth": float(m[s >= q[1]].mean()),
            "score_p5_p50": np.quantile(s, [0.05, 0.5]).round(3).tolist()}


def quick(net: LandmarkNet, held: HeldOut) -> dict:
    """What the training run prints: recall, point error, heavy affine error."""
    net.eval()
    r, p, h = recall(net, held.scenes), point_error(net, held), point_error(net, held, HEAVY)
    return {"recall": round(r["recall"], 4), "threshold": round(r["threshold"], 3), "error": p["error"], "error_missed": p["missed"],
            "heavy": h["error"], "heavy_missed": h["missed"], "score_corr": p.get("score_corr_spearman")}


def nothing_scores(net: LandmarkNet, seed: int, n: int = 500) -> np.ndarray:
    """Best score of each of n seeded pictures of nothing (a seed that training does not use)."""
    rng = np.random.default_rng([seed, 991])
    out = []
    for _ in range(n):
        w, h = (int(v) for v in rng.integers(96, 321, 2))
        f = detect(net, np.asarray(D.nothing(rng, w, h)), 0.01)
        out.append(float(f.score[0]) if len(f.score) else 0.0)
    return np.array(out)


def turned_scenes(scenes: list[D.Picture], degrees: float) -> list[D.Picture]:
    out = []
    for s in scenes:
        w, h = s.image.size
        m = D.matrix(1.0, math.radians(degrees), np.array([w, h]) / 2, np.array([w, h]) / 2)
        faces = [D.move_face(f, m, False, False) for f in s.faces]
        for f in faces:
            area = max(1e-6, float((f.box[2:] - f.box[:2]).prod()))
            f.ignore |= D.overlap(f.box, np.array([0, 0, w, h], float)) / area < 0.6
        out.append(D.Picture(s.ident, D.warp(s.image, m, w, h), faces))
    return out


def full(net: LandmarkNet, held: HeldOut) -> dict:
    net.eval()
    out = {"seed": held.seed, "scenes": recall(net, held.scenes)}
    t = out["scenes"]["threshold"]
    out["scenes_iou_0.4"] = recall(net, held.scenes, least=0.4)
    out["scenes_turned"] = {str(d): recall(net, turned_scenes(held.scenes, d)) for d in (-45, -30, 30, 45)}
    out["points"] = point_error(net, held)
    out["points_at_threshold"] = {k: point_error(net, held, w, t) for k, w in
                                  (("plain", None), ("light", LIGHT), ("medium", MEDIUM), ("heavy", HEAVY))}
    out["points_turned"] = {str(d): point_error(net, held, turn=d) for d in (-45, -30, 30, 45)}
    out["points_by_crop_px"] = {str(s): point_error(net, held, size=s) for s in (40, 64, 112, 224, 320)}
    worst = nothing_scores(net, held.seed)
    out["nothing"] = {"pictures": len(worst), "false_at_threshold": int((worst > t).sum()), "max_score": float(worst.max()),
                      **{f"false_at_{v}": int((worst > v).sum()) for v in (0.3, 0.4, 0.5)}}
    hand = held.crops.manual[held.index]
    iod = np.linalg.norm(hand[:, 1] - hand[:, 0], axis=1)
    d = np.linalg.norm(held.crops.detector[held.index] - hand, axis=2).mean(1) / iod
    out["teacher_detector_error"] = float(d.mean())
    return out


def load_average(path: Path) -> tuple[LandmarkNet, dict]:
    state = torch.load(path, map_location="cpu", weights_only=True)
    net = LandmarkNet()
    net.load_state_dict(state["avg"])
    return net.eval(), {k: state[k] for k in ("step", "progress", "seed")}


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--checkpoint", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    net, info = load_average(a.checkpoint)
    held = held_out_set(D.load_scenes(a.data), D.load_crops(a.data, ("net2",)), info["seed"])
    figures = {**info, **full(net.folded(), held)}
    a.out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
