"""Is the paper's order of methods reproduced? By the means over seeds, with the spread stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from schmidt.experiments.reproduce.table import Statistics, statistics

CLEAR = 2.0
"""Standard errors by which means must differ to be told apart."""


@dataclass(frozen=True)
class Link:
    """One claim: the mean of ``smaller`` is below that of ``larger``, or not above it."""

    smaller: str
    larger: str
    first: Statistics
    second: Statistics
    strict: bool

    @property
    def judged(self) -> bool:
        return self.first.count > 0 and self.second.count > 0

    @property
    def holds(self) -> bool:
        if not self.judged:
            return False
        a, b = self.first.mean, self.second.mean
        return a < b if self.strict else a <= b

    @property
    def errors_apart(self) -> float | None:
        """The difference of the means in standard errors; None if a seed is alone."""
        if self.first.count < 2 or self.second.count < 2:
            return None
        variance = sum(s.sd**2 / s.count for s in (self.first, self.second))
        if variance == 0:
            return float("inf")
        return abs(self.first.mean - self.second.mean) / float(np.sqrt(variance))

    def sentence(self) -> str:
        sign = "<" if self.strict else "≤"
        claim = f"{self.smaller} {sign} {self.larger}"
        if not self.judged:
            return f"{claim}: cannot be judged, a run is missing or failed"
        numbers = f"{_number(self.first)} against {_number(self.second)}"
        apart = self.errors_apart
        if apart is None:
            spread = "one seed, so the spread is unknown"
        elif apart >= CLEAR:
            spread = f"{apart:.1f} standard errors apart"
        else:
            spread = f"{apart:.1f} standard errors apart, so within the spread"
        return f"{claim}: {'reproduced' if self.holds else 'NOT reproduced'} ({numbers}; {spread})"


def _number(s: Statistics) -> str:
    return f"{s.mean:.2g}" if s.count == 1 else f"{s.mean:.2g} ± {s.sd:.1g}"


@dataclass(frozen=True)
class Order:
    """Several links, and what is measured."""

    what: str
    links: tuple[Link, ...]

    @property
    def reproduced(self) -> bool:
        return all(link.holds for link in self.links)

    def sentences(self) -> list[str]:
        verdict = "reproduced" if self.reproduced else "NOT reproduced"
        return [f"{self.what}: the paper's order is {verdict}"] + [
            link.sentence() for link in self.links
        ]


def compared(
    what: str,
    values: Mapping[str, Sequence[float] | np.ndarray],
    pairs: Sequence[tuple[str, str]],
    strict: bool = True,
) -> Order:
    """The claims "first below second" for pairs of labels, on one number per seed and label."""
    links = [
        Link(a, b, statistics(values.get(a, [])), statistics(values.get(b, [])), strict)
        for a, b in pairs
    ]
    return Order(what, tuple(links))


def chain(
    what: str, values: Mapping[str, Sequence[float] | np.ndarray], labels: Sequence[str]
) -> Order:
    """The claims first < second < third …"""
    return compared(what, values, list(pairwise(labels)))
