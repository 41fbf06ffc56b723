"""Methods for the eigenfunctions of self-adjoint operators, and the estimates they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.operators.form import Form, inner
from schmidt.operators.methods.nested import Batch, Method
from schmidt.parameters import Number, check


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
        gram = gram_of(batch)
        pi = form.matrix(g, f.detach(), sample)
        if not sample.shared:
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


def gram_of(batch: Batch) -> Tensor:
    """Σ_li = ⟨f_l|f_i⟩ of a batch of g = f, with the gradient in f_l alone."""
    f, sample, value = batch.f, batch.sample, batch.g.value
    gram = inner(value, value.detach(), sample.y.weight)
    if not sample.shared:
        gram = (gram + inner(f.value, f.value.detach(), sample.x.weight)) / 2
    return gram


def cholesky(gram: Tensor) -> Tensor:
    """L⁻ᵀ for Σ = LLᵀ: upper triangular, and f L⁻ᵀ is orthonormal. NaN if Σ has no factor."""
    factor, failed = torch.linalg.cholesky_ex(gram.double())
    if int(failed):
        return torch.full_like(factor, float("nan"))
    one = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, one, upper=False).T


class MovingAverage:
    """x̄ ← β x̄ + (1 − β) x, eq. (13), divided by 1 − βᵗ so that its start from zero leaves no trace.

    Attributes:
        decay: β.
        steps: t, the number of updates.
    """

    def __init__(self, decay: float) -> None:
        check({"decay": Number(0, 1, open="high")}, decay=decay)
        self.decay = decay
        self.reset()

    def reset(self) -> None:
        self.steps = 0
        self.total: Tensor | None = None

    def update(self, value: Tensor) -> None:
        """Take in one more estimate."""
        after = self.after(value)
        self.total, self.steps = after.total, after.steps

    def after(self, value: Tensor) -> MovingAverage:
        """This average with one more estimate, itself left as it is."""
        value = value.detach()
        total = torch.zeros_like(value) if self.total is None else self.total
        out = MovingAverage(self.decay)
        out.total, out.steps = total.lerp(value, 1 - self.decay), self.steps + 1
        return out

    @property
    def correction(self) -> float:
        """1 − βᵗ."""
        return 1 - self.decay**self.steps

    @property
    def value(self) -> Tensor:
        assert self.total is not None, "an average of nothing"
        return self.total / self.correction

    def state_dict(self) -> dict[str, Tensor]:
        if self.total is None:
            return {}
        return {"steps": torch.tensor(self.steps), "total": self.total}

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        self.reset()
        if state:
            self.steps, self.total = int(state["steps"]), state["total"].to(device)


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
