"""Trains the detector and landmark network. Resumable and seeded; the rate is planned by wall time or by steps.

    python -m landmark.train --data ../../../shared/data --out RUN --end-clock 10:35
"""
from __future__ import annotations

import argparse
import copy
import datetime
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ahead import ahead
from muon import Muon

from . import data as D
from . import evaluate as E
from .model import STRIDES, LandmarkNet, cells, count_macs, count_parameters, decode

# Sizes sqrt(w h) of the faces a level answers for, by stride. They overlap: the score learns which level is better.
RANGES = {8: (0.0, 52.0), 16: (38.0, 230.0), 32: (150.0, 1e9)}
REACH = 0.26            # cells within this part of the box's size of its centre are positive; at least 1.15 strides
RING = 1.6              # up to this many times that distance a cell's score is not judged: it sees nearly the same
BLUR = 1.25             # nor is it on a level whose range ends within this factor of the face's size


class Targets:
    """Labels of a canvas, laid out by cell."""

    def __init__(self, size: int) -> None:
        centres, strides = cells(size, size)
        self.xy = (centres * strides).numpy()
        self.stride = strides[:, 0].numpy()
        self.lo = np.array([RANGES[int(s)][0] for s in self.stride])
        self.hi = np.array([RANGES[int(s)][1] for s in self.stride])

    def assign(self, faces: list[D.Face]) -> tuple[np.ndarray, np.ndarray]:
        """Index of the face a cell answers for (-1 none), and whether the cell's score counts."""
        owner = np.full(len(self.xy), -1)
        best = np.full(len(self.xy), np.inf)
        counts = np.ones(len(self.xy), bool)
        for i, f in enumerate(faces):
            s = D.size_of(f.box)
            mid = (f.box[:2] + f.box[2:]) / 2
            d = np.abs(self.xy - mid)
            if f.ignore:
                counts &= ~((d[:, 0] < (f.box[2] - f.box[0]) / 2 + 4) & (d[:, 1] < (f.box[3] - f.box[1]) / 2 + 4))
                continue
            dist = np.hypot(d[:, 0], d[:, 1])
            reach = np.maximum(REACH * s, 1.15 * self.stride)
            near = (dist < reach) & (s >= self.lo) & (s < self.hi)
            counts &= ~((dist < RING * reach) & (s * BLUR >= self.lo) & (s < self.hi * BLUR))
            take = near & (dist / s < best)
            owner[take], best[take] = i, dist[take] / s
        counts |= owner >= 0
        return owner, counts


def make_batch(canvases: D.Canvases, targets: Targets, first: int, n: int) -> dict[str, Tensor]:
    pixels, counts, index, box, points, weight, share = [], [], [], [], [], [], []
    for b in range(n):
        a, faces = canvases.draw(first + b)
        owner, c = targets.assign(faces)
        pos = np.flatnonzero(owner >= 0)
        pixels.append(a)
        counts.append(c)
        index.append(pos + b * len(owner))
        share.append(np.bincount(owner[pos], minlength=len(faces) or 1)[owner[pos]] ** -0.5)
        for o in owner[pos]:
            box.append(faces[o].box)
            points.append(faces[o].points)
            weight.append(faces[o].weight)
    t = lambda v, *s: torch.from_numpy(np.asarray(v, np.float32).reshape(-1, *s))
    return {"pixels": torch.from_numpy(np.stack(pixels)), "counts": torch.from_numpy(np.concatenate(counts)),
            "index": torch.from_numpy(np.concatenate(index)), "box": t(box, 4), "points": t(points, 5, 2), "weight": t(weight),
            "share": t(np.concatenate(share))}


