"""Orthonormal columns that stay so: CholeskyQR where it is stable, Householder QR where not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CONDITION = 1e-3
"""Smallest ratio on the diagonal of R at which the second CholeskyQR makes up for the first."""
SMALL_CORRECTION = 1e-3
"""‖VᴴQ‖_F from which on a projection on a part of V was not enough."""
NEARLY = 0.1
"""‖ZᴴZ − I‖_F up to which one pass is enough."""


def orthonormalize(Z: Tensor) -> tuple[Tensor, Tensor]:
    """Z = Q R with orthonormal Q, for tall Z (n, b).

    One pass of CholeskyQR leaves QᴴQ − I of the size ε κ(Z)²; a second pass repairs it while
    κ(Z) stays well below ε^(−1/2) (Yamamoto et al. 2015). Where Cholesky breaks down or κ is
    large, Householder QR takes over.

    Cost: 4 n b² flops of matrix products, or 4 n b² of Householder reflections.
    """
    G = Z.mH @ Z
    R = _cholesky(G)
    if R is None:
        return torch.linalg.qr(Z)
    Q = torch.linalg.solve_triangular(R, Z, upper=True, left=False)
    if bool(torch.linalg.vector_norm(G - torch.eye(len(G)).to(G)) < NEARLY):
        return Q, R
    second = _cholesky(Q.mH @ Q)
    if second is None:
        return torch.linalg.qr(Z)
    return torch.linalg.solve_triangular(second, Q, upper=True, left=False), second @ R


def _cholesky(G: Tensor) -> Tensor | None:
    lower, info = torch.linalg.cholesky_ex(G)
    diagonal = lower.diagonal().real
    limit = CONDITION * (torch.finfo(G.dtype).eps / 2.2e-16) ** 0.25
    if int(info) or not bool(diagonal.min() > min(limit, 0.1) * diagonal.max()):
        return None
    return lower.mH


def extend(
    V: Tensor, Z: Tensor, generator: torch.Generator, *, near: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Z = V C + Q R with orthonormal [V, Q]: one step of block Gram–Schmidt, twice.

    Columns of Z that lie in the span of V up to rounding are replaced in Q by random directions,
    with zeros in R, so that a Krylov space that is exhausted goes on in fresh directions.

    Args:
        V: (n, d) orthonormal.
        Z: (n, b), b ≤ n − d.
        generator: of the random directions.
        near: the first pass goes over V[:, near:] only, because Z is known to be orthogonal to the
            columns before up to rounding, as in a Lanczos process. What is left of them is seen in
            the second pass, and both are made in full where it is more than rounding.

    Returns:
        C (d, b), Q (n, b), R (b, b).
    """
    # columns of one size, so that small ones are not taken for the rounding of large ones
    size = torch.linalg.vector_norm(Z, dim=0)
    least = 1e3 * torch.finfo(Z.dtype).tiny ** 0.5
    if not bool(((size > least) & (size < 1 / least)).all()):  # squares under- or overflow
        size = Z.abs().amax(0)
        size = torch.where(size > 0, size, torch.ones_like(size))
    Z = Z / size
    C, Q, R, correction = _projected(V, Z, near)
    if near and not bool(torch.linalg.vector_norm(correction) < SMALL_CORRECTION):
        C, Q, R, correction = _projected(V, Z, 0)
    Q = Q - V @ correction
    C = C + correction @ R
    # below this, what is left of Z is rounding and no direction
    floor = 10 * torch.finfo(Z.dtype).eps * Z.shape[1] ** 0.5
    empty = torch.linalg.vector_norm(R, dim=1) <= floor
    if bool(empty.any()):
        fresh = random_normal(Z.shape[0], int(empty.sum()), Z, generator)
        Q = Q.clone()
        Q[:, empty] = fresh
        R = torch.where(empty[:, None], torch.zeros_like(R), R)
        for _ in range(2):
            Q = Q - V @ (V.mH @ Q)
            Q, again = torch.linalg.qr(Q)
            R = again @ R
        return C * size, Q, R * size
    Q, again = orthonormalize(Q)
    return C * size, Q, (again @ R) * size


def _projected(V: Tensor, Z: Tensor, near: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """C, Q, R with Z = V C + Q R, and what V still sees of Q; C of columns before ``near`` is 0."""
    part = V[:, near:]
    C = part.mH @ Z
    Q, R = orthonormalize(Z - part @ C)
    if near:
        C = torch.cat([C.new_zeros(near, C.shape[1]), C])
    return C, Q, R, V.mH @ Q


def orthogonal(gaussian: Tensor) -> Tensor:
    """Orthonormal columns (n, k), n ≥ k, uniformly distributed if the entries were normal.

    Q of the QR factorization with the one choice of signs that makes R's diagonal positive.
    """
    Q, R = torch.linalg.qr(gaussian)
    return Q * R.diagonal().sgn()


def random_normal(n: int, b: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """(n, b) of independent N(0, 1), complex with E|x|² = 1; drawn in float64 on the CPU."""
    dtype = torch.complex128 if like.is_complex() else torch.float64
    return torch.randn(n, b, dtype=dtype, generator=generator).to(like)


@dataclass(frozen=True)
class Span:
    """Orthonormal combinations of K nearly dependent columns, best determined first.

    Attributes:
        mix: (K, k); columns @ mix are orthonormal in the weighted inner product.
        values: (N, k) √weight · columns @ mix, with orthonormal columns.
        size: (k,) relative singular values, descending: rounding enters like ε/size.
    """

    mix: Tensor
    values: Tensor
    size: Tensor

    def rank(self, tolerance: float) -> int:
        """How many directions are better determined than ``tolerance``."""
        return int((self.size > tolerance).sum())


def span(
    columns: Tensor,
    *,
    weights: Tensor | None = None,
    cut: float = 1e-12,
    constraints: Tensor | None = None,
    what: str = "columns",
) -> Span:
    """An orthonormal basis of the span of columns: scaling, QR, SVD of R, cut.

    The Gram matrix is never formed: its whitening would lose half of the digits.

    Args:
        columns: (N, K), real or complex.
        weights: (N,) of the inner product Σ w_n f_n* g_n; default one.
        cut: relative size below which directions are dropped.
        constraints: (c, K) linear functionals of the columns that must vanish on the basis.
        what: the columns are, for the message where all of them are zero.

    Raises:
        ValueError: columns that are all zero.

    Cost: 2 N K² + O(K³).

    Example:
        >>> span(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).values.shape
        torch.Size([2, 1])
    """
    scaled = columns if weights is None else columns * weights.sqrt()[:, None]
    norm = scaled.norm(dim=0)
    alive = norm > 1e-150
    scale = torch.where(alive, 1 / norm.clamp_min(1e-150), torch.zeros_like(norm))
    scaled = scaled * scale
    free: Tensor | None = None
    if constraints is not None and len(constraints):
        rows = constraints * scale
        rows = rows[rows.norm(dim=1) > 0]
        complete = torch.linalg.qr(rows.mH, mode="complete")[0]
        free = complete[:, len(rows) :]
        scaled = scaled @ free
    q, r = torch.linalg.qr(scaled)
    u, s, vh = torch.linalg.svd(r, full_matrices=False)
    if not bool(s[0] > 0):
        raise ValueError(f"all {what} are zero: there is nothing to span")
    keep = s > cut * s[0]
    mix = vh[keep].mH / s[keep]
    if free is not None:
        mix = free @ mix
    return Span(scale[:, None] * mix, q @ u[:, keep], s[keep] / s[0])
