"""From entries to a model: with λ given, or chosen on held-out entries and then fitted to all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from schmidt.certificate import Certificate
from schmidt.completion.fixed_rank import fixed_rank
from schmidt.completion.model import Biases, LowRank, Model, fit_biases
from schmidt.completion.observed import Observed
from schmidt.completion.path import (
    Fold,
    Limits,
    PenaltyPath,
    RankFit,
    regularisation_path,
    scaled,
    unshrunk,
)
from schmidt.completion.soft_impute import exact, fast_als, widen
from schmidt.progress import progress_bar

LARGEST_RANK, GROWTH, CHECKS = 50, 10, 5
SMALL, FEWEST = 10_000, 5
ENOUGH, MOST_FOLDS = 5_000, 5
"""Held-out entries that are wanted, and the number of folds that may be spent on them."""
LONGEST_PATH = 40
IMPLICIT = (
    "all {} values are {:g}: they say who met what, not how much it was liked (implicit feedback), "
    "and every model of them says the same everywhere, with error 0. Rank what goes together "
    "instead: schmidt.svd of the sparse matrix with ones at these places"
)


@dataclass(frozen=True)
class SoftImpute:
    """How (1) of ``soft_impute`` is solved.

    Attributes:
        svd: by SVDs of the filled matrix rather than by alternating least squares.
        rank: at most so many terms, or None.
        tol, max_iter: of the final fit; those of the path are coarser.
        seed: of the held-out split and of new directions.
    """

    svd: bool
    rank: int | None
    tol: float
    max_iter: int
    seed: int

    def solve(
        self, x: Observed, start: Model, penalty: float, rng: np.random.Generator
    ) -> tuple[Model, int]:
        """The minimiser for one λ, checked for directions that it lacks."""
        if self.svd:
            return exact(x, start, penalty, tol=self.tol, max_iter=self.max_iter, rank=self.rank)
        limit = min(self.rank or LARGEST_RANK, *x.shape)
        model, iterations = start, 0
        for _ in range(CHECKS):
            before = model.part.rank
            model = widen(x, model, penalty, min(GROWTH, limit - before), _drawn(rng))
            if iterations and model.part.rank <= before:
                break
            model, more = fast_als(
                x, model, penalty, tol=self.tol, max_iter=self.max_iter - iterations
            )
            iterations += more
            if model.part.rank >= limit or iterations >= self.max_iter:
                break
        return model, iterations

    def step(self, x: Observed, start: Model, penalty: float, rng: np.random.Generator) -> Model:
        """One step of the path: as good as held-out errors need it."""
        if self.svd:
            return exact(x, start, penalty, tol=1e-3, max_iter=100, rank=self.rank)[0]
        limit = min(self.rank or LARGEST_RANK, *x.shape)
        wider = widen(x, start, penalty, min(GROWTH, limit - start.part.rank), _drawn(rng))
        return fast_als(x, wider, penalty, tol=1e-2, max_iter=20)[0]


def starting_biases(x: Observed, biases: bool, penalty: float | None) -> Biases:
    """Mean and biases of the entries; without ``biases`` all zero."""
    if not biases:
        return Biases.none(x.shape)
    return fit_biases(x, None if penalty is None else (penalty, penalty))


def fit_given(x: Observed, biases: Biases, penalty: float, method: SoftImpute) -> tuple[Model, int]:
    """The model for one λ, from nothing."""
    start = Model(biases, LowRank.zero(x.shape))
    return method.solve(x, start, penalty, np.random.default_rng(method.seed))


def clip_range(clip: Any, values: np.ndarray) -> tuple[float, float] | None:
    """The range that predictions are clipped to, or None."""
    if clip is None:
        return None
    if isinstance(clip, str):
        if clip != "auto":
            raise ValueError(f"clip must be 'auto', a pair (low, high) or None; got {clip!r}")
        if 2 * len(np.unique(values)) > len(values):
            return None
        return float(values.min()), float(values.max())
    try:
        low, high = (float(v) for v in clip)
    except (TypeError, ValueError):
        low = high = np.nan
    if not low < high:
        raise ValueError(f"clip must be (low, high) with low < high, got {clip!r}")
    return low, high


@dataclass(frozen=True)
class Selection:
    """What the held-out entries were asked, and what they answered.

    Attributes:
        path: the λ path.
        fit: fits of the path's rank without shrinkage, where these were better; else None.
        folds: how many times a part was held out.
        held_out, trained: numbers of entries held out and fitted each time.
    """

    path: PenaltyPath
    fit: RankFit | None
    _: KW_ONLY
    folds: int
    held_out: int
    trained: int

    @property
    def method(self) -> str:
        """ "biases", "soft-impute" or "fixed-rank"."""
        if self.path.penalty is None:
            return "biases"
        return "soft-impute" if self.fit is None else "fixed-rank"

    @property
    def error(self) -> float:
        """Held-out root mean square error of what was chosen."""
        return self.path.error if self.fit is None else self.fit.error

    def __mul__(self, unit: float) -> Selection:
        """The same in other units of the values."""
        fit = None if self.fit is None else self.fit * unit
        return Selection(
            self.path * unit, fit, folds=self.folds, held_out=self.held_out, trained=self.trained
        )


def select(
    x: Observed,
    method: SoftImpute,
    *,
    biases: bool,
    bias_penalty: float | None,
    validation: float,
    limits: Limits,
    progress: bool,
) -> Selection:
    """λ, rank and whether to shrink, by the error on entries held out at random.

    Where these are fewer than 5,000, other parts are held out in turn, up to five.
    """
    held_out = max(1, round(validation * len(x)))
    if validation * len(x) < FEWEST:
        raise ValueError(
            f"{len(x)} entries are too few to choose λ: a held-out part of {validation:.0%} has "
            f"fewer than {FEWEST}; give the penalty λ yourself, or a fixed rank with "
            "method='fixed-rank'"
        )
    wanted = min(-(-ENOUGH // held_out), MOST_FOLDS)
    count = max(1, min(wanted, len(x) // held_out))
    rng = np.random.default_rng(method.seed)
    folds = [
        Fold(train, held, starting_biases(train, biases, bias_penalty))
        for train, held in x.folds(validation, count, method.seed)
    ]
    with progress_bar(LONGEST_PATH, "λ path", enabled=progress) as bar:
        done = itertools.count(1)
        path = regularisation_path(
            folds,
            lambda entries, model, penalty: method.step(entries, model, penalty, rng),
            limits=limits,
            watch=lambda step: bar.update(
                next(done), f"λ {step.penalty:.3g}, rank {step.rank}, error {step.error:.4f}"
            ),
        )
        fit = unshrunk(folds, path, limits)
    return Selection(path, fit, folds=count, held_out=held_out, trained=len(x) - held_out)


def refit(
    x: Observed, start: Biases, chosen: Selection, method: SoftImpute
) -> tuple[Model, float | None, int]:
    """The chosen model, fitted to all entries.

    Returns:
        The model, λ for so many entries (None: biases only), and the number of iterations.
    """
    path, fit = chosen.path, chosen.fit
    if path.penalty is None:
        return Model(start, LowRank.zero(x.shape)), None, 0
    if fit is not None:
        penalty = scaled(fit.penalty, chosen.trained, len(x))
        right = _widest(fit.models).part.balanced()[1]
        model, iterations = fixed_rank(
            x, start, right, penalty, tol=method.tol, max_iter=method.max_iter
        )
        return model, penalty, iterations
    penalty = scaled(path.penalty, chosen.trained, len(x))
    rng = np.random.default_rng(method.seed)
    model, iterations = method.solve(x, Model(start, _widest(path.models).part), penalty, rng)
    return Model(model.biases, model.part.truncate(path.rank)), penalty, iterations


def certified(chosen: Selection | None, iterations: int, most: int, full: bool) -> Certificate:
    """What is estimated about entries that nobody has seen; nothing is proven about them.

    Args:
        chosen: what was tried on held-out entries, or None.
        iterations, most: of the final fit, and how many were allowed.
        full: every entry was observed.
    """
    notes = ["nothing is proven about entries that were not observed"]
    estimates = {}
    if chosen is not None:
        estimates = {
            "held_out_error": chosen.error,
            "held_out_error_of_biases": chosen.path.bias_error,
        }
        notes.append(
            "held_out_error is the root mean square error of the best of many models on the "
            f"{chosen.held_out * chosen.folds} entries that chose it: slightly too small"
        )
    if full:
        notes.append("every entry was observed: there was nothing to complete")
    late = f"stopped after max_iter={most} iterations: tol may not be met"
    return Certificate(
        asked="the entries that were not observed",
        alarms=[late] if iterations >= most else [],
        notes=notes,
        estimates=estimates,
    )


def _drawn(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


def _widest(models: Sequence[Model]) -> Model:
    return max(models, key=lambda model: model.part.rank)
