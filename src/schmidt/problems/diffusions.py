"""Diffusions that are not self-adjoint: Fokker–Planck in a double well, Ornstein–Uhlenbeck turned.

Fokker–Planck: T p = ∇·(∇p + p∇U) in the plane, U(x, y) = x⁴/4 − x² + x/5 + κy²/2. Densities p live
in L²(dx), the Lebesgue measure, where T is not symmetric. But
e^{U/2} T e^{−U/2} = ∇² − ¼|∇U|² + ½∇²U = −H is (Risken 1989, sec. 5.4): T has
the real eigenvalues −(λ_i + μ_j), λ those of H along x,
μ_j = κj those along y, and the eigenfunctions e^{−U/2} φ_i(x) h_j(y), with λ_0 = 0 and the
stationary density e^{−U} on top.

Ornstein–Uhlenbeck with a rotating drift: T f = D∇²f − (Bx)·∇f in L²(N(0, S)) of its stationary law,
B S + S Bᵀ = 2D. Its eigenvalues are −Σ n_i β_i for the eigenvalues β of B, whatever D, with
polynomials as eigenfunctions (Metafune, Pallara & Priola 2002). Where B has complex eigenvalues, so
has T.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import Polynomial
from scipy.linalg import solve_continuous_lyapunov
from torch import Tensor

from schmidt.operators.differential import ConvectionDiffusion
from schmidt.operators.measures import Distribution, Lebesgue, UniformBox
from schmidt.operators.ritz import EuclideanSpace, NormalSpace
from schmidt.problems import separable
from schmidt.problems.oscillator import RotatedGaussian
from schmidt.problems.problem import ExactSpectrum, Problem
from schmidt.problems.separable import hermite_functions, polynomial_well

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
def fokker_planck_reference(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
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
    return float(fokker_planck_reference()[0][n]) if n < LARGEST else math.inf


def along_y(n: int) -> float:
    """Ornstein and Uhlenbeck: κn."""
    return STIFFNESS * n


def fokker_planck_values(count: int) -> np.ndarray:
    """−(λ_i + μ_j), falling from 0."""
    return 0.0 - separable.energies((along_x, along_y), count)


def fokker_planck_functions(x: np.ndarray, count: int) -> np.ndarray:
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
    first = hermite_functions(a / SCALE, SIZE) @ fokker_planck_reference()[1][:, : top_x + 1]
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
        exact=ExactSpectrum(fokker_planck_values, fokker_planck_functions),
        extent=(-3.0, 3.0),
        max_modes=40,
        space=lambda count: EuclideanSpace(
            2, lengths=(0.8, 0.8), reach=5.0, factor=stationary_density
        ),
    )


DRIFT = ((1.0, 2.0), (-1.0, 1.0))


class LinearDrift:
    """Eigenvalues and eigenfunctions for a drift matrix B, diagonalisable and stable.

    With wᵢᵀB = βᵢwᵢᵀ and zᵢ = wᵢ·x, the polynomials H_n = exp(−½ Σ Cᵢⱼ∂ᵢ∂ⱼ) z^n, C = Wᵀ S W, are
    the eigenfunctions to −Σ nᵢβᵢ: Hermite polynomials of complex variables. They obey
    H_{n+eᵢ} = zᵢ H_n − Σⱼ Cᵢⱼ nⱼ H_{n−eⱼ}.
    """

    def __init__(self, drift: np.ndarray, diffusion: float) -> None:
        self.beta, self.w = np.linalg.eig(drift.T)
        size = len(drift)
        self.stationary = solve_continuous_lyapunov(drift, 2 * diffusion * np.eye(size))
        self.stationary = (self.stationary + self.stationary.T) / 2
        self.moments = self.w.T @ self.stationary @ self.w

    def states(self, count: int) -> list[separable.State]:
        """By falling real part of the eigenvalue, then by falling imaginary part."""
        axes = [lambda n, b=b: n * b for b in self.beta.real.tolist()]
        found: list[tuple[float, separable.State]] = []
        for value, state in separable.ascending(axes):
            if len(found) >= count and value > found[-1][0] + 1e-9 * (1 + value):
                break
            found.append((value, state))
        eigenvalues = {state: -complex(np.dot(state, self.beta)) for _, state in found}
        ordered = sorted(
            eigenvalues,
            key=lambda n: (-round(eigenvalues[n].real, 9), -round(eigenvalues[n].imag, 9)),
        )
        return ordered[:count]

    def values(self, count: int) -> np.ndarray:
        """The leading eigenvalues, complex unless all β are real."""
        found = np.array([-np.dot(n, self.beta) for n in self.states(count)], self.beta.dtype)
        return found + 0.0  # no negative zeros

    def functions(self, x: np.ndarray, count: int) -> np.ndarray:
        """Eigenfunctions normalised in L²(N(0, S)), likewise: (N, d) → (N, count)."""
        chosen = self.states(count)
        nodes, weights = self._rule(1 + max(map(sum, chosen)))
        norms = np.sqrt(weights @ np.abs(self._polynomials(nodes, chosen)) ** 2)
        return self._polynomials(x, chosen) / norms

    def _polynomials(self, x: np.ndarray, chosen: Sequence[separable.State]) -> np.ndarray:
        z = x @ self.w
        known: dict[separable.State, np.ndarray] = {}

        def polynomial(n: separable.State) -> np.ndarray:
            if n not in known:
                known[n] = one if sum(n) == 0 else raised(n)
            return known[n]

        def raised(n: separable.State) -> np.ndarray:
            i = next(axis for axis, k in enumerate(n) if k)
            below = _lowered(n, i)
            out = z[:, i] * polynomial(below)
            for j, k in enumerate(below):
                if k:
                    out = out - self.moments[i, j] * k * polynomial(_lowered(below, j))
            return out

        one = np.ones(len(x), self.beta.dtype)
        return np.stack([polynomial(n) for n in chosen], 1)

    def _rule(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Gauss–Hermite points under N(0, S), exact up to degree 2·size − 1."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(size)
        dim = len(self.beta)
        grid = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), -1).reshape(-1, dim)
        mass = np.stack(np.meshgrid(*[weights] * dim, indexing="ij"), -1).reshape(-1, dim).prod(1)
        return grid @ np.linalg.cholesky(self.stationary).T, mass / mass.sum()


def _lowered(n: separable.State, axis: int) -> separable.State:
    return (*n[:axis], n[axis] - 1, *n[axis + 1 :])


def _checked(drift: Sequence[Sequence[float]] | np.ndarray, diffusion: float) -> np.ndarray:
    b = np.array(drift, dtype=float)
    if b.shape != (2, 2):
        raise ValueError(f"the drift matrix must be 2×2, got shape {b.shape}")
    if not diffusion > 0:
        raise ValueError(f"the diffusion must be positive, got {diffusion}")
    beta, vectors = np.linalg.eig(b.T)
    if not beta.real.min() > 0:
        raise ValueError(
            "there is no stationary law: all eigenvalues of the drift matrix must have positive "
            f"real parts, got {beta.tolist()}"
        )
    if np.linalg.cond(vectors) > 1e6:
        raise ValueError("the drift matrix must be diagonalisable; this one is not, or hardly")
    return b


def ornstein_uhlenbeck(
    drift: Sequence[Sequence[float]] | np.ndarray = DRIFT, diffusion: float = 1.0
) -> Problem:
    """T f = D∇²f − (Bx)·∇f in L²(N(0, S)), not self-adjoint; for the Ritz solver only.

    With the default B = [[1, 2], [−1, 1]], β = 1 ± i√2: eigenvalues −(j+k) − i√2(j−k), and as B is
    not normal, T is not either.

    Args:
        drift: B, 2×2; all its eigenvalues must have positive real parts.
        diffusion: D.
    """
    b = _checked(drift, diffusion)
    spectrum = LinearDrift(b, diffusion)
    s = spectrum.stationary
    matrix = torch.from_numpy(b)

    def velocity(x: Tensor) -> Tensor:
        return -x @ matrix.to(x).T

    reach = 3.5 * float(np.sqrt(np.linalg.eigvalsh(s)[-1]))
    return Problem(
        name="ornstein-uhlenbeck",
        summary="Ornstein–Uhlenbeck with rotation, T f = D∇²f − (Bx)·∇f (not self-adjoint)",
        form=ConvectionDiffusion(
            Distribution(RotatedGaussian(s)),
            velocity,
            diffusion,
            # reversible if B S is symmetric, and then self-adjoint under the stationary law
            self_adjoint=bool(np.allclose(b @ s, s @ b.T)),
        ),
        modes=15,
        network=None,
        exact=ExactSpectrum(spectrum.values, spectrum.functions),
        extent=(-reach, reach),
        space=lambda count: NormalSpace(2, covariance=torch.from_numpy(s)),
    )
