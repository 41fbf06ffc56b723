"""Operators with exact answers, ready to solve."""

from collections.abc import Callable

from schmidt.problems.gaussian_kernel import gaussian_kernel
from schmidt.problems.hydrogen import hydrogen2d
from schmidt.problems.matrix import matrix
from schmidt.problems.oscillator import oscillator2d
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.solve import Solution, solve
from schmidt.problems.well import well2d

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "hydrogen2d": hydrogen2d,
    "oscillator2d": oscillator2d,
    "well2d": well2d,
    "gaussian-kernel": gaussian_kernel,
}
"""Problems that need no input; :func:`matrix` makes one from a file."""

__all__ = [
    "PROBLEMS",
    "Exact",
    "Problem",
    "Solution",
    "gaussian_kernel",
    "hydrogen2d",
    "matrix",
    "oscillator2d",
    "solve",
    "well2d",
]
