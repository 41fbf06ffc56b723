"""The λ path: what a parabola finds, and what more entries ask for."""

from __future__ import annotations

import numpy as np
import pytest

from schmidt.completion.model import Biases, LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.completion.path import (
    BEYOND_CHANCE,
    RATIO,
    SMALLEST,
    Fold,
    PathStep,
    PenaltyPath,
    RankFit,
    _errors_by_rank,
    _interpolated,
    regularisation_path,
    scaled,
    unshrunk,
)
from schmidt.completion.soft_impute import gradient_norm


def steps(errors: list[float]) -> list[PathStep]:
    return [PathStep(RATIO**i, 1, np.array([9.0, e])) for i, e in enumerate(errors)]


@pytest.mark.parametrize("least", [0.6, 0.9, 1.0, 1.25, 1.4])
def test_a_parabola_in_log_lambda_gives_its_own_minimum(least: float) -> None:
    path = steps([2 + (i - least) ** 2 for i in range(3)])
    assert _interpolated(path, 1, 1) == pytest.approx(RATIO**least)


def test_what_is_no_parabola_stays_between_the_neighbours() -> None:
    assert _interpolated(steps([3.0, 2.0]), 1, 1) == pytest.approx(RATIO)  # the last one
    assert _interpolated(steps([2.0, 2.0, 2.0]), 1, 1) == pytest.approx(RATIO)  # flat
    assert _interpolated(steps([4.0, 2.0, 0.5]), 1, 1) == pytest.approx(RATIO**2)
    assert _interpolated(steps([0.5, 2.0, 4.0]), 1, 1) == pytest.approx(1.0)
    # the error at the rank that was chosen, and not another
    path = [PathStep(RATIO**i, 2, np.array([9.0, 2 + (i - 1.3) ** 2, -i])) for i in range(3)]
    assert _interpolated(path, 1, 1) == pytest.approx(RATIO**1.3)


def test_lambda_grows_as_noise_does_with_the_number_of_entries(rng: np.random.Generator) -> None:
    """‖P_Ω(noise)‖₂ of a half of the entries, brought to all of them."""
    noise = rng.standard_normal((300, 250))
    norms = {}
    for share in (0.2, 0.8):
        rows, columns = np.nonzero(rng.random(noise.shape) < share)
        x = Observed.of(rows, columns, noise[rows, columns], noise.shape)
        norms[share] = gradient_norm(x, Biases.none(x.shape)), len(x)
    (few, kept), (many, total) = norms[0.2], norms[0.8]
    assert scaled(few, kept, total) == pytest.approx(many, rel=0.08)
    assert scaled(3.0, 7, 7) == 3.0
    assert scaled(scaled(2.0, 5, 20), 20, 80) == pytest.approx(8.0)


M, N = 9, 8


def rank_two(values: tuple[float, float]) -> LowRank:
    """Fixed singular vectors with given values."""
    rng = np.random.default_rng(5)
    u, v = (np.linalg.qr(rng.standard_normal((n, 2)))[0] for n in (M, N))
    return LowRank(u, np.array(values), v)


def dense(part: LowRank) -> np.ndarray:
    return (part.left * part.values) @ part.right.T


def fold(X: np.ndarray, seed: int, biases: Biases | None = None) -> Fold:
    """A third of the entries held out."""
    held = np.random.default_rng(seed).random(X.shape) < 1 / 3
    parts = [Observed.of(*np.nonzero(w), X[w], X.shape) for w in (~held, held)]
    return Fold(parts[0], parts[1], biases or Biases.none(X.shape))


def square(fold: Fold, estimate: np.ndarray) -> np.ndarray:
    return (fold.held.values - estimate[fold.held.rows, fold.held.columns]) ** 2


class Solver:
    """In place of a solver: the truth, its values off by as much as λ is from the best one."""

    def __init__(self, best: float, truth: tuple[float, float], least: float = 0.1) -> None:
        self.best, self.truth, self.least = best, truth, least
        self.asked: list[float] = []

    def __call__(self, x: Observed, model: Model, penalty: float) -> Model:
        self.asked.append(penalty)
        off = 1 - self.least - 0.2 * (np.log(penalty / self.best) / np.log(RATIO)) ** 2
        return Model(model.biases, rank_two((self.truth[0] * off, self.truth[1] * off)))


