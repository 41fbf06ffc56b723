"""The Fokker–Planck equation of a tilted double well: T p = ∇·(∇p + p∇U) in the plane.

U(x, y) = x⁴/4 − x² + x/5 + κy²/2. Densities p live in L²(dx), the Lebesgue measure, where T is not
symmetric. But e^{U/2} T e^{−U/2} = ∇² − ¼|∇U|² + ½∇²U = −H is (Risken 1989, sec. 5.4): T has the
real eigenvalues −(λ_i + μ_j), λ those of H along x, μ_j = κj those along y, and the eigenfunctions
e^{−U/2} φ_i(x) h_j(y), with λ_0 = 0 and the stationary density e^{−U} on top.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from schmidt.operators.differential import ConvectionDiffusion
from schmidt.operators.measures import Lebesgue, UniformBox
from schmidt.operators.ritz import EuclideanSpace
from schmidt.problems import separable
from schmidt.problems.hermite import hermite_functions, polynomial_well
from schmidt.problems.problem import Exact, Problem

WELL = Polynomial([0.0, 0.2, -1.0, 0.0, 0.25])
STIFFNESS = 2.5
SIZE, SCALE = 150, 0.4
LARGEST = 24


def confinement(x: np.ndarray) -> np.ndarray:
    """U: (N, 2) → (N,)."""
    return WELL(x[:, 0]) + STIFFNESS * x[:, 1] ** 2 / 2


def force(x: Tensor) -> Tensor:
    """∇U: (B, 2) → (B, 2)."""
    a, b = x.T
    return torch.stack([a.pow(3) - 2 * a + 0.2, STIFFNESS * b], 1)


def curvature(x: Tensor) -> Tensor:
    """∇²U: (B, 2) → (B,)."""
    return 3 * x[:, 0].pow(2) - 2 + STIFFNESS


def stationary_density(x: Tensor) -> Tensor:
    """e^{−U}, not normalised: (B, 2) → (B, 1)."""
    a, b = x.T
    u = a.pow(4) / 4 - a.pow(2) + 0.2 * a + STIFFNESS * b.pow(2) / 2
    return (-u).exp()[:, None]


@lru_cache(maxsize=4)
def reference(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """λ_0 = 0, λ_1, … λ_23, and coefficients (size, 24) of φ_i among Hermite functions of x.

    By Galerkin's method for −d² + ¼U′² − ½U″, whose matrix is exact.

    Args:
        size: Hermite functions; with the default all 24 values are converged to about 1e-11.
    """
    slope = WELL.deriv()
    potential = slope**2 / 4 - slope.deriv() / 2
    values, vectors = polynomial_well(potential.coef.tolist(), size, SCALE)
    values[0] = 0.0
    return values[:LARGEST], vectors[:, :LARGEST]


def along_x(n: int) -> float:
    return float(reference()[0][n]) if n < LARGEST else math.inf


def along_y(n: int) -> float:
    """Ornstein and Uhlenbeck: κn."""
    return STIFFNESS * n


def values(count: int) -> np.ndarray:
    """−(λ_i + μ_j), falling from 0."""
    return 0.0 - separable.energies((along_x, along_y), count)


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """e^{−U/2} φ_i(x) h_j(y), normalised in L²(dx), not orthogonal there: (N, 2) → (N, count)."""
    chosen = separable.states((along_x, along_y), count)
    raw = separable.products(_tables(x, chosen), chosen)
    # a rule that is exact to rounding: functions vanish at the ends of a fine, regular grid
    t = np.linspace(-5, 5, 801)
    grids = _tables(np.stack([t, t], 1), chosen)
    norms = [np.sqrt((g**2).sum(0) * (t[1] - t[0])) for g in grids]
    return raw / np.array([norms[0][i] * norms[1][j] for i, j in chosen])


def _tables(x: np.ndarray, chosen: list[separable.State]) -> list[np.ndarray]:
    top_x, top_y = separable.highest(chosen)
    a, b = x.T
    first = hermite_functions(a / SCALE, SIZE) @ reference()[1][:, : top_x + 1]
    width = math.sqrt(STIFFNESS / 2)
    second = hermite_functions(width * b, top_y + 1)
    damping = np.exp(-WELL(a) / 2)[:, None], np.exp(-STIFFNESS * b * b / 4)[:, None]
    return [first * damping[0], second * damping[1]]


def fokker_planck() -> Problem:
    """Densities under T p = ∇²p + ∇U·∇p + (∇²U) p in L²(dx); for the Ritz solver only."""
    return Problem(
        name="fokker-planck",
        summary="Fokker–Planck equation of a double well, T p = ∇·(∇p + p∇U) (not self-adjoint)",
        form=ConvectionDiffusion(
            Lebesgue(UniformBox((-4.0, -4.0), (4.0, 4.0), 2), "lattice"),
            force,
            1.0,
            lambda x: -curvature(x),
            self_adjoint=False,
        ),
        modes=12,
        network=None,
        exact=Exact(values, functions),
        extent=(-3.0, 3.0),
        max_modes=40,
        space=lambda count: EuclideanSpace(
            2, lengths=(0.8, 0.8), reach=5.0, factor=stationary_density
        ),
    )
