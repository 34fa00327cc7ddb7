"""Face crops, teacher targets and the batched augmentation.

The JPEGs are decoded once into a uint8 array that is memory-mapped from then on. One affine resampling takes the
144x144 crops straight to 112x112; the key points go through the same transformation. Everything random in the batch
of step `n` comes from a generator seeded with (seed, n), so that a resumed run sees the batches it would have seen.
"""
from __future__ import annotations

import csv
import io
import math
import pathlib
import tarfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

CROP, SIZE, OFFSET = 144, 112, 16
TEMPLATE = np.array([[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]], np.float32)
MIRROR = [1, 0, 2, 4, 3]                       # left and right change places in a mirrored face


def read_tar(path: pathlib.Path) -> dict:
    """Decode every JPEG of a tar: name -> uint8 [H,W,3]."""
    out = {}
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isfile() and member.name.lower().endswith((".jpg", ".png")):
                picture = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")
                out[pathlib.PurePath(member.name).name] = np.asarray(picture)
    return out


class Faces:
    """The training crops: `images` [N,3,144,144], `points` [N,5,2] in crop pixels, `target` [N,192] of unit length."""

    def __init__(self, root: str | pathlib.Path, cache: str | pathlib.Path, sets=("celeba", "utk", "net2", "fiw")):
        root, cache = pathlib.Path(root), pathlib.Path(cache)
        with open(root / "index.csv", newline="") as f:
            rows = list(csv.DictReader(f))
        target = np.load(root / "teacher_int8.npy").astype(np.float32)
        if len(rows) != len(target):
            raise ValueError(f"{root}: index.csv has {len(rows)} rows, teacher_int8.npy {len(target)}")
        keep = [i for i, r in enumerate(rows) if r["set"] in sets]
        rows = [rows[i] for i in keep]
        self.target = torch.from_numpy(target[keep] / np.linalg.norm(target[keep], axis=1, keepdims=True))
        names = ("le", "re", "n", "lm", "rm")
        self.points = torch.tensor([[[float(r[f"{n}_x"]), float(r[f"{n}_y"])] for n in names] for r in rows])
        self.identity = [r["identity"] for r in rows]
        if not cache.exists():
            self._decode(root, rows, sets, cache)
        self.images = np.load(cache, mmap_mode="r")
        if self.images.shape != (len(rows), 3, CROP, CROP):
            raise ValueError(f"{cache}: not the cache of this data, remove it")

    @staticmethod
    def _decode(root, rows, sets, cache):
        part = cache.with_suffix(".part")
        cache.parent.mkdir(parents=True, exist_ok=True)
        out = np.lib.format.open_memmap(part, "w+", np.uint8, (len(rows), 3, CROP, CROP))
        where = {r["id"]: i for i, r in enumerate(rows)}
        for name in sets:
            for file, picture in read_tar(root / f"{name}.tar").items():
                at = where.pop(pathlib.PurePath(file).stem, None)
                if at is not None:
                    out[at] = picture.transpose(2, 0, 1)
        if where:
            raise ValueError(f"{len(where)} rows of index.csv without a picture, for instance {next(iter(where))}")
        out.flush()
        part.rename(cache)

    def __len__(self):
        return len(self.images)


