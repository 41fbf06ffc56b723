"""From entries to a model: with λ given, or chosen on held-out entries and then fitted to all."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from schmidt.completion.biases import Biases, fit_biases
from schmidt.completion.fixed_rank import fixed_rank
from schmidt.completion.model import LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.completion.path import Path, regularisation_path, scaled
from schmidt.completion.soft_impute import exact, fast_als, widen
from schmidt.completion.unshrunk import Trial, unshrunk
from schmidt.progress import progress_bar

LARGEST_RANK, GROWTH, CHECKS = 50, 10, 5
SMALL, FEWEST = 10_000, 5
LONGEST_PATH = 40


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
            model = widen(x, model, penalty, min(GROWTH, limit - before), rng)
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
        wider = widen(x, start, penalty, min(GROWTH, limit - start.part.rank), rng)
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


@dataclass(frozen=True)
class Choice:
    """What the held-out entries were asked, and what they answered.

    Attributes:
        path: the λ path.
        trial: fits of the path's rank without shrinkage, where these were better; else None.
        held_out, trained: numbers of entries.
    """

    path: Path
    trial: Trial | None
    held_out: int
    trained: int

    @property
    def method(self) -> str:
        """ "biases", "soft-impute" or "fixed-rank"."""
        if self.path.penalty is None:
            return "biases"
        return "soft-impute" if self.trial is None else "fixed-rank"

    @property
    def error(self) -> float:
        """Held-out root mean square error of what was chosen."""
        return self.path.error if self.trial is None else self.trial.error


def choose(
    x: Observed,
    method: SoftImpute,
    *,
    biases: bool,
    bias_penalty: float | None,
    validation: float,
    limits: tuple[float, float] | None,
    progress: bool,
) -> Choice:
    """λ, rank and whether to shrink, by the error on entries held out at random."""
    if validation * len(x) < FEWEST:
        raise ValueError(
            f"{len(x)} entries are too few to choose λ: a held-out part of {validation:.0%} has "
            f"fewer than {FEWEST}; give the penalty λ yourself, or a fixed rank with "
            "method='fixed-rank'"
        )
    rng = np.random.default_rng(method.seed)
    train, held = x.split(validation, rng)
    start = starting_biases(train, biases, bias_penalty)
    with progress_bar(LONGEST_PATH, "λ path", enabled=progress) as bar:
        done = itertools.count(1)
        path = regularisation_path(
            train,
            held,
            start,
            lambda entries, model, penalty: method.step(entries, model, penalty, rng),
            limits=limits,
            watch=lambda step: bar.update(
                next(done), f"λ {step.penalty:.3g}, rank {step.rank}, error {step.error:.4f}"
            ),
        )
        trial = unshrunk(train, held, path, limits)
    return Choice(path, trial, len(held), len(train))


def refit(
    x: Observed, start: Biases, choice: Choice, method: SoftImpute
) -> tuple[Model, float | None, int]:
    """The chosen model, fitted to all entries.

    Returns:
        The model, λ for so many entries (None: biases only), and the number of iterations.
    """
    path, trial = choice.path, choice.trial
    if path.penalty is None:
        return Model(start, LowRank.zero(x.shape)), None, 0
    if trial is not None:
        penalty = scaled(trial.penalty, choice.trained, len(x))
        right = trial.model.part.balanced()[1]
        model, iterations = fixed_rank(
            x, start, right, penalty, tol=method.tol, max_iter=method.max_iter
        )
        return model, penalty, iterations
    penalty = scaled(path.penalty, choice.trained, len(x))
    rng = np.random.default_rng(method.seed)
    model, iterations = method.solve(x, Model(start, path.model.part), penalty, rng)
    return Model(model.biases, model.part.truncate(path.rank)), penalty, iterations
