"""Nyström: singular functions of a kernel from some of its values on data (seeds/004, A.1).

One convention, that of :func:`schmidt.operators.nystrom`: k(y, x), right functions f on X, left
functions g on Y, k(y, x) ≈ Σ σ_l g_l(y) f_l(x)*.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from torch import Tensor

from schmidt.arrays import exact_arithmetic, refuse_masked
from schmidt.certificate import Bound, Certificate
from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs
from schmidt.matrices.sources.entries import sound
from schmidt.matrices.svd import svd
from schmidt.parameters import SEED, Choice, Number, check

KernelFunction = Callable[[Any, Any], Any]
"""(n, …) and (m, …) points → (n, m) values."""
CLOSE = 0.1
"""Relative error of an eigenvalue up to which it counts as found."""
ROUNDING = 50.0
"""Times ε of the kernel's values: what is not told from rounding."""
FAINT = 1e-290
"""Kernels below it have lost digits."""
FAINT_WORDS = "kernel values of {:.1e} have lost their digits: scale the kernel"


@dataclass(frozen=True)
class Extension:
    """x ↦ φ(x) = Σ_j k(x, y_j) C_j, (n, …) → (n, L): functions from their values on points.

    Attributes:
        kernel: k(x, y); called with the points it is given and ``points``.
        points: (s, …) landmarks.
        coefficients: C, (s, L).
        flipped: call k(points, x), and take its adjoint.
        unit: kernel values are divided by it.
    """

    kernel: KernelFunction
    points: Any
    coefficients: np.ndarray
    flipped: bool = False
    unit: float = 1.0

    def __call__(self, x: Any) -> np.ndarray:
        x = _points(x)
        if self.flipped:
            values = _values(self.kernel, self.points, x).conj().T
        else:
            values = _values(self.kernel, x, self.points)
        return np.asarray(values / self.unit @ self.coefficients)

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

    A positive semidefinite kernel on one data set, real symmetric or Hermitian, is approximated
    from s of its columns, K̂ = K_XS K_SS⁻¹ K_SX; its eigenvectors are continued by
    φ(x) = λ⁻¹ N⁻¹ Σ_j k̂(x, x_j) φ(x_j) (eq. 11), which needs the s landmarks only. A kernel
    between two data sets, of any sign, has the singular vectors of K/√(MN) continued.

    Args:
        kernel: k(y, x): arrays (m, …) of left points and (n, …) of right points → (m, n), for
            example one of ``sklearn.metrics.pairwise``.
        X: (N, …) points, an array or a sparse matrix of rows.
        Y: (M, …) points; k is then a kernel between the two domains, all of it is evaluated on the
            landmarks; right functions f live on X, left ones g on Y.
        rank: number of functions; default as many as there are landmarks.
        tol: instead of a number of landmarks: take as many as tr(K − K̂) ≤ tol · tr K needs.
        landmarks: "pivoted": randomly pivoted Cholesky (Chen et al. 2022), which draws columns
            where the error still is; "uniform"; or indices into X.
        n_landmarks: how many; default 2·rank, at least rank + 10. Of two data sets: how many
            points of each, drawn uniformly; default all.
        seed: of the landmarks.

    Returns:
        Values: eigenvalues of K̂/N, or singular values of K/√(MN). Right and left: functions
        (n, …) → (n, L), of mean square 1 on the data. The certificate is about what is returned, a
        cut to ``rank`` included: ``trace`` is tr(K − K̂_L)/N, exact up to rounding, and bounds the
        error in every norm, since K − K̂_L is positive semidefinite; each eigenvalue of K/N lies
        between λ and λ + tr(K − K̂)/N. ``met``: the share ``tol`` of the trace is not exceeded by
        the functions that are returned; without ``tol``, these bounds prove the leading
        eigenvalues to a tenth. Of two data sets it is that of :func:`schmidt.svd`.

    Raises:
        ValueError: a kernel that is not Hermitian or not positive semidefinite on X, values that
            are not finite or too small to have digits, impossible ranks or landmarks, masked
            points.
        TypeError: parameters of the wrong type.

    Cost: s kernel columns and O(N s²); a new point costs s kernel values.

    Example:
        >>> found = nystrom(lambda y, x: y @ x.T, np.eye(4)[:3], rank=3)
        >>> found.values.round(3)
        array([0.333, 0.333, 0.333])
    """
    X = _points(X)
    n = X.shape[0]
    if n == 0:
        raise ValueError("there are no points")
    check(
        {
            "rank": Number(1, n if Y is None else math.inf, whole=True, none=True),
            "tol": Number(0, 1, open="both", none=True, advice="it is a share of tr K"),
            "n_landmarks": Number(rank or 1, n, whole=True, none=True),
            "seed": SEED,
        },
        rank=rank, tol=tol, n_landmarks=n_landmarks, seed=seed,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    with exact_arithmetic():
        if Y is not None:
            if tol is not None:
                raise ValueError("a tolerance needs a positive semidefinite kernel on one data set")
            return _two_sided(kernel, X, _points(Y), rank, landmarks, n_landmarks, rng, seed)
        return _one_sided(kernel, X, rank, tol, landmarks, n_landmarks, rng, seed)


def _one_sided(
    kernel: KernelFunction,
    X: Any,
    rank: int | None,
    tol: float | None,
    landmarks: str | Any,
    n_landmarks: int | None,
    rng: np.random.Generator,
    seed: int,
) -> Factorization:
    n = X.shape[0]
    given = None if isinstance(landmarks, str) else _indices(landmarks, n)
    count = len(given) if given is not None else _count(n, rank, tol, landmarks, n_landmarks)
    diagonal, eps = _diagonal(kernel, X)
    # a power of two, so that no digit changes
    unit = 2.0 ** math.frexp(float(diagonal.max()))[1]
    cholesky = _Cholesky(kernel, X, diagonal / unit, eps, unit)
    F, chosen, residual = cholesky.run(count, tol, landmarks, given, rng)
    values, vectors, coefficients = _functions(F, chosen, n, eps)
    k = len(values) if rank is None else min(rank, len(values))
    functions = Extension(
        kernel, X[chosen], (coefficients * fix_signs(vectors))[:, :k], False, unit
    )
    # of the numbers, and of functions that are evaluated with large coefficients
    sizes = np.abs(coefficients[:, :k]).sum(0)
    rounding = ROUNDING * eps * cholesky.total / n + 4 * eps * float(values[:k] @ sizes)
    known = _certificate(values, k, residual, cholesky.total, rounding, rank, tol)
    bounds = {name: bound * unit for name, bound in known.bounds.items()}
    settings = {
        "method": "nystrom",
        "landmarks": landmarks if isinstance(landmarks, str) else "given",
        "indices": chosen.tolist(),
        "seed": seed,
    }
    known = replace(known, bounds=bounds)
    return Factorization(
        functions, values[:k] * unit, functions, certificate=known, settings=settings
    )


def _certificate(
    values: np.ndarray,
    k: int,
    residual: np.ndarray,
    total: float,
    rounding: float,
    rank: int | None,
    tol: float | None,
) -> Certificate:
    """K − K̂_k = (K − K̂) + (K̂ − K̂_k), both positive semidefinite, over N.

    ``values`` are all λ of K̂/N, ``residual`` diag(K − K̂), ``total`` tr K.
    """
    n = len(residual)
    beyond = max(float(residual.sum()), 0.0) / n
    cut = values[k:]
    following = float(cut[0]) if len(cut) else 0.0
    trace = beyond + float(cut.sum())
    spectral = beyond + following + rounding
    frobenius = beyond + float(np.linalg.norm(cut)) + rounding
    kept = values[:k]
    highest = kept + beyond + rounding
    missed = max(following + beyond + rounding - float(kept[-1]), 0.0)
    bounds = {
        "trace": Bound(max(trace - rounding, 0.0), trace + rounding),
        "frobenius": Bound(max(float(np.linalg.norm(cut)) - rounding, 0.0), frobenius),
        "spectral": Bound(max(following - rounding, 0.0), spectral),
        "values": Bound(np.maximum(kept - rounding, 0.0), highest),
        "missed": Bound(0.0, missed),
    }
    if tol is not None:
        asked = f"tol {tol:g} of tr K" + ("" if rank is None else f", rank {rank}")
        # fewer functions than asked for are enough where they already do it
        enough = rank in (None, k) or k == len(values)
        met = enough and (trace + rounding) * n <= tol * total * (1 + 1e-12)
    else:
        asked = f"rank {k if rank is None else rank}"
        limit = CLOSE * float(kept[-1]) + 2 * rounding
        complete = rank in (None, k) or beyond <= rounding
        met = complete and beyond + rounding <= limit and missed <= limit
    notes = [] if met else ["more landmarks (n_landmarks=, tol=) or a higher rank would tell more"]
    return Certificate(bounds, bool(met), asked=asked, notes=notes)


class _Cholesky:
    """K/unit ≈ F Fᴴ, column by column, with the pivots and diag(K − F Fᴴ)."""

    def __init__(
        self, kernel: KernelFunction, X: Any, diagonal: np.ndarray, eps: float, unit: float
    ) -> None:
        self.kernel, self.X, self.eps, self.unit = kernel, X, eps, unit
        self.residual = diagonal.copy()
        self.total = float(diagonal.sum())
        self.floor = max(1e-14, ROUNDING * eps) * float(diagonal.max())
        self.slack = max(1e-8, 1e3 * eps) * float(diagonal.max())

    def run(
        self,
        count: int,
        tol: float | None,
        landmarks: str | Any,
        given: np.ndarray | None,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        F = np.empty((len(self.residual), min(count, 64)))
        chosen: list[int] = []
        queue = None if given is None else given.tolist()
        while len(chosen) < count and self.residual.max() > self.floor:
            if tol is not None and self.residual.sum() <= tol * self.total:
                break
            pivot = self._pivot(landmarks, queue, rng)
            if pivot is None:
                break
            if self.residual[pivot] <= self.floor:  # a landmark that adds nothing
                continue
            j = len(chosen)
            column = self._column(pivot, check_symmetry=not chosen)
            if np.iscomplexobj(column) and not np.iscomplexobj(F):
                F = F.astype(complex)
            if j == F.shape[1]:
                F = np.concatenate([F, np.empty_like(F)], 1)
            column = column - F[:, :j] @ F[pivot, :j].conj()
            F[:, j] = column / math.sqrt(self.residual[pivot])
            self._subtract(np.abs(F[:, j]) ** 2, pivot)
            chosen.append(pivot)
        return F[:, : len(chosen)], np.array(chosen, dtype=int), self.residual

    def _subtract(self, squares: np.ndarray, pivot: int) -> None:
        residual = self.residual - squares
        if residual.min() < -self.slack:
            raise ValueError(
                "the kernel is not positive semidefinite on these points (a Cholesky residual of "
                f"{residual.min() * self.unit:.2e}): pass a second data set Y for kernels of any "
                "sign"
            )
        self.residual = np.maximum(residual, 0.0)
        self.residual[pivot] = 0.0

    def _column(self, pivot: int, *, check_symmetry: bool) -> np.ndarray:
        column = _values(self.kernel, self.X, self.X[pivot : pivot + 1])[:, 0] / self.unit
        if check_symmetry:  # one row is evidence enough
            some = slice(0, min(self.X.shape[0], 64))
            row = _values(self.kernel, self.X[pivot : pivot + 1], self.X[some])[0] / self.unit
            size = float(np.abs(column).max())
            if np.abs(row.conj() - column[some]).max() > max(1e-6, 1e2 * self.eps) * size:
                raise ValueError(
                    "the kernel is not symmetric (Hermitian): pass a second data set Y (Y = X is "
                    "fine) for its SVD"
                )
        return column

    def _pivot(
        self, landmarks: str | Any, queue: list[int] | None, rng: np.random.Generator
    ) -> int | None:
        if queue is not None:
            return queue.pop(0) if queue else None
        if landmarks == "pivoted":
            return int(rng.choice(len(self.residual), p=self.residual / self.residual.sum()))
        free = np.flatnonzero(self.residual > self.floor)
        return int(rng.choice(free)) if len(free) else None


def _functions(
    F: np.ndarray, chosen: np.ndarray, n: int, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues of F Fᴴ/N, eigenvectors of mean square 1, and their coefficients at landmarks.

    F = K_XS L⁻ᴴ with the triangle L = F_S, and F = U S Vᴴ, so φ = √N k(·, S) L⁻ᴴ V S⁻¹.
    """
    u, s, vh = np.linalg.svd(F, full_matrices=False)
    keep = s > max(1e-7, math.sqrt(eps)) * s[0]  # below √ε, eigenvalues of K are rounding
    inner = math.sqrt(n) * vh[keep].conj().T / s[keep]
    coefficients = scipy.linalg.solve_triangular(F[chosen], inner, trans="C", lower=True)
    return s[keep] ** 2 / n, math.sqrt(n) * u[:, keep], coefficients


