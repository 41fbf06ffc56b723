"""NeuralEF (Deng et al. 2022), original and unbiased; EigenGame (Gemp et al.); Sanger's rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from schmidt.operators.form import Form
from schmidt.operators.methods.eigen import (
    EigenMethod,
    Estimates,
    MovingAverage,
    crossed,
    fixed_mean,
)
from schmidt.operators.methods.nested import Batch
from schmidt.parameters import Choice, check

Matrices = tuple[Tensor, Tensor]


def _original(e: Estimates) -> Matrices:
    return _one(e) - (e.pi / e.pi.diagonal()[:, None]).triu(1), torch.zeros_like(e.pi)


def _overlap(e: Estimates) -> Matrices:
    return _one(e) - e.gram.triu(1), torch.zeros_like(e.pi)


def _deflation(e: Estimates) -> Matrices:
    return _one(e), e.pi.triu(1)


def _one(e: Estimates) -> Tensor:
    return torch.eye(len(e.pi), dtype=e.pi.dtype, device=e.pi.device)


PENALTIES: dict[str, Callable[[Estimates], Matrices]] = {
    "original": _original,
    "overlap": _overlap,
    "deflation": _deflation,
}
NORMALISATIONS = ("batch", "biased", "unbiased")


class NeuralEF(EigenMethod):
    """Gradient 2{−T f_l + Σ_{i<l} …} of normalised functions, with one of three penalties:

    - "original", eq. (16): (⟨f_i|T f_l⟩/⟨f_i|T f_i⟩) T f_i. The gradient of (15), whose penalty is
      ⟨f_l|T f_i⟩²/⟨f_i|T f_i⟩ (the square is missing in print, and (16) has a factor 2 too many).
      Biased: a quotient of estimates.
    - "overlap", first variant of B.2.2: ⟨f_i|f_l⟩ T f_i.
    - "deflation", second variant: ⟨f_i|T f_l⟩ f_i.

    All agree where the functions i < l are eigenfunctions, since then T f_i = λ_i f_i. The two
    variants are unbiased: each product takes one factor from each half of the points. T must be
    positive on the wanted functions: for λ_l < 0 the penalties attract.

    What is trained is f = u/‖u‖ for the networks' outputs u, with the gradient that belongs to u,
    which is orthogonal to f_l. The norms are

    - "batch": those on the points at hand, with their gradient – the L2 batch normalisation of the
      original. Biased: a quotient of estimates from the same points.
    - "biased": running means (decay β) of norms, those of the steps before. The gradient is
      unbiased given them, but the mean of √Σ̂_ll lies below ‖u_l‖.
    - "unbiased": roots of running means of squared norms.

    With running means the size of the component along f_l, which only moves the scale, is a product
    of estimates from one half.

    Args:
        penalty, normalisation: see above.
        decay: β of the running means.
    """

    def __init__(
        self, *, penalty: str = "overlap", normalisation: str = "batch", decay: float = 0.99
    ) -> None:
        table = {"penalty": Choice(*PENALTIES), "normalisation": Choice(*NORMALISATIONS)}
        check(table, penalty=penalty, normalisation=normalisation)
        self.penalty, self.normalisation = penalty, normalisation
        self.average = MovingAverage(decay)
        self.device = torch.device("cpu")

    @classmethod
    def original(cls) -> NeuralEF:
        """As published: eq. (16) with L2 batch normalisation."""
        return cls(penalty="original")

    @classmethod
    def deflation(cls) -> NeuralEF:
        """The second variant of B.2.2 with L2 batch normalisation."""
        return cls(penalty="deflation")

    @classmethod
    def eigengame(cls) -> NeuralEF:
        """EigenGame (Gemp et al. 2021): eq. (16) on the unit sphere."""
        return cls(penalty="original", normalisation="unbiased")

    @classmethod
    def mu_eigengame(cls) -> NeuralEF:
        """μ-EigenGame (Gemp et al. 2022): the second variant of B.2.2 on the unit sphere."""
        return cls(penalty="deflation", normalisation="unbiased")

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        return self.normalisation == "batch"

    @property
    def settings(self) -> dict[str, Any]:
        running = {} if self.normalisation == "batch" else {"decay": self.average.decay}
        return {"penalty": self.penalty, "normalisation": self.normalisation, **running}

    def prepare(self, form: Form, probe: Batch, parameters: Mapping[str, Tensor]) -> None:
        super().prepare(form, probe, parameters)
        self.average.reset()
        self.device = probe.g.value.device

    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        if self.normalisation == "batch":
            return crossed(self._on_the_batch, form, first, second)
        average = self.average
        if not average.steps:  # the first step has no norms but its own
            average = average.after(self._sizes(first, second))
        norms = average.value if self.normalisation == "biased" else average.value.sqrt()
        return crossed(lambda own, other: self._half(norms, own, other), form, first, second)

    @property
    def started(self) -> bool:
        return self.normalisation == "batch" or self.average.steps > 0

    def update(self, first: Batch, second: Batch) -> None:
        """Take the norms into their running means."""
        if self.normalisation != "batch":
            self.average.update(self._sizes(first, second))

    def _sizes(self, first: Batch, second: Batch) -> Tensor:
        """Norms, or their squares, whichever is averaged."""
        grams = (first.gram_f, first.gram_g, second.gram_f, second.gram_g)
        square = torch.stack(grams).mean(0).diagonal()
        return square.sqrt() if self.normalisation == "biased" else square

    def _on_the_batch(self, own: Estimates, other: Estimates) -> Tensor:
        norms, theirs = own.norms(), other.norms()
        p, q = PENALTIES[self.penalty](other.over(theirs, theirs))
        return own.over(norms, norms.detach()).pull(p, q)

    def _half(self, norms: Tensor, own: Estimates, other: Estimates) -> Tensor:
        unit = other.over(norms, norms)
        p, q = PENALTIES[self.penalty](unit)
        # the gradient of u is that of f less its component along f_l
        along = (p * unit.pi - q * unit.gram).sum(0)
        return own.over(norms, norms).pull(p, q + along.diag())

    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """Σ_l {−⟨f_l|T f_l⟩ + Σ_{i<l} ⟨f_l|T f_i⟩²/⟨f_i|T f_i⟩}, eq. (15), of normalised
        functions; for the unbiased variants a diagnostic only."""
        found = fixed_mean(form, first, second)
        norms = found.norms()
        pi = found.over(norms, norms).pi
        return (pi.pow(2) / pi.diagonal()[:, None]).triu(1).sum() - pi.trace()

    def state_dict(self) -> dict[str, Tensor]:
        return self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.average.load_state_dict(state, self.device)


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
