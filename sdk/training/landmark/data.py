"""Pictures and labels: reading, the held-out split, and seeded training canvases.

Coordinates are continuous everywhere: the first pixel's centre is (0.5, 0.5), a flip takes x to width - x. The hand
labels are of that kind: a network trained with flips takes no side, and one that counted pixel centres as integers came out
0.6 px left of them. The detector's points are shifted onto the hand labels by their mean difference.
"""
from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import math
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SWAP = [1, 0, 2, 4, 3]                       # which point is which after a left-right flip
TEMPLATE = np.array([[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]])
# The teacher's box in template pixels, fitted (medians) on the scenes' faces with score > 0.75: an upright ellipse of
# this size about the points' mean + BOX_OFFSET; rotating the ellipse and boxing it predicts boxes of tilted faces too.
BOX_SIZE = np.array([82.0, 111.5])
BOX_OFFSET = np.array([0.0, -8.0])
MASK_SHAPE = np.array([[18, 66], [36, 62], [56, 57], [76, 62], [94, 66], [90, 96], [76, 116], [56, 124], [36, 116], [22, 96]])
DETECTOR_TRUST = 0.2                        # weight of a detector's points beside a hand label's 1
KEYS = ["le", "re", "n", "lm", "rm"]


def held_out(ident: str, seed: int = 7) -> bool:
    """One id in ten, for ever: training never sees it."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{ident}".encode()).digest()[:4], "big") % 10 == 0


def similarity(points: np.ndarray) -> tuple[float, float]:
    """(a, b) of the least-squares similarity that takes the centred template to the centred points."""
    p, t = points - points.mean(0), TEMPLATE - TEMPLATE.mean(0)
    n = (t**2).sum()                                        # (points that coincide give scale 0, not an error)
    return float((t * p).sum() / n), float((t[:, 0] * p[:, 1] - t[:, 1] * p[:, 0]).sum() / n)


def ellipse_box(centre: np.ndarray, size: np.ndarray, c: float, s: float) -> np.ndarray:
    """Bounding box (x0 y0 x1 y1) of an ellipse of full axes `size` turned by the angle whose cosine, sine are c, s."""
    half = np.array([math.hypot(size[0] * c, size[1] * s), math.hypot(size[0] * s, size[1] * c)]) / 2
    return np.concatenate([centre - half, centre + half])


def box_from_points(points: np.ndarray) -> np.ndarray:
    a, b = similarity(points)
    k = max(math.hypot(a, b), 1e-9)
    off = np.array([a * BOX_OFFSET[0] - b * BOX_OFFSET[1], b * BOX_OFFSET[0] + a * BOX_OFFSET[1]])
    return ellipse_box(points.mean(0) + off, BOX_SIZE * k, a / k, b / k)


@dataclass
class Face:
    points: np.ndarray          # [5, 2]
    box: np.ndarray             # x0 y0 x1 y1
    weight: float = 1.0         # trust in the points
    ignore: bool = False


@dataclass
class Picture:
    ident: str
    image: Image.Image
    faces: list[Face]
    weight: float = 1.0         # how often training draws it


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {Path(m.name).stem: tar.extractfile(m).read() for m in tar if m.isfile()}


def load_scenes(root: Path) -> list[Picture]:
    files: dict[str, bytes] = {}
    for part in ("celeba", "lfw", "mask"):
        files |= read_tar(root / "scenes" / f"{part}.tar")
    out = []
    for s in json.loads((root / "scenes" / "index.json").read_text()):
        faces = []
        for f in s["faces"]:
            x, y, w, h = f["box"]
            faces.append(Face(np.array(f["points"], float), np.array([x, y, x + w, y + h], float), DETECTOR_TRUST, f["score"] < 0.6))
        image = Image.open(io.BytesIO(files[s["id"]])).convert("RGB")
        # The detector's doubt marks the hard ones: profiles, faces cut by the border, small faces behind the main one.
        hard = sum(0.6 <= f["score"] < 0.87 for f in s["faces"])
        out.append(Picture(s["id"], image, faces, 1.0 + 0.5 * max(0, len(faces) - 1) + 2.0 * min(hard, 2)))
    return out


@dataclass
class Crops:
    """All 144x144 crops in memory: pixels [N, 144, 144, 3], detector's points and (net2) hand points, NaN elsewhere."""
    ids: list[str]
    pixels: np.ndarray
    detector: np.ndarray
    manual: np.ndarray


