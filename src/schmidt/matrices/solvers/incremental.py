"""The leading right singular vectors of rows that arrive in batches (Brand 2002, Ross et al. 2008).

Keeps (s, V) of the rows so far. With a batch B, the SVD of [diag(s) Vᴴ; B] is that of all rows up
to a rotation from the left; dropping its tail drops left directions that no later batch comes back
to. So U Uᴴ A is what is kept, Aᴴu = s v holds, and ‖A‖_F² − Σs² is the squared error, exactly.

Every update adds the rounding of a decomposition, so the state is in double precision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from schmidt.matrices.solvers.choice import solve
from schmidt.matrices.solvers.lapack import lapack
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Dense, Source


class Incremental:
    """Singular values and right vectors of all rows so far, in float64, at most ``size`` of them.

    Args:
        size: l, the number that is kept.
        accuracy: of batches that are not dense.
        seed: of those.
    """

    def __init__(self, size: int, *, accuracy: float = 1e-10, seed: int = 0) -> None:
        self.size, self.accuracy, self.seed = size, accuracy, seed
        self.updates = 0
        self.values: Tensor | None = None
        self.right: Tensor | None = None

    def update(self, batch: Source, extra: Tensor | None = None) -> Tensor:
        """Take in a batch (r, n), and rows ``extra`` (e, n) that stand between it and the old ones.

        Returns:
            The rotation (l_old + e + r, l_new): the left vectors of the stack, in float64.
        """
        batch, rows = batch.wide(), []
        if self.values is not None:
            assert self.right is not None
            rows.append(self.values[:, None] * self.right.mH)
        if extra is not None:
            rows.append(extra.to(batch.dtype))
        if isinstance(batch, Dense):
            stack: Source = Dense(torch.cat([*rows, batch.matrix]).resolve_conj())
        elif rows:
            stack = Stacked(torch.cat(rows).resolve_conj(), batch)
        else:
            stack = batch
        wanted = min(self.size, stack.small)
        found = self._leading(stack, wanted).truncate(wanted)
        self.values, self.right = found.values, found.right.resolve_conj()
        self.updates += 1
        return found.left

    def _leading(self, stack: Source, wanted: int) -> Triplets:
        if isinstance(stack, Dense):
            m, n = stack.shape
            if n > 2 * m:
                return lapack(Dense(stack.matrix.mH.resolve_conj()), wanted).adjoint
            return lapack(stack, wanted)
        return solve(stack, wanted, accuracy=self.accuracy, seed=self.seed)


class Stacked(Source):
    """[top; bottom] with few dense rows on top."""

    structure = "sparse"

    def __init__(self, top: Tensor, bottom: Source) -> None:
        self.top, self.bottom = top, bottom
        self.shape = (len(top) + bottom.shape[0], bottom.shape[1])
        self.dtype, self.device = bottom.dtype, bottom.device
        self.norm2 = None

    def apply(self, X: Tensor) -> Tensor:
        return torch.cat([self.top @ X, self.bottom.apply(X)])

    def adjoint(self, Y: Tensor) -> Tensor:
        head, tail = Y[: len(self.top)], Y[len(self.top) :]
        return self.top.mH @ head + self.bottom.adjoint(tail.contiguous())

    def give(self, result: Tensor) -> Any:
        return self.bottom.give(result)