def to_input(pixels: Tensor) -> Tensor:
    return (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes x0 y0 x1 y1, row by row."""
    inter = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inter
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    iou = inter / union
    return iou, iou - (hull - union) / hull


def losses(pred: Tensor, batch: dict[str, Tensor], centres: Tensor, strides: Tensor) -> dict[str, Tensor]:
    """Score: cross-entropy weighted by its error, target = quality of the box and points just found. Box: 1 - GIoU.
    Points: distance over face size; hand labels weigh more than the detector's."""
    n = pred.shape[0]
    flat = pred.reshape(-1, pred.shape[-1])
    logit = flat[:, 0]
    target = torch.zeros_like(logit)
    k = batch["index"]
    zero = logit.sum() * 0
    box_loss = point_loss = zero
    if len(k):
        cell = k % len(centres)
        _, box, points = decode(flat[k], centres[cell], strides[cell])
        iou, g = giou(box, batch["box"])
        size = (batch["box"][:, 2:] - batch["box"][:, :2]).prod(1).sqrt()
        dist = ((points - batch["points"]).square().sum(-1) + 1e-4).sqrt().mean(1) / (0.4 * size)
        share = batch["share"] / batch["share"].mean()              # a small face has fewer cells: each weighs more
        box_loss = ((1 - g) * share).mean()
        w = share * batch["weight"] * (size / 64).clamp(0.3, 1)     # few pixels say little about where a point is
        point_loss = (dist * w).sum() / w.sum()
        soft = dist.detach() * (0.4 * size) / (0.4 * size + 3)      # three pixels more lenient: small faces are faces too
        target[k] = (0.3 + 0.7 * iou.detach().clamp(0, 1).sqrt() * torch.exp(-soft / 0.18)).to(target.dtype)
    bce = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    focus = (logit.detach().sigmoid() - target).abs().pow(1.5)
    if len(k):      # not below a floor on faces: there the score has to follow the target closely, it tells good points from bad
        focus = focus.index_put((k,), focus[k].clamp(min=0.3) * share)
    score = focus * bce
    score = score[batch["counts"]].sum() / max(len(k), n)
    return {"score": score, "box": box_loss, "points": point_loss}


class Plan:
    """How far the run is (0..1): by the clock until `end`, or by steps when no clock is set."""

    def __init__(self, end: float | None, steps: int, done: float = 0.0) -> None:
        self.start, self.end, self.steps, self.done = time.time(), end, steps, done

    def progress(self, step: int) -> float:
        if self.end is None:
            return min(1.0, step / self.steps)
        return min(1.0, self.done + (1 - self.done) * (time.time() - self.start) / max(1.0, self.end - self.start))


def rate(progress: float, step: int, peak: float) -> float:
    return peak * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * progress))


def optimiser(net: LandmarkNet, lr: float) -> Muon:
    """Muon for the hidden convolutions; AdamW for vectors and for the outputs, whose channels have units of their own."""
    hidden = lambda name, p: p.ndim == 4 and not name.startswith("out")
    matrices = [p for name, p in net.named_parameters() if hidden(name, p)]
    rest = [p for name, p in net.named_parameters() if not hidden(name, p)]
    return Muon([{"params": matrices, "muon": True, "weight_decay": 0.03}, {"params": rest, "muon": False}], lr)


def parse_clock(text: str | None) -> float | None:
    if not text:
        return None
    now = datetime.datetime.now(datetime.timezone.utc)
    h, m = map(int, text.split(":"))
    end = now.replace(hour=h, minute=m, second=0, microsecond=0)
    return (end if end > now else end + datetime.timedelta(days=1)).timestamp()


