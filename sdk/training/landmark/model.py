"""The detector and landmark network: plain convolutions, three levels, one output.

Every hidden layer is a 3x3 or 1x1 convolution + batch norm (+ ReLU); the only other operators are an addition and a
nearest 2x enlargement, so that the network folds into a list of convolutions for an int8 engine.

Output `pred` [N, A, 15]: cells of stride 8, then 16, then 32; rows, then columns, inside a level. Channels are
score_logit, dx, dy, log_w, log_h, 5 * (px, py); `decode` below is the definition of their meaning.
"""
from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
POINT_SCALE = 2.0
CHANNELS = 15


class ConvBn(nn.Module):
    """Convolution + batch norm (+ ReLU); `fold()` turns it into one convolution with a bias."""

    def __init__(self, cin: int, cout: int, k: int = 3, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, stride, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.03)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x, inplace=True) if self.relu else x

    def fold(self) -> None:
        if isinstance(self.bn, nn.Identity):
            return
        c, b = self.conv, self.bn
        gain = b.weight / torch.sqrt(b.running_var + b.eps)
        conv = nn.Conv2d(c.in_channels, c.out_channels, c.kernel_size, c.stride, c.padding, bias=True)
        conv.weight.data = c.weight.data * gain[:, None, None, None].data
        conv.bias.data = (b.bias - b.running_mean * gain).data
        self.conv, self.bn = conv, nn.Identity()


class Residual(nn.Module):
    """relu(x + conv(x)): one 3x3 convolution per block keeps the operator count low."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = ConvBn(c, c, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class LandmarkNet(nn.Module):
    """Input [N, 3, H, W], RGB scaled to (x / 255 - 0.5) / 0.5; H and W any multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBn(3, 16, stride=2)
        self.c2 = ConvBn(16, 24, stride=2)
        self.c3 = nn.Sequential(ConvBn(24, 40, stride=2), Residual(40))
        self.c4 = nn.Sequential(ConvBn(40, 64, stride=2), Residual(64), Residual(64))
        self.c5 = nn.Sequential(ConvBn(64, 64, stride=2), Residual(64))
        self.down5 = ConvBn(64, 64, 1, relu=False)      # 32 -> 16
        self.lat4 = ConvBn(64, 64, 1, relu=False)
        self.down4 = ConvBn(64, 40, 1, relu=False)      # 16 -> 8
        self.lat3 = ConvBn(40, 40, 1, relu=False)
        self.refine3 = Residual(40)                     # small faces live on this level only
        self.head3 = ConvBn(40, 32)
        self.head4 = ConvBn(64, 48)
        self.head5 = ConvBn(64, 48)
        self.out3 = nn.Conv2d(32, CHANNELS, 1)
        self.out4 = nn.Conv2d(48, CHANNELS, 1)
        self.out5 = nn.Conv2d(48, CHANNELS, 1)
        self._init()

    def _init(self) -> None:
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        # A face's box in strides where its level is used, and the usual places of the five points in it.
        start = [(1.3, 1.6), (1.5, 1.8), (1.6, 1.9)]
        template = torch.tensor([-18.0, -20, 18, -20, 0, 0, -15, 20, 15, 20]) / 82.0
        for out, (lw, lh) in zip((self.out3, self.out4, self.out5), start):
            nn.init.normal_(out.weight, std=0.01)
            bias = torch.zeros(CHANNELS)
            bias[0], bias[3], bias[4] = -4.0, lw, lh
            bias[5:] = template * float(torch.tensor(lw).exp()) / POINT_SCALE
            out.bias.data = bias
        for m in self.modules():
            if isinstance(m, Residual):
                nn.init.constant_(m.body.bn.weight, 0.5)

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3 = self.c3(self.c2(self.stem(x)))
        c4 = self.c4(c3)
        c5 = self.c5(c4)
        p4 = F.relu(self.lat4(c4) + F.interpolate(self.down5(c5), scale_factor=2.0, mode="nearest"))
        p3 = F.relu(self.lat3(c3) + F.interpolate(self.down4(p4), scale_factor=2.0, mode="nearest"))
        return self.out3(self.head3(self.refine3(p3))), self.out4(self.head4(p4)), self.out5(self.head5(c5))

    def forward(self, x: Tensor) -> Tensor:
        # The batch as a plain number: the exported graph then holds constant shapes [1, 15, -1] and no shape arithmetic.
        return torch.cat([p.reshape(int(p.shape[0]), CHANNELS, -1) for p in self.levels(x)], 2).transpose(1, 2)

    def folded(self) -> "LandmarkNet":
        """A copy for inference, batch norm folded into the convolutions."""
        net = copy.deepcopy(self).eval()
        for m in list(net.modules()):
            if isinstance(m, ConvBn):
                m.fold()
        return net


def cells(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Cell centres in strides [A, 2] and strides [A, 1] in the order of `pred`."""
    centres, strides = [], []
    for s in STRIDES:
        h, w = height // s, width // s
        y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
        centres.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((h * w, 1), float(s)))
    return torch.cat(centres), torch.cat(strides)


def decode(pred: Tensor, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [..., A], boxes [..., A, 4] as x0 y0 x1 y1, points [..., A, 5, 2], in pixels of the input."""
    score = pred[..., 0].sigmoid()
    mid = (centres + pred[..., 1:3]) * strides
    half = pred[..., 3:5].clamp(max=6.0).exp() * strides / 2
    box = torch.cat([mid - half, mid + half], -1)
    points = (centres.unsqueeze(-2) + pred[..., 5:].unflatten(-1, (5, 2)) * POINT_SCALE) * strides.unsqueeze(-1)
    return score, box, points


def count_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def count_macs(net: nn.Module, height: int = 240, width: int = 320) -> int:
    """Multiply-accumulates of the convolutions; the picture is padded to multiples of 32 as the SDK does."""
    total = 0

    def hook(m: nn.Conv2d, _inp: object, out: Tensor) -> None:
        nonlocal total
        total += out[0].numel() * m.in_channels * m.kernel_size[0] * m.kernel_size[1]

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, nn.Conv2d)]
    training = net.training
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, -(-height // 32) * 32, -(-width // 32) * 32))
    net.train(training)
    for h in handles:
        h.remove()
    return total
