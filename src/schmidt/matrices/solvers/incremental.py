"""An SVD that takes in rows batch by batch (Brand 2002, Ross et al. 2008).

It keeps (s, V) of the rows so far; with a batch B, the SVD of [diag(s) Vᴴ; B] is that of all rows
up to a rotation from the left, and dropping its tail drops left directions that no later batch
comes back to. So U Uᴴ A is what is kept, Aᴴu = s v holds, and ‖A‖_F² − Σs² is the squared error,
exactly.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from schmidt.matrices.solvers.choice import solve
from schmidt.matrices.solvers.triplets import Triplets, lapack
from schmidt.matrices.sources.source import SPARSE, Dense, Source, tall


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
        self.lost = 0.0  # a bound of ‖E‖₂² of all that was dropped
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
            if stack.unit != 1:
                stack = stack.scaled(1 / stack.unit)
        elif rows:
            stack = Stacked(torch.cat(rows).resolve_conj(), batch)
        else:
            stack = batch
        wanted = min(self.size, stack.small)
        found = self._leading(stack, wanted)
        if wanted < stack.small:
            spectrum = found.spectrum
            self.lost += math.inf if spectrum is None else float(spectrum[wanted]) ** 2
        found = found.truncate(wanted)
        self.values, self.right = found.values, found.right.resolve_conj()
        self.updates += 1
        return found.left

    def _leading(self, stack: Source, wanted: int) -> Triplets:
        if isinstance(stack, Dense):
            return lapack(stack, wanted)
        upright = tall(stack)
        found = solve(upright, wanted, accuracy=self.accuracy, seed=self.seed)
        return found if upright is stack else found.adjoint


class Stacked(Source):
    """[top; bottom] with few dense rows on top."""

    structure = SPARSE

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
