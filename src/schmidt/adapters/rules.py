"""How a step follows from the gradients of a pair: one rule per mode of the optimizer.

A rule sees stacks of pairs of equal shape. It is given X = (X_A, X_B), the coefficients of the
gradient Ĝ = B·X_A + X_B·A in gauge zero, and answers with D = (D_A, D_B): the weight is to move
along −(B·D_A + D_B·A).

Adafactor (Shazeer & Stern 2018, arXiv:1804.04235) keeps of the squares of an m × n gradient only
the means of rows and columns, V ≈ rows colsᵀ / mean. Where the gradient is Ĝ = L R with thin L and
R, these come exactly in O((m + n) r²), and diag(rows)^-½ M diag(cols)^-½ of a momentum M = L R is
again a product of thin matrices: nothing of size m × n is ever formed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.adapters.tangent import Directions, Frames, Gauge, coefficients, regauge, stacked


def square_means(f: Frames, X: Directions) -> tuple[Tensor, Tensor]:
    """The means over rows (…, m) and over columns (…, n) of the squares of B·X_A + X_B·A."""
    L, R = stacked(f, X)
    rows = ((L @ (R @ R.mT)) * L).sum(-1) / R.shape[-1]
    columns = (R * ((L.mT @ L) @ R)).sum(-2) / L.shape[-2]
    # sums of squares, which rounding may put below zero
    return rows.clamp_min(0), columns.clamp_min(0)


def quotient(
    f: Frames, M: Directions, rows: Tensor, columns: Tensor, eps: float, gauge: Gauge
) -> Directions:
    """The tangent part of U = M / √V for V = (rows + ε²)(columns + ε²)ᵀ / mean(rows + ε²).

    Args:
        f: the factors.
        M: coefficients of the momentum, bias-corrected.
        rows: means of squares over rows (…, m), bias-corrected.
        columns: likewise over columns (…, n).
        eps: ε of Adam, in the units of the gradient.
        gauge: of the answer.
    """
    rows, columns = rows + eps**2, columns + eps**2
    L, R = stacked(f, M)
    L = L * (rows.mean(-1, keepdim=True) / rows).sqrt().unsqueeze(-1)
    R = R * columns.rsqrt().unsqueeze(-2)
    return coefficients(f, (f.B.mT @ L) @ R, L @ (R @ f.A.mT), gauge)


State = dict[str, Tensor]


@dataclass(frozen=True)
class AdamConstants:
    """What all rules share: Adam's constants, the gauge, and how far along we are."""

    betas: tuple[float, float]
    eps: float
    gauge: Gauge
    step: int
    """1 at the first step."""

    @property
    def corrections(self) -> tuple[float, float]:
        """1 − β^t of both moments."""
        return 1 - self.betas[0] ** self.step, 1 - self.betas[1] ** self.step


class Rule(ABC):
    """A mode of the optimizer."""

    stacks = True
    """Whether pairs of equal shape are stacked; not where that would copy large moments."""
    carries = False
    """Whether the state belongs to a tangent space, and must be carried to the next."""

    @abstractmethod
    def start(self, A: Tensor, B: Tensor, dtype: torch.dtype | None) -> State:
        """The state of a pair (blocks, r, n), (blocks, m, r) before the first step.

        Args:
            A: the factor, in the dtype to compute in.
            B: likewise.
            dtype: of the first moments, where the rule lets one choose.
        """

    @abstractmethod
    def direction(
        self, f: Frames, X: Directions, scaling: Tensor, state: State, now: AdamConstants
    ) -> Directions:
        """D, and the moments updated in place."""

    def carry(self, old: Frames, new: Frames, state: State) -> None:  # noqa: B027
        """Bring the state, in place, to the tangent space where the step has led."""


class SGD(Rule):
    """D = Ĝ: gradient descent of the weight, as far as the tangent space allows."""

    def start(self, A: Tensor, B: Tensor, dtype: torch.dtype | None) -> State:
        return {}

    def direction(
        self, f: Frames, X: Directions, scaling: Tensor, state: State, now: AdamConstants
    ) -> Directions:
        return regauge(f, X, now.gauge)


