"""Pictures of persons that training never saw, for `keyface-convert calibrate`.

    python -m recogniser.strangers --data DATA --out strangers.npz

Takes LFW's development pictures: `image` uint8 [N,3,112,112], `keypoints` [N,5,2] (those of the alignment template), `identity` [N].
"""
from __future__ import annotations

import argparse
import pathlib

import numpy as np

from .data import TEMPLATE, read_tar

SIDE = 112


def strangers(root: pathlib.Path) -> dict:
    pictures = read_tar(root / "lfw_dev" / "aligned.tar")
    names = sorted(pictures)
    # `First_Last_0001.jpg`: the person is everything before the number.
    persons = [name.rsplit("_", 1)[0] for name in names]
    number = {person: i for i, person in enumerate(sorted(set(persons)))}
    points = (TEMPLATE / SIDE).astype(np.float32)
    return {
        "image": np.stack([pictures[name].transpose(2, 0, 1) for name in names]),
        "keypoints": np.repeat(points[None], len(names), 0),
        "identity": np.array([number[person] for person in persons], np.int64),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    found = strangers(args.data)
    np.savez(args.out, **found)
    print(f"{len(found['identity'])} pictures of {len(set(found['identity']))} persons in {args.out}")


if __name__ == "__main__":
    main()
