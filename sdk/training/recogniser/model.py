"""The KP-RPE vision transformer, with the tensor names of the published checkpoints.

One class covers what the experiments need: patch or convolutional stem, and as relative position encoding none, iRPE
on keys, or KP-RPE in its five forms with two to five key points. `tests/test_recogniser.py` pins it to the golden
vectors of the reference implementation.
"""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

CTX_TYPES = (
    "keypoint",
    "rel_keypoint",
    "rel_keypoint_splithead",
    "rel_keypoint_unshared",
    "rel_keypoint_splithead_unshared",
)


def kprpe(ctx_type: str = "rel_keypoint_splithead_unshared", num_keypoints: int = 5) -> dict:
    """The `rpe_config` of KP-RPE, spelled as the published configuration spells it."""
    return dict(
        name="KPRPE_shared", rpe_on="k", shared_head=True, mode="ctx", method="product", ratio=1.9,
        ctx_type=ctx_type, num_keypoints=num_keypoints,
    )


def irpe() -> dict:
    return dict(name="iRPE", rpe_on="k", shared_head=True, mode="ctx", method="product", ratio=1.9)


@dataclass
class Config:
    embed_dim: int = 128
    depth: int = 6
    mlp_ratio: float = 3
    num_heads: int = 4
    patch_size: int = 16                     # edge of a token in pixels: 112 / patch_size tokens a side
    output_dim: int = 192
    input_size: list = field(default_factory=lambda: [3, 112, 112])
    color_space: str = "RGB"
    stem: str = "conv"                       # "conv": four stride-2 convolutions; "patch": the published one
    stem_channels: list = field(default_factory=lambda: [32, 64, 128, 128])
    head_hidden: int = 256                   # the published network has embed_dim here
    rpe_config: dict | None = field(default_factory=kprpe)

    @classmethod
    def from_dict(cls, d: dict) -> "Config":
        """Accept our own configurations and the published ones (which have neither stem nor head_hidden)."""
        d = dict(d)
        d.setdefault("stem", "patch")
        d.setdefault("head_hidden", d["embed_dim"])
        if d["stem"] == "patch":
            d.setdefault("stem_channels", [])
        return cls(**d)

    def to_dict(self) -> dict:
        return asdict(self)

    @property
    def side(self) -> int:
        return self.input_size[1] // self.patch_size


def bucket_ids(side: int, ratio: float = 1.9) -> torch.Tensor:
    """[tokens, tokens] bucket of (query, key): the product method, 7 row offsets by 7 column offsets."""
    alpha, beta, gamma = ratio, 2 * ratio, 8 * ratio
    top = int(beta)

    def squash(offset: int) -> int:
        size = abs(offset)
        if size <= alpha:
            return offset
        far = round(alpha + math.log(size / alpha) / math.log(gamma / alpha) * (beta - alpha))
        return int(math.copysign(min(far, top), offset))

    row = torch.tensor([[squash(q - k) + top for k in range(side)] for q in range(side)])
    wide = row[:, None, :, None] * (2 * top + 1) + row[None, :, None, :]
    return wide.reshape(side * side, side * side)


class ConvBn(nn.Module):
    """3x3 stride-2 convolution and batch normalisation."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x):
        return self.bn(self.conv(x))


class PatchEmbed(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.proj = nn.Conv2d(3, cfg.embed_dim, cfg.patch_size, cfg.patch_size)

    def forward(self, x):
        return self.proj(x)


class IrpeKey(nn.Module):
    """iRPE on keys: one table for all heads, looked up by bucket and multiplied with the query."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.zeros(1, head_dim, 49))

    def forward(self, q, ids):               # q [B*H, N, d], already scaled
        return torch.matmul(q, self.lookup_table_weight).gather(-1, ids.expand(q.shape[0], -1, -1))


