"""Means and covariances of features under a law of pairs, in one pass over all the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.operators.pairs import ClassPairs, GivenPairs, LoaderPairs, PairSampler

Features = Callable[[Tensor], Tensor]
"""Items (B, …) → (B, K)."""

CHUNK = 4096
DRAWN = 2**15
"""Pairs to draw of a law that is known through draws only."""


@dataclass(frozen=True, kw_only=True)
class PairMoments:
    """Means (K,), (K′,), covariances (K, K), (K′, K′) and cross-covariance E[f gᵀ] − E[f]E[g]ᵀ
    (K, K′) under p(x, y), float64. Plain means: they are divided by n, not by n − 1."""

    mean_f: Tensor
    mean_g: Tensor
    cov_f: Tensor
    cov_g: Tensor
    cross: Tensor


def pooled(parts: Sequence[tuple[PairMoments, float]]) -> PairMoments:
    """The moments of a mixture of laws with the given masses."""
    total = sum(mass for _, mass in parts)
    share = [mass / total for _, mass in parts]
    both = [(m, s) for (m, _), s in zip(parts, share, strict=True)]
    f = sum((s * m.mean_f for m, s in both), torch.zeros(()))
    g = sum((s * m.mean_g for m, s in both), torch.zeros(()))

    def mixed(name: str, a: str, b: str, mean_a: Tensor, mean_b: Tensor) -> Tensor:
        out = torch.zeros((), dtype=torch.float64)
        for m, s in both:
            apart = torch.outer(getattr(m, a) - mean_a, getattr(m, b) - mean_b)
            out = out + s * (getattr(m, name) + apart)
        return out

    return PairMoments(
        mean_f=f,
        mean_g=g,
        cov_f=mixed("cov_f", "mean_f", "mean_f", f, f),
        cov_g=mixed("cov_g", "mean_g", "mean_g", g, g),
        cross=mixed("cross", "mean_f", "mean_g", f, g),
    )


@torch.no_grad()
def moments(
    pairs: PairSampler, f: Features, g: Features, *, device: torch.device | None = None
) -> PairMoments:
    """Moments of f(x) and g(y): exact for given pairs, classes and loaders, else of 2^15 draws.

    For classes they are those of all pairs that a class can form, at the cost of one pass over the
    items. Products are formed in the precision of the features, on the ``device`` that items are
    moved to, and summed in float64.
    """
    if isinstance(pairs, ClassPairs):
        return _by_class(pairs, f, g, device)
    sums: _Sums | None = None
    for x, y, w in batches(pairs):
        u, v = f(x.to(device)), g(y.to(device))
        if sums is None:
            sums = _Sums(u, v)
        sums.add(u, v, w)
    assert sums is not None
    return sums.moments()


def batches(pairs: PairSampler) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Items of both domains with weights: all there are, or 2^15 draws of a sampler."""
    if isinstance(pairs, GivenPairs):
        whole = pairs.x, pairs.y, _ones(pairs.x) if pairs.weight is None else pairs.weight
        yield from zip(*(side.split(CHUNK) for side in whole), strict=True)
    elif isinstance(pairs, LoaderPairs):
        for x, y, *w in pairs.batches():
            yield x, y, w[0] if w else _ones(x)
    else:
        generator = torch.Generator().manual_seed(20240721)
        for _ in range(DRAWN // CHUNK):
            x, y, *w = pairs(CHUNK, generator)
            yield x, y, w[0] if w else _ones(x)


def _ones(x: Tensor) -> Tensor:
    return torch.ones(len(x), dtype=torch.float64)


class _Side:
    """Σ w, Σ w u and Σ w u uᵀ about a shift near the mean, against cancellation."""

    def __init__(self, first: Tensor) -> None:
        self.shift = first.mean(0)
        size = first.shape[1]
        self.mass = torch.zeros((), dtype=torch.float64)
        self.sum = torch.zeros(size, dtype=torch.float64)
        self.gram = torch.zeros(size, size, dtype=torch.float64)

    def add(self, u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Returns shifted features, and those times their weights."""
        u = u - self.shift
        weighted = u * w.to(u)[:, None]
        self.mass += w.sum()
        self.sum += weighted.sum(0).double().cpu()
        self.gram += (weighted.T @ u).double().cpu()
        return u, weighted

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, mean about the shift, covariance."""
        offset = self.sum / self.mass
        cov = self.gram / self.mass - torch.outer(offset, offset)
        return self.shift.double().cpu() + offset, offset, (cov + cov.T) / 2


class _Sums:
    def __init__(self, u: Tensor, v: Tensor) -> None:
        self.f, self.g = _Side(u), _Side(v)
        self.cross = torch.zeros(u.shape[1], v.shape[1], dtype=torch.float64)

    def add(self, u: Tensor, v: Tensor, w: Tensor) -> None:
        _, weighted = self.f.add(u, w)
        other, _ = self.g.add(v, w)
        self.cross += (weighted.T @ other.to(weighted)).double().cpu()

    def moments(self) -> PairMoments:
        mean_f, offset_f, cov_f = self.f.moments()
        mean_g, offset_g, cov_g = self.g.moments()
        cross = self.cross / self.f.mass - torch.outer(offset_f, offset_g)
        return PairMoments(mean_f=mean_f, mean_g=mean_g, cov_f=cov_f, cov_g=cov_g, cross=cross)


def _by_class(
    pairs: ClassPairs, f: Features, g: Features, device: torch.device | None
) -> PairMoments:
    found = []
    wx, wy = pairs.weights
    sides = (pairs.x, pairs.code_x, wx, f), (pairs.y, pairs.code_y, wy, g)
    for items, code, weight, features in sides:
        side: _Side | None = None
        for x, c, w in zip(items.split(CHUNK), code.split(CHUNK), weight.split(CHUNK), strict=True):
            u = features(x.to(device))
            if side is None:
                side = _Side(u)
                sums = torch.zeros(len(pairs.classes), u.shape[1], dtype=torch.float64)
            _, weighted = side.add(u, w)
            sums.index_add_(0, c, weighted.double().cpu())
        assert side is not None
        found.append((*side.moments(), sums))
    (mean_f, offset_f, cov_f, sum_f), (mean_g, offset_g, cov_g, sum_g) = found
    # Σ_c p(c) E[f|c] E[g|c]ᵀ, where the sums hold p(c) E[·|c]
    cross = sum_f.T @ (sum_g / pairs.prior[:, None]) - torch.outer(offset_f, offset_g)
    return PairMoments(mean_f=mean_f, mean_g=mean_g, cov_f=cov_f, cov_g=cov_g, cross=cross)
