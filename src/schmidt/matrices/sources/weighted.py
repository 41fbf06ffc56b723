"""Weights of rows and columns: diag(√w) (A − 1 μᵀ) diag(√v/scale), of every kind, never densified.

The best approximation of A in the norm Σ w_i v_j |a_ij|² is U S Vᴴ with U = diag(w)^−½ Ũ and
V = diag(v)^−½ Ṽ, where Ũ S Ṽᴴ is that of diag(√w) A diag(√v): orthonormal in the weighted inner
products, and in the units of the data. Means and deviations are weighted by w too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.matrices.sources.centred import CHUNK, Centred, Mapped, vector
from schmidt.matrices.sources.entries import double
from schmidt.matrices.sources.source import Dense, Source, Sparse, norm_of

Parts = Callable[[], Iterator[tuple[slice, Source]]]
"""Blocks of rows, again and again."""


def positive(given: Any, name: str, size: int | None = None) -> Tensor | None:
    """Weights (size,) in double precision.

    Raises:
        ValueError: weights that are not positive and finite, or of another shape.
    """
    if given is None:
        return None
    w = tensor(given).detach().cpu()
    if w.ndim != 1 or w.is_complex() or (size is not None and len(w) != size):
        shape = f"({size},)" if size is not None else "a vector"
        raise ValueError(f"{name} must be real, of shape {shape}; got {tuple(w.shape)}")
    w = w.double()
    if not bool(torch.isfinite(w).all() & (w > 0).all()):
        raise ValueError(
            f"{name} must be positive and finite: leave out the rows or columns that do not count"
        )
    return w


class WeightedSource(Centred):
    """diag(r) (A − 1 μᵀ) diag(c) as its products; A is any other source.

    Args:
        source: A (m, n).
        mean: μ (n,), in double precision.
        rows, columns: r (m,) and c (n,), positive, in double precision.
        norm2: the square of its Frobenius norm, or None.
    """

    def __init__(
        self, source: Source, mean: Tensor, rows: Tensor, columns: Tensor, norm2: float | None
    ) -> None:
        self.source, self._all = source, (mean, rows, columns)
        self.shape, self.dtype, self.device = source.shape, source.dtype, source.device
        self.structure, self.norm2 = source.structure, norm2
        self.unit = source.unit
        self.mean = mean.to(self.device, self.dtype)
        real = torch.empty(0, dtype=self.dtype).real.dtype
        self.rows, self.columns = (x.to(self.device, real)[:, None] for x in (rows, columns))
        eps = float(torch.finfo(source.dtype).eps)
        largest = float(rows.max() * columns.max())
        means = norm_of(mean * columns.to(mean)) * norm_of(rows)
        self.noise = 8 * eps * math.sqrt(self.small) * means + largest * source.noise
        self.shifts = bool((mean != 0).any())

    def apply(self, X: Tensor) -> Tensor:
        scaled = X * self.columns
        image = self.source.apply(scaled)
        return self.rows * (image - self.mean @ scaled if self.shifts else image)

    def adjoint(self, Y: Tensor) -> Tensor:
        scaled = Y * self.rows
        back = self.source.adjoint(scaled)
        if self.shifts:
            back = back - torch.outer(self.mean.conj().resolve_conj(), scaled.sum(0))
        return back * self.columns

    def dense(self) -> Tensor:
        return self.rows * (self.source.dense() - self.mean) * self.columns[:, 0]

    def entries(self) -> Any:
        return None

    def around(self, source: Source) -> WeightedSource:
        return WeightedSource(source, *self._all, self.norm2)

    def wide(self) -> Source:
        return self.around(self.source.wide())

    def scaled(self, factor: float) -> WeightedSource:
        """The same in units that are ``factor`` times as large."""
        mean, rows, columns = self._all
        norm2 = None if self.norm2 is None else self.norm2 / factor / factor
        return WeightedSource(self.source.scaled(factor), mean / factor, rows, columns, norm2)


def weighted(
    source: Source, rows: Tensor | None, columns: Tensor | None, center: Any, scale: Any
) -> Source:
    """A source in memory, in a file or an operator, centred, scaled and weighted.

    Args:
        source: A (m, n).
        rows, columns: w (m,) and v (n,), or None.
        center, scale: as for :func:`schmidt.svd`.
    """
    m, n = source.shape
    w = torch.ones(m, dtype=torch.float64) if rows is None else rows
    mean, c = _coordinates(lambda: _whole(source), w, columns, n, source, center, scale)
    mean, r = mean / source.unit, w.sqrt()
    if isinstance(source, Dense):
        out = torch.empty_like(source.matrix)
        place = source.device
        for start in range(0, m, CHUNK):
            part = slice(start, start + CHUNK)
            wide = source.matrix[part] - mean.to(place)
            out[part] = wide * c.to(place) * r[part, None].to(place)
        result: Source = Dense(source.give(out))
        eps = float(torch.finfo(torch.float64).eps)
        result.noise = 4 * eps * norm_of(r) * norm_of(mean * c.to(mean)) / result.unit
        result.unit *= source.unit
        return result
    norm2 = None
    if source.norm2 is not None:
        energies = _energies(_whole(source), mean * source.unit, w) / source.unit**2
        norm2 = float((energies * c.square()).sum())
    return WeightedSource(source, mean, r, c, norm2)


class WeightedRows:
    """Row blocks that can be read again, or once where no means are wanted; every block weighted.

    Args:
        blocks: returns an iterator over (r_i, n) blocks; or an iterator.
        rows, columns, center, scale: as for :func:`weighted`.
    """

    def __init__(
        self, blocks: Any, rows: Tensor | None, columns: Tensor | None, center: Any, scale: Any
    ) -> None:
        self.given = blocks
        self.w, self.v = rows, columns
        self.known: tuple[Tensor, Tensor] | None = None
        if callable(blocks):
            first = next((s for _, s in self._parts()), None)
            if first is None:
                raise ValueError("there are no blocks with rows")
            self.known = _coordinates(
                self._parts, rows, columns, first.shape[1], first, center, scale
            )

    def __call__(self) -> Iterator[Any]:
        for given, (part, source) in self._both():
            n = source.shape[1]
            if self.known is None:
                v = positive(self.v, "column_weights", n)
                c = torch.ones(n, dtype=torch.float64) if v is None else v.sqrt()
                self.known = torch.zeros(n, dtype=torch.float64), c
            mean, c = self.known
            r = self._weights(part).sqrt()
            if isinstance(source, Dense):
                wide = (source.matrix * source.unit - mean) * c * r[:, None]
                out = wide.to(source.dtype)
                yield out if isinstance(given, Tensor) else out.numpy()
                continue
            local = mean / source.unit
            energies = _energies(iter([(slice(0, None), source)]), mean, r.square())
            norm2 = float((energies * c.square()).sum()) / source.unit**2
            yield WeightedSource(source, local, r, c, norm2)

    def _parts(self) -> Iterator[tuple[slice, Source]]:
        return (pair for _, pair in self._both())

    def _both(self) -> Iterator[tuple[Any, tuple[slice, Source]]]:
        start = 0
        for given in self.given() if callable(self.given) else self.given:
            if not given.shape[0]:
                continue
            stop = start + given.shape[0]
            source = Sparse(given) if hasattr(given, "tocsr") else Dense(given)
            yield given, (slice(start, stop), source)
            start = stop
        if self.w is not None and start != len(self.w):
            raise ValueError(f"row_weights has {len(self.w)} entries, the blocks have {start} rows")

    def _weights(self, part: slice) -> Tensor:
        if self.w is None:
            return torch.ones(part.stop - part.start, dtype=torch.float64)
        if part.stop > len(self.w):
            raise ValueError(f"row_weights has {len(self.w)} entries, the blocks have more rows")
        return self.w[part]


def weighted_chunks(
    A: Any, rows: Tensor | None, columns: Tensor | None, center: Any, scale: Any
) -> Any:
    """A dask array, centred, scaled and weighted; lazy. Means and deviations take one pass each."""
    import dask.array as da

    from schmidt.matrices.solvers.dask import plain_chunks, shifted

    A = plain_chunks(A)
    m, n = A.shape
    positive(rows, "row_weights", m)
    positive(columns, "column_weights", n)
    w = np.ones(m) if rows is None else rows.numpy()
    lazy = da.from_array(w[:, None], chunks=(A.chunks[0], 1))
    about: Any = center
    if center is True:
        about = ((lazy * A).sum(0) / w.sum()).compute()
    divisor: Any = scale
    if scale is True:
        base = 0.0 if about is None or about is False else about[None]
        variance = ((lazy * abs(A - base) ** 2).sum(0) / w.sum()).compute()
        divisor = _safe(torch.from_numpy(variance).sqrt(), about, A.dtype).numpy()
    B = shifted(A, False if about is None else about, False if divisor is None else divisor)
    c = np.ones(n) if columns is None else np.sqrt(columns.numpy())
    return (B * da.sqrt(lazy) * c[None]).astype(A.dtype)


def _coordinates(
    parts: Parts,
    w: Tensor | None,
    columns: Tensor | None,
    n: int,
    like: Source,
    center: Any,
    scale: Any,
) -> tuple[Tensor, Tensor]:
    """μ and √v/scale, (n,), in the user's units."""
    positive(columns, "column_weights", n)
    mean, divisor = vector(center, n, like, "center"), vector(scale, n, like, "scale")
    total = math.nan
    if mean is None:
        sums, total = None, 0.0
        for rows, source in parts():
            part = _part(w, rows, source)
            total += float(part.sum())
            more = _weighted_sum(source, part) * source.unit
            sums = more if sums is None else sums + more
        assert sums is not None
        mean = sums / total
    if divisor is None:
        total = sum(float(_part(w, rows, s).sum()) for rows, s in parts())
        variance = _energies(parts(), mean.cpu(), w) / total
        divisor = _safe(variance.sqrt(), mean.cpu(), like.dtype)
    c = 1 / divisor.real.cpu().double()
    return mean.cpu(), c if columns is None else c * columns.sqrt()


