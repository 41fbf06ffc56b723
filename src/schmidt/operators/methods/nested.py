"""What a method is – a gradient in function space – and nested low-rank approximation.

NeuralSVD: Ryu et al. 2024, sec. 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from schmidt import nesting
from schmidt.identity import Described
from schmidt.nesting import Masks
from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.jet import Jet


@dataclass(frozen=True)
class Batch:
    """Jets of f at the sample's points of X and of g at those of Y.

    Attributes:
        evd: g and f are the same functions (eigenvalue decomposition), although for kernels they
            are seen at different points. Where they are seen at the same points, ``g`` carries the
            gradient and ``f`` the derivatives that the form needs.
    """

    sample: Sample
    f: Jet
    g: Jet
    evd: bool

    @cached_property
    def gram_f(self) -> Tensor:
        """Λ_f = ⟨f_i|f_j⟩, detached."""
        value = self.f.value.detach()
        return inner(value, value, self.sample.x.weight)

    @cached_property
    def gram_g(self) -> Tensor:
        """Λ_g = ⟨g_i|g_j⟩, detached."""
        if self.evd and self.sample.shared:
            return self.gram_f
        value = self.g.value.detach()
        return inner(value, value, self.sample.y.weight)


class DivergedError(RuntimeError):
    """Training met NaN or Inf, or functions that had become linearly dependent."""


class Method(Described, ABC):
    """A way to learn: ``surrogate`` for its gradient, ``objective`` for what is minimised.

    The rest are hooks that do nothing unless a method needs them.

    Attributes:
        normalised: the norms of the learned functions mean nothing, so values are read off as
            Rayleigh quotients and ``Spectrum.norm`` is NaN.
        shift_invariant: multiples of the identity in T leave the gradient as it is, so
            ``Training.extra_shift`` has nothing to do and is left out.
        graph_of_action: T f must carry gradients. Forms with second derivatives then keep the graph
            through them, which costs time and memory.
        capturable: the surrogate takes no decision on the host, so that a GPU can record it.
    """

    normalised: bool = False
    shift_invariant: bool = False
    graph_of_action: bool = False
    capturable: bool = False

    @abstractmethod
    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """A scalar whose gradient in the parameters is the method's. Its value means nothing.

        It changes nothing: what a method keeps from step to step it takes in by :meth:`update`. The
        two batches are independent, so that products of one estimate from each are unbiased.
        """

    @property
    def started(self) -> bool:
        """Whether there is a state for :meth:`surrogate` to rest on; True where none is needed."""
        return True

    def update(self, first: Batch, second: Batch) -> None:
        """Take a step's batches into the method's state.

        Called by the loop once per step while the graph of the batches stands: before
        :meth:`surrogate` as long as nothing has :attr:`started`, afterwards behind it, so that a
        gradient rests on the steps before.
        """
        return

    @abstractmethod
    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """An estimate of the objective, detached: log and plot this."""

    def values(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """Estimates (L,) of the values of T, detached, for the log; by norms (D.5) as it stands."""
        f = (first.gram_f + second.gram_f).diagonal() / 2
        g = (first.gram_g + second.gram_g).diagonal() / 2
        return (f * g).sqrt()

    @property
    def ordered(self) -> bool:
        """Whether functions come out one by one and in order, and not only their span."""
        return True

    @property
    def settings(self) -> dict[str, Any]:
        """What made this method, as plain values: part of the result's settings, and checked when a
        run is resumed."""
        return {}

    def prepare(self, form: Form, probe: Batch, parameters: Mapping[str, Tensor]) -> None:
        """Called once before training: make room for a fresh state, refuse what cannot work.

        Args:
            form: T.
            probe: the networks at their start, on a batch like those to come.
            parameters: the trainable ones by name.
        """
        return

    def on(self, like: Tensor) -> Method:
        """This method with whatever constants it keeps on the device of a tensor."""
        return self

    def readout(self, gram: Tensor) -> Tensor | None:
        """The (L, L) combinations of the networks' outputs that are the learned functions.

        Args:
            gram: ⟨f_i|f_l⟩ of the outputs, in float64.

        Returns:
            None if they are the outputs themselves.
        """
        return None

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold for the method to go on bit for bit."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave, after :meth:`prepare`."""
        return


@dataclass(frozen=True)
class NestedLowRank(Method):
    """Gradient of −2 Σ m_l⟨g_l|T f_l⟩ + Σ M_il⟨f_i|f_l⟩⟨g_i|g_l⟩ with nesting masks (eq. 8).

    In f_l the gradient is 2{−m_l T*g_l + Σ_i M_il f_i⟨g_i|g_l⟩}, and the same with f and g
    exchanged. For g = f both halves fall on f and add up to 4{…} = 2 × eq. (19). The gradient is
    unbiased: every product of two inner products takes one factor from each batch.
    """

    masks: Masks

    capturable = True

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

    def on(self, like: Tensor) -> NestedLowRank:
        return replace(self, masks=self.masks.to(like))

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
