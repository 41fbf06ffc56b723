"""What the estimators accept as data, and how it is split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from schmidt.dependence.moments import CHUNK, Features
from schmidt.operators.pairs import ClassPairs, GivenPairs, LoaderPairs, PairSampler


def law(X: Any, Y: Any = None, sample_weight: Any = None, prior: str = "empirical") -> PairSampler:
    """A law of pairs from arrays, from items with classes, from a loader or from a sampler.

    Args:
        X, Y: arrays of n pairs; or ``(X, cx)`` and ``(Y, cy)``, items with their classes; or X
            alone: a sampler (n, generator) → (x, y), or an iterable of batches of pairs.
        sample_weight: (n,) masses of given pairs.
        prior: of the classes.
    """
    if Y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight belongs to pairs; a loader yields (x, y, weight)")
        if callable(X):
            return X
        if isinstance(X, Iterable) and not isinstance(X, tuple) and not hasattr(X, "shape"):
            return LoaderPairs(X)
        raise ValueError(
            "expected fit(X, Y), fit((X, cx), (Y, cy)), or a loader or sampler of pairs"
        )
    if isinstance(X, tuple) != isinstance(Y, tuple):
        raise ValueError("give classes for both domains, fit((X, cx), (Y, cy)), or for none")
    if isinstance(X, tuple):
        if sample_weight is not None:
            raise ValueError("sample_weight belongs to pairs; items with classes have none")
        if len(X) != 2 or len(Y) != 2:
            raise ValueError("items with classes are given as (X, cx) and (Y, cy)")
        return ClassPairs(X[0], X[1], Y[0], Y[1], prior)
    return GivenPairs(X, Y, sample_weight)


def rank(pairs: PairSampler) -> int | None:
    """The most modes that a law can have, where that is known: pairs or classes, less one."""
    if isinstance(pairs, ClassPairs):
        return len(pairs.classes) - 1
    return len(pairs) - 1 if isinstance(pairs, GivenPairs) else None


def require_modes(pairs: PairSampler, modes: int) -> None:
    most = rank(pairs)
    if most is not None and modes > most:
        kind = "classes" if isinstance(pairs, ClassPairs) else "pairs"
        raise ValueError(
            f"{most + 1} {kind} have at most {most} modes of dependence: give more, or modes ≤ "
            f"{most} instead of {modes}"
        )


@torch.no_grad()
def mapped(pairs: PairSampler, f: Features, g: Features) -> PairSampler | None:
    """The law of (f(x), g(y)), computed once; None where items do not lie in memory."""
    if isinstance(pairs, GivenPairs):
        return GivenPairs(_all(f, pairs.x), _all(g, pairs.y), pairs.weight)
    if isinstance(pairs, ClassPairs):
        x, y = _all(f, pairs.x), _all(g, pairs.y)
        return ClassPairs(x, pairs.code_x, y, pairs.code_y, pairs.prior)
    return None


def _all(features: Features, items: Tensor) -> Tensor:
    return torch.cat([features(part) for part in items.split(CHUNK)])


def folds(pairs: PairSampler, count: int, seed: int) -> list[tuple[PairSampler, float]]:
    """``count`` disjoint parts, of the pairs or of the classes, and the mass of each.

    None at all of laws that cannot be parted (loaders, samplers) or have fewer than two pairs or
    classes for each part.
    """
    if not isinstance(pairs, GivenPairs | ClassPairs):
        return []
    n = len(pairs) if isinstance(pairs, GivenPairs) else len(pairs.classes)
    mass = pairs.weight if isinstance(pairs, GivenPairs) else pairs.prior
    mass = torch.ones(n, dtype=torch.float64) if mass is None else mass
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    chosen = [part for part in order.tensor_split(count) if len(part) >= 2 and mass[part].sum() > 0]
    if len(chosen) < 2:
        return []
    return [(pairs.only(part), float(mass[part].sum())) for part in chosen]
