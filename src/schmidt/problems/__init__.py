"""Operators with exact answers, ready to solve."""

from schmidt.problems.box import box, torus, well2d
from schmidt.problems.diffusions import fokker_planck, ornstein_uhlenbeck
from schmidt.problems.hydrogen import hydrogen2d, hydrogen3d
from schmidt.problems.kernels import gaussian_kernel, matrix
from schmidt.problems.oscillator import coupled_oscillators, oscillator, oscillator2d
from schmidt.problems.potential import potential
from schmidt.problems.problem import ExactSpectrum, Problem
from schmidt.problems.solution import Solution
from schmidt.problems.solve import (
    PROBLEMS,
    default_dimension,
    default_method,
    named,
    ritz,
    solve,
    train,
)
from schmidt.problems.wells import cosine, double_well, morse

__all__ = [
    "PROBLEMS",
    "ExactSpectrum",
    "Problem",
    "Solution",
    "box",
    "cosine",
    "coupled_oscillators",
    "default_dimension",
    "default_method",
    "double_well",
    "fokker_planck",
    "gaussian_kernel",
    "hydrogen2d",
    "hydrogen3d",
    "matrix",
    "morse",
    "named",
    "ornstein_uhlenbeck",
    "oscillator",
    "oscillator2d",
    "potential",
    "ritz",
    "solve",
    "torus",
    "train",
    "well2d",
]
