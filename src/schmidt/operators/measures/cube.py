"""Ways to spread random points over the unit cube; each is unbiased for ∫ over the cube."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import scipy.special
import torch
from torch import Tensor

from schmidt.parameters import Choice, check

LONGEST_RULE = 2048
PANEL = 256

Sampling = Callable[[int, Sequence[float], torch.Generator], Tensor]
"""(n, aspect, generator) → about n points (N, k) in [0, 1)^k; all of weight 1/N. float64."""


def grid_shape(n: int, aspect: Sequence[float]) -> list[int]:
    """Cells per axis, at most n in all and in proportion to ``aspect``."""
    k = len(aspect)
    shape: list[int] = []
    for i, a in enumerate(aspect[:-1]):
        left = n // math.prod(shape)
        rest = math.prod(aspect[i:]) ** (1 / (k - i))
        shape.append(max(1, min(left, round(left ** (1 / (k - i)) * a / rest))))
    shape.append(max(1, n // math.prod(shape)))
    return shape


def _uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def plain(n: int, aspect: Sequence[float], generator: torch.Generator) -> Tensor:
    """Independent uniform points."""
    return _uniform((n, len(aspect)), generator)


def stratified(n: int, aspect: Sequence[float], generator: torch.Generator) -> Tensor:
    """One uniform point in every cell of a grid (k ≤ 3); Latin hypercube beyond."""
    k = len(aspect)
    if k > 3:
        order = torch.stack([torch.randperm(n, generator=generator) for _ in range(k)], 1)
        return (order + _uniform((n, k), generator)) / n
    shape = grid_shape(n, aspect)
    cells = torch.cartesian_prod(*[torch.arange(m) for m in shape]).reshape(-1, k)
    return (cells + _uniform(cells.shape, generator)) / torch.tensor(shape)


def lattice(n: int, aspect: Sequence[float], generator: torch.Generator) -> Tensor:
    """A regular grid with random shifts (k ≤ 3); Sobol points beyond.

    The first axis is shifted as a whole, every further axis anew for each line of the grid. For
    smooth integrands that vanish or close up at the ends of every axis – decaying functions of
    polar coordinates – each draw is a spectrally accurate rule, and over the shifts it
    is unbiased: fresh points every step without the noise of sampling.
    """
    k = len(aspect)
    if k > 3:
        return sobol(n, aspect, generator)
    shape = grid_shape(n, aspect)
    columns: list[Tensor] = []
    for axis, m in enumerate(shape):
        shift = _uniform((*shape[:axis], 1), generator)
        u = (torch.arange(m) + shift) / m
        view = u.reshape(*u.shape, *[1] * (k - axis - 1))
        columns.append(view.expand(*shape).reshape(-1))
    return torch.stack(columns, 1)


def sobol(n: int, aspect: Sequence[float], generator: torch.Generator) -> Tensor:
    """Scrambled Sobol points; n a power of two is best."""
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    engine = torch.quasirandom.SobolEngine(len(aspect), scramble=True, seed=seed)
    u = engine.draw(n, dtype=torch.float64)
    # the engine has 30 bits: spread each point inside its cell, away from 0 and 1
    return (u * (1 - 2.0**-30) + 2.0**-31).clamp(2.0**-32, 1 - 2.0**-32)


SAMPLINGS: dict[str, Sampling] = {
    "plain": plain,
    "stratified": stratified,
    "lattice": lattice,
    "sobol": sobol,
}


def sampling(name: str) -> Sampling:
    """Look a sampling up by name; an unknown name lists the known ones."""
    check({"sampling": Choice(*SAMPLINGS)}, sampling=name)
    return SAMPLINGS[name]


def gauss_legendre(n: int, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Nodes and weights of a rule of about n points on [low, high], float64.

    Beyond 2048 points it is composite, of panels of 256: a single rule would take O(n²) time.
    """
    if n > LONGEST_RULE:
        edges = np.linspace(low, high, -(-n // PANEL) + 1)
        panels = [gauss_legendre(PANEL, a, b) for a, b in itertools.pairwise(edges)]
        return torch.cat([x for x, _ in panels]), torch.cat([w for _, w in panels])
    nodes, weights = _legendre(n)
    half = (high - low) / 2
    return torch.from_numpy(nodes) * half + (high + low) / 2, torch.from_numpy(weights) * half


@cache
def _legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """On [−1, 1]: numpy takes O(n³) time, scipy O(n²)."""
    rule = np.polynomial.legendre.leggauss if n < 500 else scipy.special.roots_legendre
    return rule(n)


def tensor_rule(rules: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The product of one-dimensional rules: points (N, k), weights (N,)."""
    points = torch.cartesian_prod(*[x for x, _ in rules]).reshape(-1, len(rules))
    weights = torch.cartesian_prod(*[w for _, w in rules]).reshape(-1, len(rules)).prod(1)
    return points, weights
