"""Centring and scaling of columns that never forms the centred matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.matrices.sources.entries import double, squared_norm
from schmidt.matrices.sources.source import Dense, InUnits, Source, Sparse, norm_of

CHUNK = 4096
"""Rows of a dense matrix that are in double precision at a time."""


class Centred(Source):
    """(A − 1 μᵀ) diag(scale)⁻¹ as its products.

    Args:
        source: A (m, n).
        mean: μ, (n,), in double precision.
        scale: (n,), positive, in double precision.

    Products A x and 1 μᵀx cancel: their rounding is that of √m ‖μ/scale‖, not of what is left,
    and stands in ``noise``.
    """

    def __init__(self, source: Source, mean: Tensor, scale: Tensor) -> None:
        self.source, self._given = source, (mean, scale)
        self.mean, self.scale = mean.to(source.dtype), scale.to(source.dtype)
        self.shape, self.dtype, self.device = source.shape, source.dtype, source.device
        self.structure = "operator" if source.structure == "operator" else "sparse"
        self.norm2 = _centred_norm2(source, mean, scale)
        eps, m = float(torch.finfo(source.dtype).eps), source.shape[0]
        size = math.sqrt(m) * norm_of(mean / scale)
        self.noise = 8 * eps * math.sqrt(self.small) * size

    def apply(self, X: Tensor) -> Tensor:
        scaled = X / self.scale[:, None]
        return self.source.apply(scaled) - (self.mean @ scaled)

    def adjoint(self, Y: Tensor) -> Tensor:
        inner = self.source.adjoint(Y) - torch.outer(self.mean.conj().resolve_conj(), Y.sum(0))
        return inner / self.scale[:, None]

    @property
    def eps(self) -> float:
        return self.source.eps

    def dense(self) -> Tensor:
        return (self.source.dense() - self.mean) / self.scale

    def wide(self) -> Source:
        return Centred(self.source.wide(), *self._given)

    def give(self, result: Tensor) -> Any:
        return self.source.give(result)


def centred(source: Source, center: Any, scale: Any) -> Source:
    """The source, centred and scaled as asked for.

    Dense matrices are centred in a copy, which loses no digits where means are large; all others
    implicitly.

    Args:
        source: A (m, n).
        center: False; True for the means of the columns; or an array (n,).
        scale: False; True for the standard deviations of the columns; or an array (n,).
    """
    if (center is False and scale is False) or (center is None and scale is None):
        return source
    if source.unit != 1:  # means and scales are the user's
        source = InUnits(source, 1 / source.unit)
    n = source.shape[1]
    mean = _vector(center, n, source, "center")
    if mean is None:
        mean = column_means(source)
    divisor = _vector(scale, n, source, "scale")
    if divisor is None:
        divisor = column_deviations(source, mean, bool(center is not False))
    if not bool((divisor.real > 0).all()):
        raise ValueError("scale must be positive")
    if isinstance(source, Dense):
        shifted = torch.empty_like(source.matrix)
        for start in range(0, len(shifted), CHUNK):  # rounded once, when the mean is gone
            rows = slice(start, start + CHUNK)
            shifted[rows] = (source.matrix[rows] - mean) / divisor
        result = Dense(source.give(shifted))
        # the means are known to a few ε only
        eps = float(torch.finfo(torch.float64).eps)
        result.noise = 4 * eps * math.sqrt(source.shape[0]) * norm_of(mean / divisor)
        return result
    return Centred(source, mean, divisor)


def column_means(source: Source) -> Tensor:
    """(n,) means of the columns, in double precision; of an operator, in its own."""
    m, kind = source.shape[0], double(source.dtype)
    if isinstance(source, Dense):
        return torch.stack([c.sum(0, dtype=kind) for c in source.matrix.split(CHUNK)]).sum(0) / m
    if isinstance(source, Sparse):
        ones = np.ones(m, torch.empty(0, dtype=kind).numpy().dtype)
        return torch.from_numpy(source.matrix.T @ ones) / m
    ones_ = torch.ones(m, 1, dtype=source.dtype, device=source.device)
    return source.adjoint(ones_)[:, 0].conj().resolve_conj().to(kind) / m


def column_deviations(source: Source, mean: Tensor, centring: bool) -> Tensor:
    """(n,) standard deviations about ``mean`` (degrees of freedom m); 1 where a column is constant.

    Without centring, root mean squares.
    """
    about = mean if centring else torch.zeros_like(mean)
    energies = _column_energies(source, about)
    if energies is None:
        raise ValueError("scale=True needs the entries of A: give an array for an operator")
    deviation = (energies / source.shape[0]).sqrt()
    # a constant column is rounding away from its mean
    size = deviation > 10 * torch.finfo(source.dtype).eps * about.abs()
    return torch.where(size, deviation, torch.ones_like(deviation))


def _vector(given: Any, n: int, source: Source, name: str) -> Tensor | None:
    """An array as a tensor, zeros or ones for False, None for True."""
    if isinstance(given, (bool, np.bool_)) or given is None:
        if given:
            return None
        fill = 0.0 if name == "center" else 1.0
        return torch.full((n,), fill, dtype=double(source.dtype), device=source.device)
    vector = tensor(given).to(source.device, double(source.dtype))
    if vector.shape != (n,):
        raise ValueError(
            f"{name} must be True, False or of shape ({n},), got {tuple(vector.shape)}"
        )
    if not bool(
        torch.isfinite(torch.view_as_real(vector) if vector.is_complex() else vector).all()
    ):
        raise ValueError(f"{name} contains NaN or Inf")
    return vector


def _column_energies(source: Source, mean: Tensor) -> Tensor | None:
    """(n,) Σ_i |a_ij − μ_j|², without cancellation."""
    if isinstance(source, Dense):
        return torch.stack(
            [(c - mean).abs().square().sum(0) for c in source.matrix.split(CHUNK)]
        ).sum(0)
    if not isinstance(source, Sparse):
        return None
    A, mu = source.matrix, mean.numpy()
    n = A.shape[1]
    stored = np.abs(A.data - mu[A.indices]).astype(float) ** 2
    zeros = A.shape[0] - np.bincount(A.indices, minlength=n)
    energies = np.bincount(A.indices, stored, minlength=n) + zeros * np.abs(mu).astype(float) ** 2
    return torch.from_numpy(energies)


def _centred_norm2(source: Source, mean: Tensor, scale: Tensor) -> float | None:
    energies = _column_energies(source, mean)
    return None if energies is None else squared_norm((energies.sqrt() / scale.real).real)
