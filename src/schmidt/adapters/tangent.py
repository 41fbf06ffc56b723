"""The tangent space of low-rank weights, seen from the gradients of the factors.

With W = W0 + s·B·A and G = ∂L/∂W, backpropagation gives G_A = s BᵀG and G_B = s GAᵀ. A small step
(−η H_A, −η H_B) moves W by −η s(B H_A + H_B A), and LoRA-Pro (Wang et al. 2024, arXiv:2407.18242)
asks that this be as near to −η G as it can:

    min ‖s(B H_A + H_B A) − G‖_F                                                              (1)

The minimum is Ĝ = P_B G + (I − P_B) G P_A, the projection of G on the tangent space of the rank-r
matrices at BA; P_B projects on the columns of B, P_A on the rows of A. Its minimisers are

    H_A = (BᵀB)⁻¹ G_A (I − P_A) / s² + C A,      H_B = G_B (AAᵀ)⁻¹ / s² − B C                 (2)

with any r × r gauge C, which changes the factors' steps but not Ĝ:

- zero: C = 0;
- symmetric: C = (BᵀB)⁻¹BᵀG_B(AAᵀ)⁻¹/(2s²), which shares P_B G P_A, what both terms can carry,
  equally; it minimises ‖B H_A − H_B A‖ and also ‖s B H_A − G‖² + ‖s H_B A − G‖²;
- sylvester: the minimiser of ‖H_A − G_A‖² + ‖H_B − G_B‖², from BᵀB C + C AAᵀ = BᵀG_B(AAᵀ)⁻¹/s²; it
  is the pair of least norm.

The gradients of A and B determine all of this; G itself is never needed. Every function takes any
number of leading batch axes, and works in float32 at least, whatever the dtype of its arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Gauge = Literal["zero", "symmetric", "sylvester"]
GAUGES: tuple[Gauge, ...] = ("zero", "symmetric", "sylvester")


class Directions(NamedTuple):
    """A pair (H_A, H_B): a direction of the factors, or the coefficients of B·H_A + H_B·A."""

    A: Tensor
    """(…, r, n)"""
    B: Tensor
    """(…, m, r)"""


@dataclass(frozen=True)
class Spectral:
    """A factor F of full size (…, k, r) as basis · diag(values) · rotationᵀ.

    Columns of ``basis`` and ``rotation`` that belong to missing rank are zero and arbitrary.
    """

    basis: Tensor
    values: Tensor
    rotation: Tensor
    inverse: Tensor
    """(FᵀF + damping·σ₁²)⁻¹ on the span of F, zero outside: (…, r, r)."""


@dataclass(frozen=True)
class Frames:
    """The factors of one weight, or of a stack of weights, with what the projections need."""

    A: Tensor
    B: Tensor
    rows: Spectral
    """Of Aᵀ."""
    columns: Spectral
    """Of B."""


def wide(x: Tensor) -> Tensor:
    """float32 at least: Gram matrices and inverses in half precision are noise."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def frames(A: Tensor, B: Tensor, damping: float = 0.0) -> Frames:
    """The spectral forms of both factors, by QR and an SVD of the r × r triangle.

    Args:
        A: (…, r, n).
        B: (…, m, r).
        damping: added to the squared singular values before they are inverted, relative to the
            largest. Singular values below r·eps relative to the largest count as zero: there the
            inverse is zero, and the projections leave that direction out. For a factor that is
            zero, as one is at the usual start, the other factor then carries all of Ĝ.

    Cost: O((m + n) r²).
    """
    A, B = wide(A), wide(B)
    return Frames(A, B, _spectral(A.mT, damping), _spectral(B, damping))


def _spectral(F: Tensor, damping: float) -> Spectral:
    Q, R = torch.linalg.qr(F)
    missing = F.shape[-1] - Q.shape[-1]
    if missing > 0:  # fewer rows than r
        Q = torch.nn.functional.pad(Q, (0, missing))
        R = torch.nn.functional.pad(R, (0, 0, 0, missing))
    U, values, Vh = torch.linalg.svd(R)
    largest = values[..., :1]
    kept = values > F.shape[-1] * torch.finfo(F.dtype).eps * largest
    squares = values.square() + damping * largest.square()
    weights = torch.where(kept, 1 / torch.where(kept, squares, 1), 0)
    basis = (Q @ U) * kept.unsqueeze(-2)
    rotation = Vh.mT
    return Spectral(basis, values * kept, rotation, (rotation * weights.unsqueeze(-2)) @ Vh)


