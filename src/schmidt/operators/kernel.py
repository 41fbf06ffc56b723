"""Integral operators (K f)(y) = ∫ k(y, x) f(x) μ(dx), and matrices: their discrete case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Indices, Measure, Points
from schmidt.operators.measures.measure import EVALUATION_SEED
from schmidt.parameters import Kind, Number, check

KernelFunction = Callable[[Tensor, Tensor], Tensor]
"""k(y, x): points (N, d'), (M, d) to the matrix (N, M)."""

BLOCK = 2**24
"""Kernel values held at once."""

MOST_POINTS = 2**13
"""Points to judge on: more would take minutes, not give digits."""

PARAMETERS = {
    "kernel": Kind((Callable,), "a function k(y, x)"),  # type: ignore[arg-type]
    "domain": Kind((Measure,), "a measure such as Distribution(Gaussian(1.0, 2))"),
    "codomain": Kind((Measure,), "a measure", none=True),
}


class Kernel(Form):
    """An integral operator from L²(X, μ) to L²(Y, ν), by default on one space.

    Args:
        kernel: k(y, x), points (N, d'), (M, d) → (N, M).
        domain: μ, for the argument x.
        codomain: ν, for y; default μ.
        symmetric: True if k(x, y) = k(y, x) and X = Y; default: to be measured if X = Y.

    x and y are drawn independently, so the estimate of ⟨g|Kf⟩ over all B² pairs is unbiased. Cost
    per step: B² kernel values and O(B²L).
    """

    additive = False
    solving_points = 2**11

    def __init__(
        self,
        kernel: KernelFunction,
        domain: Measure,
        codomain: Measure | None = None,
        *,
        symmetric: bool | None = None,
    ) -> None:
        check(PARAMETERS, kernel=kernel, domain=domain, codomain=codomain)
        if symmetric and codomain is not None and codomain is not domain:
            raise ValueError("a symmetric kernel lives on one space: leave codomain out")
        self.kernel = kernel
        self.domain = domain
        self.codomain = domain if codomain is None else codomain
        self.one_space = self.codomain is domain
        self.self_adjoint = symmetric if self.one_space else False

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        return Sample(self.domain.sample(n, generator), self.codomain.sample(n, generator))

    def evaluation(self, n: int | None = None) -> Sample:
        x = _judging_points(self.domain, n)
        return Sample(x, x if self.one_space else _judging_points(self.codomain, n))

    def quadrature(self) -> Sample | None:
        sides = self.domain.rule(), self.codomain.rule()
        if any(side is None or len(side) > MOST_POINTS for side in sides):
            return None
        return self.evaluation()

    def _values(self, y: Tensor, x: Tensor) -> Tensor:
        values = self.kernel(y, x).to(x)
        if values.shape != (len(y), len(x)):
            raise ValueError(
                f"the kernel must return shape ({len(y)}, {len(x)}), got {tuple(values.shape)}"
            )
        return values

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """(K f)(y) at the points of Y, estimated from those of X."""
        weighted = f.value * sample.x.weight.reshape(-1, *[1] * (f.value.ndim - 1))
        rows = max(1, BLOCK // len(sample.x))
        parts = [
            torch.tensordot(self._values(y, sample.x.x), weighted, dims=1)
            for y in sample.y.x.split(rows)
        ]
        return torch.cat(parts)

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        image = self.action(f, sample)
        weighted = g.value * sample.y.weight.reshape(-1, *[1] * (g.value.ndim - 1))
        return torch.einsum("bi...,bj...->ij", weighted, image)


def _judging_points(measure: Measure, n: int | None) -> Points:
    points = measure.evaluation(n)
    if len(points) <= MOST_POINTS:
        return points
    return measure.fresh(MOST_POINTS, torch.Generator().manual_seed(EVALUATION_SEED))


class Matrix(Form):
    """A : R^n → R^m, with functions on the index sets {0…n−1} (columns, f) and {0…m−1} (rows, g).

    Args:
        a: real matrix (m, n): array, tensor, scipy sparse matrix or sparse tensor of any layout.
            Integers and booleans are taken as float64.
        block: O > 1 reads the matrix as blocks of O×O acting on functions with values in R^O; then
            the index sets have m/O and n/O elements.

    A sample of at least max(m, n) indices is the whole matrix and exact. The transpose convention
    is numpy's: U belongs to the rows (left, g), V to the columns (right, f).
    """

    additive = False

    def __init__(self, a: Any, *, block: int = 1) -> None:
        self.a = _real(a)
        self.sparse = not isinstance(self.a, Tensor)
        if self.a.ndim != 2 or 0 in self.a.shape:
            raise ValueError(f"expected a non-empty matrix, got shape {tuple(self.a.shape)}")
        finite = np.isfinite(self.a.data) if self.sparse else self.a.isfinite()
        if not bool(finite.all()):
            raise ValueError("the matrix contains NaN or Inf")
        rows, columns = self.a.shape
        check({"block": Number(1, whole=True)}, block=block)
        if rows % block or columns % block:
            raise ValueError(f"block={block} must divide the shape {(rows, columns)}")
        self.block = block
        self.domain = Indices(columns // block)
        self.codomain = Indices(rows // block) if rows != columns else self.domain
        self.one_space = self.codomain is self.domain
        self.self_adjoint = self._symmetric()

    def _symmetric(self) -> bool:
        if self.a.shape[0] != self.a.shape[1]:
            return False
        if self.sparse:
            return bool(abs(self.a - self.a.T).max() <= 1e-6 * abs(self.a).max())
        return bool((self.a - self.a.T).abs().max() <= 1e-6 * self.a.abs().max())

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        x = self.domain.sample(n, generator)
        if self.codomain is self.domain and len(x) == self.domain.size:
            return Sample(x, x)
        return Sample(x, self.codomain.sample(n, generator))

    def evaluation(self, n: int | None = None) -> Sample:
        x = self.domain.evaluation()
        return Sample(x, x if self.codomain is self.domain else self.codomain.evaluation())

    def quadrature(self) -> Sample | None:
        return self.evaluation()

    def _entries(self, index: Tensor) -> Tensor:
        offset = torch.arange(self.block, device=index.device)
        return (index[:, None] * self.block + offset).reshape(-1)

    def _part(self, sample: Sample, like: Tensor) -> Tensor:
        """The sampled rows and columns; sparse if the matrix is."""
        rows, columns = self._entries(sample.y.x), self._entries(sample.x.x)
        if self.sparse:
            chosen = self.a[rows.cpu().numpy()][:, columns.cpu().numpy()].tocoo()
            places = torch.from_numpy(np.stack([chosen.row, chosen.col]).astype(np.int64))
            entries = torch.from_numpy(chosen.data).to(like)
            places = places.to(like.device)
            return torch.sparse_coo_tensor(places, entries, chosen.shape, check_invariants=True)
        return self.a.to(like.device)[rows][:, columns].to(like)

    def _flat(self, values: Tensor, weight: Tensor) -> Tensor:
        """(B, L) or (B, L, O) with weights to (B·O, L)."""
        wide = values if values.ndim == 3 else values[..., None]
        if wide.shape[2] != self.block:
            raise ValueError(f"functions have {wide.shape[2]} outputs, the form has {self.block}")
        return (wide * weight[:, None, None]).transpose(1, 2).reshape(-1, wide.shape[1])

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """A f at the sampled rows."""
        image = self._part(sample, f.value) @ self._flat(f.value, sample.x.weight)
        if f.value.ndim == 2:
            return image
        return image.reshape(-1, self.block, image.shape[1]).transpose(1, 2)

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        image = self._part(sample, f.value) @ self._flat(f.value, sample.x.weight)
        return self._flat(g.value, sample.y.weight).T @ image


def _real(a: Any) -> Any:
    """A real floating-point matrix: a dense tensor, or scipy's CSR."""
    if isinstance(a, Tensor) and a.layout is not torch.strided:
        a = _csr(a.detach().cpu())
    a = a.tocsr() if hasattr(a, "tocsr") else tensor(a)
    kind = a.dtype.kind if not isinstance(a, Tensor) else "c" if a.is_complex() else ""
    if kind == "c":
        raise ValueError(
            f"expected a real matrix, got {a.dtype}. A + iB acts as the real matrix [[A, −B], "
            "[B, A]], which has every singular value twice"
        )
    if isinstance(a, Tensor):
        return a if a.is_floating_point() else a.double()
    return a if kind == "f" else a.astype(np.float64)


def _csr(a: Tensor) -> Any:
    """A sparse tensor as scipy's CSR; repeated entries add."""
    if a.layout is not torch.sparse_coo:
        a = (a if a.layout is torch.sparse_csr else a.to_dense()).to_sparse_coo()
    if a.ndim != 2 or a.dense_dim():
        return a.to_dense()
    a = a.coalesce()
    values = a.values()
    if values.dtype in (torch.float16, torch.bfloat16):  # scipy has neither
        values = values.float()
    return scipy.sparse.csr_matrix((values.numpy(), a.indices().numpy()), shape=a.shape)
