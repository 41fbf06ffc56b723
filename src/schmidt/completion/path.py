"""The λ path: one fit per λ, each started from the one before, judged on held-out entries.

Beside it, fits of the chosen rank itself with ever smaller penalties: the nuclear norm takes λ off
every singular value; where the noise is small that is the larger error, and least squares over
matrices of the chosen rank (``fixed_rank``) is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schmidt.completion.fixed_rank import fixed_rank
from schmidt.completion.model import Biases, LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.completion.soft_impute import gradient_norm

RATIO, SMALLEST, PATIENCE, BEYOND_CHANCE = 0.8, 1e-4, 2, 2.0
DIVISOR, MOST = 4.0, 9
Limits = tuple[float, float] | None
"""The range that predictions are clipped to."""
Solve = Callable[[Observed, Model, float], Model]
"""(entries, start, λ) → minimiser."""


@dataclass(frozen=True)
class Fold:
    """Entries to fit, entries to judge by, and the biases of the former."""

    train: Observed
    held: Observed
    biases: Biases


@dataclass(frozen=True)
class PathStep:
    """One λ of the path: its rank, and the held-out error for each rank its fit is cut to."""

    penalty: float
    rank: int
    errors: np.ndarray
    """(rank + 1,) root mean square errors with the first 0, 1, …, rank terms."""

    @property
    def error(self) -> float:
        """With all terms."""
        return float(self.errors[-1])

    def __mul__(self, unit: float) -> PathStep:
        """The same in other units of the values."""
        return PathStep(self.penalty * unit, self.rank, self.errors * unit)


@dataclass(frozen=True, kw_only=True)
class PenaltyPath:
    """What the path found.

    Attributes:
        steps: from the largest λ, where the low-rank part is zero, downwards.
        penalty: the chosen λ, for as many entries as the path was given; None where no λ beats the
            biases by more than chance.
        rank: how many terms of that fit to keep.
        error: held-out root mean square error at the chosen step, with so many terms.
        bias_error: that of the biases alone.
        standard_error: of the difference of the mean squares of the two.
        models: the fits at the chosen step, one per fold, with all their terms.
    """

    steps: tuple[PathStep, ...]
    penalty: float | None
    rank: int
    error: float
    bias_error: float
    standard_error: float
    models: tuple[Model, ...]

    def __mul__(self, unit: float) -> PenaltyPath:
        """The same in other units of the values."""
        return replace(
            self,
            steps=tuple(step * unit for step in self.steps),
            penalty=None if self.penalty is None else self.penalty * unit,
            error=self.error * unit,
            bias_error=self.bias_error * unit,
            standard_error=self.standard_error * unit * unit,
            models=tuple(model * unit for model in self.models),
        )


def regularisation_path(
    folds: Sequence[Fold],
    solve: Solve,
    *,
    limits: Limits,
    watch: Callable[[PathStep], None] = lambda step: None,
) -> PenaltyPath:
    """Choose λ and the rank by held-out error.

    λ falls geometrically from ‖P_Ω(residual)‖₂, above which the low-rank part is zero, until the
    error has not improved for two steps. All folds go down together, and their held-out entries
    count alike. Each fit is also judged with its last terms cut off:
    the nuclear norm shrinks what is large as much as what is small, and a smaller λ followed by a
    cut shrinks the former less. A low-rank part is kept only if it improves on the
    biases by more than two standard errors.

    Args:
        folds: each with disjoint sets of entries.
        solve: minimises (1) of ``soft_impute``.
        limits: range that predictions are clipped to, or None.
        watch: called after each step.
    """
    start = [Model(fold.biases, LowRank.zero(fold.train.shape)) for fold in folds]
    models, best = start, start
    bias_squares = _squares(start, folds, limits)
    bias_error = _root_mean(bias_squares)
    largest = max(gradient_norm(fold.train, fold.biases) for fold in folds)
    steps = [PathStep(largest, 0, np.array([bias_error]))]
    chosen, squares, rank, worse = 0, bias_squares, 0, 0
    while worse < PATIENCE and largest > 0 and steps[-1].penalty * RATIO >= SMALLEST * largest:
        penalty = steps[-1].penalty * RATIO
        models = [solve(f.train, m, penalty) for f, m in zip(folds, models, strict=True)]
        most = max(model.part.rank for model in models)
        step = PathStep(penalty, most, _errors_by_rank(models, folds, limits))
        steps.append(step)
        watch(step)
        if step.errors.min() < steps[chosen].errors.min():
            chosen, best, worse = len(steps) - 1, models, 0
            rank = int(step.errors.argmin())
            squares = _squares([_cut(model, rank) for model in models], folds, limits)
        else:
            worse += 1
    gain = bias_squares - squares
    standard_error = float(gain.std() / np.sqrt(len(gain)))
    if rank == 0 or gain.mean() <= BEYOND_CHANCE * standard_error:
        rank, best = 0, start
    found = _interpolated(steps, chosen, rank) if rank else None
    return PenaltyPath(
        steps=tuple(steps),
        penalty=found,
        rank=rank,
        error=_root_mean(squares) if rank else bias_error,
        bias_error=bias_error,
        standard_error=standard_error,
        models=tuple(best),
    )


@dataclass(frozen=True)
class RankFit:
    """The best fits of the path's rank without the nuclear norm.

    Attributes:
        penalty: λ on ½(‖A‖² + ‖B‖²).
        error: held-out root mean square error.
        models: the fits, on the training parts.
        tried: (λ, error) of all of them.
    """

    penalty: float
    error: float
    models: tuple[Model, ...]
    tried: tuple[tuple[float, float], ...]

    def __mul__(self, unit: float) -> RankFit:
        """The same in other units of the values."""
        tried = tuple((penalty * unit, error * unit) for penalty, error in self.tried)
        models = tuple(model * unit for model in self.models)
        return RankFit(self.penalty * unit, self.error * unit, models, tried)


def unshrunk(folds: Sequence[Fold], path: PenaltyPath, limits: Limits) -> RankFit | None:
    """Fits of rank ``path.rank`` with λ, λ/4, λ/16, … until the held-out error rises.

    Returns:
        The best one if it beats the path, else None.
    """
    if path.penalty is None:
        return None
    models = [Model(model.biases, model.part.truncate(path.rank)) for model in path.models]
    tried: list[tuple[float, float]] = []
    best, found = path.error, None
    for i in range(MOST):
        penalty = path.penalty / DIVISOR**i
        models = [
            fixed_rank(
                fold.train, m.biases, m.part.balanced()[1], penalty, tol=1e-2, max_iter=15
            )[0]
            for fold, m in zip(folds, models, strict=True)
        ]  # fmt: skip
        error = _root_mean(_squares(models, folds, limits))
        tried.append((penalty, error))
        if i and error > tried[-2][1]:
            break
        if error < best:
            best, found = error, (penalty, tuple(models))
    return found and RankFit(found[0], best, found[1], tuple(tried))


def scaled(penalty: float, kept: int, total: int) -> float:
    """λ for ``total`` entries when it was chosen on ``kept`` of them.

    λ has to exceed the spectral norm of the noise on Ω, which grows with the root of the number of
    entries.
    """
    return penalty * float(np.sqrt(total / kept))


def _cut(model: Model, rank: int) -> Model:
    return Model(model.biases, model.part.truncate(rank))


def _clipped(values: np.ndarray, limits: Limits) -> np.ndarray:
    return values if limits is None else np.clip(values, *limits)


def _root_mean(squares: np.ndarray) -> float:
    return float(np.sqrt(squares.mean()))


def _squares(models: Sequence[Model], folds: Sequence[Fold], limits: Limits) -> np.ndarray:
    """(N,) squared errors at the held-out entries of all folds."""
    pairs = zip(models, folds, strict=True)
    return np.concatenate([squared_errors(model, fold.held, limits) for model, fold in pairs])


def squared_errors(model: Model, held: Observed, limits: Limits) -> np.ndarray:
    """(N,) of clipped predictions."""
    predicted = _clipped(model.at(held.rows, held.columns), limits)
    return np.asarray((held.values - predicted) ** 2)


def _errors_by_rank(models: Sequence[Model], folds: Sequence[Fold], limits: Limits) -> np.ndarray:
    """(k + 1,) root mean square errors of the biases with the first 0, …, k terms.

    A fold with fewer terms than the others keeps all of them.
    """
    sums = np.zeros(max(model.part.rank for model in models) + 1)
    for fold, model in zip(folds, models, strict=True):
        held, part = fold.held, model.part
        predicted = model.biases.at(held.rows, held.columns)
        squares = [np.sum((held.values - _clipped(predicted, limits)) ** 2)]
        for u, d, v in zip(part.left.T, part.values, part.right.T, strict=True):
            predicted = predicted + d * u[held.rows] * v[held.columns]
            squares.append(np.sum((held.values - _clipped(predicted, limits)) ** 2))
        sums += np.pad(squares, (0, len(sums) - len(squares)), mode="edge")
    return np.asarray(np.sqrt(sums / sum(len(fold.held) for fold in folds)))


def _interpolated(steps: list[PathStep], chosen: int, rank: int) -> float:
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