def _part(w: Tensor | None, rows: slice, source: Source) -> Tensor:
    if w is None:
        return torch.ones(source.shape[0], dtype=torch.float64)
    part = w[rows]
    if len(part) != source.shape[0]:
        raise ValueError(f"row_weights has {len(w)} entries, the matrix has more rows")
    return part


def _safe(deviation: Tensor, about: Any, kind: Any) -> Tensor:
    """1 where a column is constant."""
    eps = torch.finfo(kind).eps if isinstance(kind, torch.dtype) else np.finfo(kind).eps
    size = 0.0 if about is None or about is False else torch.as_tensor(about).abs()
    return torch.where(deviation > 10 * float(eps) * size, deviation, torch.ones_like(deviation))


def _whole(source: Source) -> Iterator[tuple[slice, Source]]:
    if isinstance(source, Mapped):
        for rows, block in source.blocks():
            yield rows, Dense(block)
        return
    yield slice(0, source.shape[0]), source


def _weighted_sum(source: Source, w: Tensor) -> Tensor:
    """Σ_i w_i a_ij, (n,), in double precision."""
    if isinstance(source, Dense):
        kind = double(source.dtype)
        steps = range(0, source.shape[0], CHUNK)
        parts = (
            w[i : i + CHUNK].to(source.device, kind) @ source.matrix[i : i + CHUNK].to(kind)
            for i in steps
        )
        return torch.stack(list(parts)).sum(0).cpu()
    column = w.to(source.device, source.dtype)[:, None]
    return source.adjoint(column)[:, 0].conj().resolve_conj().to(double(source.dtype)).cpu()


