"""The leading singular triplets of a weighted term-document matrix."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from schmidt.certificate import Bound, Certificate
from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs, leading
from schmidt.matrices.svd import svd

GRAM, PART, ROUNDING = 4000, 0.05, 1e-7


def triplets(weights: sparse.csr_array, rank: int, seed: int = 0) -> Factorization:
    """U diag(σ) Vᵀ ≈ the transpose of a (documents, terms) matrix.

    Many triplets of a matrix whose smaller side is at most 4000 come from the eigenvectors of its
    Gram matrix, which costs less than any iteration; otherwise from :func:`schmidt.svd`.
    Squaring costs half of the digits of the smallest values: those below 1e-7 σ₁ are left out.

    Args:
        weights: (N, T).
        rank: at most so many; fewer come if the matrix has a smaller rank.
        seed: of the iteration's start.

    Returns:
        left: terms (T, k); right: documents (N, k), by which signs are fixed.
    """
    small = min(weights.shape)
    if small <= GRAM and rank >= PART * small:
        documents, values, terms, known = _by_gram(weights, rank)
    else:
        found = svd(weights, rank=rank, seed=seed)
        documents, values, terms = found.left, found.values, found.right
        known = found.certificate or Certificate(asked=f"rank {rank}")
    kept = max(int((values > ROUNDING * values[:1]).sum()), 1)
    documents, values, terms = documents[:, :kept], values[:kept], terms[:, :kept]
    signs = fix_signs(documents)
    bounds = {name: bound for name, bound in known.bounds.items() if not bound.per_mode}
    return Factorization(
        np.ascontiguousarray(terms * signs),
        values,
        np.ascontiguousarray(documents * signs),
        certificate=known.truncate(kept, bounds, known.asked, known.met),
        settings={"rank": kept, "seed": seed},
    )


def _by_gram(
    weights: sparse.csr_array, rank: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Certificate]:
    """By the smaller Gram matrix, A_k = QQᵀA with Q from its eigenvectors, and what that proves.

    ‖A − A_k‖_F² = ‖A‖_F² − Σ σ_i² exactly, whatever the orthonormal Q; by Weyl's inequality the
    σ_i² are those of A up to the rounding of the Gram matrix and of its decomposition.
    """
    documents, values, terms = (
        part.numpy() for part in leading(weights.astype(float), rank, method="gram")
    )
    square = float(weights.data @ weights.data)
    rounding = 16 * min(weights.shape) * np.finfo(float).eps * square
    left_out = square - float(values @ values)
    known = Certificate(
        bounds={
            "norm": Bound.around(np.sqrt(square), 1e-12 * np.sqrt(square)),
            "frobenius": Bound(
                np.sqrt(max(left_out - rounding, 0.0)), np.sqrt(max(left_out, 0.0) + rounding)
            ),
            "values": Bound(
                np.sqrt(np.maximum(values**2 - rounding, 0)), np.sqrt(values**2 + rounding)
            ),
        },
        met=True,
        asked=f"rank {len(values)}",
    )
    return documents, values, terms, known
