"""Nyström: singular functions of a kernel from some of its values on data (seeds/004, A.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from schmidt.arrays import refuse_masked
from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs
from schmidt.matrices.svd import svd

KernelFunction = Callable[[Any, Any], Any]
"""(n, …) and (m, …) points → (n, m) values."""


@dataclass(frozen=True)
class NystromError:
    """How far K̂, of the landmarks, is from K on the data.

    Attributes:
        trace: tr(K − K̂)/N, exactly. As K − K̂ is positive semidefinite, it is its nuclear norm, and
            an upper bound of its spectral and Frobenius norms, over N.
        relative: the same over tr K.
        landmarks: how many kernel columns were evaluated.
        met: whether the tolerance that was asked for is met.
    """

    trace: float
    relative: float
    landmarks: int
    met: bool


@dataclass(frozen=True)
class Extension:
    """x ↦ φ(x) = Σ_j k(x, y_j) C_j, (n, …) → (n, L): functions from their values on points.

    Attributes:
        kernel: k(x, y); called with the points it is given and ``points``.
        points: (s, …) landmarks.
        coefficients: C, (s, L).
        flipped: call k(points, x) and transpose.
    """

    kernel: KernelFunction
    points: np.ndarray
    coefficients: np.ndarray
    flipped: bool = False

    def __call__(self, x: Any) -> np.ndarray:
        refuse_masked(x)
        x = np.asarray(x)
        values = self.kernel(self.points, x).T if self.flipped else self.kernel(x, self.points)
        return np.asarray(values) @ self.coefficients

    def truncate(self, rank: int) -> Extension:
        """The first functions."""
        return replace(self, coefficients=self.coefficients[:, :rank])


def nystrom(
    kernel: KernelFunction,
    X: Any,
    Y: Any = None,
    *,
    rank: int | None = None,
    tol: float | None = None,
    landmarks: str | Any = "pivoted",
    n_landmarks: int | None = None,
    seed: int = 0,
) -> Factorization:
    """Ordered functions of a kernel that is given as a function, continued to points never seen.

    A positive semidefinite kernel on one data set is approximated from s of its columns,
    K̂ = K_XS K_SS⁻¹ K_SX; its eigenvectors are continued by φ(x) = λ⁻¹ N⁻¹ Σ_j k̂(x, x_j) φ(x_j)
    (eq. 11), which needs the s landmarks only. A kernel between two data sets, of any sign, has
    the singular vectors of K/√(MN) continued.

    Args:
        kernel: k(x, y): arrays (n, …) and (m, …) → (n, m), for example one of
            ``sklearn.metrics.pairwise``.
        X: (N, …) points.
        Y: (M, …) points; k is then a kernel between the two domains, all of it is evaluated on the
            landmarks, and left functions live on X, right ones on Y.
        rank: number of functions; default as many as there are landmarks.
        tol: instead of a number of landmarks: take as many as tr(K − K̂) ≤ tol · tr K needs.
        landmarks: "pivoted": randomly pivoted Cholesky (Chen et al. 2022), which draws columns
            where the error still is; "uniform"; or indices into X.
        n_landmarks: how many; default 2·rank, at least rank + 10.
        seed: of the landmarks.

    Returns:
        Values: eigenvalues of K̂/N, or singular values of K/√(MN). Left and right: functions
        (n, …) → (n, L), of mean square 1 on the data. ``error``: :class:`NystromError`.

    Raises:
        ValueError: a kernel that is not symmetric or not positive semidefinite on X, values that
            are not finite, impossible ranks or landmarks.

    Cost: s kernel columns and O(N s²); a new point costs s kernel values.
    """
    refuse_masked(X)
    refuse_masked(Y)
    X = np.asarray(X)
    if len(X) == 0:
        raise ValueError("there are no points")
    if tol is not None and not 0 < tol < 1:
        raise ValueError(f"tol is a share of tr K and must lie between 0 and 1, got {tol}")
    rng = np.random.default_rng(seed)
    if Y is not None:
        if tol is not None:
            raise ValueError("a tolerance needs a positive semidefinite kernel on one data set")
        return _two_sided(kernel, X, np.asarray(Y), rank, landmarks, n_landmarks, rng, seed)
    count = _count(len(X), rank, tol, landmarks, n_landmarks)
    F, chosen, residual, total = _cholesky(kernel, X, count, tol, landmarks, rng)
    values, vectors, coefficients = _functions(F, chosen, len(X))
    L = len(values) if rank is None else min(rank, len(values))
    signs = fix_signs(vectors)
    functions = Extension(kernel, X[chosen], (coefficients * signs)[:, :L])
    left = max(float(residual.sum()), 0.0)
    error = NystromError(
        left / len(X),
        left / total if total else 0.0,
        len(chosen),
        tol is None or left <= tol * total,
    )
    settings = {
        "method": "nystrom",
        "landmarks": landmarks if isinstance(landmarks, str) else "given",
        "indices": chosen.tolist(),
        "seed": seed,
    }
    return Factorization(functions, values[:L], functions, certificate=error, settings=settings)


def _cholesky(
    kernel: KernelFunction,
    X: np.ndarray,
    count: int,
    tol: float | None,
    landmarks: str | Any,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """K ≈ F Fᵀ, column by column: F (N, s), the pivots, diag(K − F Fᵀ) and tr K."""
    residual = _diagonal(kernel, X)
    total = float(residual.sum())
    floor = 1e-14 * residual.max()
    F = np.empty((len(X), min(count, 64)))
    chosen: list[int] = []
    queue = None if isinstance(landmarks, str) else [int(i) for i in np.asarray(landmarks)]
    while len(chosen) < count and residual.max() > floor:
        if tol is not None and residual.sum() <= tol * total:
            break
        pivot = _pivot(residual, floor, chosen, landmarks, queue, rng)
        if pivot is None:
            break
        if residual[pivot] <= floor:  # a landmark that adds nothing
            continue
        j = len(chosen)
        if j == F.shape[1]:
            F = np.concatenate([F, np.empty_like(F)], 1)
        column = np.asarray(kernel(X, X[pivot : pivot + 1]), dtype=float)[:, 0]
        if not np.isfinite(column).all():
            raise ValueError("the kernel returned NaN or Inf")
        _check_symmetric(kernel, X, column, pivot, j)
        column = column - F[:, :j] @ F[pivot, :j]
        F[:, j] = column / math.sqrt(residual[pivot])
        residual = residual - F[:, j] ** 2
        if residual.min() < -1e-8 * total / len(X):
            raise ValueError(
                "the kernel is not positive semidefinite on these points (a Cholesky residual of "
                f"{residual.min():.2e}): pass a second data set Y for kernels of any sign"
            )
        residual = np.maximum(residual, 0.0)
        residual[pivot] = 0.0
        chosen.append(pivot)
    return F[:, : len(chosen)], np.array(chosen, dtype=int), residual, total


def _pivot(
    residual: np.ndarray,
    floor: float,
    chosen: list[int],
    landmarks: str | Any,
    queue: list[int] | None,
    rng: np.random.Generator,
) -> int | None:
    if queue is not None:
        return queue.pop(0) if queue else None
    if landmarks == "pivoted":
        return int(rng.choice(len(residual), p=residual / residual.sum()))
    free = np.flatnonzero(residual > floor)
    return int(rng.choice(free)) if len(free) else None


def _functions(
    F: np.ndarray, chosen: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues of F Fᵀ/N, eigenvectors of mean square 1, and their coefficients at landmarks.

    F = K_XS L⁻ᵀ with the triangle L = F_S, and F = U S Vᵀ, so φ = √N k(·, S) L⁻ᵀ V S⁻¹.
    """
    u, s, vh = np.linalg.svd(F, full_matrices=False)
    keep = s > 1e-7 * s[0]  # below √ε, eigenvalues of K are rounding
    triangle = F[chosen]
    inner = math.sqrt(n) * vh[keep].T / s[keep]
    coefficients = scipy.linalg.solve_triangular(triangle, inner, trans="T", lower=True)
    return s[keep] ** 2 / n, math.sqrt(n) * u[:, keep], coefficients


