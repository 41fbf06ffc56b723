"""The generalised Hebbian algorithm (Sanger 1989) for operators."""

from __future__ import annotations

import torch
from torch import Tensor

from schmidt.operators.form import Form
from schmidt.operators.methods.batch import Batch
from schmidt.operators.methods.eigen import EigenMethod, crossed
from schmidt.operators.methods.estimates import Estimates


class GHA(EigenMethod):
    """Gradient 2{−T f_l + Σ_{i≤l} f_i⟨f_i|T f_l⟩}: Sanger's rule.

    It is the second unbiased variant of NeuralEF (``penalty="deflation"``) with the mask i < l
    replaced by i ≤ l: the term i = l is what keeps ‖f_l‖ at 1, in place of a normalisation. SpIN is
    this rule for the functions that Cholesky's factor makes orthonormal. Unbiased, without any
    state: every product takes one factor from each half of the points.

    Functions grow to norm one wherever T is positive, and vanish elsewhere. A start far above norm
    one takes many steps to come down.
    """

    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        def half(own: Estimates, other: Estimates) -> Tensor:
            return own.pull(torch.eye(len(other.pi)).to(other.pi), other.pi.triu())

        return crossed(half, form, first, second)