def affine(n: int, gen: torch.Generator, strong: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random (matrix [n,2,2], shift [n,2], hard [n]): source = matrix @ (out - centre) + centre + shift, in pixels.

    A fraction `strong` is drawn from rotation 32 degrees, scale 27 %, shift 13 %; the rest is mild.
    """
    hard = (torch.rand(n, generator=gen) < strong).float()
    angle, scale, shift = (a + (b - a) * hard for a, b in ((7.0, 32.0), (0.07, 0.27), (0.03, 0.13)))
    uniform = torch.rand(n, 4, generator=gen) * 2 - 1
    angle = uniform[:, 0] * angle * math.pi / 180
    factor = torch.exp(uniform[:, 1] * torch.log1p(scale))
    c, s = torch.cos(angle) * factor, torch.sin(angle) * factor
    return torch.stack([c, -s, s, c], -1).reshape(n, 2, 2), uniform[:, 2:] * shift[:, None] * SIZE, hard


def warp(images, points, matrix, shift, padding="zeros", offset=OFFSET):
    """Resample float images [n,3,S,S] to 112x112 and carry the points along (pixels in, pixels of the crop out)."""
    n, side = len(images), images.shape[-1]
    centre = SIZE / 2
    base = torch.arange(SIZE, dtype=torch.float32) + 0.5 - centre
    out = torch.stack([base.repeat(SIZE), base.repeat_interleave(SIZE)], -1)
    source = out @ matrix.transpose(1, 2) + (centre + offset + shift)[:, None]
    grid = (source * (2 / side) - 1).reshape(n, SIZE, SIZE, 2)
    moved = (points - (centre + offset + shift)[:, None]) @ torch.linalg.inv(matrix).transpose(1, 2) + centre
    return F.grid_sample(images, grid, "bilinear", padding, align_corners=False), moved


def _blur(x, sigma):
    radius = max(1, math.ceil(2.5 * sigma))
    k = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    k = k / k.sum()
    flat = x.reshape(-1, 1, *x.shape[2:])
    flat = F.conv2d(F.pad(flat, (radius,) * 4, mode="replicate"), k[None, None, None])
    return F.conv2d(flat, k[None, None, :, None]).reshape(x.shape)


def photometric(x, gen):
    """Low resolution, blur, colour, gamma, noise, occlusion. x: float [n,3,112,112] in 0..1, changed in place."""
    n = len(x)
    rand = lambda *shape: torch.rand(*shape, generator=gen)
    pick = lambda p: (rand(n) < p).nonzero()[:, 0]
    coarse = pick(0.2)
    if len(coarse):
        small = int(24 + rand(1) * 56)
        down = F.interpolate(x[coarse], (small, small), mode="area")
        x[coarse] = F.interpolate(down, (SIZE, SIZE), mode="bilinear", align_corners=False)
    soft = pick(0.12)
    if len(soft):
        x[soft] = _blur(x[soft], 0.5 + 1.8 * float(rand(1)))
    # Saturation, gain per channel, contrast and brightness are one 3x3 matrix and an offset.
    saturation = torch.where(rand(n) < 0.12, torch.zeros(n), 0.6 + 0.7 * rand(n))
    grey = torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    gain = (0.65 + 0.7 * rand(n, 1)) * (0.92 + 0.16 * rand(n, 3))
    matrix = (saturation[:, None, None] * torch.eye(3) + (1 - saturation)[:, None, None] * grey) * gain[:, :, None]
    offset = (0.5 - 0.5 * gain) + 0.24 * (rand(n, 1) - 0.5)
    x = torch.baddbmm(offset[:, :, None], matrix, x.reshape(n, 3, -1)).reshape(x.shape).clamp_(0, 1)
    dark = pick(0.2)
    if len(dark):
        power = torch.exp((rand(len(dark), 1, 1, 1) * 2 - 1) * 0.7)
        x[dark] = x[dark].pow(power)
    noisy = pick(0.12)
    if len(noisy):
        x[noisy] += torch.randn(len(noisy), 3, SIZE, SIZE, generator=gen) * (0.06 * rand(len(noisy), 1, 1, 1))
    for i in pick(0.2).tolist():
        w, h, left, top, flat = rand(5).tolist()
        w, h = int(12 + 38 * w), int(12 + 38 * h)
        left, top = int(left * (SIZE - w)), int(top * (SIZE - h))
        x[i, :, top : top + h, left : left + w] = rand(3, 1, 1) if flat < 0.7 else rand(3, h, w)
    return x


def jitter(points, gen, sigma=1.0):
    """Gaussian noise on key points in pixels; one face in ten has four times as much."""
    n = len(points)
    width = sigma * torch.where(torch.rand(n, 1, 1, generator=gen) < 0.1, 4.0, 1.0)
    return points + torch.randn(points.shape, generator=gen) * width


def augment(images, points, gen, strong, blind=0.25):
    """uint8 [n,3,144,144] and points in crop pixels -> network input [n,3,112,112] and key points in 0..1.

    A part `blind` of the mildly warped faces gets the template's points, carried along like its own.
    """
    n = len(images)
    matrix, shift, hard = affine(n, gen, strong)
    # The template's points stand for those of an aligned crop that is handed in without any; a face that is warped
    # strongly afterwards is no such crop and keeps its own.
    without = (torch.rand(n, 1, 1, generator=gen) < blind) & (hard[:, None, None] == 0)
    points = torch.where(without, torch.from_numpy(TEMPLATE) + OFFSET, points)
    padding = "zeros" if torch.rand(1, generator=gen) < 0.7 else "border"
    x, points = warp(images.float().div_(255), points, matrix, shift, padding)
    flip = (torch.rand(n, generator=gen) < 0.5).nonzero()[:, 0]
    x[flip] = x[flip].flip(-1)
    mirrored = points[flip][:, MIRROR]
    mirrored[..., 0] = SIZE - mirrored[..., 0]
    points[flip] = mirrored
    x = photometric(x, gen)
    return x.sub_(0.5).div_(0.5), jitter(points, gen) / SIZE


class Batches:
    """`batch(step, strong)`: this worker's share of the augmented batch of one step, a function of seed and step."""

    def __init__(self, faces: Faces, size: int, seed: int, worker: int = 0, workers: int = 1, blind: float = 0.25):
        self.faces, self.size, self.seed, self.worker, self.workers = faces, size, seed, worker, workers
        self.blind = blind
        self.per_epoch = len(faces) // size
        if not self.per_epoch or size % workers:
            raise ValueError(f"a batch of {size} from {len(faces)} faces for {workers} workers: it must divide evenly")
        self._epoch, self._order = -1, None

    def batch(self, step: int, strong: float):
        epoch, at = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.faces))
            self._epoch = epoch
        share = self.size // self.workers
        first = at * self.size + self.worker * share
        rows = np.sort(self._order[first : first + share])
        gen = torch.Generator().manual_seed((self.seed * 1_000_003 + step) * self.workers + self.worker)
        images = torch.from_numpy(self.faces.images[rows])
        rows = torch.from_numpy(rows)
        x, points = augment(images, self.faces.points[rows], gen, strong, self.blind)
        return x, points, self.faces.target[rows]
