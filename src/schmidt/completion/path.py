"""The λ path: one fit per λ, each started from the one before, judged on held-out entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from schmidt.completion.biases import Biases
from schmidt.completion.model import LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.completion.soft_impute import gradient_norm

RATIO, SMALLEST, PATIENCE, BEYOND_CHANCE = 0.8, 1e-4, 2, 2.0
Solve = Callable[[Observed, Model, float], Model]
"""(entries, start, λ) → minimiser."""


@dataclass(frozen=True)
class Step:
    """One λ of the path: its rank, and the held-out error for each rank its fit is cut to."""

    penalty: float
    rank: int
    errors: np.ndarray
    """(rank + 1,) root mean square errors with the first 0, 1, …, rank terms."""

    @property
    def error(self) -> float:
        """With all terms."""
        return float(self.errors[-1])


@dataclass(frozen=True)
class Path:
    """What the path found.

    Attributes:
        steps: from the largest λ, where the low-rank part is zero, downwards.
        penalty: the chosen λ, for as many entries as the path was given; None where no λ beats the
            biases by more than chance.
        rank: how many terms of that fit to keep.
        error: held-out root mean square error at the chosen step, with so many terms.
        bias_error: that of the biases alone.
        standard_error: of the difference of the mean squares of the two.
        model: the fit at the chosen step, on the training part, with all its terms.
    """

    steps: tuple[Step, ...]
    penalty: float | None
    rank: int
    error: float
    bias_error: float
    standard_error: float
    model: Model


def regularisation_path(
    train: Observed,
    held: Observed,
    biases: Biases,
    solve: Solve,
    *,
    limits: tuple[float, float] | None,
    watch: Callable[[Step], None] = lambda step: None,
) -> Path:
    """Choose λ and the rank by held-out error.

    λ falls geometrically from ‖P_Ω(residual)‖₂, above which the low-rank part is zero, until the
    error has not improved for two steps. Each fit is also judged with its last terms cut off:
    the nuclear norm shrinks what is large as much as what is small, and a smaller λ followed by a
    cut shrinks the former less. A low-rank part is kept only if it improves on the
    biases by more than two standard errors.

    Args:
        train, held: disjoint sets of entries.
        biases: fitted to ``train``.
        solve: minimises (1) of ``soft_impute``.
        limits: range that predictions are clipped to, or None.
        watch: called after each step.
    """
    start = Model(biases, LowRank.zero(train.shape))
    model, best = start, start
    bias_squares = _squares(start, held, limits)
    bias_error = float(np.sqrt(bias_squares.mean()))
    largest = gradient_norm(train, biases)
    steps = [Step(largest, 0, np.array([bias_error]))]
    chosen, squares, rank, worse = 0, bias_squares, 0, 0
    while worse < PATIENCE and largest > 0 and steps[-1].penalty * RATIO >= SMALLEST * largest:
        penalty = steps[-1].penalty * RATIO
        model = solve(train, model, penalty)
        step = Step(penalty, model.part.rank, _errors_by_rank(model, held, limits))
        steps.append(step)
        watch(step)
        if step.errors.min() < steps[chosen].errors.min():
            chosen, best, worse = len(steps) - 1, model, 0
            rank = int(step.errors.argmin())
            squares = _squares(_cut(model, rank), held, limits)
        else:
            worse += 1
    gain = bias_squares - squares
    standard_error = float(gain.std() / np.sqrt(len(gain)))
    if rank == 0 or gain.mean() <= BEYOND_CHANCE * standard_error:
        return Path(tuple(steps), None, 0, bias_error, bias_error, standard_error, start)
    return Path(
        tuple(steps),
        _interpolated(steps, chosen, rank),
        rank,
        float(np.sqrt(squares.mean())),
        bias_error,
        standard_error,
        best,
    )


def scaled(penalty: float, kept: int, total: int) -> float:
    """λ for ``total`` entries when it was chosen on ``kept`` of them.

    λ has to exceed the spectral norm of the noise on Ω, which grows with the root of the number of
    entries.
    """
    return penalty * float(np.sqrt(total / kept))


def _cut(model: Model, rank: int) -> Model:
    return Model(model.biases, model.part.truncate(rank))


def _clipped(values: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    return values if limits is None else np.clip(values, *limits)


def _squares(model: Model, held: Observed, limits: tuple[float, float] | None) -> np.ndarray:
    """(N,) squared errors."""
    predicted = _clipped(model.at(held.rows, held.columns), limits)
    return np.asarray((held.values - predicted) ** 2)


def held_out_error(model: Model, held: Observed, limits: tuple[float, float] | None) -> float:
    """Root mean square error."""
    return float(np.sqrt(_squares(model, held, limits).mean()))


def _errors_by_rank(model: Model, held: Observed, limits: tuple[float, float] | None) -> np.ndarray:
    """(k + 1,) root mean square errors of the biases with the first 0, …, k terms."""
    part = model.part
    predicted = model.biases.at(held.rows, held.columns)
    errors = [np.sqrt(np.mean((held.values - _clipped(predicted, limits)) ** 2))]
    for u, d, v in zip(part.left.T, part.values, part.right.T, strict=True):
        predicted = predicted + d * u[held.rows] * v[held.columns]
        errors.append(np.sqrt(np.mean((held.values - _clipped(predicted, limits)) ** 2)))
    return np.array(errors)


def _interpolated(steps: list[Step], chosen: int, rank: int) -> float:
    """Where a parabola through the error at the chosen λ and its neighbours is least, in log λ."""
    if chosen + 1 >= len(steps):
        return steps[chosen].penalty
    before, at, after = (
        float(steps[i].errors[: rank + 1][-1]) for i in (chosen - 1, chosen, chosen + 1)
    )
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    shift = min(max(shift, -1.0), 1.0)
    return steps[chosen].penalty * float(RATIO**shift)