def coefficients(f: Frames, BtX: Tensor, XAt: Tensor, gauge: Gauge = "zero") -> Directions:
    """(D_A, D_B) with B·D_A + D_B·A = the projection of X on the tangent space.

    Args:
        f: the factors.
        BtX: BᵀX, (…, r, n).
        XAt: XAᵀ, (…, m, r).
        gauge: see the module; this is (2) with s = 1.
    """
    D_A = f.columns.inverse @ BtX
    return regauge(f, Directions(D_A - on_rows(f, D_A), XAt @ f.rows.inverse), gauge)


def regauge(f: Frames, D: Directions, gauge: Gauge) -> Directions:
    """The same tangent in another gauge, from gauge zero."""
    if gauge == "zero":
        return D
    if gauge not in GAUGES:
        raise ValueError(f"gauge must be one of {GAUGES}, got {gauge!r}")
    overlap = f.B.mT @ D.B
    C = 0.5 * f.columns.inverse @ overlap if gauge == "symmetric" else _sylvester(f, overlap)
    return Directions(D.A + C @ f.A, D.B - f.B @ C)


def _sylvester(f: Frames, right: Tensor) -> Tensor:
    """C with BᵀB C + C AAᵀ = right, in the eigenbases of both Gram matrices."""
    U, V = f.columns.rotation, f.rows.rotation
    sums = f.columns.values.square().unsqueeze(-1) + f.rows.values.square().unsqueeze(-2)
    turned = U.mT @ right @ V
    return U @ torch.where(sums > 0, turned / torch.where(sums > 0, sums, 1), 0) @ V.mT


def on_rows(f: Frames, X: Tensor) -> Tensor:
    """X P_A, for X (…, k, n)."""
    return (X @ f.rows.basis) @ f.rows.basis.mT


def on_columns(f: Frames, X: Tensor) -> Tensor:
    """P_B X, for X (…, m, k)."""
    return f.columns.basis @ (f.columns.basis.mT @ X)


def minimisers(
    A: Tensor,
    B: Tensor,
    grad_A: Tensor,
    grad_B: Tensor,
    scaling: float = 1.0,
    gauge: Gauge = "symmetric",
    damping: float = 0.0,
) -> Directions:
    """A pair (H_A, H_B) that minimises ‖s(B·H_A + H_B·A) − G‖_F, from the factors' gradients alone.

    Args:
        A: (…, r, n).
        B: (…, m, r).
        grad_A: s·BᵀG, (…, r, n).
        grad_B: s·GAᵀ, (…, m, r).
        scaling: s.
        gauge: which of the minimisers, see the module.
        damping: relative, see :func:`frames`; 0 gives the exact minimiser.

    Raises:
        ValueError: an unknown gauge.

    Cost: O((m + n) r²). Source: arXiv:2407.18242, in PEFT's letters and with its scaling.
    """
    f = frames(A, B, damping)
    D = coefficients(f, wide(grad_A) / scaling, wide(grad_B) / scaling, gauge)
    return Directions(D.A / scaling, D.B / scaling)


def project(f: Frames, X: Tensor) -> Tensor:
    """The projection P_B X + (I − P_B) X P_A of X (…, m, n) on the tangent space."""
    left = on_columns(f, X)
    return left + on_rows(f, X - left)


def alignment_error(A: Tensor, B: Tensor, G: Tensor) -> Tensor:
    """ε = ‖(I − P_B) G (I − P_A)‖_F = ‖Ĝ − G‖_F: what no step of the factors can follow.

    Args:
        A: (…, r, n).
        B: (…, m, r).
        G: (…, m, n), the gradient of the weight.
    """
    f, G = frames(A, B), wide(G)
    rest = G - on_columns(f, G)
    return torch.linalg.matrix_norm(rest - on_rows(f, rest))


def projected_square(H: Directions, grad_A: Tensor, grad_B: Tensor) -> Tensor:
    """‖Ĝ‖²_F = ⟨G_A, H_A⟩ + ⟨G_B, H_B⟩, of every matrix in the stack."""
    return (H.A * grad_A).sum((-2, -1)) + (H.B * grad_B).sum((-2, -1))


def tangent_norm(f: Frames, D: Directions) -> Tensor:
    """‖B·D_A + D_B·A‖_F in O((m + n) r²)."""
    L, R = stacked(f, D)
    return ((L.mT @ L) * (R @ R.mT)).sum((-2, -1)).clamp_min(0).sqrt()


def product_norm(D: Directions) -> Tensor:
    """‖D_B·D_A‖_F in O((m + n) r²): the second-order term of a step."""
    return ((D.B.mT @ D.B) * (D.A @ D.A.mT)).sum((-2, -1)).clamp_min(0).sqrt()


def stacked(f: Frames, D: Directions) -> tuple[Tensor, Tensor]:
    """[B, D_B] and [D_A; A], whose product is B·D_A + D_B·A."""
    return torch.cat([f.B, D.B], -1), torch.cat([D.A, f.A], -2)
