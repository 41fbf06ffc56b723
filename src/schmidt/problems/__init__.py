"""Operators with exact answers, ready to solve."""

from schmidt.problems.box import box
from schmidt.problems.cosine import cosine
from schmidt.problems.coupled_oscillators import coupled_oscillators
from schmidt.problems.double_well import double_well
from schmidt.problems.fokker_planck import fokker_planck
from schmidt.problems.gaussian_kernel import gaussian_kernel
from schmidt.problems.hydrogen import hydrogen2d
from schmidt.problems.hydrogen3d import hydrogen3d
from schmidt.problems.matrix import matrix
from schmidt.problems.morse import morse
from schmidt.problems.ornstein_uhlenbeck import ornstein_uhlenbeck
from schmidt.problems.oscillator import oscillator, oscillator2d
from schmidt.problems.potential import potential
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.registry import PROBLEMS, default_dimension, named
from schmidt.problems.ritz_solution import RitzSolution
from schmidt.problems.solution import Solution
from schmidt.problems.solve import default_method, ritz, solve, train
from schmidt.problems.torus import torus
from schmidt.problems.well import well2d

__all__ = [
    "PROBLEMS",
    "Exact",
    "Problem",
    "RitzSolution",
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