def _two_sided(
    kernel: KernelFunction,
    X: np.ndarray,
    Y: np.ndarray,
    rank: int | None,
    landmarks: str | Any,
    n_landmarks: int | None,
    rng: np.random.Generator,
    seed: int,
) -> Factorization:
    """Singular functions from all of K on (at most ``n_landmarks`` uniform) points of both sets."""
    if landmarks not in ("pivoted", "uniform"):
        raise ValueError("two data sets take uniform landmarks: give n_landmarks, not indices")
    if n_landmarks is not None:
        X, Y = (a[np.sort(rng.permutation(len(a))[:n_landmarks])] for a in (X, Y))
    K = np.asarray(kernel(X, Y), dtype=float)
    if K.shape != (len(X), len(Y)):
        raise ValueError(f"expected kernel values of shape {(len(X), len(Y))}, got {K.shape}")
    m, n = K.shape
    found = svd(K / math.sqrt(m * n), rank=rank or min(m, n), seed=seed, accuracy=1e-10)
    s = found.values
    keep = s > 1e-12 * s[0]
    s = s[keep]
    # eq. (11): φ(x) = (σN)⁻¹ Σ_j k(x, y_j) v_j, with vectors of mean square 1
    left = Extension(kernel, Y, found.right[:, keep] / (s * math.sqrt(n)))
    right = Extension(kernel, X, found.left[:, keep] / (s * math.sqrt(m)), flipped=True)
    settings = {"method": "nystrom", "points": [m, n], "seed": seed}
    return Factorization(left, s, right, certificate=found.certificate, settings=settings)


