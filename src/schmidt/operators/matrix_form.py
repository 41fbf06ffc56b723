"""A plain matrix as a form on its index set: the bridge to numpy.linalg.svd."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Indices


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
        if block < 1 or rows % block or columns % block:
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
