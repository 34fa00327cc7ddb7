"""Does the landmark network see depth in a flat picture? The active challenge (sdk/src/decide/challenge.rs) rests on it not doing so.

    python -m landmark.flat --data DATA [--faces 200]

Held-out, hand-labelled crops are shown as prints, tilted about the vertical or the horizontal axis in perspective, five degrees a step, as a
hand would before a camera. A print that is tilted as the challenge asks passes an action when two steps in a row show the parallax of
a turn or a nod. Printed: the share of prints that pass, by largest tilt. One line of JSON a row.
"""
from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image

from . import data as D
from . import evaluate as E

TURN, NOD = 0.15, 0.12      # as in challenge.rs
SIDE, SCALE = 256, 1.3      # pixels of the picture, enlargement of the 144-pixel crop
DISTANCE = 6.0              # of the camera, in widths of the crop
STEP = 5


class Network:
    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.session.run(None, {"image": x.numpy()})[0])


def homography(degrees: float, vertical: bool) -> np.ndarray:
    """Crop pixels to picture pixels for a print tilted about one of its axes."""
    a = math.radians(degrees)
    c, s = math.cos(a), math.sin(a)
    turn = np.array([[c, 0, 0], [0, 1, 0], [-s, 0, 0]]) if vertical else np.array([[1, 0, 0], [0, c, 0], [0, s, 0]])
    far = DISTANCE * 144
    project = np.array([[SCALE * far, 0, SIDE / 2], [0, SCALE * far, SIDE / 2], [0, 0, 1.0]])
    place = np.array([[1, 0, -72], [0, 1, -72], [0, 0, 1.0]])
    pose = turn.copy()
    pose[:, 2] = [0, 0, far]
    return project @ pose @ place


def show(pixels: np.ndarray, h: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(h)
    inverse /= inverse[2, 2]
    img = Image.fromarray(pixels).transform((SIDE, SIDE), Image.Transform.PERSPECTIVE, tuple(inverse.ravel()[:8]), Image.Resampling.BILINEAR,
                                            fillcolor=(110, 110, 110))
    return np.asarray(img)


def parallax(straight: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """As in challenge.rs: the nose against the affine map of the other four points, in distances between the eyes."""
    plane = [0, 1, 3, 4]
    a = np.c_[straight[plane], np.ones(4)]
    fit, *_ = np.linalg.lstsq(a, now[plane], rcond=None)
    d = now[2] - np.r_[straight[2], 1] @ fit
    eyes = now[1] - now[0]
    n = np.linalg.norm(eyes)
    u = eyes / n
    return float(d @ u / n), float((d[1] * u[0] - d[0] * u[1]) / n)


def main(argv: list[str] | None = None) -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--onnx", type=Path, default=Path(__file__).parents[1] / "checkpoints" / "landmark.onnx")
    ap.add_argument("--faces", type=int, default=200)
    ap.add_argument("--seed", type=int, default=7)
    args = ap.parse_args(argv)
    net = Network(args.onnx)
    crops = D.load_crops(args.data, ("net2",))
    held = E.held_out_set([], crops, args.seed).index[: args.faces]
    angles = list(range(STEP, 61, STEP))
    seen = {}               # (action, face) -> parallax per angle, nan where the face was not found
    lost = 0
    for i in held:
        pixels, truth = np.asarray(crops.pixels[i]), crops.manual[i]

        def points(degrees: float, vertical: bool) -> np.ndarray | None:
            h = homography(degrees, vertical)
            found = E.detect(net, show(pixels, h), 0.3)
            p = np.c_[truth, np.ones(5)] @ h.T
            j = E.best_face(found, p[:, :2] / p[:, 2:])
            return None if j is None else found.points[j]

        straight = points(0, True)
        if straight is None:
            lost += 1
            continue
        for action, vertical, sign in (("turn left", True, -1), ("turn right", True, 1), ("nod down", False, -1), ("nod up", False, 1)):
            row = []
            for a in angles:
                now = points(sign * a, vertical)
                row.append(math.nan if now is None else parallax(straight, now)[0 if vertical else 1])
            seen[action, i] = row
    faces = len(held) - lost
    print(json.dumps({"prints": faces, "not found when straight": lost}))
    for action in ("turn left", "turn right", "nod down", "nod up"):
        rows = np.array([r for (a, _), r in seen.items() if a == action])
        limit = NOD if action.startswith("nod") else TURN
        # A print may be tilted the other way as well: for a turn the sign counts, and whoever holds it tries both.
        shown = np.abs(rows) > limit if action.startswith("nod") else (rows < -limit if action == "turn left" else rows > limit)
        wrong = np.zeros_like(shown) if action.startswith("nod") else (rows > limit if action == "turn left" else rows < -limit)
        held_twice = shown[:, 1:] & shown[:, :-1]
        for most in (15, 30, 45, 60):
            n = most // STEP
            print(json.dumps({"action": action, "largest tilt": most, "passes": round(float(held_twice[:, : n - 1].any(1).mean()), 3),
                              "passes when tilted the other way": round(float((wrong[:, 1:n] & wrong[:, : n - 1]).any(1).mean()), 3),
                              "median parallax": round(float(np.nanmedian(np.abs(rows[:, n - 1]))), 3),
                              "face lost": round(float(np.isnan(rows[:, n - 1]).mean()), 3)}))


if __name__ == "__main__":
    main()
