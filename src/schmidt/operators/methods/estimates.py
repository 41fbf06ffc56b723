"""The two matrices that methods for self-adjoint operators are made of, from one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.operators.form import Form, inner
from schmidt.operators.methods.batch import Batch


@dataclass(frozen=True)
class Estimates:
    """Σ_li = ⟨f_l|f_i⟩ and Π_li = ⟨f_l|T f_i⟩, unbiased, with the gradient in f_l alone.

    f_i is held fixed, so every gradient in function space of the shape 2{−Σ_i P_il T f_i + Σ_i Q_il
    f_i} in f_l, which is what all of these methods are, is that of one scalar: :meth:`pull`.
    """

    gram: Tensor
    pi: Tensor

    @classmethod
    def of(cls, form: Form, batch: Batch) -> Estimates:
        """From a batch of g = f. For kernels, which see them at different points y and x, the mean
        of both halves: the gradient at y with x held fixed, and the other way round."""
        f, g, sample = batch.f, batch.g, batch.sample
        value = g.value
        gram = inner(value, value.detach(), sample.y.weight)
        pi = form.matrix(g, f.detach(), sample)
        if not sample.shared:
            gram = (gram + inner(f.value, f.value.detach(), sample.x.weight)) / 2
            pi = (pi + form.matrix(g.detach(), f, sample).T) / 2
        return cls(gram, pi)

    @classmethod
    def mean(cls, first: Estimates, second: Estimates) -> Estimates:
        """Of both halves of a step, for what is linear in them."""
        return cls((first.gram + second.gram) / 2, (first.pi + second.pi) / 2)

    def fixed(self) -> Estimates:
        """The plain numbers: detached, and Π symmetric."""
        pi = self.pi.detach()
        return Estimates(self.gram.detach(), (pi + pi.T) / 2)

    def over(self, rows: Tensor, columns: Tensor) -> Estimates:
        """Of the functions f_l / rows_l and f_i / columns_i."""
        scale = rows[:, None] * columns
        return Estimates(self.gram / scale, self.pi / scale)

    def norms(self) -> Tensor:
        """‖f_l‖ with its gradient: that of Σ_ll counts one f_l of two."""
        square = self.gram.diagonal()
        size = square.detach().sqrt()
        return size + (square - square.detach()) / size

    def pull(self, p: Tensor, q: Tensor) -> Tensor:
        """A scalar with the gradient 2{−Σ_i P_il T f_i + Σ_i Q_il f_i} in f_l."""
        return 2 * ((q.T * self.gram).sum() - (p.T * self.pi).sum())


def cholesky(gram: Tensor) -> Tensor:
    """L⁻ᵀ for Σ = LLᵀ: upper triangular, and f L⁻ᵀ is orthonormal. NaN if Σ has no factor."""
    factor, failed = torch.linalg.cholesky_ex(gram.double())
    if int(failed):
        return torch.full_like(factor, float("nan"))
    one = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, one, upper=False).T
