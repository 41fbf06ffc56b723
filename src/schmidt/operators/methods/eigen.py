"""Methods for the eigenfunctions of self-adjoint operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from schmidt.operators.form import Form
from schmidt.operators.methods.batch import Batch
from schmidt.operators.methods.estimates import Estimates
from schmidt.operators.methods.method import Method


class EigenMethod(Method):
    """Methods whose gradient in f_l is 2{−Σ_i P_il T f_i + Σ_i Q_il f_i} with held-fixed matrices P
    and Q made of Σ = ⟨f_i|f_l⟩ and Π = ⟨f_i|T f_l⟩.

    In GHA, NeuralEF and SpIN alike, P and Q are upper triangular (i ≤ l): function l learns from
    those before it, and they do not learn from it. Norms carry no information.
    """

    normalised = True

    def prepare(self, form: Form, probe: Batch, parameters: Mapping[str, Tensor]) -> None:
        if not probe.evd:
            raise ValueError(
                f"{type(self).__name__} finds eigenfunctions of self-adjoint operators and has no "
                "second set of functions: leave the left network out, or use the method "
                "'sequential', 'joint' or 'none' for a singular value decomposition"
            )

    def values(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """Rayleigh quotients ⟨f_l|T f_l⟩/⟨f_l|f_l⟩."""
        found = fixed_mean(form, first, second)
        return found.pi.diagonal() / found.gram.diagonal()

    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """Minus the sum of the Rayleigh quotients; a diagnostic where the gradient has no
        potential."""
        return -self.values(form, first, second).sum()


def crossed(
    half: Callable[[Estimates, Estimates], Tensor], form: Form, first: Batch, second: Batch
) -> Tensor:
    """The mean of both halves of a step: the gradient acts on one, P and Q come from the other,
    independent one."""
    a, b = Estimates.of(form, first), Estimates.of(form, second)
    return (half(a, b.fixed()) + half(b, a.fixed())) / 2


@torch.no_grad()
def fixed_mean(form: Form, first: Batch, second: Batch) -> Estimates:
    """Σ and Π over both halves, as plain numbers."""
    return Estimates.mean(Estimates.of(form, first), Estimates.of(form, second)).fixed()
