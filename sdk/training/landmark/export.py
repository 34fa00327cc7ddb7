"""Exports a checkpoint: landmark.onnx, landmark.json, landmark.safetensors and landmark_vectors.npz.

    python -m landmark.export --checkpoint RUN/last.pt --figures figures.json --out EXPORT
    python -m landmark.export --random --out EXPORT        (untrained weights, for the decoder's author)
"""
from __future__ import annotations

import argparse
import json
import operator
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import fx, nn
from torch.nn import functional as F

from .data import nothing
from .evaluate import NMS_IOU, load_average
from .model import CHANNELS, POINT_SCALE, STRIDES, LandmarkNet, count_macs, count_parameters

SIZES = [(256, 320), (160, 160)]        # height, width of the test vectors


def vectors(net: LandmarkNet, seed: int) -> dict[str, np.ndarray]:
    """Synthetic inputs only: textures and noise in two sizes, and the network's answers."""
    rng = np.random.default_rng([seed, 5])
    out: dict[str, np.ndarray] = {}
    for i in range(4):
        h, w = SIZES[i % 2]
        img = nothing(rng, w, h) if i < 2 else Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        x = (torch.from_numpy(np.asarray(img).copy()).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
        with torch.no_grad():
            # (NumPy would store the transposed output in Fortran order)
            out[f"image{i}"], out[f"pred{i}"] = x.numpy(), net(x).contiguous().numpy()
    return out


class Levels(nn.Module):
    """The network up to its levels: what `layers` reads."""

    def __init__(self, net: LandmarkNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.net.levels(x)


def layers(net: LandmarkNet) -> tuple[list[dict], list[str]]:
    """A folded network as a list of convolutions, each with the addition and the ReLU behind it, and the outputs' names.

    Read from the traced graph, so that it follows the network whatever its layers are; anything but convolutions, additions,
    ReLUs and nearest 2x enlargements of one of the two terms is refused.
    """
    graph = fx.Tracer().trace(Levels(net))
    modules = dict(Levels(net).named_modules())
    found: dict[str, dict] = {}
    value: dict[fx.Node, str] = {}              # the layer (or "image") whose output a node is
    enlarged: set[fx.Node] = set()
    outputs: list[str] = []
    for node in graph.nodes:
        module = modules.get(node.target) if node.op == "call_module" else None
        if node.op == "placeholder":
            value[node] = "image"
        elif isinstance(module, nn.Conv2d):
            k, s, p, d = (pair[0] for pair in (module.kernel_size, module.stride, module.padding, module.dilation))
            plain = module.groups == 1 and p == k // 2 and d == 1 and module.padding_mode == "zeros"
            assert plain and module.kernel_size == (k, k) and module.stride == (s, s) and node.args[0] not in enlarged, node
            name = node.target.removeprefix("net.").removesuffix(".conv")
            found[name] = {"name": name, "input": value[node.args[0]], "inputs": module.in_channels,
                           "outputs": module.out_channels, "kernel": k, "stride": s}
            value[node] = name
        elif isinstance(module, nn.Identity):
            value[node] = value[node.args[0]]
        elif node.target is F.interpolate:
            assert node.kwargs.get("scale_factor") == 2.0 and node.kwargs.get("mode", "nearest") == "nearest", node
            value[node] = value[node.args[0]]
            enlarged.add(node)
        elif node.target in (operator.add, torch.add):
            # The term that nobody else needs becomes the sum.
            own = [a for a in node.args if a.op == "call_module" and len(a.users) == 1 and "relu" not in found[value[a]]]
            assert own, node
            other = node.args[1 - node.args.index(own[-1])]
            layer = found.pop(value[own[-1]])
            assert "add" not in layer, node
            found[layer["name"]] = layer        # behind what it adds
            layer |= {"add": value[other]} | ({"enlarge": True} if other in enlarged else {})
            value[node] = layer["name"]
        elif isinstance(module, nn.ReLU) or node.target in (F.relu, torch.relu):
            assert len(node.args[0].users) == 1 and value[node.args[0]] in found, node
            value[node] = value[node.args[0]]
            found[value[node]]["relu"] = True
        elif node.op == "output":
            outputs = [value[n] for n in node.args[0]]
        else:
            raise ValueError(f"no layer for {node.format_node()}")
    return list(found.values()), outputs


def tensors(net: LandmarkNet) -> dict[str, torch.Tensor]:
    """A folded network's `{layer}.weight` and `{layer}.bias`."""
    return {k.replace(".conv.", "."): v.contiguous() for k, v in net.state_dict().items()}


def write_onnx(net: LandmarkNet, path: Path) -> None:
    """Opset 17, height and width symbolic; the layers' names are the convolutions'."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(1, 3, 256, 320),), str(path), input_names=["image"], output_names=["pred"],
                          dynamic_axes={"image": {2: "h", 3: "w"}, "pred": {1: "cells"}}, opset_version=17, dynamo=False)
    model = onnx.load(str(path))
    shape = model.graph.output[0].type.tensor_type.shape.dim
    shape[0].dim_value, shape[2].dim_value = 1, CHANNELS    # the exporter leaves names where the numbers are known
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def export(net: LandmarkNet, out: Path, seed: int, facts: dict, figures: dict) -> None:
    out.mkdir(parents=True, exist_ok=True)
    net = net.folded()
    write_onnx(net, out / "landmark.onnx")
    save_file(tensors(net), str(out / "landmark.safetensors"))
    np.savez_compressed(out / "landmark_vectors.npz", **vectors(net, seed))
    scenes = figures.get("scenes", {})
    list_of_layers, outputs = layers(net)
    meta = {
        "name": "keyface-landmark", "format": 1,
        "input": {"name": "image", "shape": [1, 3, "h", "w"], "multiple_of": 32, "pad": "black, right and bottom",
                  "order": "RGB", "scale": "(x / 255 - 0.5) / 0.5", "longest_side": 320},
        "output": {"name": "pred", "shape": [1, "cells", CHANNELS], "order": "stride 8, 16, 32; rows; columns",
                   "channels": "score_logit, dx, dy, log_w, log_h, 5 * (px, py)"},
        "decode": "centre = (col + 0.5 + dx, row + 0.5 + dy) * stride; size = exp(log_w, log_h) * stride; "
                  "point = (col + 0.5 + px * point_scale, row + 0.5 + py * point_scale) * stride; score = sigmoid(score_logit)",
        "points": "left eye, right eye, nose, left mouth corner, right mouth corner, as seen in the picture; x = 0.5 is the "
                  "centre of the first pixel, so in a picture shrunk by s: x_frame = x * s",
        "layers": list_of_layers, "outputs": outputs, "strides": list(STRIDES), "point_scale": POINT_SCALE, "nms_iou": NMS_IOU,
        "score_threshold": round(scenes.get("threshold", 0.4), 4),
        "parameters": count_parameters(net), "mmac_320x240": round(count_macs(net) / 1e6, 2),
        "seed": seed, "training": facts, "figures": figures,
    }
    (out / "landmark.json").write_text(json.dumps(meta, indent=1) + "\n")


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", type=Path)
    p.add_argument("--random", action="store_true")
    p.add_argument("--figures", type=Path, help="what evaluate wrote")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args(argv)
    if a.random:
        torch.manual_seed(7)
        net, facts, seed = LandmarkNet().eval(), {"state": "untrained"}, 7
    else:
        net, info = load_average(a.checkpoint)
        facts, seed = {"steps": info["step"], "progress": round(info["progress"], 4)}, info["seed"]
    export(net, a.out, seed, facts, json.loads(a.figures.read_text()) if a.figures else {})
    print(f"wrote {a.out} (seed {seed})")


if __name__ == "__main__":
    main()
