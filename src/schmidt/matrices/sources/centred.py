"""Centring and scaling of columns that never forms the centred matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.matrices.sources.entries import checked, double, norm_of, squared_norm, view
from schmidt.matrices.sources.source import MAPPED, Dense, Source, Sparse, Wrapped

CHUNK = 4096
"""Rows of a dense matrix that are in double precision at a time."""
ROOM = 2**24
"""Bytes of a block of rows of a matrix in a file."""


class Centred(Wrapped):
    """(A − 1 μᵀ) diag(scale)⁻¹ as its products.

    Args:
        source: A (m, n).
        mean: μ, (n,), in double precision.
        scale: (n,), positive, in double precision.

    Products A x and 1 μᵀx cancel: their rounding is that of √m ‖μ/scale‖, not of what is left,
    and stands in ``noise``, beside what the noise of A itself becomes.
    """

    def __init__(self, source: Source, mean: Tensor, scale: Tensor) -> None:
        super().__init__(source)
        self._given, self.unit = (mean, scale), 1.0
        self.mean, self.scale = mean.to(source.dtype), scale.to(source.dtype)
        self.norm2 = _centred_norm2(source, mean, scale)
        eps, m = float(torch.finfo(source.dtype).eps), source.shape[0]
        size = math.sqrt(m) * norm_of(mean / scale)
        least = float(scale.abs().min()) if len(scale) else 1.0
        self.noise = source.noise / least + 8 * eps * math.sqrt(self.small) * size

    def apply(self, X: Tensor) -> Tensor:
        scaled = X / self.scale[:, None]
        return self.source.apply(scaled) - (self.mean @ scaled)

    def adjoint(self, Y: Tensor) -> Tensor:
        inner = self.source.adjoint(Y) - torch.outer(self.mean.conj().resolve_conj(), Y.sum(0))
        return inner / self.scale[:, None]

    def dense(self) -> Tensor:
        return (self.source.dense() - self.mean) / self.scale

    def entries(self) -> None:
        return None

    def around(self, source: Source) -> Centred:
        other = Centred(source, *self._given)
        other.unit = self.unit
        return other

    def scaled(self, factor: float) -> Centred:
        """The same in units that are ``factor`` times as large."""
        mean, scale = self._given
        other = Centred(self.source.scaled(factor), mean / factor, scale)
        other.unit = self.unit * factor
        return other


class Mapped(Source):
    """A dense matrix in a file, by blocks of rows: it is never in memory as a whole.

    Args:
        A: a numpy array (m, n) of any real or complex type.
        mean: μ (n,) that is subtracted from every row, in double precision, or None.
        scale: (n,) that columns are divided by.
    """

    structure = MAPPED

    def __init__(self, A: np.ndarray, mean: Tensor | None = None, scale: Any = 1.0) -> None:
        self.array, self.mean, self.scale = A, mean, scale
        self.shape, self.device = (A.shape[0], A.shape[1]), torch.device("cpu")
        self.dtype = checked(view(A[:1]), A.shape).dtype
        self.norm2 = sum(squared_norm(block) for _, block in self.blocks())

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows as they are wanted, in the type of products; each is gone with the next."""
        room = torch.empty(0, dtype=double(self.dtype))
        for rows in slices(self.shape):
            block = view(self.array[rows])
            if self.mean is not None:  # rounded once, when the mean is gone
                room = room if len(room) else torch.empty_like(block, dtype=room.dtype)
                held = room[: len(block)]
                torch.sub(block, self.mean, out=held)
                block = held.div_(self.scale).to(self.dtype)
            yield rows, block

    def apply(self, X: Tensor) -> Tensor:
        return torch.cat([block @ X for _, block in self.blocks()])

    def adjoint(self, Y: Tensor) -> Tensor:
        out = torch.zeros(self.shape[1], Y.shape[1], dtype=double(Y.dtype))
        for rows, block in self.blocks():
            out += block.mH @ Y[rows]
        return out.to(Y)

    def dense(self) -> Tensor:
        return torch.cat([block.clone() for _, block in self.blocks()])