class Attention(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.heads = cfg.num_heads
        self.qkv = nn.Linear(cfg.embed_dim, 3 * cfg.embed_dim, bias=False)
        self.proj = nn.Linear(cfg.embed_dim, cfg.embed_dim)
        if cfg.rpe_config and cfg.rpe_config["name"] == "iRPE":
            self.rpe_k = IrpeKey(cfg.embed_dim // cfg.num_heads)

    def forward(self, x, bias, ids):
        b, n, c = x.shape
        h, d = self.heads, c // self.heads
        qkv = self.qkv(x).reshape(b, n, 3, h, d).permute(2, 0, 3, 1, 4)
        q, k, v = (t.reshape(b * h, n, d) for t in qkv)
        q = q * d**-0.5
        if hasattr(self, "rpe_k"):
            bias = self.rpe_k(q, ids)
        logits = torch.bmm(q, k.transpose(1, 2)) if bias is None else torch.baddbmm(bias, q, k.transpose(1, 2))
        out = torch.bmm(logits.softmax(-1), v)
        return self.proj(out.reshape(b, h, n, d).transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        hidden = int(cfg.embed_dim * cfg.mlp_ratio)
        self.fc1 = nn.Linear(cfg.embed_dim, hidden)
        self.fc2 = nn.Linear(hidden, cfg.embed_dim)

    def forward(self, x):
        return self.fc2(F.relu6(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.norm1 = nn.LayerNorm(cfg.embed_dim, eps=1e-5)
        self.attn = Attention(cfg)
        self.norm2 = nn.LayerNorm(cfg.embed_dim, eps=1e-5)
        self.mlp = Mlp(cfg)

    def forward(self, x, bias, ids):
        x = x + self.attn(self.norm1(x), bias, ids)
        return x + self.mlp(self.norm2(x))


class Net(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg
        tokens = cfg.side**2
        if cfg.stem == "conv":
            if len(cfg.stem_channels) != 4 or cfg.stem_channels[-1] != cfg.embed_dim or cfg.side * 16 != cfg.input_size[1]:
                raise ValueError("a conv stem has four stages, ends at embed_dim and makes tokens of 16 pixels")
            chans = [3, *cfg.stem_channels]
            self.stem = nn.ModuleList(ConvBn(a, b) for a, b in zip(chans, chans[1:]))
        else:
            self.patch_embed = PatchEmbed(cfg)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, cfg.embed_dim))
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.depth))
        self.norm = nn.LayerNorm(cfg.embed_dim, eps=1e-5)
        self.feature = nn.Sequential(
            nn.Linear(cfg.embed_dim * tokens, cfg.head_hidden, bias=False),
            nn.BatchNorm1d(cfg.head_hidden, eps=2e-5),
            nn.Linear(cfg.head_hidden, cfg.output_dim, bias=False),
            nn.BatchNorm1d(cfg.output_dim, eps=2e-5),
        )
        rpe = cfg.rpe_config
        self.register_buffer("ids", bucket_ids(cfg.side), persistent=False)
        step = (torch.arange(cfg.side) + 0.5) / cfg.side
        centres = torch.stack([step.repeat(cfg.side), step.repeat_interleave(cfg.side)], -1)   # x, y, row-major
        self.register_buffer("centres", centres, persistent=False)
        if rpe and rpe["name"].startswith("KPRPE"):
            ctx = rpe["ctx_type"]
            if ctx not in CTX_TYPES:
                raise ValueError(f"unknown ctx_type {ctx}")
            self.table_heads = cfg.num_heads if "splithead" in ctx else 1
            self.table_depth = cfg.depth if "unshared" in ctx else 1
            self.keypoint_linear = nn.Linear(2 * rpe["num_keypoints"], 49 * self.table_heads * self.table_depth)
        self.init()

    def init(self):
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
            elif isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if hasattr(self, "keypoint_linear"):            # starts as a plain ViT
            nn.init.zeros_(self.keypoint_linear.weight)

    def biases(self, keypoints) -> list:
        """Per block the [B*H, N, N] attention bias, or None.

        The table of query i is linear in its key-point differences, so the *weights* are looked up by bucket, once
        per batch, instead of the much larger tables of every picture: one small matrix product per query.
        """
        if not hasattr(self, "keypoint_linear") or self.cfg.rpe_config["ctx_type"] == "keypoint":
            # With absolute key points the reference adds one and the same number to all keys of a query, which the
            # softmax cancels: its golden outputs are those of a plain ViT.
            return [None] * self.cfg.depth
        b, n = keypoints.shape[0], self.centres.shape[0]
        h, l, count = self.table_heads, self.table_depth, self.cfg.rpe_config["num_keypoints"]
        weight = torch.cat([self.keypoint_linear.weight, self.keypoint_linear.bias[:, None]], 1)
        c = weight.shape[-1]
        weight = weight.reshape(l, h, 49, c)[:, :, self.ids].permute(2, 4, 0, 1, 3).reshape(n, c, l * h * n)
        context = (self.centres[:, None] - keypoints[:, None]).reshape(b, n, -1)[:, :, : 2 * count]
        context = F.pad(context, (0, 1), value=1.0).transpose(0, 1)            # [n, b, 2K+1]
        bias = torch.bmm(context, weight).reshape(n, b, l, h, n).permute(2, 1, 3, 0, 4)
        bias = bias.expand(l, b, self.cfg.num_heads, n, n).reshape(l, b * self.cfg.num_heads, n, n)
        return list(bias.unbind(0)) * (self.cfg.depth // l)

    def forward(self, x, keypoints, trace: list | None = None):
        if self.cfg.stem == "conv":
            for i, stage in enumerate(self.stem):
                x = stage(x)
                if i < 3:
                    x = F.relu6(x)
        else:
            x = self.patch_embed(x)
        x = x.flatten(2).transpose(1, 2) + self.pos_embed
        for block, bias in zip(self.blocks, self.biases(keypoints)):
            x = block(x, bias, self.ids)
            if trace is not None:
                trace.append(x)
        return self.feature(self.norm(x).flatten(1))


class Recogniser(nn.Module):
    """`net.` is the prefix of the published tensor names."""

    def __init__(self, cfg: Config):
        super().__init__()
        self.net = Net(cfg)

    @property
    def cfg(self) -> Config:
        return self.net.cfg

    def forward(self, image, keypoints, trace: list | None = None):
        """Embedding before L2 normalisation. image: float NCHW (x/255-0.5)/0.5; keypoints: [N,5,2] in 0..1."""
        return self.net(image, keypoints, trace)


def load_tensors(model: nn.Module, tensors: dict) -> None:
    """Load numpy or torch tensors by name, strictly; a scalar may be stored with shape [1]."""
    own = model.state_dict()
    state = {k: torch.as_tensor(v).reshape(own[k].shape) if k in own else torch.as_tensor(v) for k, v in tensors.items()}
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})


def normalise(image: torch.Tensor) -> torch.Tensor:
    return (image.float() / 255 - 0.5) / 0.5


def macs(cfg: Config) -> int:
    """Multiply-accumulates of one embedding (convolutions, linear layers, attention)."""
    n, d = cfg.side**2, cfg.embed_dim
    if cfg.stem == "conv":
        size, total, cin = cfg.input_size[1], 0, 3
        for cout in cfg.stem_channels:
            size //= 2
            total += size * size * 9 * cin * cout
            cin = cout
    else:
        total = n * 3 * cfg.patch_size**2 * d
    total += cfg.depth * (n * (4 * d * d + 2 * d * int(d * cfg.mlp_ratio)) + 2 * n * n * d)
    return total + n * d * cfg.head_hidden + cfg.head_hidden * cfg.output_dim