def load_crops(root: Path, sets: tuple[str, ...], cache: Path | None = None) -> Crops:
    with open(root / "faces" / "index.csv", newline="") as fh:
        rows = [r for r in csv.DictReader(fh) if r["set"] in sets]
    ids = [r["id"] for r in rows]
    pts = np.array([[[float(r[p + k + a] or "nan") for a in ("_x", "_y")] for k in KEYS] for r in rows for p in ("", "manual_")])
    pts = pts.reshape(-1, 2, 5, 2)
    key = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    file = cache / f"crops-{key}.npy" if cache else None
    if file and file.exists():
        pixels = np.load(file, mmap_mode="r")
    else:
        jpegs: dict[str, bytes] = {}
        for s in sets:
            jpegs |= read_tar(root / "faces" / f"{s}.tar")
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpegs[i])).convert("RGB")) for i in ids])
        if file:
            cache.mkdir(parents=True, exist_ok=True)
            np.save(file, pixels)
    return Crops(ids, pixels, pts[:, 0], pts[:, 1])


def detector_bias(crops: Crops, train: np.ndarray) -> np.ndarray:
    """Mean of detector minus hand labels in inter-ocular distances [5, 2], over the hand-labelled training crops."""
    use = train & ~np.isnan(crops.manual).any((1, 2))
    if not use.any():
        return np.zeros((5, 2))
    m = crops.manual[use]
    iod = np.linalg.norm(m[:, 1] - m[:, 0], axis=1)
    return ((crops.detector[use] - m) / iod[:, None, None]).mean(0)


# --- pictures of nothing ------------------------------------------------------------------------------------------

