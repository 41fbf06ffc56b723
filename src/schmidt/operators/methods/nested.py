"""Nested low-rank approximation: NeuralSVD (Ryu et al. 2024, sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt import nesting
from schmidt.nesting import Masks
from schmidt.operators.form import Form, inner
from schmidt.operators.methods.batch import Batch
from schmidt.operators.methods.method import Method


@dataclass(frozen=True)
class NestedLowRank(Method):
    """Gradient of −2 Σ m_l⟨g_l|T f_l⟩ + Σ M_il⟨f_i|f_l⟩⟨g_i|g_l⟩ with nesting masks (eq. 8).

    In f_l the gradient is 2{−m_l T*g_l + Σ_i M_il f_i⟨g_i|g_l⟩}, and the same with f and g
    exchanged. For g = f both halves fall on f and add up to 4{…} = 2 × eq. (19). The gradient is
    unbiased: every product of two inner products takes one factor from each batch.
    """

    masks: Masks

    @classmethod
    def sequential(cls, modes: int, step: int = 1) -> NestedLowRank:
        """Mode by mode (eq. 5); best with disjoint networks."""
        return cls(nesting.sequential(modes, step))

    @classmethod
    def joint(
        cls, modes: int, weights: Sequence[float] | None = None, step: int = 1
    ) -> NestedLowRank:
        """One objective for all orders (eq. 6); best with a shared network."""
        return cls(nesting.joint(modes, weights, step))

    @classmethod
    def none(cls, modes: int) -> NestedLowRank:
        """The plain objective (3), which fixes the span only. ``Fit.factorization`` takes the
        singular functions out of it by Rayleigh–Ritz (A.2); those as learned mean nothing."""
        return cls(nesting.none(modes))

    @property
    def ordered(self) -> bool:
        """Masks without nesting are all equal."""
        matrix = self.masks.matrix
        return self.masks.modes == 1 or bool((matrix != matrix[0, 0]).any())

    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        masks = self.masks.to(first.f.value)
        operator = [_operator_term(form, batch, masks.vector) for batch in (first, second)]
        metric = [
            _metric_term(first, second, masks.matrix),
            _metric_term(second, first, masks.matrix),
        ]
        return torch.stack(operator + metric).mean() * 2

    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """Eq. (3) under the masks (Prop. C.4); for sequential masks a diagnostic only."""
        with torch.no_grad():
            masks = self.masks.to(first.f.value)
            pi = [form.matrix(b.g, b.f, b.sample).diagonal() for b in (first, second)]
            gram = first.gram_f * second.gram_g + second.gram_f * first.gram_g
            overlap = (masks.matrix * gram).sum() / 2
            return overlap - (masks.vector * (pi[0] + pi[1])).sum()


def _operator_term(form: Form, batch: Batch, m: Tensor) -> Tensor:
    """−2 Σ m_l ⟨g_l|T f_l⟩, each side's gradient taken with the other held fixed."""
    f, g, sample = batch.f, batch.g, batch.sample
    if batch.evd and sample.shared:
        # T self-adjoint: both halves are equal, and none needs derivatives of T f in parameters
        return -4 * (m * form.matrix(g, f.detach(), sample).diagonal()).sum()
    both = form.matrix(g, f.detach(), sample) + form.matrix(g.detach(), f, sample)
    return -2 * (m * both.diagonal()).sum()


def _metric_term(batch: Batch, other: Batch, mask: Tensor) -> Tensor:
    """2 Σ M_il (⟨f̄_i|f_l⟩ Λ̄_g,il + Λ̄_f,il ⟨ḡ_i|g_l⟩), Λ from the other batch."""
    f, g, sample = batch.f.value, batch.g.value, batch.sample
    on_g = (mask * inner(g.detach(), g, sample.y.weight) * other.gram_f).sum()
    if batch.evd and sample.shared:
        return 4 * on_g
    on_f = (mask * inner(f.detach(), f, sample.x.weight) * other.gram_g).sum()
    return 2 * (on_f + on_g)