def update_average(avg: LandmarkNet, net: LandmarkNet, step: int, decay: float) -> None:
    d = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for a, b in zip(avg.state_dict().values(), net.state_dict().values()):
            a.lerp_(b, 1 - d) if a.is_floating_point() else a.copy_(b)


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--end-clock", help="UTC HH:MM at which the rate reaches zero")
    p.add_argument("--steps", type=int, default=12000, help="length when no clock is given")
    p.add_argument("--max-steps", type=int, help="stop early (tests)")
    p.add_argument("--batch", type=int, default=10)
    p.add_argument("--size", type=int, default=320)
    p.add_argument("--lr", type=float, default=6e-3)
    p.add_argument("--decay", type=float, default=0.998, help="of the running average of weights")
    p.add_argument("--eval-minutes", type=float, default=10.0)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--device", default="cpu")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--init", type=Path, help="start from the averaged weights of another run's checkpoint")
    a = p.parse_args(argv)

    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    a.out.mkdir(parents=True, exist_ok=True)
    log = (a.out / "log.jsonl").open("a")

    def say(**kw: object) -> None:
        line = json.dumps({"clock": datetime.datetime.now(datetime.timezone.utc).strftime("%H:%M:%S"), **kw})
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    scenes = D.load_scenes(a.data)
    crops = D.load_crops(a.data, ("celeba", "utk", "net2", "fiw"), a.out / "cache")
    canvases, targets = D.Canvases(scenes, crops, a.size, a.seed), Targets(a.size)
    held = E.held_out_set(scenes, crops, a.seed)
    net = LandmarkNet().to(a.device)
    opt = optimiser(net, a.lr)
    avg = copy.deepcopy(net).eval()
    step, done = 0, 0.0
    ckpt = a.out / "last.pt"
    if ckpt.exists():
        state = torch.load(ckpt, map_location=a.device, weights_only=True)
        net.load_state_dict(state["net"]), avg.load_state_dict(state["avg"]), opt.load_state_dict(state["opt"])
        step, done = state["step"], state["progress"]
    elif a.init:
        state = torch.load(a.init, map_location=a.device, weights_only=True)["avg"]
        new = net.load_state_dict(state, strict=False)
        if new.unexpected_keys or any(not key.startswith("refine3.") for key in new.missing_keys):
            raise ValueError(f"{a.init}: not a landmark network, {new}")
        if new.missing_keys:            # a checkpoint from before that layer, which begins as the identity
            torch.nn.init.zeros_(net.refine3.body.bn.weight)
        avg.load_state_dict(net.state_dict())
    plan = Plan(parse_clock(a.end_clock), a.steps, done)
    say(event="start", seed=a.seed, step=step, parameters=count_parameters(net.folded()), mmac=count_macs(net.cpu()) / 1e6,
        scenes=len(canvases.scenes), hand=len(canvases.hand), crops=len(canvases.other), held_scenes=len(held.scenes),
        held_points=len(held.index), detector_bias=canvases.bias.round(4).tolist())
    net.to(a.device).train()
    centres, strides = (t.to(a.device) for t in cells(a.size, a.size))

    def save() -> None:
        state = {"net": net.state_dict(), "avg": avg.state_dict(), "opt": opt.state_dict(), "step": step,
                 "progress": plan.progress(step), "seed": a.seed}
        torch.save(state, ckpt.with_suffix(".tmp"))
        ckpt.with_suffix(".tmp").replace(ckpt)

    batches = ahead(lambda step: make_batch(canvases, targets, step * a.batch, a.batch), step, 3)
    mean: dict[str, float] = {}
    last_eval = last_log = last_save = time.time()
    first_step = step
    while (prog := plan.progress(step)) < 1.0 and (a.max_steps is None or step < a.max_steps):
        batch = {k: v.to(a.device) for k, v in next(batches).items()}
        for g in opt.param_groups:
            g["lr"] = rate(prog, step, a.lr)
        part = losses(net(to_input(batch["pixels"])), batch, centres, strides)
        loss = part["score"] + part["box"] + 4 * part["points"]
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        step += 1
        update_average(avg, net, step, a.decay)
        for k, v in part.items():
            mean[k] = 0.98 * mean.get(k, float(v.detach())) + 0.02 * float(v.detach())
        now = time.time()
        if now - last_log > 60:
            say(step=step, progress=round(prog, 4), lr=round(opt.param_groups[0]["lr"], 6),
                canvases_per_s=round((step - first_step) * a.batch / (now - last_log), 1), **{k: round(v, 4) for k, v in mean.items()})
            last_log, first_step = now, step
        if now - last_save > 120:
            save()
            last_save = now
        if now - last_eval > 60 * a.eval_minutes:
            say(event="eval", step=step, **E.quick(avg.folded().cpu(), held))
            save()
            last_eval = time.time()
    batches.close()
    save()
    say(event="end", step=step, **E.quick(avg.folded().cpu(), held))


if __name__ == "__main__":
    main()
