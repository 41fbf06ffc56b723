"""softImpute: the nuclear-norm problem, by fast alternating least squares and by exact SVDs.

    minimise ½‖P_Ω(X − μ − b1ᵀ − 1cᵀ − M)‖²_F + ½ρ_b ‖b‖² + ½ρ_c ‖c‖² + λ‖M‖_*      (1)

Sources: Mazumder, Hastie and Tibshirani 2010 (soft-thresholded SVDs); Hastie, Mazumder, Lee and
Zadeh 2015, "Matrix completion and low-rank SVD via fast alternating least squares", problem (1),
steps (2)–(4), Algorithm 3.1. There biases are removed beforehand; here they are part of
the problem, which remains convex, because what the low-rank part explains is no bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from schmidt.completion.model import Biases, LowRank, Model, refit_columns, refit_rows
from schmidt.completion.observed import Observed
from schmidt.linalg import extend


def soft_threshold(values: np.ndarray, penalty: float) -> np.ndarray:
    """S_λ(d) = (d − λ)₊."""
    return np.maximum(values - penalty, 0)


def soft_svd(matrix: np.ndarray, penalty: float) -> LowRank:
    """S_λ of a dense matrix: the minimiser of ½‖matrix − M‖²_F + λ‖M‖_* (equations 3 and 4)."""
    u, d, vh = np.linalg.svd(matrix, full_matrices=False)
    shrunk = soft_threshold(d, penalty)
    return LowRank(u, shrunk, vh.T).truncate(int((shrunk > 0).sum()))


def exact(
    x: Observed,
    start: Model,
    penalty: float,
    *,
    tol: float,
    max_iter: int,
    rank: int | None = None,
) -> tuple[Model, int]:
    """Equations (2)–(4): fill the holes with the estimate, soft-threshold the SVD, repeat.

    Every iteration takes the SVD of a full matrix, O(mn min(m, n)): for small matrices.

    Args:
        x: the observed entries.
        start: where to begin; its mean and bias penalties are kept.
        penalty: λ.
        tol: stop when ‖M − M_before‖_F ≤ tol ‖M‖_F.
        max_iter: at most so many SVDs.
        rank: keep at most so many terms; the problem is then no longer convex.

    Returns:
        The model, and the number of iterations.
    """
    model = start
    before = (model.part.left * model.part.values) @ model.part.right.T
    iterations = 0
    while iterations < max_iter:
        iterations += 1
        model, residual = _refit_biases(x, model)
        filled = before.copy()
        filled[x.rows, x.columns] += residual  # (2), without the biases
        part = soft_svd(filled, penalty).truncate(rank or len(filled))  # (3), (4)
        after = (part.left * part.values) @ part.right.T
        model = Model(model.biases, part)
        moved, size = float(np.linalg.norm(after - before)), float(np.linalg.norm(after))
        before = after
        if moved <= tol * size:
            break
    return Model(_refit_biases(x, model)[0].biases, model.part), iterations


def fast_als(
    x: Observed, start: Model, penalty: float, *, tol: float, max_iter: int
) -> tuple[Model, int]:
    """Algorithm 3.1: alternating ridge regressions on the *filled* matrix, which is sparse plus low
    rank and never formed.

    Args:
        x: the observed entries.
        start: where to begin; the rank of its low-rank part bounds the rank of the answer, and
            a part of rank 0 stays so.
        penalty: λ > 0.
        tol: stop when ‖M − M_before‖_F ≤ tol ‖M‖_F.
        max_iter: at most so many iterations.

    Returns:
        The model, and the number of iterations. An iteration costs O(Nk + (m + n)k²).
    """
    biases, part = start.biases, start.part
    residual = Model(biases, part).residual(x)
    iterations = 0
    while part.rank and iterations < max_iter:
        iterations += 1
        before = part
        biases, residual = refit_columns(x, biases, residual)
        part = _half_step(x.matrix(residual).T, part, penalty)
        residual = Model(biases, part).residual(x)
        biases, residual = refit_rows(x, biases, residual)
        part = _flip(_half_step(x.matrix(residual), _flip(part), penalty))
        residual = Model(biases, part).residual(x)
        if _distance(part, before) <= tol * np.linalg.norm(part.values):
            break
    part = _final(x.matrix(residual), part, penalty)
    model, _ = _refit_biases(x, Model(biases, part))
    return model, iterations


def _refit_biases(x: Observed, model: Model) -> tuple[Model, np.ndarray]:
    biases, residual = refit_columns(x, model.biases, model.residual(x))
    biases, residual = refit_rows(x, biases, residual)
    return Model(biases, model.part), residual


def _flip(part: LowRank) -> LowRank:
    return LowRank(part.right, part.values, part.left)


def _half_step(residual_t: Any, part: LowRank, penalty: float) -> LowRank:
    """min over B of ½‖X̂ − ABᵀ‖² + ½λ‖B‖², A = U√d, X̂ = residual + ABᵀ; then orthonormal again.

    With D² = diag(d): B = X̂ᵀA (D² + λ)⁻¹, and (B D) = V' d' R'ᵀ gives M = (U R') d' V'ᵀ.
    """
    left, right = part.balanced()
    d = part.values
    ridge = (residual_t @ left + right * d) * (np.sqrt(d) / (d + penalty))
    v, values, rotation = np.linalg.svd(ridge, full_matrices=False)
    return LowRank(part.left @ rotation.T, values, v)


def _final(residual: Any, part: LowRank, penalty: float) -> LowRank:
    """Soft-threshold the SVD of X̂V, which makes the zeros among d exact (Algorithm 3.1, step 8)."""
    projected = residual @ part.right + part.left * part.values
    u, d, rotation = np.linalg.svd(projected, full_matrices=False)
    shrunk = soft_threshold(d, penalty)
    return LowRank(u, shrunk, part.right @ rotation.T).truncate(int((shrunk > 0).sum()))


def _distance(a: LowRank, b: LowRank) -> float:
    """‖M_a − M_b‖_F from the factors, O((m + n)k²)."""
    cross = float(
        np.sum((a.left.T @ b.left) * (a.right.T @ b.right) * np.outer(a.values, b.values))
    )
    square = float(a.values @ a.values + b.values @ b.values) - 2 * cross
    return float(np.sqrt(max(square, 0.0)))


def gradient_norm(x: Observed, biases: Biases, *, rounds: int = 30, seed: int = 0) -> float:
    """‖P_Ω(X − biases)‖₂: with λ at least this large the low-rank part of (1) is zero.

    By ``rounds`` steps of block power iteration with two columns; a lower bound, near enough.
    """
    e = x.matrix(Model(biases, LowRank.zero(x.shape)).residual(x))
    block = x.normals(1, 2, seed)
    size = 0.0
    for _ in range(rounds):
        q, _ = np.linalg.qr(block)
        block = e.T @ (e @ q)
        size = float(np.sqrt(np.linalg.norm(block, 2)))
    return size


def widen(x: Observed, model: Model, penalty: float, extra: int, seed: int) -> Model:
    """The model with the directions added in which the residual exceeds λ; at most ``extra``.

    At the minimum of (1) no singular value of the residual exceeds λ. Two steps of subspace
    iteration find where one does, and one soft-thresholded SVD of the filled matrix, seen from the
    old and new directions, sets their values. O(N extra + (m + n)(k + extra)²).
    """
    part = model.part
    extra = min(extra, min(x.shape) - part.rank)
    if extra <= 0:
        return model
    e = x.matrix(model.residual(x))
    block = x.normals(1, extra, seed)
    known, generator = torch.from_numpy(part.right), torch.Generator().manual_seed(seed)
    for _ in range(2):
        block = extend(known, torch.from_numpy(e.T @ (e @ block)), generator)[1].numpy()
    wider = LowRank(
        np.hstack([part.left, np.zeros((x.shape[0], extra))]),
        np.concatenate([part.values, np.zeros(extra)]),
        np.hstack([part.right, block]),
    )
    return Model(model.biases, _final(e, wider, penalty))