def _two_sided(
    kernel: KernelFunction,
    X: Any,
    Y: Any,
    rank: int | None,
    landmarks: str | Any,
    n_landmarks: int | None,
    rng: np.random.Generator,
    seed: int,
) -> Factorization:
    """Singular functions from all of K on (at most ``n_landmarks`` uniform) points of both sets."""
    whole = X.shape[0], Y.shape[0]
    if 0 in whole:
        raise ValueError("there are no points")
    if not isinstance(landmarks, str):
        raise ValueError("two data sets take uniform landmarks: give n_landmarks, not indices")
    check({"landmarks": Choice("pivoted", "uniform")}, landmarks=landmarks)
    if n_landmarks is not None:
        most = {"n_landmarks": Number(rank or 1, min(whole), whole=True)}
        check(most, n_landmarks=n_landmarks)
        X, Y = (a[np.sort(rng.permutation(a.shape[0])[:n_landmarks])] for a in (X, Y))
    n, m = X.shape[0], Y.shape[0]
    check({"rank": Number(1, min(m, n), whole=True, none=True)}, rank=rank)
    K = _values(kernel, Y, X)
    size = float(np.abs(K).max())
    if 0 < size < FAINT:
        raise ValueError(FAINT_WORDS.format(size))
    unit = 2.0 ** math.frexp(size)[1] if size else 1.0
    scaled = K / unit / math.sqrt(m * n)
    found = svd(scaled, rank=rank or min(m, n), seed=seed, accuracy=1e-10)
    eps = float(np.finfo(K.dtype).eps)
    k = int((np.asarray(found.values) > max(1e-12, ROUNDING * eps) * found.values[0]).sum())
    if k == 0:
        raise ValueError("the kernel is zero on these points: it has no singular functions")
    found = found.truncate(k)
    known = found.certificate
    assert isinstance(known, Certificate)
    notes, met = list(known.notes), known.met
    if (n, m) != whole:
        met = False
        notes.append(f"known on {n} × {m} of {whole[0]} × {whole[1]} points: the rest is continued")
    known = replace(
        known, bounds={a: b * unit for a, b in known.bounds.items()}, met=met, notes=notes
    )
    s = found.values
    # eq. (11): g(y) = (σN)⁻¹ Σ_j k(y, x_j) f(x_j), with vectors of mean square 1
    left = Extension(kernel, X, found.right / (s * math.sqrt(n)), False, unit)
    right = Extension(kernel, Y, found.left / (s * math.sqrt(m)), True, unit)
    settings = {"method": "nystrom", "points": [n, m], "seed": seed}
    return Factorization(left, s * unit, right, certificate=known, settings=settings)


