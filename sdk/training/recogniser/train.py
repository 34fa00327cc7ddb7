"""Distil the recogniser from the stored teacher embeddings.

    python -m recogniser.train --out RUN --until 11:05         # rate reaches zero at that time of day (UTC)
    python -m recogniser.train --out RUN --hours 6 --resume    # go on from RUN/last.pt
    python -m recogniser.train --out RUN --hours 6 --workers 2 # two processes share each batch

The schedule follows the clock, so that a shared machine costs samples, not the end of the cosine.
"""
from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")       # beside a compiler, spinning threads cost everything

import argparse
import copy
import datetime
import json
import math
import pathlib
import subprocess
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

from ahead import ahead
from muon import Muon

from . import evaluate
from .data import Batches, Faces
from .model import Config, Recogniser, irpe, kprpe, macs


def distillation(out, target, relation: float):
    """1 - cosine to the teacher, plus the squared error of the batch's similarity matrix."""
    out = F.normalize(out)
    cosine = 1 - (out * target).sum(1).mean()
    gap = (out @ out.T - target @ target.T).square()
    gap = (gap.sum() - gap.diagonal().sum()) / (len(out) * (len(out) - 1))
    return cosine + relation * gap, cosine, gap


class Ema:
    """Average of weights and of the batch-norm statistics; short memory at first."""

    def __init__(self, model: Recogniser, decay: float):
        self.model, self.decay, self.steps = copy.deepcopy(model).eval(), decay, 0

    @torch.no_grad()
    def update(self, model: Recogniser) -> None:
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 20))
        pairs = zip(self.model.state_dict().values(), model.state_dict().values())
        mine, theirs = zip(*((a, b) for a, b in pairs if a.is_floating_point()))
        torch._foreach_lerp_(list(mine), list(theirs), 1 - keep)


class Clock:
    """Progress 0..1 from `start` to `end`, in seconds since 1970, or by steps."""

    def __init__(self, start: float, end: float, steps: int = 0):
        self.start, self.end, self.steps, self.step = start, end, steps, 0

    def progress(self) -> float:
        if self.steps:
            return min(1.0, self.step / self.steps)
        return min(1.0, max(0.0, (time.time() - self.start) / (self.end - self.start)))


class Workers:
    """Processes that share each batch and average their gradients.

    One thread each: beside busy neighbours, processes that meet once a step lose little, while threads that meet in
    every operation lose nearly everything. The first worker's clock travels with the gradients, so all agree.
    """

    def __init__(self, out: pathlib.Path, count: int, argv: list):
        self.count, self.rank = count, int(os.environ.get("KEYFACE_WORKER", 0))
        meeting = out.resolve() / "meeting"
        if count < 2:
            return
        if self.rank == 0:
            meeting.unlink(missing_ok=True)
            for rank in range(1, count):
                path = str(pathlib.Path(__file__).resolve().parents[1])
                env = {**os.environ, "KEYFACE_WORKER": str(rank), "PYTHONPATH": path}
                subprocess.Popen([sys.executable, "-m", "recogniser.train", *argv], env=env)
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=self.rank, world_size=count)

    def start_alike(self, model) -> None:
        if self.count > 1:
            for value in model.state_dict().values():
                dist.broadcast(value, 0)

    def average(self, model, progress: float) -> float:
        """Average the gradients in place; returns the first worker's progress."""
        if self.count < 2:
            return progress
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([*(g.reshape(-1) for g in grads), torch.tensor([progress if self.rank == 0 else 0.0])])
        dist.all_reduce(flat)
        parts = flat[:-1].div(self.count).split([g.numel() for g in grads])
        torch._foreach_copy_(grads, [part.view(g.shape) for part, g in zip(parts, grads)])
        return float(flat[-1])


