"""Faces with names, as `keyface-convert calibrate` reads them.

    python -m recogniser.faces --lfw DATA/lfw_dev --out strangers.npz
    python -m recogniser.faces --families DATA/faces --out relatives.npz

`image` (uint8 [N,3,112,112]), `keypoints` (float32 [N,5,2] in 0..1 of the crop), `identity` and, for families, `family`
(int64 [N]). LFW's pictures were never trained on. The families' were, by distillation without their names, so that a table of
relatives is for comparison, not for an operating point.
"""
from __future__ import annotations

import argparse
import csv
import pathlib

import numpy as np

from .data import OFFSET, SIZE, TEMPLATE, read_tar


def numbered(names: list) -> np.ndarray:
    """One integer per distinct name."""
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def lfw(root: pathlib.Path) -> dict:
    """All pictures of `aligned.tar`; `Some_Name_0001.jpg` is a picture of Some_Name."""
    pictures = read_tar(root / "aligned.tar")
    names = sorted(pictures)
    return dict(
        image=np.stack([pictures[n].transpose(2, 0, 1) for n in names]),
        keypoints=np.broadcast_to(TEMPLATE / SIZE, (len(names), 5, 2)).astype(np.float32),
        identity=numbered([n.rsplit("_", 1)[0] for n in names]),
    )


def families(root: pathlib.Path) -> dict:
    """FIW's centre crops: identity `F0123/MID2` is member 2 of family 123."""
    with open(root / "index.csv", newline="") as f:
        rows = [r for r in csv.DictReader(f) if r["set"] == "fiw" and r["identity"]]
    pictures = {pathlib.PurePath(n).stem: p for n, p in read_tar(root / "fiw.tar").items()}
    points = [[[float(r[f"{n}_x"]), float(r[f"{n}_y"])] for n in ("le", "re", "n", "lm", "rm")] for r in rows]
    inner = slice(OFFSET, OFFSET + SIZE)
    return dict(
        image=np.stack([pictures[r["id"]][inner, inner].transpose(2, 0, 1) for r in rows]),
        keypoints=((np.array(points) - OFFSET) / SIZE).astype(np.float32),
        identity=numbered([r["identity"] for r in rows]),
        family=numbered([r["identity"].split("/")[0] for r in rows]),
    )


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--lfw", type=pathlib.Path)
    source.add_argument("--families", type=pathlib.Path)
    p.add_argument("--out", type=pathlib.Path, required=True)
    a = p.parse_args()
    np.savez(a.out, **(lfw(a.lfw) if a.lfw else families(a.families)))


if __name__ == "__main__":
    main()
