"""A well-conditioned basis of the span of many nearly dependent functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Basis:
    """Orthonormal combinations of K functions on weighted points, best determined first.

    Attributes:
        mix: (K, k); functions @ mix are orthonormal.
        values: (N, k) their values times √weight, with orthonormal columns.
        size: (k,) relative singular values, descending: rounding enters like ε/size.
    """

    mix: Tensor
    values: Tensor
    size: Tensor

    def rank(self, tolerance: float) -> int:
        """How many basis functions are better determined than ``tolerance``."""
        return int((self.size > tolerance).sum())


def orthonormalise(
    values: Tensor, *, tolerance: float = 1e-12, constraints: Tensor | None = None
) -> Basis:
    """Column scaling, QR, SVD of R, cut.

    The Gram matrix is never formed: its whitening would lose half of the digits.

    Args:
        values: (N, K) function values times √weight.
        tolerance: relative size below which directions are dropped.
        constraints: (c, K) linear functionals of the functions that must vanish on the basis.

    Cost: 2NK² + O(K³).
    """
    norm = values.norm(dim=0)
    alive = norm > 1e-150
    scale = torch.where(alive, 1 / norm.clamp_min(1e-150), torch.zeros_like(norm))
    scaled = values * scale
    free: Tensor | None = None
    if constraints is not None and len(constraints):
        rows = constraints * scale
        rows = rows[rows.norm(dim=1) > 0]
        complete = torch.linalg.qr(rows.T, mode="complete")[0]
        free = complete[:, len(rows) :]
        scaled = scaled @ free
    q, r = torch.linalg.qr(scaled)
    u, s, vh = torch.linalg.svd(r, full_matrices=False)
    if not bool(s[0] > 0):
        raise ValueError("all functions are zero on the points")
    keep = s > tolerance * s[0]
    mix = vh[keep].T / s[keep]
    if free is not None:
        mix = free @ mix
    return Basis(scale[:, None] * mix, q @ u[:, keep], s[keep] / s[0])
