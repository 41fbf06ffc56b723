"""How far learned functions are from reference functions (Ryu et al. 2024, E.1.3).

Functions are given by their values on common points: arrays of shape (N, L), column l belonging to
mode l, with quadrature or importance weights of shape (N,). Numpy arrays and tensors are both fine;
all work is done in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor

Array = Any


def _tensor(values: Array) -> Tensor:
    return tensor(values, np.float64).detach().to("cpu", torch.float64)


def _columns(values: Array, weights: Array | None) -> Tensor:
    a = _tensor(values)
    if a.ndim != 2:
        raise ValueError(f"expected function values of shape (points, modes), got {tuple(a.shape)}")
    if not bool(a.isfinite().all()):
        raise ValueError("the function values contain NaN or Inf")
    if weights is None:
        return a
    w = _tensor(weights)
    if w.shape != a.shape[:1]:
        raise ValueError(f"expected weights of shape ({len(a)},), got {tuple(w.shape)}")
    if not bool(((w >= 0) & w.isfinite()).all()):
        raise ValueError("weights must be finite and not negative")
    return a * w.sqrt()[:, None]


def _pair(
    a: Array, b: Array, weights: Array | None, *, fewer: bool = False
) -> tuple[Tensor, Tensor]:
    left, right = _columns(a, weights), _columns(b, weights)
    missing = left.shape[1] - right.shape[1] if fewer else 0
    if (len(left), left.shape[1] - max(missing, 0)) != right.shape:
        raise ValueError(
            f"learned and reference functions must have one shape, got {tuple(left.shape)} and "
            f"{tuple(right.shape)}"
        )
    return left, right


def _unit(a: Tensor) -> Tensor:
    return a / a.norm(dim=0).clamp_min(torch.finfo(a.dtype).tiny)


def degenerate_groups(values: Array, rtol: float = 1e-3) -> list[slice]:
    """Runs of consecutive, equal values: ``[9, 4, 4, 1] → [0:1, 1:3, 3:4]``.

    Neighbours belong together when they differ by at most ``rtol`` times the larger magnitude.
    """
    v = _tensor(values).numpy()
    if v.ndim != 1 or len(v) == 0:
        raise ValueError(f"expected a non-empty vector of values, got shape {v.shape}")
    cuts = [0]
    for i in range(1, len(v)):
        if abs(v[i] - v[i - 1]) > rtol * max(abs(v[i]), abs(v[i - 1])):
            cuts.append(i)
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(v)], strict=True)]


def relative_errors(values: Array, exact: Array) -> np.ndarray:
    """|value − exact| / |exact| per mode; absolute error where the exact value is zero."""
    v, e = _tensor(values).numpy(), _tensor(exact).numpy()
    return np.abs(v - e) / np.where(e == 0, 1.0, np.abs(e))


def procrustes(a: Array, b: Array, weights: Array | None = None) -> Tensor:
    """The orthogonal Ω that brings A Ω closest to B: Ω = U Vᵀ from the SVD of AᵀB.

    B may have fewer columns than A: those of Ω are orthonormal then.
    """
    left, right = _pair(a, b, weights, fewer=True)
    u, _, vh = torch.linalg.svd(left.T @ right, full_matrices=False)
    return u @ vh


def align(a: Array, b: Array, weights: Array | None, groups: Sequence[slice]) -> Tensor:
    """A with unit columns, rotated onto B inside every group: shape (N, L), float64."""
    left, right = _pair(a, b, weights)
    scale = _unit(left).norm(dim=0) / left.norm(dim=0).clamp_min(torch.finfo(left.dtype).tiny)
    plain = _tensor(a) * scale
    left, right = _unit(left), _unit(right)
    out = plain.clone()
    for group in groups:
        out[:, group] = plain[:, group] @ procrustes(left[:, group], right[:, group])
    return out


def angle_distances(
    a: Array, b: Array, weights: Array | None = None, groups: Sequence[slice] | None = None
) -> np.ndarray:
    """(2/π) arccos |⟨aligned a_l | b_l⟩| ∈ [0, 1] per mode, after Procrustes inside each group."""
    groups = groups or [slice(i, i + 1) for i in range(_tensor(a).shape[1])]
    aligned = _unit(_columns(align(a, b, weights, groups), weights))
    reference = _unit(_columns(b, weights))
    cosine = (aligned * reference).sum(0)
    # arccos loses half of the digits near 1: take the angle from the residual instead, that of the
    # reference, which is 1 (an angle of 90°) for a learned function that vanishes
    sine = (reference - aligned * cosine).norm(dim=0)
    return (2 / math.pi * torch.atan2(sine, cosine.abs())).numpy()


def _basis(columns: Tensor) -> Tensor:
    """An orthonormal basis of the span; shorter where columns are zero or dependent."""
    q, r = torch.linalg.qr(_unit(columns))
    u, s, _ = torch.linalg.svd(r)
    return q @ u[:, s > max(columns.shape) * torch.finfo(s.dtype).eps * s.max()]


def subspace_distance(a: Array, b: Array, weights: Array | None = None) -> float:
    """1 − tr(P Q)/K for the projections on the spans of two sets of K functions: 0 if equal.

    K is the dimension of the reference b; zero or dependent functions in a count as missing.
    """
    left, right = _pair(a, b, weights)
    p, q = _basis(left), _basis(right)
    # ‖(I − P) Q‖² / K equals 1 − tr(PQ)/K without its cancellation
    return float((q - p @ (p.T @ q)).pow(2).sum() / q.shape[1])


def gram(a: Array, weights: Array | None = None) -> np.ndarray:
    """⟨a_i|a_j⟩ of the normalised functions: the identity when they are orthogonal."""
    u = _unit(_columns(a, weights))
    return (u.T @ u).numpy()


def orthogonality(a: Array, weights: Array | None = None) -> float:
    """(1/L²) Σ_ij (⟨ã_i|ã_j⟩ − δ_ij)² of the normalised functions."""
    g = gram(a, weights)
    return float(((g - np.eye(len(g))) ** 2).mean())


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every measure of E.1.3 for one set of learned functions.

    Attributes:
        relative_error: per mode, of the eigenvalues handed to :func:`compare`.
        angle_distance: per mode, after Procrustes inside degenerate groups.
        subspace_distance: mean over the degenerate groups.
        subspace_distance_total: of all modes at once.
        orthogonality: mean squared deviation of the Gram matrix from the identity.
        groups: the degenerate groups, as slices.
    """

    relative_error: np.ndarray
    angle_distance: np.ndarray
    subspace_distance: float
    subspace_distance_total: float
    orthogonality: float
    groups: tuple[slice, ...]

    @property
    def mean_relative_error(self) -> float:
        return float(np.mean(self.relative_error))

    @property
    def mean_angle_distance(self) -> float:
        return float(np.mean(self.angle_distance))


def compare(
    functions: Array,
    reference: Array,
    *,
    weights: Array | None = None,
    values: Array,
    exact: Array,
    groups: Sequence[slice] | None = None,
) -> Comparison:
    """Compare learned functions and values with exact ones.

    Args:
        functions, reference: (N, L) values on common points.
        weights: (N,) weights of those points; default 1.
        values, exact: (L,) learned and exact eigen or singular values.
        groups: degenerate groups; default: found in ``exact`` by :func:`degenerate_groups`.
    """
    found = tuple(groups) if groups is not None else tuple(degenerate_groups(exact))
    a, b = _tensor(functions), _tensor(reference)
    distances = [subspace_distance(a[:, s], b[:, s], weights) for s in found]
    return Comparison(
        relative_error=relative_errors(values, exact),
        angle_distance=angle_distances(a, b, weights, found),
        subspace_distance=float(np.mean(distances)),
        subspace_distance_total=subspace_distance(a, b, weights),
        orthogonality=orthogonality(a, weights),
        groups=found,
    )
