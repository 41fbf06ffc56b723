"""From entries to a model: with λ given, or chosen on held-out entries and then fitted to all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from schmidt.certificate import Certificate
from schmidt.completion.fixed_rank import fixed_rank
from schmidt.completion.intervals import Calibration
from schmidt.completion.living import Posterior
from schmidt.completion.model import Biases, LowRank, Model, fit_biases
from schmidt.completion.observed import Observed
from schmidt.completion.path import (
    BEYOND_CHANCE,
    Fold,
    Limits,
    PenaltyPath,
    RankFit,
    regularisation_path,
    scaled,
    squared_errors,
    unshrunk,
)
from schmidt.completion.soft_impute import exact, fast_als, widen
from schmidt.completion.variational import LARGEST, Variational
from schmidt.progress import progress_bar

LARGEST_RANK, GROWTH, CHECKS = 50, 10, 5
SMALL, FEWEST, FEW = 10_000, 5, 20_000
ENOUGH, MOST_FOLDS = 5_000, 5
"""Held-out entries that are wanted, and the number of folds that may be spent on them."""
LONGEST_PATH = 40
Parts = Sequence[tuple[Observed, Observed]]
"""Entries to fit, and entries to judge by."""
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
class VariationalFit:
    """Fits by variational Bayes to what was not held out.

    Attributes:
        error: held-out root mean square error.
        components: of each fold's fit.
        noise: σ of each fold's fit.
        states: the fits.
    """

    error: float
    components: tuple[int, ...]
    noise: tuple[float, ...]
    states: tuple[Variational, ...]

    def __mul__(self, unit: float) -> VariationalFit:
        """The same in other units of the values, without the fits."""
        noise = tuple(sigma * unit for sigma in self.noise)
        return VariationalFit(self.error * unit, self.components, noise, ())


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the held-out entries were asked, and what they answered.

    Attributes:
        bias_error: held-out root mean square error of mean and biases alone.
        variational: fits by variational Bayes; None where they were not asked for.
        path: the λ path of softImpute; None where it was not asked for, or would have been too
            expensive beside variational Bayes.
        fit: fits of the path's rank without shrinkage, where these were better; else None.
        method: what was chosen: "biases", "variational", "soft-impute" or "fixed-rank".
        error: its held-out root mean square error.
        folds: how many times a part was held out.
        held_out, trained: numbers of entries held out and fitted each time.
        calibration: the errors of the chosen fits there, for prediction intervals.
    """

    bias_error: float
    variational: VariationalFit | None
    path: PenaltyPath | None
    fit: RankFit | None
    method: str
    error: float
    folds: int
    held_out: int
    trained: int
    calibration: Calibration

    def __mul__(self, unit: float) -> Selection:
        """The same in other units of the values."""
        return replace(
            self,
            bias_error=self.bias_error * unit,
            variational=None if self.variational is None else self.variational * unit,
            path=None if self.path is None else self.path * unit,
            fit=None if self.fit is None else self.fit * unit,
            error=self.error * unit,
        )


