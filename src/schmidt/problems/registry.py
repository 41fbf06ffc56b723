"""The problems by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from schmidt.problems.box import box
from schmidt.problems.cosine import cosine
from schmidt.problems.coupled_oscillators import coupled_oscillators
from schmidt.problems.double_well import double_well
from schmidt.problems.fokker_planck import fokker_planck
from schmidt.problems.gaussian_kernel import gaussian_kernel
from schmidt.problems.hydrogen import hydrogen2d
from schmidt.problems.hydrogen3d import hydrogen3d
from schmidt.problems.morse import morse
from schmidt.problems.ornstein_uhlenbeck import ornstein_uhlenbeck
from schmidt.problems.oscillator import oscillator, oscillator2d
from schmidt.problems.problem import Problem
from schmidt.problems.torus import torus
from schmidt.problems.well import well2d

PROBLEMS: dict[str, Callable[..., Problem]] = {
    "hydrogen2d": hydrogen2d,
    "hydrogen3d": hydrogen3d,
    "oscillator2d": oscillator2d,
    "oscillator": oscillator,
    "coupled-oscillators": coupled_oscillators,
    "well2d": well2d,
    "box": box,
    "torus": torus,
    "cosine": cosine,
    "morse": morse,
    "double-well": double_well,
    "gaussian-kernel": gaussian_kernel,
    "ornstein-uhlenbeck": ornstein_uhlenbeck,
    "fokker-planck": fokker_planck,
}
"""Problems that need no input; :func:`schmidt.problems.matrix` makes one from a file."""


def default_dimension(name: str) -> int | None:
    """The dimension a problem has unless told otherwise; None if its dimension is fixed."""
    parameter = inspect.signature(PROBLEMS[name]).parameters.get("dim")
    return None if parameter is None else int(parameter.default)


def named(name: str, dim: int | None = None) -> Problem:
    """The problem of that name; an unknown name lists the known ones.

    Args:
        dim: for problems that can be posed in any dimension; default: the problem's.
    """
    if name not in PROBLEMS:
        known = ", ".join(PROBLEMS)
        raise ValueError(f"unknown problem {name!r}; known: {known}, and matrix with a file")
    if dim is None:
        return PROBLEMS[name]()
    if default_dimension(name) is None:
        free = ", ".join(n for n in PROBLEMS if default_dimension(n) is not None)
        raise ValueError(f"the dimension of {name} is fixed; one can be chosen for {free}")
    return PROBLEMS[name](dim=dim)
