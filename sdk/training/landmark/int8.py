"""What int8 costs: the held-out figures of the f32 network beside those of the arithmetic that the SDK uses.

    python -m landmark.int8 --data DATA --export EXPORT        (EXPORT: landmark.json and landmark.safetensors)

Weights have a scale per output channel, the input of every convolution one scale for all its values; sums are exact in both.
"""
from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from . import data as D
from .evaluate import HEAVY, held_out_set, point_error, recall
from .model import LandmarkNet


def load_export(folder: Path) -> LandmarkNet:
    """The folded network of an export."""
    net = LandmarkNet().eval().folded()
    names = {k.replace(".conv.", "."): k for k in net.state_dict()}
    net.load_state_dict({names[k]: v for k, v in load_file(str(folder / "landmark.safetensors")).items()})
    return net


def rounded(x: Tensor, scale: Tensor) -> Tensor:
    return torch.where(scale > 0, torch.round(x / scale.clamp(min=1e-30)) * scale, 0.0)


def quantised(net: LandmarkNet) -> LandmarkNet:
    """A copy of a folded network whose convolutions see int8 weights and int8 inputs."""
    net = copy.deepcopy(net)
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            m.weight.data = rounded(m.weight.data, m.weight.data.abs().amax((1, 2, 3), keepdim=True) / 127)
            m.register_forward_pre_hook(lambda _m, args: (rounded(args[0], args[0].abs().max() / 127),))
    return net


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--export", type=Path, required=True)
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    net = load_export(a.export)
    held = held_out_set(D.load_scenes(a.data), D.load_crops(a.data, ("net2",)), json.loads((a.export / "landmark.json").read_text())["seed"])
    for name, one in (("f32", net), ("int8", quantised(net))):
        found, points, heavy = recall(one, held.scenes), point_error(one, held), point_error(one, held, HEAVY)
        print(json.dumps({"network": name, "recall": found["recall"], "threshold": found["threshold"], "error": points["error"],
                          "missed": points["missed"], "heavy_error": heavy["error"], "heavy_missed": heavy["missed"]}), flush=True)


if __name__ == "__main__":
    main()