def test_the_path_falls_until_two_steps_are_no_better() -> None:
    truth = (5.0, 2.0)
    folds = [fold(dense(rank_two(truth)), seed) for seed in (0, 1)]
    largest = max(np.linalg.norm(f.train.matrix().toarray(), 2) for f in folds)
    solver, seen = Solver(largest * RATIO**2, truth), []
    path = regularisation_path(folds, solver, limits=None, watch=seen.append)
    penalties = [step.penalty for step in path.steps]
    np.testing.assert_allclose(penalties, largest * RATIO ** np.arange(5), rtol=1e-6)
    np.testing.assert_allclose(solver.asked, np.repeat(penalties[1:], 2))
    assert list(path.steps[1:]) == seen
    assert [step.rank for step in path.steps] == [0, 2, 2, 2, 2]
    assert path.rank == 2
    assert path.penalty == pytest.approx(penalties[2], rel=1e-6)  # symmetric beside it
    squares = np.concatenate([square(f, 0.9 * dense(rank_two(truth))) for f in folds])
    before = np.concatenate([square(f, np.zeros((M, N))) for f in folds])
    assert path.error == pytest.approx(np.sqrt(squares.mean()))
    assert path.bias_error == pytest.approx(np.sqrt(before.mean()))
    assert path.steps[0].error == pytest.approx(path.bias_error)
    assert path.steps[2].error == pytest.approx(path.error)
    assert path.standard_error == pytest.approx((before - squares).std() / len(squares) ** 0.5)
    assert all(model.part.values[0] == pytest.approx(4.5) for model in path.models)


def test_the_path_is_the_same_in_other_units_and_short_where_nothing_helps() -> None:
    truth = (5e-3, 2e-3)
    one = fold(dense(rank_two(truth)), 0)
    largest = np.linalg.norm(one.train.matrix().toarray(), 2)
    assert largest < 1e-2
    path = regularisation_path([one], Solver(largest * RATIO**2, truth), limits=None)
    assert len(path.steps) == 5
    assert path.penalty == pytest.approx(largest * RATIO**2, rel=1e-6)
    wrong = Solver(largest * RATIO**2, (-5e-3, -2e-3))
    path = regularisation_path([one], wrong, limits=None)
    assert len(path.steps) == 3
    assert path.penalty is None


def test_terms_that_are_noise_are_cut() -> None:
    """The second term of every fit is wrong: the first one alone is best."""
    truth = rank_two((5.0, 0.0))
    folds = [fold(dense(truth), 0)]
    largest = np.linalg.norm(folds[0].train.matrix().toarray(), 2)
    path = regularisation_path(folds, Solver(largest * RATIO, (5.0, 3.0)), limits=None)
    assert path.rank == 1
    assert path.models[0].part.rank == 2
    squares = square(folds[0], 0.9 * dense(truth))
    assert path.error == pytest.approx(np.sqrt(squares.mean()))


@pytest.mark.parametrize("beyond", [0.9, 1.1])
def test_what_chance_may_do_is_not_kept(beyond: float) -> None:
    """A gain of a little less, and a little more, than two standard errors."""
    part = LowRank(np.full((M, 1), M**-0.5), np.array([4.0]), np.full((N, 1), N**-0.5))
    noise = np.random.default_rng(3).standard_normal((M, N))

    def ratio(level: float) -> tuple[float, Fold]:
        one = fold(dense(part) + level * noise, 0)
        gain = square(one, np.zeros((M, N))) - square(one, dense(part))
        return float(gain.mean() / gain.std() * len(gain) ** 0.5), one

    low, high = 0.0, 100.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle)[0] > beyond * BEYOND_CHANCE else (low, middle)
    found, one = ratio(low)
    assert found == pytest.approx(beyond * BEYOND_CHANCE, rel=1e-6)
    path = regularisation_path([one], lambda x, m, penalty: Model(m.biases, part), limits=None)
    assert path.steps[1].errors[1] < path.bias_error
    if beyond > 1:
        assert path.penalty is not None
        assert path.rank == 1
    else:
        assert path.penalty is None
        assert path.rank == 0
        assert path.error == path.bias_error
        assert path.models[0].part.rank == 0


def test_it_ends_at_the_smallest_lambda_and_where_there_is_nothing() -> None:
    folds = [fold(dense(rank_two((5.0, 2.0))), 0)]
    largest = np.linalg.norm(folds[0].train.matrix().toarray(), 2)

    def better(x: Observed, model: Model, penalty: float) -> Model:
        share = 1 - penalty / largest
        return Model(model.biases, rank_two((5 * share, 2 * share)))

    path = regularisation_path(folds, better, limits=None)
    assert path.steps[-1].penalty >= SMALLEST * largest * (1 - 1e-9)
    assert path.steps[-1].penalty * RATIO < SMALLEST * largest * (1 + 1e-9)
    assert path.penalty == path.steps[-1].penalty
    zero = regularisation_path([fold(np.zeros((M, N)), 0)], better, limits=None)
    assert len(zero.steps) == 1
    assert zero.penalty is None


