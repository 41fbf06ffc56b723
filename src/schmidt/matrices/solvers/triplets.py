"""Triplets: what every solver returns; and LAPACK's full decomposition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from schmidt.matrices.sources.entries import double
from schmidt.matrices.sources.source import Source

if TYPE_CHECKING:
    from schmidt.matrices.solvers.krylov import KrylovSpace

CHUNK = 4096
"""Rows of a tall matrix that are in double precision at a time, at least."""


class NotConvergedError(RuntimeError):
    """A solver stopped before its triplets were as accurate as asked.

    ``found`` holds the leading ones that are, where the solver hands them over; ``rough`` all of
    them, as they are.
    """

    def __init__(
        self, message: str, found: Triplets | None = None, rough: Triplets | None = None
    ) -> None:
        super().__init__(message)
        self.found, self.rough = found, rough


@dataclass(frozen=True)
class Triplets:
    """A ≈ U diag(s) Vᴴ with orthonormal columns, descending s, and A v = s u to rounding.

    Attributes:
        left: U, (m, k); None where it is A V diag(s)⁻¹ and nobody holds it.
        values: s, (k,), real.
        right: V, (n, k).
        residuals: (k,) ‖Aᴴu − s v‖; None where nobody has looked yet.
        spectrum: all min(m, n) singular values, where the solver found them.
        products: columns that A or Aᴴ was applied to.
        settings: what the solver did.
        noise: what rounding may have done, in the Frobenius norm, beyond one decomposition of A.
        space: the Krylov space that they come from, which can go on.
        dropped: where U Uᴴ A is all that was kept of A: ‖A − U Uᴴ A‖_F; then Aᴴu = s v holds
            instead of A v = s u.
        short: the solver stopped before the values were as accurate as asked.
    """

    left: Any
    values: Tensor
    right: Tensor
    residuals: Tensor | None = None
    spectrum: Tensor | None = None
    products: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    noise: float = 0.0
    space: KrylovSpace | None = None
    dropped: float | None = None
    short: bool = False

    def truncate(self, rank: int) -> Triplets:
        """The first ``rank`` triplets."""
        return replace(
            self,
            left=None if self.left is None else self.left[:, :rank],
            values=self.values[:rank],
            right=self.right[:, :rank],
            residuals=None if self.residuals is None else self.residuals[:rank],
        )

    def errors(self, noise: float) -> np.ndarray:
        """(k,) the residuals with their rounding; noise alone where nobody has looked.

        Of left sides A v/s, which nobody holds, the rounding ε σ₁ of A v is ε σ₁/s, and Aᴴ of that
        ε σ₁²/s; columns of zeros leave s on both sides.
        """
        s = self.values.double().cpu().numpy()
        if self.residuals is None:
            return np.full(len(s), noise)
        r = self.residuals.double().cpu().numpy() + noise
        if self.left is None and s[0] > 0:
            eps = float(torch.finfo(self.values.dtype).eps)
            gone = negligible(s, eps)
            r = np.where(
                gone, math.sqrt(2) * s + noise, r + 4 * eps * s[0] ** 2 / np.where(gone, 1, s)
            )
        return r

    def of(self, space: KrylovSpace) -> Triplets:
        """The same, which come from that space."""
        return replace(self, space=space)

    @property
    def adjoint(self) -> Triplets:
        """Of Aᴴ; measured residuals are of the other side then, and stay what they are."""
        return replace(self, left=self.right, right=self.left)


def accurate(triplets: Triplets, accuracy: float) -> bool:
    """Are all residuals so small that the values are accurate to second order, or rounding?"""
    return bool(accurate_ones(triplets, accuracy).all())


def accurate_ones(triplets: Triplets, accuracy: float) -> Tensor:
    """(k,) of which triplets :func:`accurate` is true."""
    r, s = triplets.residuals, triplets.values
    assert r is not None
    rounding = 1e3 * torch.finfo(s.dtype).eps * s[0]
    return r <= torch.maximum(accuracy**0.5 * s, rounding)


def negligible(s: np.ndarray, eps: float) -> np.ndarray:
    """Singular values whose left vectors A v/s would be rounding."""
    return s <= 1e2 * eps * s[0]


def lapack(source: Source, rank: int | None = None) -> Triplets:
    """All singular values, and the vectors of the first ``rank`` (default: all).

    Matrices with more than twice as many rows as columns are first reduced to a triangle, block by
    block and in double precision, whose rounding does not grow with the rows.

    Cost: about 6 m n² + 20 n³ flops for n ≤ m, and the memory of A as a dense array.
    """
    A = source.dense()
    m, n = A.shape
    if m > 2 * n:
        u, s, v, spectrum = _tall(A, rank)
    elif n > 2 * m:
        v, s, u, spectrum = _tall(A.mH, rank)
    else:
        u, spectrum, vh = _svd(A)
        u, s, v = u[:, :rank], spectrum[:rank], vh[:rank].mH.resolve_conj()
    settings = {"solver": "lapack"}
    return Triplets(u.contiguous(), s, v.contiguous(), None, spectrum, 0, settings)


def triangle(blocks: Any, columns: int, like: Tensor) -> Tensor:
    """R (≤ n, n) of the QR decomposition of all rows, in double precision."""
    R = torch.empty(0, columns, dtype=double(like.dtype), device=like.device)
    for block in blocks:
        R = torch.linalg.qr(torch.cat([R, block.to(R)])).R
    return R


def _tall(A: Tensor, rank: int | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n = A.shape[1]
    rows = max(4 * n, CHUNK)
    blocks = A.split(rows)
    _, spectrum, vh = _svd(triangle(blocks, n, A))
    right = vh[:rank].mH.resolve_conj()
    image = torch.cat([block.to(right) @ right for block in blocks])
    left, s, turn = polar(image, spectrum[: right.shape[1]])
    right = right @ turn
    return left.to(A), s.to(A.real.dtype), right.to(A), spectrum.to(A.real.dtype)


def polar(image: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, s, T with image T = U diag(s), for an image A V with nearly orthogonal columns.

    Args:
        image: (m, k), in double precision.
        s: (k,) about the lengths of its columns, descending.
    """
    length = torch.where(s > 0, s, torch.ones_like(s))
    Q, R = torch.linalg.qr(image / length)
    inner, s, rotation = torch.linalg.svd(R * length)
    return Q @ inner, s, rotation.mH.resolve_conj()


def _svd(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    try:
        return torch.linalg.svd(A, full_matrices=False)
    except torch.linalg.LinAlgError:  # divide and conquer failed: the QR iteration is slower
        import scipy.linalg

        parts = scipy.linalg.svd(A.cpu().numpy(), full_matrices=False, lapack_driver="gesvd")
        u, s, vh = (torch.from_numpy(part).to(A.device) for part in parts)
        return u, s, vh