class Shift:
    """Row blocks that can be read again, centred and scaled one by one.

    Args:
        blocks: a list of blocks (r_i, n), or a function that returns a new iterator over them.
        center, scale: as for :func:`schmidt.svd`; True takes one pass.

    Attributes:
        noise: what the rounding of the means does, in the Frobenius norm.
    """

    def __init__(self, blocks: Any, center: Any, scale: Any) -> None:
        self.given = blocks if callable(blocks) else (lambda: blocks)
        first = next((source for _, source in self._sources()), None)
        if first is None:
            raise ValueError("there are no blocks")
        n = first.shape[1]
        mean, divisor = (
            vector(given, n, first, name) for name, given in (("center", center), ("scale", scale))
        )
        rows = 0
        if mean is None or divisor is None:
            rows, means, energies = self._moments(n, divisor is None)
            about = means if mean is None else mean
            if divisor is None:
                energies = energies + rows * (means - about).abs().square()
                divisor = _deviations(energies / rows, about, first)
            mean = about
        self.mean, self.divisor = mean, divisor
        eps = float(torch.finfo(torch.float64).eps)
        self.noise = 4 * eps * math.sqrt(rows) * norm_of(mean / divisor)

    def blocks(self) -> Iterator[Any]:
        """The blocks, shifted: of the kind that they were."""
        for given, source in self._sources():
            if not isinstance(source, Dense):
                block = Centred(source, self.mean / source.unit, self.divisor)
                block.unit = source.unit
                yield block
                continue
            matrix = source.matrix * source.unit if source.unit != 1 else source.matrix
            shifted = (matrix - self.mean).div_(self.divisor).to(source.dtype)
            yield shifted if isinstance(given, Tensor) else shifted.numpy()

    def _sources(self) -> Iterator[tuple[Any, Source]]:
        for given in self.given():
            if given.shape[0]:
                yield given, Sparse(given) if hasattr(given, "tocsr") else Dense(given)

    def _moments(self, n: int, wanted: bool) -> tuple[int, Tensor, Tensor]:
        """Rows, means, and energies about them (Chan, Golub and LeVeque 1983), in one pass.

        Energies are left out where they are not wanted.
        """
        largest = 0.0
        rows, mean, energies = 0, torch.zeros(n, dtype=torch.float64), torch.zeros(n)
        energies = energies.double()
        for _, source in self._sources():
            if source.shape[1] != n:
                raise ValueError(f"blocks have {n} and {source.shape[1]} columns")
            m, local = source.shape[0], column_means(source)
            unit = source.unit
            local = local * unit
            mean = mean.to(local)
            if wanted:
                largest = max(largest, unit if source.norm2 else 0.0)
                about = _column_energies(source, local / unit)
                assert about is not None
                between = (local - mean).abs().square() * (rows * m / (rows + m))
                energies = energies.to(about) + about * unit * unit + between
            mean = mean + (local - mean) * (m / (rows + m))
            rows += m
        if largest not in (0.0, 1.0):
            raise ValueError("squares of the entries leave the range of float64: scale the blocks")
        return rows, mean, energies


def slices(shape: tuple[int, int]) -> Iterator[slice]:
    """Blocks of rows of some ``ROOM`` bytes in double precision."""
    rows = max(ROOM // (8 * max(shape[1], 1)), 1)
    return (slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows))


def centred(source: Source, center: Any, scale: Any) -> Source:
    """The source, centred and scaled as asked for.

    Dense matrices are centred in a copy, which loses no digits where means are large, those in
    files block by block; all others implicitly.

    Args:
        source: A (m, n).
        center: False; True for the means of the columns; or an array (n,).
        scale: False; True for the standard deviations of the columns; or an array (n,).
    """
    if not wanted(center, scale):
        return source
    n, unit = source.shape[1], source.unit
    mean = vector(center, n, source, "center")
    # what the user gives is in the user's units
    mean = column_means(source) if mean is None else mean / unit
    divisor = vector(scale, n, source, "scale")
    if divisor is None:
        divisor, unit = column_deviations(source, mean, bool(center is not False)), 1.0
    if isinstance(source, Dense):
        shifted = torch.empty_like(source.matrix)
        for start in range(0, len(shifted), CHUNK):  # rounded once, when the mean is gone
            rows = slice(start, start + CHUNK)
            shifted[rows] = (source.matrix[rows] - mean) / divisor
        result: Source = Dense(source.give(shifted))
        result.noise = rounding_of_means(source, mean, divisor)
    elif isinstance(source, Mapped):
        result = Mapped(source.array, mean, divisor)
        result.noise = rounding_of_means(source, mean, divisor)
    else:
        result = Centred(source, mean, divisor)
    result.unit *= unit
    return result


def wanted(center: Any, scale: Any) -> bool:
    """Whether anything is to be subtracted or divided by."""
    return not all(given is None or given is False for given in (center, scale))


def rounding_of_means(source: Source, mean: Tensor, divisor: Tensor) -> float:
    """Means are known to a few ε only."""
    eps = float(torch.finfo(torch.float64).eps)
    return 4 * eps * math.sqrt(source.shape[0]) * norm_of(mean / divisor)


def column_means(source: Source) -> Tensor:
    """(n,) means of the columns, in double precision; of an operator, in its own."""
    m, kind = source.shape[0], double(source.dtype)
    if isinstance(source, Dense):
        return torch.stack([c.sum(0, dtype=kind) for c in source.matrix.split(CHUNK)]).sum(0) / m
    if isinstance(source, Mapped):
        return torch.stack([b.sum(0, dtype=kind) for _, b in source.blocks()]).sum(0) / m
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
    return _deviations(energies / source.shape[0], about, source)


def _deviations(variances: Tensor, about: Tensor, source: Source) -> Tensor:
    deviation = variances.sqrt()
    # a constant column is rounding away from its mean
    size = deviation > 10 * torch.finfo(source.dtype).eps * about.abs()
    return torch.where(size, deviation, torch.ones_like(deviation))


def vector(given: Any, n: int, source: Source, name: str) -> Tensor | None:
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
    if name == "scale" and not bool((vector.real > 0).all()):
        raise ValueError("scale must be positive")
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
    if isinstance(source, Mapped):
        return torch.stack([(b - mean).abs().square().sum(0) for _, b in source.blocks()]).sum(0)
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