def _points(X: Any) -> Any:
    """Points that kernels are called with: arrays, or compressed sparse rows."""
    refuse_masked(X)
    if isinstance(X, Tensor):
        X = X.detach().cpu().resolve_conj().resolve_neg()
    if scipy.sparse.issparse(X):
        return sound(X).tocsr()
    X = np.asarray(X)
    if X.ndim == 0:
        raise ValueError("expected points (n, …), got a single number")
    return X


def _values(kernel: KernelFunction, left: Any, right: Any) -> np.ndarray:
    """k(left, right) in double precision, real or complex."""
    given = kernel(left, right)
    refuse_masked(given)
    if isinstance(given, Tensor):
        given = given.detach().cpu().resolve_conj().resolve_neg()
    values = np.asarray(given)
    expected = (left.shape[0], right.shape[0])
    if values.shape != expected:
        raise ValueError(
            f"kernel(y, x) must return an array (len(y), len(x)) = {expected}, got {values.shape}"
        )
    if values.dtype.kind not in "biufc":
        raise ValueError(f"the kernel returned {values.dtype}, expected numbers")
    values = values.astype(complex if values.dtype.kind == "c" else float)
    if not np.isfinite(values).all():
        raise ValueError("the kernel returned NaN or Inf")
    return values


def _count(n: int, rank: int | None, tol: float | None, landmarks: str, given: int | None) -> int:
    check({"landmarks": Choice("pivoted", "uniform")}, landmarks=landmarks)
    if given is None and rank is None and tol is None:
        raise ValueError("say how many functions by rank=, n_landmarks= or tol=")
    if given is not None:
        return given
    return n if tol is not None else min(n, max(2 * (rank or 1), (rank or 1) + 10))


