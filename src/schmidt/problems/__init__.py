"""Operators with exact answers, ready to solve."""

from schmidt.problems.gaussian_kernel import gaussian_kernel
from schmidt.problems.hydrogen import hydrogen2d
from schmidt.problems.matrix import matrix
from schmidt.problems.oscillator import oscillator2d
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.registry import PROBLEMS, named
from schmidt.problems.solution import Solution
from schmidt.problems.solve import solve
from schmidt.problems.well import well2d

__all__ = [
    "PROBLEMS",
    "Exact",
    "Problem",
    "Solution",
    "gaussian_kernel",
    "hydrogen2d",
    "matrix",
    "named",
    "oscillator2d",
    "solve",
    "well2d",
]
