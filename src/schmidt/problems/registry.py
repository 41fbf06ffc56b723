"""The problems by name."""

from __future__ import annotations

from collections.abc import Callable

from schmidt.problems.gaussian_kernel import gaussian_kernel
from schmidt.problems.hydrogen import hydrogen2d
from schmidt.problems.oscillator import oscillator2d
from schmidt.problems.problem import Problem
from schmidt.problems.well import well2d

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "hydrogen2d": hydrogen2d,
    "oscillator2d": oscillator2d,
    "well2d": well2d,
    "gaussian-kernel": gaussian_kernel,
}
"""Problems that need no input; :func:`schmidt.problems.matrix` makes one from a file."""


def named(name: str) -> Problem:
    """The problem of that name; an unknown name lists the known ones."""
    if name not in PROBLEMS:
        known = ", ".join(PROBLEMS)
        raise ValueError(f"unknown problem {name!r}; known: {known}, and matrix with a file")
    return PROBLEMS[name]()
