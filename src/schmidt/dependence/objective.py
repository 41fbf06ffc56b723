"""The objective with the constant mode kept as a known mode 0, in three estimates (D.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schmidt import nesting
from schmidt.nesting import Masks
from schmidt.operators.form import Form, inner
from schmidt.operators.jet import Jet
from schmidt.operators.methods import Batch, Method

ESTIMATORS = ("distinct", "halves", "biased")


@dataclass(frozen=True)
class PairedLowRank(Method):
    """Nested low-rank approximation of p(x,y)/(p(x)p(y)) by 1 + fᵀg (eq. 20).

    The functions f₀ = g₀ = 1 join the learned ones and have no gradient. In expectation this is the
    gradient of the centred kernel under the masks of L modes: mode 0 takes −m_l⟨g_l|1⟩⟨1|f_l⟩ out.

    Args:
        masks: of L + 1 modes, as ``nesting.joint(L, constant=True)`` makes them.
        estimator: which pairs meet in products of two means over a batch of B pairs.
            "distinct": all b ≠ b′, unbiased; the least noise. "halves": the first half against the
            second, unbiased. "biased": all with all, as in the paper's code; x and y of one pair
            depend on each other, so the gradient is off by O(1/B).

    For forms :class:`~schmidt.operators.Dependence`. A
    :class:`~schmidt.operators.joint_table.JointTable` is exact, and "halves" is all it needs.
    """

    masks: Masks
    estimator: str = "distinct"

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ValueError(f"unknown estimator {self.estimator!r}; known: {ESTIMATORS}")

    @classmethod
    def of(cls, name: str, modes: int, estimator: str = "distinct") -> PairedLowRank:
        """With the masks "sequential", "joint" or "none" of L modes and the constant one."""
        known: dict[str, Callable[..., Masks]] = {
            "sequential": nesting.sequential,
            "joint": nesting.joint,
            "none": nesting.none,
        }
        if name not in known:
            raise ValueError(f"unknown nesting {name!r}; known: {', '.join(known)}")
        return cls(known[name](modes, constant=True), estimator)

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run must share."""
        return {"estimator": self.estimator}

    @property
    def ordered(self) -> bool:
        """Masks without nesting are all equal."""
        matrix = self.masks.matrix
        return self.masks.modes == 2 or bool((matrix != matrix[0, 0]).any())

    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        operator, metric = self._terms(form, first, second)
        return operator + metric

    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """‖p(x,y)/(p(x)p(y)) − 1 − fᵀg‖² up to a constant, under the masks; detached."""
        with torch.no_grad():
            operator, metric = self._terms(form, first, second)
            # the surrogate holds one factor of each product fixed: its value counts them twice
            return operator / 2 + metric / 4 + self.masks.vector[0].to(operator)

    def _terms(self, form: Form, first: Batch, second: Batch) -> tuple[Tensor, Tensor]:
        kernel = _with_constant(form)
        pieces = [_Augmented.of(b) for b in (first, second)]
        masks = self.masks.to(pieces[0].f)
        if pieces[0].f.shape[1] != masks.modes:
            raise ValueError(
                f"{pieces[0].f.shape[1] - 1} functions need masks of {pieces[0].f.shape[1]} modes, "
                f"the constant one among them; got {masks.modes}"
            )
        if self.estimator == "halves":
            operator = torch.stack([_operator(kernel, p, masks.vector) for p in pieces]).mean()
            a, b = pieces
            return operator, (_metric(a, b, masks.matrix) + _metric(b, a, masks.matrix)) / 2
        whole = _Augmented.joined(*pieces)
        operator = _operator(kernel, whole, masks.vector)
        metric = _metric(whole, whole, masks.matrix)
        if self.estimator == "biased":
            return operator, metric
        excess = 1 - whole.weight.square().sum()
        return operator, (metric - _same_pair(whole, masks.matrix)) / excess


@dataclass(frozen=True)
class _Augmented:
    """(B, L + 1) values with the constant first, and the batch they come from."""

    f: Tensor
    g: Tensor
    batch: Batch | None
    weights: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, batch: Batch) -> _Augmented:
        weights = (batch.sample.x.weight, batch.sample.y.weight)
        return cls(_one_first(batch.f.value), _one_first(batch.g.value), batch, weights)

    @classmethod
    def joined(cls, a: _Augmented, b: _Augmented) -> _Augmented:
        """Both batches as one of twice the size."""
        if len(a.f) != len(a.g) or len(b.f) != len(b.g):
            raise ValueError("only pairs can be joined; for a joint table use estimator='halves'")
        weight = torch.cat([a.weight, b.weight]) / 2
        return cls(torch.cat([a.f, b.f]), torch.cat([a.g, b.g]), None, (weight, weight))

    @property
    def weight(self) -> Tensor:
        return self.weights[0]

    def grams(self) -> tuple[Tensor, Tensor]:
        f, g = self.f.detach(), self.g.detach()
        return inner(f, f, self.weights[0]), inner(g, g, self.weights[1])


def _one_first(values: Tensor) -> Tensor:
    if values.ndim != 2:
        raise ValueError(f"dependence is for scalar functions (B, L), got {tuple(values.shape)}")
    return torch.cat([torch.ones_like(values[:, :1]), values], 1)


def _with_constant(form: Form) -> Form:
    kept: Any = getattr(form, "with_constant", None)
    if kept is None:
        raise ValueError(
            f"a constant mode belongs to dependence kernels, not to {type(form).__name__}"
        )
    return kept


def _operator(kernel: Form, p: _Augmented, m: Tensor) -> Tensor:
    """−2 Σ m_l ⟨g_l|K̄ f_l⟩, each side's gradient taken with the other held fixed."""
    if p.batch is None:
        both = p.f.detach() * p.g + p.f * p.g.detach()
        return -2 * (m * (p.weight @ both)).sum()
    f, g = (Jet(v[None], jet.dim, 0) for v, jet in ((p.f, p.batch.f), (p.g, p.batch.g)))
    both = kernel.matrix(g, f.detach(), p.batch.sample) + kernel.matrix(
        g.detach(), f, p.batch.sample
    )
    return -2 * (m * both.diagonal()).sum()


def _metric(p: _Augmented, other: _Augmented, mask: Tensor) -> Tensor:
    """2 Σ M_il (⟨f̄_i|f_l⟩ Λ̄_g,il + Λ̄_f,il ⟨ḡ_i|g_l⟩), Λ̄ from the other batch."""
    gram_f, gram_g = other.grams()
    on_f = inner(p.f.detach(), p.f, p.weights[0]) * gram_g
    on_g = inner(p.g.detach(), p.g, p.weights[1]) * gram_f
    return 2 * (mask * (on_f + on_g)).sum()


def _same_pair(p: _Augmented, mask: Tensor) -> Tensor:
    """The part of the metric term in which a pair meets itself."""
    f, g = p.f.detach(), p.g.detach()
    fixed = (f * g) @ mask
    return 2 * (p.weight.square() @ (fixed * (p.f * g + f * p.g))).sum()