def _count(
    n: int, rank: int | None, tol: float | None, landmarks: str | Any, given: int | None
) -> int:
    if not isinstance(landmarks, str):
        return len(np.asarray(landmarks))
    if landmarks not in ("pivoted", "uniform"):
        raise ValueError(f"landmarks must be 'pivoted', 'uniform' or indices, got {landmarks!r}")
    if given is None and rank is None and tol is None:
        raise ValueError("say how many functions by rank=, n_landmarks= or tol=")
    if rank is not None and not 1 <= rank <= n:
        raise ValueError(f"rank must lie between 1 and the {n} points, got {rank}")
    if given is not None:
        if not (rank or 1) <= given <= n:
            raise ValueError(
                f"n_landmarks must lie between {rank or 1} and the {n} points, got {given}"
            )
        return given
    return n if tol is not None else min(n, max(2 * (rank or 1), (rank or 1) + 10))


def _diagonal(kernel: KernelFunction, X: np.ndarray) -> np.ndarray:
    """k(x, x): blocks, because kernels are functions of two sets."""
    parts = []
    for start in range(0, len(X), 64):
        points = X[start : start + 64]
        block = np.asarray(kernel(points, points), dtype=float)
        if block.shape != (len(points), len(points)):
            raise ValueError(
                f"kernel(x, y) must return an array (len(x), len(y)), got {block.shape} for "
                f"{len(points)} points each"
            )
        parts.append(np.diagonal(block))
    diagonal = np.concatenate(parts)
    if not np.isfinite(diagonal).all():
        raise ValueError("the kernel returned NaN or Inf")
    if diagonal.min() < 0 or diagonal.max() == 0:
        raise ValueError(
            "the kernel is not positive semidefinite: k(x, x) must not be negative, nor zero "
            "everywhere; pass a second data set Y for kernels of any sign"
        )
    return diagonal


def _check_symmetric(
    kernel: KernelFunction, X: np.ndarray, column: np.ndarray, pivot: int, number: int
) -> None:
    if number:  # one row is evidence enough
        return
    some = slice(0, min(len(X), 64))
    row = np.asarray(kernel(X[pivot : pivot + 1], X[some]), dtype=float)[0]
    size = np.abs(column).max()
    if np.abs(row - column[some]).max() > 1e-6 * size:
        raise ValueError(
            "the kernel is not symmetric: pass a second data set Y (Y = X is fine) for its SVD"
        )
