"""Means over test examples with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Z = 1.959964
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_score(scores: Sequence[Tensor]) -> Interval:
    """The mean score of independent examples, each between 0 and 1, over runs on the same examples.

    Wilson's interval; with scores that are not 0 or 1, with the number of examples that their
    variance is worth. It is about the choice of test examples, not of seeds.

    Args:
        scores: (n,) per run; empty ones, of runs that diverged, make the interval NaN.
    """
    if not scores or any(len(s) == 0 for s in scores):
        return Interval(math.nan, math.nan, math.nan)
    per_example = torch.stack([s.double() for s in scores]).mean(0)
    p, n = float(per_example.mean()), len(per_example)
    variance = float(per_example.var(unbiased=False))
    worth = n * p * (1 - p) / variance if variance > 0 else float(n)
    middle = (p + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z * math.sqrt(p * (1 - p) / worth + Z**2 / (4 * worth**2)) / (1 + Z**2 / worth)
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


def difference(of: Sequence[Tensor], to: Sequence[Tensor]) -> Interval:
    """The mean difference of scores on the same examples, with a normal interval of the pairs."""
    if not of or not to or any(len(s) == 0 for s in (*of, *to)):
        return Interval(math.nan, math.nan, math.nan)
    one, other = (torch.stack([s.double() for s in x]).mean(0) for x in (of, to))
    apart = one - other
    mean = float(apart.mean())
    half = Z * float(apart.std()) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf
    return Interval(mean, mean - half, mean + half)