def nothing(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """Seeded noise, gradients, stripes, blobs, letters, flat colour or black."""
    kind = (0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 7)[rng.integers(11)]      # noise and letters fool a network most
    if kind == 7:
        return letters(rng, w, h)
    if kind == 0:
        return Image.new("RGB", (w, h), (0, 0, 0) if rng.random() < 0.5 else tuple(int(v) for v in rng.integers(0, 256, 3)))
    if kind == 1:                                           # noise of some grain
        g = int(rng.integers(1, 40))
        a = rng.integers(0, 256, (h // g + 2, w // g + 2, 3), dtype=np.uint8)
        if rng.random() < 0.5:
            a = np.repeat(a[..., :1], 3, 2)
        return Image.fromarray(a).resize((w, h), Image.BICUBIC if rng.random() < 0.7 else Image.NEAREST)
    if kind == 2:                                           # gradient between four corner colours
        return Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)).resize((w, h), Image.BILINEAR)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    a, b = rng.normal(size=2)
    if kind == 3:                                           # stripes or checks
        f = rng.uniform(0.02, 0.8)
        v = np.sin((x * a + y * b) * f)
        if rng.random() < 0.5:
            v = v * np.sin((x * b - y * a) * f * rng.uniform(0.3, 1))
        if rng.random() < 0.4:
            v = np.sign(v)
    elif kind == 4:                                         # octaves of noise: clouds, skin-like texture
        v = np.zeros((h, w), np.float32)
        for o in range(2, 6):
            n = Image.fromarray(rng.normal(size=(2**o, 2**o)).astype(np.float32)).resize((w, h), Image.BICUBIC)
            v += np.asarray(n) * 0.6**o
        v /= np.abs(v).max() + 1e-6
    elif kind == 5:                                         # rings
        r = np.hypot(x - rng.uniform(0, w), y - rng.uniform(0, h))
        v = np.sin(r * rng.uniform(0.02, 0.5))
    else:                                                   # shapes: ellipses, boxes and lines
        img = Image.new("RGB", (w, h), tuple(int(c) for c in rng.integers(0, 256, 3)))
        d = ImageDraw.Draw(img)
        for _ in range(int(rng.integers(3, 25))):
            x0, y0 = rng.uniform(-20, w), rng.uniform(-20, h)
            x1, y1 = x0 + rng.uniform(3, w / 2), y0 + rng.uniform(3, h / 2)
            col = tuple(int(c) for c in rng.integers(0, 256, 3))
            (d.ellipse, d.rectangle)[rng.integers(2)]([x0, y0, x1, y1], fill=col) if rng.random() < 0.7 else d.line(
                [x0, y0, x1, y1], fill=col, width=int(rng.integers(1, 8)))
        return img
    lo, hi = rng.integers(0, 256, (2, 3)).astype(np.float32)
    t = (v[..., None] + 1) / 2
    return Image.fromarray((lo + (hi - lo) * t).clip(0, 255).astype(np.uint8))


font = functools.cache(ImageFont.load_default)


def letters(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """Lines of random letters: shop signs, sponsors' walls and shirts are what a young network takes for faces."""
    ground, ink = (tuple(int(c) for c in rng.integers(0, 256, 3)) for _ in range(2))
    if rng.random() < 0.4:                                  # as signs are: light on dark or dark on light
        tone = int(rng.integers(0, 60))
        ground, ink = ((tone,) * 3, (255 - tone,) * 3) if rng.random() < 0.5 else ((255 - tone,) * 3, (tone,) * 3)
    img = Image.new("RGB", (w, h), ground)
    d = ImageDraw.Draw(img)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789&@%"
    y = rng.uniform(-10, 10)
    while y < h:
        size = float(np.exp(rng.uniform(math.log(9), math.log(max(12.0, min(96.0, 0.9 * h))))))
        if rng.random() < 0.2:
            ink = tuple(int(c) for c in rng.integers(0, 256, 3))
        text = "".join(alphabet[i] for i in rng.integers(0, len(alphabet), int(rng.integers(1, 12))))
        d.text((rng.uniform(-0.3 * w, 0.8 * w), y), text, ink, font(round(size)), stroke_width=int(rng.integers(0, 3)))
        y += size * rng.uniform(0.9, 1.8)
    return img.rotate(rng.uniform(-30, 30), Image.BILINEAR, fillcolor=ground) if rng.random() < 0.4 else img


# --- geometry of one picture --------------------------------------------------------------------------------------

def warp(image: Image.Image, m: np.ndarray, w: int, h: int) -> Image.Image:
    """Transform by the 2x3 matrix m (source to target, continuous coordinates); reduces first when shrinking."""
    k = math.sqrt(abs(np.linalg.det(m[:, :2])))
    red = 4 if k < 0.3 else 2 if k < 0.6 else 1
    m = m.copy()
    if red > 1:
        image = image.reduce(red)
        m[:, :2] *= red
    inv = np.linalg.inv(np.vstack([m, [0, 0, 1]]))
    return image.transform((w, h), Image.AFFINE, tuple(inv[:2].ravel()), Image.BILINEAR)


def matrix(scale: float, angle: float, src: np.ndarray, dst: np.ndarray, flip: bool = False, stretch: float = 1.0) -> np.ndarray:
    """2x3: turn by `angle` (radians), scale, stretch x, flip; `src` goes to `dst`."""
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    lin = np.array([[c, -s], [s, c]]) @ np.diag([(-1 if flip else 1) * stretch, 1 / stretch])
    return np.hstack([lin, (dst - lin @ src)[:, None]])


def move_face(f: Face, m: np.ndarray, flip: bool, from_points: bool) -> Face:
    p = f.points @ m[:, :2].T + m[:, 2]
    if flip:
        p = p[SWAP]
    if from_points:
        box = box_from_points(p)
    else:
        lin = m[:, :2] @ np.diag([-1 if flip else 1, 1])
        k = math.sqrt(abs(np.linalg.det(lin)))
        mid = m[:, :2] @ ((f.box[:2] + f.box[2:]) / 2) + m[:, 2]
        box = ellipse_box(mid, (f.box[2:] - f.box[:2]) * k, lin[0, 0] / k, lin[1, 0] / k)
    return Face(p, box, f.weight, f.ignore)


def size_of(box: np.ndarray) -> float:
    return math.sqrt(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(w * h) if w > 0 and h > 0 else 0.0


# --- canvases -----------------------------------------------------------------------------------------------------

class Canvases:
    """Draws training canvases; the same seed and number give the same canvas."""

    def __init__(self, scenes: list[Picture], crops: Crops, size: int = 320, seed: int = 7) -> None:
        self.scenes = [s for s in scenes if not held_out(s.ident, seed)]
        self.size, self.seed, self.crops = size, seed, crops
        self.odds = np.cumsum([s.weight for s in self.scenes])
        train = np.array([not held_out(i, seed) for i in crops.ids])
        self.bias = detector_bias(crops, train)
        hand = ~np.isnan(crops.manual).any((1, 2))
        self.hand = np.flatnonzero(train & hand)
        self.other = np.flatnonzero(train & ~hand)
        grain = np.random.default_rng(seed).normal(size=(3 * size, 2 * size, 3))
        self.grain = grain.astype(np.float32)

    def _debias(self, p: np.ndarray) -> np.ndarray:
        a, b = similarity(p)
        iod = 35.24                                         # of the template, whose turn and scale are (a, b)
        return p - self.bias @ np.array([[a, b], [-b, a]]) * iod

    def _crop(self, rng: np.random.Generator) -> tuple[Image.Image, Face]:
        if len(self.hand) and (rng.random() < 0.75 or not len(self.other)):
            i = int(rng.choice(self.hand))
            face = Face(self.crops.manual[i].copy(), np.zeros(4), 1.0)
            face.box = box_from_points(self.crops.detector[i])
        else:
            i = int(rng.choice(self.other))
            face = Face(self._debias(self.crops.detector[i]), np.zeros(4), DETECTOR_TRUST)
            face.box = box_from_points(self.crops.detector[i])
        return Image.fromarray(self.crops.pixels[i]), face

    @staticmethod
    def _angle(rng: np.random.Generator) -> float:
        return math.radians(rng.normal(0, 12) if rng.random() < 0.55 else rng.uniform(-50, 50))

    def _paste(self, rng: np.random.Generator, bg: Image.Image, faces: list[Face], size: float, where: np.ndarray) -> None:
        """Paste one crop on `bg` with its face of about `size` px centred at `where`."""
        img, face = self._crop(rng)
        flip = rng.random() < 0.5
        m = matrix(size / 96.0, self._angle(rng), np.array([72.0, 80.0]), where, flip, math.exp(rng.normal(0, 0.05)))
        shape = rng.random()
        if shape < 0.2:                                     # the face alone, without the square around it
            mask = Image.new("L", (144, 144), 0)
            g = rng.uniform(-4, 10)
            ImageDraw.Draw(mask).ellipse([26 - g, 14 - g, 118 + g, 144 + g], fill=255)
            mask = mask.filter(ImageFilter.GaussianBlur(3))
        else:
            mask = Image.new("L", (144, 144), 255)
        moved = move_face(face, m, flip, False)
        if overlap(moved.box, np.array([0, 0, *bg.size], float)) <= 0:
            return
        bg.paste(warp(img, m, *bg.size), (0, 0), warp(mask, m, *bg.size))
        faces.append(moved)

    def _distractor(self, rng: np.random.Generator, bg: Image.Image, faces: list[Face]) -> None:
        """A square without a face, so that edges of a pasted square mean nothing."""
        n = int(np.exp(rng.uniform(math.log(20), math.log(min(bg.size)))))
        x, y = (int(rng.integers(-n // 4, max(1, s - n // 2))) for s in bg.size)
        if any(overlap(f.box, np.array([x, y, x + n, y + n], float)) > 0 for f in faces):
            return
        kind = rng.random()
        if kind < 0.35:
            patch = letters(rng, n, n)
        elif kind < 0.6:
            patch = nothing(rng, n, n)
        else:                                               # quarters of a face's crop, shuffled and turned
            src = self._crop(rng)[0]
            patch = Image.new("RGB", (144, 144))
            for k, q in enumerate(rng.permutation(4)):
                part = src.crop((q % 2 * 72, q // 2 * 72, q % 2 * 72 + 72, q // 2 * 72 + 72)).rotate(90 * int(rng.integers(1, 4)))
                patch.paste(part, (k % 2 * 72, k // 2 * 72))
            patch = patch.resize((n, n), Image.BILINEAR)
        bg.paste(patch, (x, y))

    def _scene(self, rng: np.random.Generator, w: int, h: int) -> tuple[Image.Image, list[Face]]:
        s = self.scenes[int(np.searchsorted(self.odds, rng.uniform(0, self.odds[-1])))]
        flip = rng.random() < 0.5
        good = [f for f in s.faces if not f.ignore]
        native = min(w, h) > 160 and rng.random() < 0.35
        if native:                                          # as it is: its own faces at their own sizes
            k = math.exp(rng.normal(0, 0.12))
            src, dst = np.array(s.image.size) / 2, np.array([w, h]) / 2 + rng.normal(0, 16, 2)
        elif good and rng.random() < 0.9:
            f = good[int(rng.integers(len(good)))]
            target = math.exp(rng.uniform(math.log(18), math.log(max(24, (0.95 if rng.random() < 0.5 else 0.4) * min(w, h)))))
            k = float(np.clip(target / size_of(f.box), 0.25, 2.5))
            src = (f.box[:2] + f.box[2:]) / 2
            dst = np.array([rng.uniform(0.25, 0.75) * w, rng.uniform(0.25, 0.75) * h])
        else:
            k = math.exp(rng.uniform(math.log(0.4), math.log(1.5)))
            src = np.array([rng.uniform(0, s.image.width), rng.uniform(0, s.image.height)])
            dst = np.array([w / 2, h / 2])
        angle = math.radians(rng.normal(0, 8) if native or rng.random() < 0.6 else rng.uniform(-45, 45))
        m = matrix(k, angle, src, dst, flip, math.exp(rng.normal(0, 0.04)))
        img = warp(s.image, m, w, h)
        if rng.random() < 0.4:
            full = warp(Image.new("L", s.image.size, 255), m, w, h)
            img = Image.composite(img, nothing(rng, w, h), full)
        faces = []
        for f in s.faces:
            f = Face(self._debias(f.points), f.box, f.weight, f.ignore)
            faces.append(move_face(f, m, flip, False))
        return img, faces

    def _region(self, rng: np.random.Generator, w: int, h: int) -> tuple[Image.Image, list[Face]]:
        small = min(w, h)
        kind = rng.random()
        if kind < (0.55 if small <= 160 else 0.05):          # one crop that fills the region
            r = rng.random()
            bg = Image.new("RGB", (w, h)) if r < 0.5 else nothing(rng, w, h) if r < 0.75 else self._scene_free(rng, w, h)
            faces: list[Face] = []
            size = small * rng.uniform(0.42, 0.9)
            at = np.array([w, h]) * (0.5 + rng.normal(0, 0.08, 2)).clip(0.25, 0.75)
            if small <= 160 and rng.random() < 0.6:         # a crop as the data has it: 112..144 px at the corner
                k = rng.uniform(112, 150)
                size, at = 96 * k / 144 * (144 / k if k < 130 else 1), np.array([k, k * 1.1]) / 2 + rng.normal(0, 6, 2)
                size *= math.exp(rng.normal(0, 0.15))
            self._paste(rng, bg, faces, size, at)
            return bg, faces
        if kind < 0.75:
            img, faces = self._scene(rng, w, h)
            more = int(rng.integers(0, 4))
        else:
            img, faces = (nothing(rng, w, h) if rng.random() < 0.6 else self._scene_free(rng, w, h)), []
            more = int(rng.integers(0, 6)) if small > 160 else int(rng.integers(0, 3))
            if rng.random() < 0.5:
                more = 0
        for _ in range(more):
            size = math.exp(rng.uniform(math.log(18), math.log(max(24, (0.55 if rng.random() < 0.5 else 0.2) * small))))
            for _try in range(4):
                at = np.array([rng.uniform(0.3 * size, w - 0.3 * size), rng.uniform(0.3 * size, h - 0.3 * size)])
                reach = np.concatenate([at - size, at + size])
                if not any(overlap(f.box, reach) > 0 for f in faces):
                    self._paste(rng, img, faces, size, at)
                    break
        while rng.random() < 0.3:
            self._distractor(rng, img, faces)
        return img, faces

    def _scene_free(self, rng: np.random.Generator, w: int, h: int) -> Image.Image:
        """A part of a scene away from its faces, enlarged to the region; texture when there is none."""
        s = self.scenes[int(rng.integers(len(self.scenes)))]
        for _ in range(6):
            n = rng.uniform(40, 140)
            x, y = rng.uniform(0, max(1, s.image.width - n)), rng.uniform(0, max(1, s.image.height - n))
            part = np.array([x, y, x + n, y + n])
            if not any(overlap(np.concatenate([f.box[:2] * 1.15 - f.box[2:] * 0.15, f.box[2:] * 1.15 - f.box[:2] * 0.15]), part) > 0
                       for f in s.faces):
                img = s.image.crop(tuple(part.astype(int))).resize((w, h), Image.BILINEAR)
                return img.transpose(Image.FLIP_TOP_BOTTOM) if rng.random() < 0.2 else img
        return nothing(rng, w, h)

    def _occlude(self, rng: np.random.Generator, img: Image.Image, faces: list[Face]) -> None:
        d = ImageDraw.Draw(img)
        for f in faces:
            r = rng.random()
            if r > 0.22:
                continue
            a, b = similarity(f.points)
            lin = np.array([[a, -b], [b, a]])
            base = {0: (235, 240, 245), 1: (20, 20, 24), 2: (90, 150, 200)}.get(int(rng.integers(5)))
            col = tuple(int(v) for v in (base if base else rng.integers(0, 256, 3)))
            if r < 0.16:                                    # a mask over nose and mouth
                shape = MASK_SHAPE + rng.normal(0, 2.5, MASK_SHAPE.shape) + [0, rng.uniform(-3, 12)]
            else:                                           # something square in front of the face
                c = TEMPLATE[int(rng.integers(5))] + rng.normal(0, 8, 2)
                q = rng.uniform(8, 24, 2)
                shape = c + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * q
            d.polygon([tuple(v) for v in (shape - TEMPLATE.mean(0)) @ lin.T + f.points.mean(0)], fill=col)

    def _photometric(self, rng: np.random.Generator, img: Image.Image) -> Image.Image:
        w, h = img.size
        if rng.random() < 0.15:                             # low resolution
            k = rng.uniform(0.35, 0.8)
            img = img.resize((max(8, int(w * k)), max(8, int(h * k))), Image.BOX).resize((w, h), Image.BILINEAR)
        if rng.random() < 0.12:
            img = img.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.8)))
        if rng.random() < 0.12:
            img = img.convert("L").convert("RGB")
        if rng.random() < 0.8:
            x = np.arange(256) / 255
            gamma, gain, lift = math.exp(rng.normal(0, 0.3)), math.exp(rng.normal(0, 0.2)), rng.normal(0, 0.06)
            lut = []
            for _ in range(3):
                g = gain * math.exp(rng.normal(0, 0.08))
                lut += list(((x**gamma * g + lift + rng.normal(0, 0.02)).clip(0, 1) * 255).astype(int))
            img = img.point(lut)
        return img

    def _fill(self, rng: np.random.Generator, canvas: Image.Image, faces: list[Face], x: int, y: int, w: int, h: int) -> None:
        img, found = self._region(rng, w, h)
        self._occlude(rng, img, found)
        img = self._photometric(rng, img)
        frame = np.array([0, 0, w, h], float)
        for f in found:
            area = (f.box[2] - f.box[0]) * (f.box[3] - f.box[1])
            seen = overlap(f.box, frame) / max(area, 1e-6)
            if seen < 0.1:
                continue
            f.ignore |= seen < 0.5 or size_of(f.box) < 16
            f.box = f.box + [x, y, x, y]
            f.points = f.points + [x, y]
            faces.append(f)
        canvas.paste(img, (x, y))

    def draw(self, number: int) -> tuple[np.ndarray, list[Face]]:
        rng = np.random.default_rng([self.seed, number])
        n, h = self.size, self.size // 2
        canvas = Image.new("RGB", (n, n))
        faces: list[Face] = []
        layout = rng.random()
        if layout < 0.5:
            parts = [(0, 0, n, n)]
        elif layout < 0.6:
            parts = [(0, 0, h, n), (h, 0, h, n)]
        elif layout < 0.66:
            parts = [(0, 0, n, h), (0, h, n, h)]
        else:
            parts = [(0, 0, h, h), (h, 0, h, h), (0, h, h, h), (h, h, h, h)]
        for p in parts:
            self._fill(rng, canvas, faces, *p)
        a = np.asarray(canvas)
        if rng.random() < 0.15:
            oy, ox = int(rng.integers(0, 2 * n)), int(rng.integers(0, n))
            a = (a + self.grain[oy:oy + n, ox:ox + n] * rng.uniform(2, 14)).clip(0, 255).astype(np.uint8)
        return a, faces
