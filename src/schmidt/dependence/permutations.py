"""Permutation tests of independence: exact p-values from rearranged pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

RIDGES = (0.03, 0.3, 3.0, float("inf"))
"""Of the statistics, relative to the mean variance; a few strengths, for few and for many rows."""
SMALL = 1e-10


Change = Callable[[Tensor], Tensor]
"""Features (n, d) of y → those of another arrangement."""


class Arrangements:
    """Ways to put each x together with another y under which nothing changes if none depends.

    Args:
        n: rows.
        groups: None: every permutation; labels (n,): rows that belong together move together, to
            the place of a group of the same size; "series": the whole series is shifted in a
            circle, which keeps what neighbours have in common.
        within: (n,) labels of rows that alone may change places with one another.
    """

    def __init__(self, n: int, groups: Any = None, *, within: Any = None) -> None:
        self.n = n
        self.series = isinstance(groups, str)
        self.within = None if within is None else _members(within)
        self.of_size: list[np.ndarray] = []
        """Of each size groups (k, size)."""
        if groups is not None and not self.series:
            members = _members(groups)
            for size in sorted({len(m) for m in members}):
                self.of_size.append(np.stack([m for m in members if len(m) == size]))

    @property
    def most(self) -> float:
        """How many there are, at most."""
        if self.series:
            return self.n - 1
        counts = [len(a) for a in self.within or self.of_size] or [self.n]
        return float(np.exp(min(sum(gammaln(c + 1.0) for c in counts), 700.0)))

    def draw(self, count: int, rng: np.random.Generator) -> Iterator[Change]:
        """That many; of a series different ones, as far as there are."""
        if self.series:
            shifts = rng.permutation(np.arange(1, self.n))[:count]
            yield from (partial(torch.roll, shifts=int(s), dims=0) for s in shifts)
            return
        for _ in range(count):
            fixed = self.within or self.of_size
            place = np.arange(self.n) if fixed else rng.permutation(self.n)
            for members in fixed:
                place[members] = members[rng.permutation(len(members))]
            yield partial(torch.index_select, dim=0, index=torch.from_numpy(place))


def _members(labels: Any) -> list[np.ndarray]:
    code = np.unique(np.asarray(labels), return_inverse=True)[1]
    return np.split(np.argsort(code, kind="stable"), np.bincount(code).cumsum()[:-1])


def neighbourhoods(points: Tensor, size: int) -> np.ndarray:
    """(n,) labels of boxes of at most so many near points, by halves along the widest column."""
    labels = np.zeros(len(points), dtype=np.int64)
    queue, done = [np.arange(len(points))], 0
    plain = points.numpy()
    while queue:
        some = queue.pop()
        if len(some) <= size:
            labels[some], done = done, done + 1
            continue
        column = int(np.ptp(plain[some], axis=0).argmax())
        order = some[np.argsort(plain[some, column], kind="stable")]
        queue += [order[: len(order) // 2], order[len(order) // 2 :]]
    return labels


def permutation_p(
    statistic: Callable[[Change], np.ndarray],
    arrangements: Arrangements,
    count: int,
    seed: int,
) -> float:
    """The share of arrangements, the given one included, whose largest statistic is as large.

    Statistics (S,) are compared in units of their own spread over all arrangements. Exact: where
    pairs are exchangeable the p-value is at most α with probability at most α.
    """
    rng = np.random.default_rng(seed)
    found = [statistic(lambda v: v)]
    found += [statistic(change) for change in arrangements.draw(count, rng)]
    all_ = np.array(found)
    spread = all_.std(0)
    alive = spread > 1e-9 * np.abs(all_).max(0)
    if not alive.any():
        return 1.0
    largest = ((all_ - all_.mean(0)) / np.where(alive, spread, 1.0))[:, alive].max(1)
    return float((largest >= largest[0] - 1e-9).mean())


class Covariances:
    """‖U_λᵀ P V_λ‖²_F of whitened features for several ridges λ, and of features as they are.

    Args:
        x, y: features (n, d), (n, e) of pairs.
        arrangements: how they may be rearranged.
    """

    def __init__(self, x: Tensor, y: Tensor, arrangements: Arrangements) -> None:
        self.arrangements = arrangements
        self.sides = [_directions(a) for a in (x, y)]

    @property
    def work(self) -> int:
        """Multiplications per arrangement."""
        (u, _), (v, _) = self.sides
        return len(u) * u.shape[1] * v.shape[1]

    def __call__(self, change: Change) -> np.ndarray:
        (u, a), (v, b) = self.sides
        square = (u.T @ change(v)).square()
        return ((a @ square) * b).sum(1).numpy()

    def p_value(self, seed: int, count: int = 399) -> float:
        if any(u.shape[1] == 0 for u, _ in self.sides):
            return 1.0
        return permutation_p(self, self.arrangements, count, seed)


def _directions(features: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal left singular vectors (n, r), and what each ridge makes of them (ridges, r)."""
    centred = features - features.mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    keep = s > SMALL * s.max().clamp_min(1e-300)
    u, power = u[:, keep], s[keep].square()
    mean = power.mean() if len(power) else power.sum()
    gains = [power / mean if r == float("inf") else power / (power + r * mean) for r in RIDGES]
    return u, torch.stack(gains)
