"""Items to rows, centred and scaled, and rows to the inputs of networks: principal components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from schmidt.dependence.moments import CHUNK, batches
from schmidt.linalg import whitener
from schmidt.operators.pairs import ClassPairs, GivenPairs, PairSampler

KINDS = ("whiten", "standard", "none")
ROWS = 2**14
"""Items whose principal components are found, of each domain,"""
NUMBERS = 2**27
"""and numbers in them that are drawn from a loader."""


def flat(x: Tensor) -> Tensor:
    """Items of any shape as rows (B, d); plain numbers as (B, 1)."""
    return x.flatten(1) if x.ndim > 1 else x[:, None]


@dataclass(frozen=True)
class Scales:
    """Centre and factor of each column, (d,), float64: (x − centre)·factor has mean 0 and, where
    columns are scaled, variance 1. Constant columns have factor 0."""

    centre: Tensor
    factor: Tensor


class ScaledRows(nn.Module):
    """(x − centre)·factor of items of any shape, as rows of float64: what linear maps act on."""

    centre: Tensor
    factor: Tensor

    def __init__(self, scales: Scales) -> None:
        super().__init__()
        self.register_buffer("centre", scales.centre.clone())
        self.register_buffer("factor", scales.factor.clone())

    def forward(self, x: Tensor) -> Tensor:
        rows = _fitting(flat(x), self.centre)
        return (rows.double() - self.centre) * self.factor


class Inputs(nn.Module):
    """(x − centre)·factor @ map: fixed, made from data; items of any shape are flattened.

    Differences are taken in double precision, because items may lie far from 0.

    Args:
        scales: of the d columns.
        map: (d, k), in the precision that the network works in.
    """

    centre: Tensor
    factor: Tensor
    map: Tensor

    def __init__(self, scales: Scales, map: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", scales.centre.clone())
        self.register_buffer("factor", scales.factor.clone())
        self.register_buffer("map", map.clone())

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Centre and factor stay in double precision, whatever the network is converted to."""
        kept = self.centre, self.factor
        out = super()._apply(fn, recurse)
        self.centre, self.factor = (t.to(self.map.device) for t in kept)
        return out

    def forward(self, x: Tensor) -> Tensor:
        rows = _fitting(flat(x), self.centre)
        return ((rows.double() - self.centre) * self.factor).to(self.map.dtype) @ self.map


def _fitting(rows: Tensor, centre: Tensor) -> Tensor:
    if rows.shape[1] != len(centre):
        raise ValueError(
            f"items have {rows.shape[1]} numbers each, and were fitted with {len(centre)}"
        )
    return rows


def scales(
    pairs: PairSampler, *, scale: bool = True, shared: bool = False
) -> tuple[Scales, Scales]:
    """Centres and factors of the columns of both domains, under their law; two passes.

    Args:
        scale: each column by its own standard deviation, so that its unit does not matter; False:
            all of a domain by one.
        shared: the same factors for both domains.
    """
    lows: list[list[Tensor]] = [[], []]
    highs: list[list[Tensor]] = [[], []]
    for k, rows, w in _rows(pairs):
        seen = rows[w > 0]
        if len(seen):
            lows[k].append(seen.amin(0))
            highs[k].append(seen.amax(0))
    low, high = ([torch.stack(a).amin(0) for a in lows], [torch.stack(a).amax(0) for a in highs])
    if shared and len(low[0]) != len(low[1]):
        raise ValueError(
            f"one map for both domains needs items of one size: x has {len(low[0])} numbers, "
            f"y has {len(low[1])}"
        )
    middle = [a / 2 + b / 2 for a, b in zip(low, high, strict=True)]
    reach = [b / 2 - a / 2 for a, b in zip(low, high, strict=True)]
    alive = [
        r > 2 * _precision(pairs, k) * torch.maximum(a.abs(), b.abs())
        for k, (r, a, b) in enumerate(zip(reach, low, high, strict=True))
    ]
    unit = [torch.where(v, r, torch.ones_like(r)) for v, r in zip(alive, reach, strict=True)]
    mass = [0.0, 0.0]
    total, square = ([torch.zeros_like(m) for m in middle] for _ in range(2))
    for k, rows, w in _rows(pairs):
        u = (rows - middle[k]) / unit[k]
        mass[k] += float(w.sum())
        total[k] += w @ u
        square[k] += w @ u.square()
    mean = [t / m for t, m in zip(total, mass, strict=True)]
    centres = [a + u * m for a, u, m in zip(middle, unit, mean, strict=True)]
    sizes = [
        torch.where(v, u * (s / m - c.square()).clamp_min(0).sqrt(), 0.0)
        for v, u, s, m, c in zip(alive, unit, square, mass, mean, strict=True)
    ]
    if shared:
        both = torch.hypot(sizes[0], sizes[1]) / 2**0.5
        sizes, alive = [both, both], [alive[0] | alive[1]] * 2
    out = []
    for centre, size, varies, name in zip(centres, sizes, alive, "xy", strict=True):
        if not bool((size > 0).any()):
            raise ValueError(
                f"all items {name} are equal, constant in every column: nothing depends on them"
            )
        if not scale:
            largest = size.max()
            size = torch.full_like(size, largest * float((size / largest).square().mean()) ** 0.5)
        known = varies & (size > 0)
        factor = torch.where(known, torch.where(known, size, 1.0).reciprocal(), 0.0)
        out.append(Scales(centre, factor))
    return out[0], out[1]