def test_errors_are_those_of_clipped_predictions_of_all_folds() -> None:
    X = 2 + dense(rank_two((5.0, 2.0)))
    biases = Biases(2.0, np.linspace(-1, 1, M), np.zeros(N), (1.0, 1.0))
    folds = [fold(X, 0, biases), fold(X, 1, biases)]
    wide = rank_two((4.0, 1.0))
    models = [Model(biases, wide), Model(biases, wide.truncate(1))]
    plain = 2 + np.linspace(-1, 1, M)[:, None] + np.zeros(N)
    for limits in (None, (1.5, 2.5)):
        low, high = limits or (-np.inf, np.inf)
        terms = [np.clip(plain + dense(wide.truncate(k)), low, high) for k in range(3)]
        wanted = [
            np.sqrt(np.concatenate([square(folds[0], terms[k]),
                                    square(folds[1], terms[min(k, 1)])]).mean())
            for k in range(3)
        ]  # fmt: skip
        np.testing.assert_allclose(_errors_by_rank(models, folds, limits), wanted)


def test_everything_has_the_units_of_the_values() -> None:
    part = rank_two((4.0, 1.0))
    model = Model(Biases(1.0, np.ones(M), np.ones(N), (2.0, 3.0)), part)
    step = PathStep(3.0, 2, np.array([4.0, 5.0]))
    path = (
        PenaltyPath(
            steps=(step,),
            penalty=3.0,
            rank=2,
            error=5.0,
            bias_error=6.0,
            standard_error=7.0,
            models=(model,),
        )
        * 10.0
    )
    assert path.steps[0].penalty == path.penalty == 30.0
    np.testing.assert_array_equal(path.steps[0].errors, [40.0, 50.0])
    assert (path.rank, path.error, path.bias_error, path.standard_error) == (2, 50.0, 60.0, 700.0)
    assert path.models[0].part.values.tolist() == [40.0, 10.0]
    assert (
        PenaltyPath(
            steps=(step,),
            penalty=None,
            rank=0,
            error=5.0,
            bias_error=6.0,
            standard_error=7.0,
            models=(model,),
        )
        * 10.0
    ).penalty is None
    fit = RankFit(3.0, 4.0, (model,), ((3.0, 4.0), (1.0, 5.0))) * 10.0
    assert (fit.penalty, fit.error, fit.tried) == (30.0, 40.0, ((30.0, 40.0), (10.0, 50.0)))
    assert fit.models[0].biases.mean == 10.0


def test_without_the_nuclear_norm_lambda_is_quartered_until_it_is_worse() -> None:
    rng = np.random.default_rng(1)
    for noise in (0.0, 0.5):
        X = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 25))
        X = X + noise * rng.standard_normal(X.shape)
        one = fold(X, 0)
        u, s, vh = np.linalg.svd(X, full_matrices=False)
        part = LowRank(u[:, :3], s[:3] * 0.8, vh[:3].T)
        path = PenaltyPath(
            steps=(),
            penalty=8.0,
            rank=2,
            error=1e3,
            bias_error=1e4,
            standard_error=1.0,
            models=(Model(one.biases, part),),
        )
        fit = unshrunk([one], path, None)
        assert fit is not None
        penalties, errors = np.array(fit.tried).T
        np.testing.assert_allclose(penalties, 8.0 / 4.0 ** np.arange(len(penalties)))
        assert fit.error == min(errors)
        assert fit.penalty == penalties[errors.argmin()]
        assert fit.models[0].part.rank == 2
        rises = np.diff(errors) > 0
        assert not rises[:-1].any()
        assert rises[-1] or len(penalties) == 9
        assert fit.error == pytest.approx(
            np.sqrt(square(one, dense(fit.models[0].part)).mean()), rel=1e-9
        )
        assert (
            unshrunk(
                [one],
                PenaltyPath(
                    steps=(),
                    penalty=None,
                    rank=0,
                    error=1.0,
                    bias_error=1.0,
                    standard_error=1.0,
                    models=path.models,
                ),
                None,
            )
            is None
        )
        better = PenaltyPath(
            steps=(),
            penalty=8.0,
            rank=2,
            error=0.0,
            bias_error=1e4,
            standard_error=1.0,
            models=path.models,
        )
        assert unshrunk([one], better, None) is None