def _energies(parts: Iterator[tuple[slice, Source]], mean: Tensor, w: Tensor | None) -> Tensor:
    """Σ_i w_i |a_ij − μ_j|², (n,), in the user's units, without cancellation."""
    total: Tensor | None = None
    for rows, source in parts:
        part = _part(w, rows, source)
        local = mean / source.unit
        if isinstance(source, Dense):
            more = torch.zeros(source.shape[1], dtype=torch.float64)
            for i in range(0, source.shape[0], CHUNK):
                block = source.matrix[i : i + CHUNK].cpu() - local
                more += part[i : i + CHUNK] @ block.abs().square()
        elif isinstance(source, Sparse):
            A, mu, n = source.matrix, local.numpy(), source.shape[1]
            each = np.repeat(part.numpy(), np.diff(A.indptr))
            stored = each * np.abs(A.data - mu[A.indices]).astype(float) ** 2
            zeros = float(part.sum()) - np.bincount(A.indices, each, minlength=n)
            flat = np.maximum(zeros, 0.0) * np.abs(mu).astype(float) ** 2
            more = torch.from_numpy(np.bincount(A.indices, stored, minlength=n) + flat)
        else:
            raise ValueError("scale=True needs the entries of A: give an array for an operator")
        more = more * source.unit**2
        total = more if total is None else total + more
    assert total is not None
    return total
