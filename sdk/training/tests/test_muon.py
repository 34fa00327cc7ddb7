"""The optimiser of both networks."""
from __future__ import annotations

import copy

import pytest
import torch

from muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 400), (2, 400, 16)])
def test_orthogonal_keeps_directions_and_evens_out_sizes(shape):
    torch.manual_seed(1)
    x = torch.randn(shape)
    x = x * torch.logspace(0, -1, shape[2])                # a hundredfold spread of energies, as gradients have
    u, sizes, v = torch.linalg.svd(orthogonal(x), full_matrices=False)
    assert 0.3 < sizes.min() and sizes.max() < 1.3
    # The polar factor of x and of its image are the same: same singular vectors, in pairs.
    a, _, b = torch.linalg.svd(x, full_matrices=False)
    assert torch.allclose(u @ v, a @ b, atol=2e-2)


FALLING = [0.2 * (1 - step / 120) for step in range(120)]


def fit(rates, start=None):
    """Fits a linear map and a vector, one step for each rate; returns parameters, optimiser and the last loss."""
    torch.manual_seed(2)
    goal, data = torch.randn(6, 4), torch.randn(64, 4)
    w, b = torch.nn.Parameter(torch.zeros(6, 4)), torch.nn.Parameter(torch.zeros(6))
    groups = [{"params": [w], "muon": True, "weight_decay": 0.0}, {"params": [b], "muon": False}]
    opt = Muon(groups, lr=rates[0])
    if start is not None:
        state, w.data, b.data = start
        opt.load_state_dict(copy.deepcopy(state))
    for rate in rates:
        for group in opt.param_groups:
            group["lr"] = rate
        loss = (data @ w.T + b - data @ goal.T - 1).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    return w, b, opt, loss.item()


def test_both_kinds_learn():
    assert fit(FALLING[:1])[3] > 2 and fit(FALLING)[3] < 0.05


def test_its_state_is_all_that_is_needed_to_go_on():
    w, b, _, _ = fit(FALLING[:20])
    half_w, half_b, opt, _ = fit(FALLING[:10])
    again_w, again_b, _, _ = fit(FALLING[10:20], (opt.state_dict(), half_w.data.clone(), half_b.data.clone()))
    assert torch.equal(w, again_w) and torch.equal(b, again_b)