def _rows(pairs: PairSampler) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Which domain, rows of it as float64, and their weights."""
    if isinstance(pairs, ClassPairs):
        for k, (items, weight) in enumerate(zip((pairs.x, pairs.y), pairs.weights, strict=True)):
            for part, w in zip(items.split(CHUNK), weight.split(CHUNK), strict=True):
                yield k, flat(part).double(), w.double()
        return
    for x, y, w in batches(pairs):
        yield 0, flat(x).double(), w.double()
        yield 1, flat(y).double(), w.double()


def _precision(pairs: PairSampler, k: int) -> float:
    if isinstance(pairs, ClassPairs | GivenPairs):
        dtype = (pairs.x, pairs.y)[k].dtype
        return torch.finfo(dtype).eps if dtype.is_floating_point else 0.0
    return torch.finfo(torch.float32).eps


def input_maps(
    pairs: PairSampler,
    kind: str,
    components: int,
    damping: float,
    *,
    shared: bool,
    scale: bool = True,
) -> tuple[Inputs, Inputs]:
    """The maps for x and for y; one matrix, with centres of their own, if ``shared``.

    Args:
        kind: "whiten": v·(λ + damping·mean λ)^−½ for the leading ``components`` eigenvectors v of
            the covariance of the columns, mean λ over those kept; "standard": centred, one scale
            per column; "none": as they are.
        scale: whether columns are scaled before they are whitened.
    """
    found = scales(pairs, scale=scale or kind == "standard", shared=shared)
    if kind == "none":
        return tuple(  # type: ignore[return-value]
            Inputs(Scales(0 * s.centre, torch.ones_like(s.factor)), torch.eye(len(s.centre)))
            for s in found
        )
    if kind == "standard":
        return tuple(Inputs(s, torch.eye(len(s.centre))) for s in found)  # type: ignore[return-value]
    rows = []
    for (items, w), s in zip(_some_rows(pairs), found, strict=True):
        z = (flat(items).double() - s.centre) * s.factor
        w = w / w.sum()
        rows.append((z - w @ z) * w.sqrt()[:, None])
    sets = [torch.cat(rows) / 2**0.5] if shared else rows
    maps = [whitener(r, components, damping=damping).float() for r in sets] * (2 if shared else 1)
    return Inputs(found[0], maps[0]), Inputs(found[1], maps[1])


def _some_rows(pairs: PairSampler) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Items of each domain with weights: all of them, or some under their law."""
    if isinstance(pairs, ClassPairs):
        return _some(pairs.x, None), _some(pairs.y, None)
    if isinstance(pairs, GivenPairs) and (pairs.weight is None or len(pairs) <= ROWS):
        return _some(pairs.x, pairs.weight), _some(pairs.y, pairs.weight)
    generator = torch.Generator().manual_seed(0)
    x, y, *w = pairs(64, generator)
    rows = min(ROWS, NUMBERS // max(flat(x).shape[1], flat(y).shape[1]))
    if rows > 64:
        x, y, *w = pairs(rows, generator)
    weight = w[0] if w else None
    return _some(x, weight), _some(y, weight)


def _some(items: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    if len(items) > ROWS:
        generator = torch.Generator().manual_seed(0)
        items = items[torch.randperm(len(items), generator=generator)[:ROWS]]
        weight = None
    one = torch.ones(len(items), dtype=torch.float64)
    return items, one if weight is None else weight.double()
