"""Triplets: what every solver returns; and LAPACK's full decomposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from schmidt.matrices.sources.source import Source


@dataclass(frozen=True)
class Triplets:
    """A ≈ U diag(s) Vᴴ with orthonormal columns and descending s.

    Attributes:
        left: U, (m, k); None where it is A V diag(s)⁻¹ and nobody holds it.
        values: s, (k,), real.
        right: V, (n, k).
        residuals: (k,) ‖Aᴴu − s v‖ where the solver measured it and A v = s u holds by
            construction; None where nobody has looked yet.
        spectrum: all min(m, n) singular values, where the solver found them.
        products: columns that A or Aᴴ was applied to.
        settings: what the solver did.
    """

    left: Any
    values: Tensor
    right: Tensor
    residuals: Tensor | None = None
    spectrum: Tensor | None = None
    products: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def truncate(self, rank: int) -> Triplets:
        """The first ``rank`` triplets."""
        return Triplets(
            None if self.left is None else self.left[:, :rank],
            self.values[:rank],
            self.right[:, :rank],
            None if self.residuals is None else self.residuals[:rank],
            self.spectrum,
            self.products,
            self.settings,
        )

    @property
    def adjoint(self) -> Triplets:
        """Of Aᴴ; measured residuals are of the other side then, and stay what they are."""
        return Triplets(
            self.right,
            self.values,
            self.left,
            self.residuals,
            self.spectrum,
            self.products,
            self.settings,
        )


def lapack(source: Source, rank: int | None = None) -> Triplets:
    """All singular values, and the vectors of the first ``rank`` (default: all).

    Cost: about 6 m n² + 20 n³ flops for n ≤ m, and the memory of A as a dense array.
    """
    A = source.dense()
    m, n = A.shape
    if m > 2 * n:  # for tall matrices a QR first, and the rotation of k columns only
        Q, R = torch.linalg.qr(A)
        u, s, vh = _svd(R)
        left = Q @ u[:, :rank]
    else:
        u, s, vh = _svd(A)
        left = u[:, :rank]
    right = vh[:rank].mH.resolve_conj().contiguous()
    return Triplets(left.contiguous(), s[:rank], right, None, s, 0, {"solver": "lapack"})


def _svd(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    try:
        return torch.linalg.svd(A, full_matrices=False)
    except torch.linalg.LinAlgError:  # divide and conquer failed: the QR iteration is slower
        import scipy.linalg

        parts = scipy.linalg.svd(A.cpu().numpy(), full_matrices=False, lapack_driver="gesvd")
        u, s, vh = (torch.from_numpy(part).to(A.device) for part in parts)
        return u, s, vh
