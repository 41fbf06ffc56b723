"""scipy's LinearOperator as a source: what it promises is checked on random vectors first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from schmidt.matrices.sources.entries import array, checked, floating
from schmidt.matrices.sources.source import OPERATOR, Source


class Operator(Source):
    """A scipy LinearOperator; its Frobenius norm is unknown."""

    structure = OPERATOR
    norm2 = None

    def __init__(self, A: LinearOperator) -> None:
        self.operator = A
        self.shape = (int(A.shape[0]), int(A.shape[1]))
        kind = np.dtype(A.dtype) if A.dtype is not None else np.dtype(float)
        self.dtype = checked(torch.from_numpy(floating(np.empty((1, 1), kind))), self.shape).dtype
        self.device = torch.device("cpu")
        self._kind = torch.empty(0, dtype=self.dtype).numpy().dtype
        self._by_vectors = _takes_vectors(A)
        self._check_adjoint()
        self._check_columns()

    def _check_adjoint(self) -> None:
        """⟨y, A x⟩ = ⟨Aᴴy, x⟩ on one random pair: two products against silent nonsense."""
        generator = torch.Generator().manual_seed(0)
        kind = torch.complex128 if self.dtype.is_complex else torch.float64
        x, y = (torch.randn(size, 1, dtype=kind, generator=generator) for size in self.shape[::-1])
        image, back = self.apply(x.to(self.dtype)), self.adjoint(y.to(self.dtype))
        image, back = image.to(kind), back.to(kind)
        largest = float(max(image.abs().max(), back.abs().max())) or 1.0
        image, back = image / largest, back / largest  # squares stay in the range of float64
        forth, other = complex((y.mH @ image).item()), complex((back.mH @ x).item())
        size = float(torch.linalg.vector_norm(image) * torch.linalg.vector_norm(y))
        if abs(forth - other) > 1e3 * torch.finfo(self.dtype).eps * max(size, abs(other)):
            raise ValueError(
                "rmatvec of the LinearOperator is not the adjoint of its matvec: "
                f"⟨y, A x⟩ = {forth * largest:.6g}, ⟨Aᴴy, x⟩ = {other * largest:.6g} "
                "for one random pair"
            )

    def _check_columns(self) -> None:
        """Two columns at once are as one after the other, or columns come one by one from now on.

        scipy hands columns (n, 1) to a matvec that may be written for vectors (n,).
        """
        generator = torch.Generator().manual_seed(1)
        for product, size in ((self.apply, self.shape[1]), (self.adjoint, self.shape[0])):
            if self._by_vectors:
                return
            X = torch.randn(size, 2, dtype=torch.float64, generator=generator).to(self.dtype)
            both, each = product(X), torch.cat([product(X[:, :1]), product(X[:, 1:])], 1)
            largest = float(each.abs().max())
            slack = 1e3 * torch.finfo(self.dtype).eps * math.sqrt(size) * largest
            self._by_vectors = not bool(((both - each).abs() <= slack).all())

    def apply(self, X: Tensor) -> Tensor:
        if X.shape[1] == 1:  # the way with the least overhead
            return self._product(self.operator.matvec, X[:, 0], "matvec or matmat")[:, None]
        return self._columns(self.operator.matmat, self.operator.matvec, X, "matvec or matmat")

    def adjoint(self, Y: Tensor) -> Tensor:
        if Y.shape[1] == 1:
            return self._product(self.operator.rmatvec, Y[:, 0], "rmatvec or rmatmat")[:, None]
        return self._columns(self.operator.rmatmat, self.operator.rmatvec, Y, "rmatvec or rmatmat")

    def _columns(self, whole: Any, single: Any, X: Tensor, needed: str) -> Tensor:
        """All columns at once, or one after the other where matvec takes vectors (n,) only."""
        if not self._by_vectors:
            try:
                return self._product(whole, X, needed)
            except ValueError as error:
                if error.__cause__ is not None or "NaN or Inf" in str(error):
                    raise
                self._by_vectors = True  # scipy hands matvec columns (n, 1)
        parts = [self._product(single, x, needed) for x in X.T.contiguous()]
        return torch.stack(parts, 1)

    def _product(self, product: Any, X: Tensor, needed: str) -> Tensor:
        try:
            out = np.asarray(product(array(X)))
        except (NotImplementedError, TypeError) as error:  # scipy calls a missing rmatvec, None
            raise ValueError(f"the LinearOperator must define {needed}: {error}") from error
        if not np.isfinite(out).all():
            raise ValueError(f"the LinearOperator's {needed} returned NaN or Inf")
        return torch.from_numpy(np.ascontiguousarray(out.astype(self._kind, copy=False)))


def _takes_vectors(A: LinearOperator) -> bool:
    """Whether matmat is scipy's own loop over matvec."""
    if type(A).__name__ == "_CustomLinearOperator":
        return getattr(A, "_CustomLinearOperator__matmat_impl", None) is None
    return type(A)._matmat is LinearOperator._matmat
