"""Derivatives by nested reverse mode, which no code under test uses; pairs of known dependence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import Jet
from schmidt.operators.dependence import PairSampler
from schmidt.operators.jet import Exact, forward_mode


def _double_backward(function: Callable[[Tensor], Tensor], x: Tensor) -> Jet:
    x = x.clone().requires_grad_()
    dim = x.shape[1]
    values = function(x)
    slopes, laplacians = [], []
    for column in values.flatten(1).T:
        (slope,) = torch.autograd.grad(column.sum(), x, create_graph=True)
        bends = [
            torch.autograd.grad(slope[:, i].sum(), x, retain_graph=True)[0][:, i]
            if slope.requires_grad
            else torch.zeros_like(column)
            for i in range(dim)
        ]
        slopes.append(slope)
        laplacians.append(torch.stack(bends).sum(0))
    gradient = torch.stack(slopes, 1).reshape(*values.shape, dim)
    laplacian = torch.stack(laplacians, 1).reshape(values.shape)
    streams = torch.cat([values[None], gradient.movedim(-1, 0), laplacian[None]])
    return Jet(streams.detach(), dim, 2)


def _check_jets(module: nn.Module, x: Tensor) -> None:
    expected = _double_backward(module, x)
    forward = forward_mode(module, x, 2)
    torch.testing.assert_close(forward.streams, expected.streams, rtol=1e-9, atol=1e-9)
    for order in (0, 1, 2):
        found = Exact()(module, x, order)
        assert found.order == order
        wanted = expected.lower(order).streams
        torch.testing.assert_close(found.streams, wanted, rtol=1e-10, atol=1e-10)


@pytest.fixture
def check_jets() -> Callable[[nn.Module, Tensor], None]:
    """(module, points): its jets of every order are those of forward and of reverse mode."""
    return _check_jets


@pytest.fixture
def double_backward() -> Callable[[Callable[[Tensor], Tensor], Tensor], Jet]:
    """(function, points) → jet of order 2 by d + 1 backward passes per output."""
    return _double_backward


@pytest.fixture
def noisy_bits() -> tuple[Tensor, Tensor]:
    """Numbers of ones among three fair bits, and after each was kept with probability 3/4: as often
    as in 512 cases. The canonical correlations are 1/2, 1/4 and 1/8."""
    bits = list(itertools.product((0, 1), repeat=3))
    cases = []
    for a, b in itertools.product(bits, repeat=2):
        kept = sum(i == j for i, j in zip(a, b, strict=True))
        cases += [(sum(a), sum(b))] * 3**kept
    x, y = torch.tensor(cases).T
    return x, y


def _normal_pairs(correlation: float) -> PairSampler:
    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, other = torch.randn(2, n, 1, generator=generator, dtype=torch.float64)
        return x, correlation * x + math.sqrt(1 - correlation**2) * other

    return draw


@pytest.fixture
def normal_pairs() -> Callable[[float], PairSampler]:
    """ρ → pairs of a bivariate normal law; canonical correlations |ρ|, ρ², |ρ|³, …"""
    return _normal_pairs