class AdamFull(Rule):
    """Adam on Ĝ, entry by entry, and its step projected again (Wang et al. 2024).

    Keeps two moments of the size of the weight: exact, and as large as full fine-tuning's. The
    first may be kept in half precision. The second may not: β₂ = 0.999 changes it by less per step
    than half precision can tell apart.
    """

    stacks = False

    def start(self, A: Tensor, B: Tensor, dtype: torch.dtype | None) -> State:
        shape = (*B.shape[:-1], A.shape[-1])
        return {
            "first": B.new_zeros(shape, dtype=dtype or B.dtype),
            "second": B.new_zeros(shape),
        }

    def direction(
        self, f: Frames, X: Directions, scaling: Tensor, state: State, now: AdamConstants
    ) -> Directions:
        first, second, (beta1, beta2) = state["first"], state["second"], now.betas
        G = f.B @ X.A + X.B @ f.A
        first.lerp_(G.to(first.dtype), 1 - beta1)
        second.mul_(beta2).addcmul_(G, G, value=1 - beta2)
        c1, c2 = now.corrections
        U = torch.sqrt(second / c2, out=G).add_(now.eps).reciprocal_().mul_(first).div_(c1)
        return coefficients(f, f.B.mT @ U, U @ f.A.mT, now.gauge)


class AdamFactored(Rule):
    """Adam on Ĝ in thin matrices only.

    The first moment M is a tangent pair, M = B·M_A + M_B·A, projected on the new tangent space
    after every step; of the second, means over rows and columns are kept.
    State: r(m + n) + m + n numbers per pair, about half of what Adam keeps for the factors.
    """

    carries = True

    def start(self, A: Tensor, B: Tensor, dtype: torch.dtype | None) -> State:
        return {
            "first_A": torch.zeros_like(A),
            "first_B": torch.zeros_like(B),
            "rows": torch.zeros_like(B[..., 0]),
            "columns": torch.zeros_like(A[..., 0, :]),
        }

    def direction(
        self, f: Frames, X: Directions, scaling: Tensor, state: State, now: AdamConstants
    ) -> Directions:
        beta1, beta2 = now.betas
        rows, columns = square_means(f, X)
        state["rows"].lerp_(rows, 1 - beta2)
        state["columns"].lerp_(columns, 1 - beta2)
        state["first_A"].lerp_(X.A, 1 - beta1)
        state["first_B"].lerp_(X.B, 1 - beta1)
        c1, c2 = now.corrections
        M = Directions(state["first_A"] / c1, state["first_B"] / c1)
        return quotient(f, M, state["rows"] / c2, state["columns"] / c2, now.eps, now.gauge)

    def carry(self, old: Frames, new: Frames, state: State) -> None:
        L, R = stacked(old, Directions(state["first_A"], state["first_B"]))
        M = coefficients(new, (new.B.mT @ L) @ R, L @ (R @ new.A.mT))
        state["first_A"].copy_(M.A)
        state["first_B"].copy_(M.B)


class AdamEfficient(Rule):
    """Adam on H_A and H_B as if they were the gradients of A and B; state as for ordinary LoRA."""

    def start(self, A: Tensor, B: Tensor, dtype: torch.dtype | None) -> State:
        return {
            "first_A": torch.zeros_like(A),
            "second_A": torch.zeros_like(A),
            "first_B": torch.zeros_like(B),
            "second_B": torch.zeros_like(B),
        }

    def direction(
        self, f: Frames, X: Directions, scaling: Tensor, state: State, now: AdamConstants
    ) -> Directions:
        (beta1, beta2), (c1, c2) = now.betas, now.corrections
        found = []
        for side, D in zip("AB", regauge(f, X, now.gauge), strict=True):
            H, first, second = D / scaling, state[f"first_{side}"], state[f"second_{side}"]
            first.lerp_(H, 1 - beta1)
            second.mul_(beta2).addcmul_(H, H, value=1 - beta2)
            found.append(scaling * (first / c1) / ((second / c2).sqrt() + now.eps))
        return Directions(*found)


RULES: dict[str, Rule] = {
    "sgd": SGD(),
    "adamw-full": AdamFull(),
    "adamw-factored": AdamFactored(),
    "adamw-efficient": AdamEfficient(),
}
