"""SpIN-X: the successor of SpIN by Wu et al. 2023, as B.2.1 of Ryu et al. 2024 has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.methods.batch import Batch
from schmidt.operators.methods.eigen import fixed_mean
from schmidt.operators.methods.estimates import Estimates
from schmidt.operators.methods.spin import Orthonormal, compressed, masked, whitening


@dataclass(frozen=True)
class _Moments:
    """⟨f_i|f_l⟩, ⟨f_i|T f_l⟩, ⟨T f_i|f_l⟩ and ⟨T f_i|T f_l⟩, with the gradient in f_l alone."""

    gram: Tensor
    pi: Tensor
    adjoint: Tensor
    square: Tensor

    @classmethod
    def of(cls, form: Form, own: Batch, other: Batch) -> _Moments:
        value, weight = own.g.value, own.sample.y.weight
        image = form.action(own.f, own.sample)
        again = image.detach()
        if not own.sample.shared:
            # images are themselves estimates: the square takes one from each half
            again = form.action(other.f.detach(), Sample(other.sample.x, own.sample.y))
        return cls(
            inner(value.detach(), value, weight),
            inner(value.detach(), image, weight),
            inner(again, value, weight),
            inner(again, image, weight),
        )

    def fixed(self) -> _Moments:
        return _Moments(*(m.detach() for m in (self.gram, self.pi, self.adjoint, self.square)))


class SpINX(Orthonormal):
    """(1/L){−w_0 Σ a_l Λ_ll + Σ w_l ‖(T − Λ_ll) φ_l‖²} with φ = f L⁻ᵀ, w_l = Σ_k K_k / K_l.

    K_l are the norms of the parameter gradients of the residuals, K_0 that of −Σ (a_l/ā) Λ_ll, ā
    the mean: all terms pull equally hard, but for ā. Gradients are masked as in SpIN: Λ_ll and the
    residual of φ_l act on f_l alone. (In print the residuals are those of the outputs f; these
    would have their minimum at f = 0.) Λ and L⁻¹ come from the other half of the points, so only
    the noise of L⁻¹ makes the gradient biased.

    T must act pointwise: a Schrödinger operator in strong form, a kernel or a matrix. Needs graphs
    through second derivatives, and L + 1 backward passes per step.

    Args:
        a: a_l, one number or one per mode; default 2L. Residuals pull a mode to *whichever*
            eigenfunction is near. With a = 1 they do so as hard as all Λ together pull upwards, and
            the modes come to rest at wrong ones.
    """

    graph_of_action = True

    def __init__(self, a: float | Sequence[float] | None = None) -> None:
        self.a = None if a is None else torch.as_tensor(a, dtype=torch.float64)
        if self.a is not None and not bool((self.a > 0).all()):
            raise ValueError(f"the weights a must be positive, got {a}")
        self.parameters: list[Tensor] = []

    @property
    def settings(self) -> dict[str, Any]:
        return {} if self.a is None else {"a": self.a.tolist()}

    def prepare(self, form: Form, probe: Batch, parameters: Mapping[str, Tensor]) -> None:
        super().prepare(form, probe, parameters)
        self.parameters = list(parameters.values())
        modes = probe.g.value.shape[1]
        given = torch.tensor(2.0 * modes).double() if self.a is None else self.a
        if given.ndim and given.shape != (modes,):
            raise ValueError(f"SpIN-X needs one weight a or {modes} of them, got {len(given)}")
        self.weights = given.expand(modes).to(probe.g.value.device)
        try:
            form.action(probe.f.detach(), probe.sample)
        except (NotImplementedError, ValueError) as error:
            raise ValueError(
                f"SpIN-X needs T f at points: {error}. Take form='strong' of a Schrodinger "
                "operator, or another method"
            ) from None

    def terms(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """(L + 1,) scalars with the gradients of −Σ (a_l/ā) Λ_ll and of the residuals."""
        a, b = Estimates.of(form, first), Estimates.of(form, second)
        p, q = _Moments.of(form, first, second), _Moments.of(form, second, first)
        halves = ((a, p, b.fixed(), q.fixed()), (b, q, a.fixed(), p.fixed()))
        return torch.stack([self._half(*half) for half in halves]).mean(0)

    def _half(self, own: Estimates, mine: _Moments, other: Estimates, theirs: _Moments) -> Tensor:
        w = whitening(other.gram)
        p, q = masked(w, other.pi)
        whitened, a = compressed(w, other.pi), self.weights / self.weights.mean()
        value = whitened.diagonal()
        trace = own.pull((p * a).to(own.pi), (q * a).to(own.pi))
        square = compressed(w, theirs.square)
        # ⟨(T − Λ_l)φ_l | (T − Λ_l)φ_i⟩: what the change of L⁻¹ with f_l takes off
        overlap = ((square + square.T) / 2 - 2 * whitened * value + value.square().diag()).triu()
        w, value, overlap = (t.to(own.pi) for t in (w, value, overlap))
        on_image = (w * (mine.square - value * mine.pi)).sum(0)
        on_value = (w * (mine.adjoint - value * mine.gram)).sum(0)
        change = on_image - value * on_value - (overlap * (w.T @ mine.gram)).sum(0)
        return torch.cat([trace[None], 2 * w.diagonal() * change])

    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        terms = self.terms(form, first, second)
        rows = [
            torch.autograd.grad(t, self.parameters, retain_graph=True, materialize_grads=True)
            for t in terms
        ]
        k = torch.stack([torch.stack([g.square().sum() for g in row]).sum() for row in rows]).sqrt()
        weights = k.sum() / k.clamp_min(torch.finfo(k.dtype).tiny) / (len(terms) - 1)
        weights[0] *= self.weights.mean()
        scalar = terms.new_zeros(())
        for row, weight in zip(rows, weights, strict=True):
            for gradient, parameter in zip(row, self.parameters, strict=True):
                scalar = scalar + (weight * gradient * parameter).sum()
        return scalar

    def values(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """The diagonal of Λ."""
        found = fixed_mean(form, first, second)
        return compressed(whitening(found.gram), found.pi).diagonal()

    @torch.no_grad()
    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """(1/L){−Σ a_l Λ_ll + Σ ‖(T − Λ_ll)φ_l‖²}: that with all w = 1, which the weights, new at
        every step, do not disturb."""
        found = fixed_mean(form, first, second)
        w = whitening(found.gram)
        value = compressed(w, found.pi).diagonal()
        halves = (_Moments.of(form, first, second), _Moments.of(form, second, first))
        square = compressed(w, (halves[0].square + halves[1].square) / 2).diagonal()
        return (square - value.square() - self.weights * value).mean()
