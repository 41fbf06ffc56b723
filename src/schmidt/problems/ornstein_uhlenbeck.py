"""The Ornstein–Uhlenbeck generator with a rotating drift: T f = D∇²f − (Bx)·∇f.

It lives in L²(N(0, S)) of its stationary law, B S + S Bᵀ = 2D. Its eigenvalues are −Σ n_i β_i for
the eigenvalues β of B, whatever D, with polynomials as eigenfunctions (Metafune, Pallara & Priola
2002). Where B has complex eigenvalues, so has T.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import solve_continuous_lyapunov
from torch import Tensor

from schmidt.operators.differential import ConvectionDiffusion
from schmidt.operators.measures import Distribution
from schmidt.operators.ritz import NormalSpace
from schmidt.problems import separable
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.rotated import RotatedGaussian

DRIFT = ((1.0, 2.0), (-1.0, 1.0))


class Spectrum:
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
    spectrum = Spectrum(b, diffusion)
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
        exact=Exact(spectrum.values, spectrum.functions),
        extent=(-reach, reach),
        space=lambda count: NormalSpace(2, covariance=torch.from_numpy(s)),
    )