def select(
    x: Observed,
    method: SoftImpute,
    *,
    which: str,
    biases: bool,
    bias_penalty: float | None,
    validation: float,
    limits: Limits,
    progress: bool,
) -> Selection:
    """The method, λ, the rank and whether to shrink, by the error on entries held out at random.

    Where these are fewer than 5,000, other parts are held out in turn, up to five.

    Args:
        which: "variational", "soft-impute", or "auto": the former, and up to 20,000 entries both.
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
    parts = x.folds(validation, count, method.seed)
    both = which == "auto" and len(x) <= FEW
    variational, path, fit = None, None, None
    alone: list[Model] = []
    found: dict[str, float] = {}
    if which != "soft-impute":
        variational, bias_error, alone = _variational(parts, method, biases, limits)
        if variational is not None:
            found["variational"] = variational.error
    if which == "soft-impute" or both:
        path, fit = _path(parts, method, biases, bias_penalty, limits, progress)
        if path.penalty is not None:
            found["soft-impute"] = path.error
        if fit is not None:
            found["fixed-rank"] = fit.error
        bias_error = path.bias_error
    best = min(found, key=lambda name: found[name], default="biases")
    posteriors: list[Posterior | None] = [None] * count
    if best == "variational" and variational is not None:
        models = [state.model() for state in variational.states]
        posteriors = [Posterior.of(state) for state in variational.states]
    elif path is None:
        models = alone
    elif best == "fixed-rank" and fit is not None:
        models = list(fit.models)
    else:
        models = [Model(m.biases, m.part.truncate(path.rank)) for m in path.models]
    calibration = Calibration.of(parts, models, posteriors, limits)
    return Selection(
        bias_error=bias_error,
        variational=variational,
        path=path,
        fit=fit,
        method=best,
        error=found.get(best, bias_error),
        folds=count,
        held_out=held_out,
        trained=len(x) - held_out,
        calibration=calibration,
    )


def _variational(
    parts: Parts, method: SoftImpute, biases: bool, limits: Limits
) -> tuple[VariationalFit | None, float, list[Model]]:
    """The fits – None where they are not better than the biases by more than chance –, the error of
    the biases alone, and these."""
    states, gains, squares, plain = [], [], [], []
    for train, held in parts:
        state = Variational(train, biases, method.rank or LARGEST, method.seed)
        plain.append(state.alone())
        alone = squared_errors(plain[-1], held, limits)
        state.run()
        own = squared_errors(state.model(), held, limits)
        gains.append(alone - own)
        squares.append(own)
        states.append(state)
    gain, own = np.concatenate(gains), np.concatenate(squares)
    bias_error = float(np.sqrt((own + gain).mean()))
    if gain.mean() <= BEYOND_CHANCE * gain.std() / np.sqrt(len(gain)):
        return None, bias_error, plain
    components = tuple(state.components for state in states)
    noise = tuple(float(np.sqrt(state.noise)) for state in states)
    error = float(np.sqrt(own.mean()))
    return VariationalFit(error, components, noise, tuple(states)), bias_error, plain


def _path(
    parts: Parts,
    method: SoftImpute,
    biases: bool,
    bias_penalty: float | None,
    limits: Limits,
    progress: bool,
) -> tuple[PenaltyPath, RankFit | None]:
    rng = np.random.default_rng(method.seed)
    folds = [
        Fold(train, held, starting_biases(train, biases, bias_penalty)) for train, held in parts
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
        return path, unshrunk(folds, path, limits)


def refit(
    x: Observed, chosen: Selection, method: SoftImpute, biases: bool, bias_penalty: float | None
) -> tuple[Model, float | None, int, Variational | None]:
    """The chosen model, fitted to all entries.

    Returns:
        The model; λ for so many entries (None: there is none); the number of iterations; the
        state of variational Bayes, where that was chosen.
    """
    path, fit = chosen.path, chosen.fit
    if chosen.method == "variational" and chosen.variational is not None:
        widest = max(chosen.variational.states, key=lambda state: state.components)
        state = widest.on(x)
        state.settle()
        return state.model(), None, len(state.trace), state
    if path is None and bias_penalty is None:
        return Variational(x, biases).alone(), None, 0, None
    start = starting_biases(x, biases, bias_penalty)
    if path is None or path.penalty is None:
        return Model(start, LowRank.zero(x.shape)), None, 0, None
    if fit is not None:
        penalty = scaled(fit.penalty, chosen.trained, len(x))
        right = _widest(fit.models).part.balanced()[1]
        model, iterations = fixed_rank(
            x, start, right, penalty, tol=method.tol, max_iter=method.max_iter
        )
        return model, penalty, iterations, None
    penalty = scaled(path.penalty, chosen.trained, len(x))
    rng = np.random.default_rng(method.seed)
    model, iterations = method.solve(x, Model(start, _widest(path.models).part), penalty, rng)
    return Model(model.biases, model.part.truncate(path.rank)), penalty, iterations, None


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
            "held_out_error_of_biases": chosen.bias_error,
        }
        notes.append(
            "held_out_error is the root mean square error of the best of many models on the "
            f"{chosen.held_out * chosen.folds} entries that chose it: slightly too small"
        )
    if chosen is not None and chosen.method in ("variational", "fixed-rank"):
        notes.append("the problem is not convex: another start could end elsewhere")
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
