"""Muon for matrices beside AdamW for the rest, as one optimiser.

Muon (K. Jordan, 2024) moves a matrix along its momentum with all singular values brought near one; the factor 0.2 * sqrt(larger side)
gives such a step the size of one of Adam's (Liu et al., arXiv 2502.16982). A convolution counts as the matrix [outputs, inputs * taps].
"""
from __future__ import annotations

import torch

# One step of the iteration maps a singular value s to a s + b s^3 + c s^5; five of them bring all of 0.001..1 into about 0.7..1.2.
QUINTIC, STEPS = (3.4445, -4.7750, 2.0315), 5


def orthogonal(x: torch.Tensor) -> torch.Tensor:
    """[n, r, c] matrices with their singular values brought near one.

    Every step multiplies by a polynomial of the Gram matrix of the smaller side. These polynomials commute, so they are multiplied
    there, and the matrices themselves, of which one is 25 times as wide as high, only meet the result.
    """
    if x.shape[1] > x.shape[2]:
        return orthogonal(x.transpose(1, 2)).transpose(1, 2)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = QUINTIC
    gram = x @ x.transpose(1, 2)
    one = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
    product = one
    for step in range(STEPS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + a * one
        product = factor @ product
        if step + 1 < STEPS:
            gram = factor @ gram @ factor
    return product @ x


class Muon(torch.optim.Optimizer):
    """Groups with `muon` true are matrices and use Nesterov momentum; those without go to AdamW. Decay is decoupled in both."""

    def __init__(self, groups: list, lr: float, momentum: float = 0.95):
        super().__init__(groups, dict(lr=lr, weight_decay=0.0, momentum=momentum))
        self.adam = torch.optim.AdamW([g for g in self.param_groups if not g["muon"]], lr=lr, foreach=True)

    @torch.no_grad()
    def step(self) -> None:
        # AdamW works on our groups and keeps its state with ours, so that one state_dict has everything.
        self.adam.param_groups = [g for g in self.param_groups if not g["muon"]]
        self.adam.state = self.state
        self.adam.step()
        for group in (g for g in self.param_groups if g["muon"]):
            alike: dict = {}
            for p in group["params"]:
                alike.setdefault((p.shape[0], p[0].numel()), []).append(p)
            for shape, params in alike.items():
                self._matrices(group, shape, params)

    def _matrices(self, group: dict, shape: tuple, params: list) -> None:
        """Move all matrices of one shape."""
        moves = []
        for p in params:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            average = state["momentum"]
            average.lerp_(p.grad, 1 - group["momentum"])
            moves.append(p.grad.lerp(average, group["momentum"]).reshape(shape))
        moves = orthogonal(torch.stack(moves)) * (0.2 * max(shape) ** 0.5)
        for p, move in zip(params, moves):
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(move.reshape(p.shape), alpha=-group["lr"])
