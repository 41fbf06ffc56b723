"""What the paper reports (Ryu et al. 2024), and whether its order of methods is reproduced.

Bars are read off its figures, to about ±20 %. Orders are judged by the means over seeds, with the
spread stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from schmidt.experiments.reproduce.model import Recipe, differences
from schmidt.report import Report, Statistics, statistics

# mean relative eigenvalue error, Fig. 4: (problem, method, batch) → value
ERROR = {
    ("hydrogen", "spin", 128): 0.9,  # 9 modes
    ("hydrogen", "neuralef", 128): 7e-2,
    ("hydrogen", "neuralef", 512): 3.5e-2,
    ("hydrogen", "joint", 128): 1.9e-2,
    ("hydrogen", "joint", 512): 1.2e-2,
    ("hydrogen", "sequential", 128): 9e-3,
    ("hydrogen", "sequential", 512): 6e-3,
    ("oscillator", "neuralef", 128): 1.0,
    ("oscillator", "neuralef", 512): 3e-2,
    ("oscillator", "sequential", 128): 4e-4,
    ("oscillator", "sequential", 512): 5e-5,
}

# distance of the span of 16 hydrogen functions from the exact one, A.2: mean and s.d. of 10 seeds
SUBSPACE = {
    "none": (3.56e-4, 6.60e-5),
    "joint": (2.12e-4, 2.09e-5),
    "sequential": (2.06e-4, 1.91e-5),
}

ERROR_ORDER = ("sequential", "joint", "neuralef", "spin")
"""From the smallest error to the largest (4.1)."""

SUBSPACE_ORDER = (("sequential", "none"), ("joint", "none"))
"""Nested spans are no worse than those without nesting (A.2)."""

NAMES = {
    "sequential": "sequential",
    "joint": "joint",
    "none": "no nesting",
    "neuralef": "NeuralEF",
    "spin": "SpIN",
}
"""Method → its name in verdicts and pictures."""

WHAT = (
    "sequential and joint: NeuralSVD with that nesting. No nesting: the plain low-rank objective, "
    "then a Rayleigh–Ritz step in the span it found (A.2). NeuralEF: its unbiased variant with "
    "batch normalisation, which the paper ran too. SpIN: with the moving averages of the original."
)


CLEAR = 2.0
"""Standard errors by which means must differ to be told apart."""


CLOSE = 1.5
"""Numbers within this factor of one read off a figure to ±20 % agree."""

WHY = {
    "steps": "{0:,} steps instead of {1:,}",
    "modes": "{0} functions are trained instead of {1}",
    "judged": "{0} functions are judged instead of {1}",
    "shift": "the shift is {0:g} instead of {1:g}",
    "network": "bounded inputs at several lengths and envelopes instead of random Fourier features",
    "frequencies": "{0} random frequencies instead of {1}",
    "kappa": "frequencies of the scale {0:g} instead of {1:g}",
    "hidden": "hidden layers {0} instead of {1}",
    "activation": "the activation {0} instead of {1}",
    "sampling": "randomly shifted grids in polar coordinates instead of independent points",
    "width": "points of N(0, {0:g}²) instead of N(0, {1:g}²)",
    "form": "the {0} form instead of the {1} one",
    "batch": "{0} points per step instead of {1}",
    "optimizer": "the optimizer {0} instead of RMSprop",
    "lr": "the learning rate {0:g} instead of {1:g}",
    "scale": "the operator times {0:g} instead of {1:g}",
    "extra_shift": "an extra shift of {0:g} that falls to 0 during training, for all methods alike",
}


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
        numbers = f"{_spread(self.first)} against {_spread(self.second)}"
        apart = self.errors_apart
        if apart is None:
            spread = "one seed, so the spread is unknown"
        elif apart >= CLEAR:
            spread = f"{apart:.1f} standard errors apart"
        else:
            spread = f"{apart:.1f} standard errors apart, so within the spread"
        return f"{claim}: {'reproduced' if self.holds else 'NOT reproduced'} ({numbers}; {spread})"


def _spread(s: Statistics) -> str:
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


def show_order(found: Order, report: Report) -> None:
    """The verdict and its links, in the report, its numbers and its headlines."""
    verdict, *links = found.sentences()
    report.text("\n".join([f"**{verdict}**", "", *(f"- {line}" for line in links)]))
    report.headlines += [verdict, *(f"  {line}" for line in links)]
    report.numbers.setdefault("order", {})[found.what] = {
        "reproduced": found.reproduced,
        "links": links,
    }


def reasons(ours: Recipe, theirs: Recipe) -> list[str]:
    """Why our numbers may differ from the paper's: the settings that do."""
    found = differences(ours, theirs)
    if "network" in found:  # what only one of the two networks has
        for name in ("frequencies", "kappa", "hidden", "activation", "decay"):
            found.pop(name, None)
    if "sampling" in found:
        found.pop("width", None)
        found.pop("form", None)
    return [WHY[k].format(*pair) for k, pair in found.items() if k in WHY]


def beside(label: str, ours: float, theirs: float) -> str:
    """One number beside the paper's."""
    ratio = ours / theirs
    if 1 / CLOSE <= ratio <= CLOSE:
        return f"{label}: {ours:.1e} here, about {theirs:.0e} in the paper: they agree"
    times = max(ratio, 1 / ratio)
    many = f"{times:.1f}" if times < 10 else f"{times:,.0f}"
    word = "larger" if ratio > 1 else "smaller"
    return f"{label}: {ours:.1e} here, about {theirs:.0e} in the paper: {many} times {word}"