def optimiser(model, lr: float, decay: float, keypoint_rate: float) -> Muon:
    """Muon for matrices and convolutions; AdamW without decay for vectors and position encodings, and at a higher rate for the key
    points' linear layer.

    That layer starts at zero, and key points move by a tenth of the crop only: at the common rate its tables stay too
    flat to matter.
    """
    groups = {"matrix": [], "plain": [], "keypoint": []}
    for name, p in model.named_parameters():
        plain = p.ndim < 2 or "pos_embed" in name or "lookup_table" in name
        groups["keypoint" if "keypoint_linear" in name else "plain" if plain else "matrix"].append(p)
    scale = {"matrix": 1.0, "plain": 1.0, "keypoint": keypoint_rate}
    groups = [
        {"params": params, "muon": kind == "matrix", "weight_decay": decay if kind == "matrix" else 0.0, "scale": scale[kind]}
        for kind, params in groups.items() if params
    ]
    return Muon(groups, lr)


def save(path: pathlib.Path, **state) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def load_ema(path) -> tuple[Recogniser, dict]:
    """The averaged model of a checkpoint, and the checkpoint."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = Recogniser(Config.from_dict(state["config"]))
    model.load_state_dict(state["ema"])
    return model.eval(), state


def deadline(text: str) -> float:
    """The next HH:MM, UTC, in seconds since 1970."""
    now = datetime.datetime.now(datetime.timezone.utc)
    hour, minute = map(int, text.split(":"))
    at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (at if at > now else at + datetime.timedelta(days=1)).timestamp()


def configuration(a) -> Config:
    rpe = {"none": None, "irpe": irpe()}.get(a.rpe, kprpe(a.rpe, a.num_keypoints))
    return Config(
        embed_dim=a.width, depth=a.depth, num_heads=a.heads, mlp_ratio=a.mlp, stem=a.stem, head_hidden=a.head_hidden,
        stem_channels=[int(c) for c in a.stem_channels.split(",")] if a.stem == "conv" else [], rpe_config=rpe,
    )


def arguments(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default="../../shared/data")
    p.add_argument("--out", required=True, help="folder of the run: last.pt, log.jsonl")
    p.add_argument("--cache", help="decoded crops (default: OUT/../cache/faces.npy)")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--init", help="begin with the averaged weights of another run's checkpoint")
    end = p.add_mutually_exclusive_group(required=True)
    end.add_argument("--until", help="HH:MM UTC")
    end.add_argument("--hours", type=float)
    end.add_argument("--steps", type=int)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--batch", type=int, default=96)
    p.add_argument("--lr", type=float, default=1.2e-2)
    p.add_argument("--weight-decay", type=float, default=0.03)
    p.add_argument("--keypoint-rate", type=float, default=5.0, help="times the rate, for the key points' linear layer")
    p.add_argument("--relation", type=float, default=4.0)
    p.add_argument("--ema", type=float, default=0.998)
    p.add_argument("--warmup", type=int, default=200)
    p.add_argument("--strong", type=float, default=0.5, help="part of strongly warped faces, reached at 40 %% of the run")
    p.add_argument("--blind", type=float, default=0.25, help="part of the mildly warped faces that get the template's points")
    p.add_argument("--workers", type=int, default=1, help="processes that share a batch, one thread each")
    p.add_argument("--eval-minutes", type=float, default=10)
    p.add_argument("--save-minutes", type=float, default=4)
    p.add_argument("--rpe", default="rel_keypoint_splithead_unshared", help="none, irpe, or a ctx_type")
    p.add_argument("--num-keypoints", type=int, default=5)
    p.add_argument("--stem", default="conv", choices=("conv", "patch"))
    p.add_argument("--stem-channels", default="32,64,128,128")
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--depth", type=int, default=6)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--mlp", type=float, default=3)
    p.add_argument("--head-hidden", type=int, default=256)
    return p.parse_args(argv)


def main(argv=None) -> None:
    a = arguments(argv)
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    workers = Workers(out, a.workers, sys.argv[1:] if argv is None else argv)
    chief = workers.rank == 0
    torch.manual_seed(a.seed)
    model = Recogniser(configuration(a)).to(memory_format=torch.channels_last)
    ema, opt = Ema(model, a.ema), optimiser(model, a.lr, a.weight_decay, a.keypoint_rate)
    step, samples, start, busy = 0, 0, time.time(), 0.0
    if a.resume and (out / "last.pt").exists():
        state = torch.load(out / "last.pt", map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        ema.model.load_state_dict(state["ema"])
        opt.load_state_dict(state["optimiser"])
        step, samples, start = state["step"], state["samples"], state["start"]
        ema.steps, busy = state["ema_steps"], state["seconds"]
    elif a.init:
        model.load_state_dict(torch.load(a.init, map_location="cpu", weights_only=True)["ema"])
        ema.model.load_state_dict(model.state_dict())
    end = deadline(a.until) if a.until else start + 3600 * (a.hours or 0)
    clock = Clock(start, end, a.steps or 0)
    clock.step = step

    data = pathlib.Path(a.data)
    load = lambda: Faces(data / "faces", a.cache or out.parent / "cache" / "faces.npy")
    faces = load() if chief else None          # the first worker decodes, the others wait for it here
    workers.start_alike(model)
    faces = faces or load()
    pairs = evaluate.Pairs(data / "lfw_dev")
    cfg = model.cfg
    log = open(out / "log.jsonl", "a", buffering=1)

    def note(**facts):
        line = json.dumps({"utc": time.strftime("%H:%M:%S", time.gmtime()), "step": step, "samples": samples, **facts})
        print(line, flush=True)
        log.write(line + "\n")

    def checkpoint():
        save(
            out / "last.pt", config=cfg.to_dict(), args=vars(a), model=model.state_dict(), ema=ema.model.state_dict(),
            optimiser=opt.state_dict(), step=step, start=start, ema_steps=ema.steps, seconds=busy, samples=samples,
        )

    if chief:
        note(
            event="start", seed=a.seed, faces=len(faces), parameters=sum(p.numel() for p in model.parameters()),
            mmac=round(macs(cfg) / 1e6, 1), args=vars(a),
        )
    strong = lambda: a.strong * min(1.0, 0.25 + clock.progress() / 0.4 * 0.75)
    batches = Batches(faces, a.batch, a.seed, workers.rank, workers.count, a.blind)
    stream = ahead(lambda step: batches.batch(step, strong()), step)
    last_eval = last_save = last_note = time.time()
    sums, count, noted = torch.zeros(3), 0, step
    model.train()
    progress = clock.progress()
    while progress < 1:
        began = time.time()
        rate = a.lr * 0.5 * (1 + math.cos(math.pi * progress)) * min(1, (step + 1) / a.warmup)
        for group in opt.param_groups:
            group["lr"] = rate * group["scale"]
        x, points, target = next(stream)
        loss, cosine, gap = distillation(model(x.contiguous(memory_format=torch.channels_last), points), target, a.relation)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        clock.step = step + 1
        progress = workers.average(model, clock.progress())
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0, foreach=True)
        opt.step()
        step += 1
        samples += a.batch
        if not chief:
            continue
        ema.update(model)
        now = time.time()
        busy += now - began
        sums += torch.stack([cosine.detach(), gap.detach(), norm])
        count += 1
        if now - last_note > 60:
            c, g, n = (sums / count).tolist()
            note(
                loss_cosine=round(c, 4), loss_gap=round(g, 5), grad=round(n, 3), lr=round(rate, 6),
                progress=round(progress, 3), per_second=round((step - noted) * a.batch / (now - last_note), 1),
            )
            sums.zero_()
            count, noted, last_note = 0, step, now
        if now - last_save > 60 * a.save_minutes:
            checkpoint()
            last_save = time.time()
        if now - last_eval > 60 * a.eval_minutes:
            note(event="eval", **evaluate.aligned(ema.model, pairs))
            last_eval = time.time()
    stream.close()
    if not chief:
        return
    checkpoint()
    note(event="end", seconds=round(busy), **evaluate.aligned(ema.model, pairs))


if __name__ == "__main__":
    main()