def _indices(given: Any, n: int) -> np.ndarray:
    indices = np.asarray(given)
    if indices.ndim != 1 or not len(indices) or indices.dtype.kind not in "iu":
        raise ValueError(
            "landmarks must be 'pivoted', 'uniform' or indices (s,), got "
            f"{indices.dtype} of shape {indices.shape}"
        )
    if indices.min() < 0 or indices.max() >= n:
        raise ValueError(f"landmarks must lie between 0 and {n - 1}, the last of the points")
    return indices


def _diagonal(kernel: KernelFunction, X: Any) -> tuple[np.ndarray, float]:
    """k(x, x) in blocks, because kernels are functions of two sets; and ε of its values."""
    parts, eps = [], float(np.finfo(float).eps)
    for start in range(0, X.shape[0], 64):
        points = X[start : start + 64]
        if not start:
            given = kernel(points, points)
            given = given.detach().cpu() if isinstance(given, Tensor) else given
            kind = np.asarray(given).dtype
            eps = float(np.finfo(kind if kind.kind in "fc" else float).eps)
        parts.append(np.diagonal(_values(kernel, points, points)))
    diagonal = np.concatenate(parts)
    size = float(np.abs(diagonal).max())
    if np.abs(diagonal.imag).max() > 1e2 * eps * size:
        raise ValueError("the kernel is not Hermitian: k(x, x) is not real")
    diagonal = diagonal.real.copy()
    if diagonal.min() < 0 or size == 0:
        raise ValueError(
            "the kernel is not positive semidefinite: k(x, x) must not be negative, nor zero "
            "everywhere; pass a second data set Y for kernels of any sign"
        )
    if size < FAINT:
        raise ValueError(FAINT_WORDS.format(size))
    return diagonal, eps
