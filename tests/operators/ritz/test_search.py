"""The search repeats itself, obeys target and budget, and survives Ctrl-C."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.operators import Gaussian, Lebesgue, Schrodinger, bound_states, eigenfunctions
from schmidt.operators.ritz import EuclideanSpace, FeatureChoice, confining
from schmidt.operators.ritz.search import Search, Trial, attempt, cusps, relative_scale
from schmidt.operators.ritz.weyl import region


def square(x: Tensor) -> Tensor:
    return x.pow(2).sum(1)


def form(dim: int = 1) -> Schrodinger:
    return Schrodinger(square, Lebesgue(Gaussian(1.0, dim)))


def test_a_reachable_target_is_reached_by_the_same_trials_twice() -> None:
    first, second = (bound_states(square, 2, 4, tol=1e-7, progress=False) for _ in range(2))
    assert [t.choice for t in first.trials] == [t.choice for t in second.trials]
    assert [t.score for t in first.trials] == [t.score for t in second.trials]
    np.testing.assert_array_equal(first.values, second.values)
    assert torch.equal(first.functions.mix, second.functions.mix)
    np.testing.assert_array_equal(first.radius, second.radius)
    best = min(first.trials, key=lambda t: t.estimate_or_score)
    assert best.estimate < 1e-7
    assert len(first.trials) < 30


def test_a_choice_repeats_the_result_bit_for_bit() -> None:
    found = bound_states(square, 2, 4, budget=1.0, progress=False)
    again = eigenfunctions(found.form, 4, found.space, choice=found.choice, progress=False)
    np.testing.assert_array_equal(again.values, found.values)
    assert torch.equal(again.functions.mix, found.functions.mix)
    np.testing.assert_array_equal(again.estimate, found.estimate)
    assert len(again.trials) == 1


def test_the_seed_is_of_features_and_of_points() -> None:
    choice = FeatureChoice(width=12, points=600, envelopes=2)
    first, other = (
        eigenfunctions(
            form(), 3, EuclideanSpace(1), choice=replace(choice, seed=s), seed=s, progress=False
        )
        for s in (0, 1)
    )
    assert not np.array_equal(first.values, other.values)
    np.testing.assert_allclose(first.values, other.values, rtol=1e-3)
    assert not np.array_equal(first.residual, other.residual)
    searched = bound_states(square, 2, 2, budget=0.2, seed=3, progress=False)
    assert searched.choice.seed == searched.settings["seed"] == 3


def test_many_modes_in_one_dimension() -> None:
    """Where smooth features span too little, rougher ones are tried."""
    found = bound_states(square, 1, 40, budget=4.0, progress=False)
    np.testing.assert_allclose(found.values, -(2 * np.arange(40) + 1.0), rtol=1e-4)


def test_a_low_target_stops_the_search() -> None:
    lax, strict = (
        bound_states(square, 2, 4, tol=rtol, budget=4.0, progress=False) for rtol in (1.0, 1e-17)
    )
    assert len(lax.trials) < len(strict.trials)
    assert lax.trials[0].score == strict.trials[0].score


@pytest.mark.parametrize("dim", [1, 4])
def test_the_budget_is_kept(dim: int) -> None:
    """Up to the first trial, which has to be made."""
    result = eigenfunctions(
        form(dim), 3, confining(square, dim, 3), tol=1e-16, budget=1.5, progress=False
    )
    first, *others = [t.work for t in result.trials]
    assert first + sum(others) <= max(1.5, first)
    assert np.isfinite(result.values).all()


def test_a_slow_machine_makes_the_same_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps by an hour at every look changes nothing."""
    results = [bound_states(square, 2, 3, budget=0.5, progress=False)]
    ticks = itertools.count(step=3600.0)
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    results.append(bound_states(square, 2, 3, budget=0.5, progress=False))
    assert len({tuple(t.choice for t in r.trials) for r in results}) == 1
    np.testing.assert_array_equal(results[0].values, results[1].values)


def test_seconds_are_a_second_stop_that_is_named() -> None:
    result = bound_states(square, 2, 3, seconds=0.001, tol=1e-16, progress=False)
    assert len(result.trials) == 1
    assert any("0.001 seconds" in note for note in result.certificate.notes)


@pytest.mark.parametrize("after", [1, 3])
def test_ctrl_c_keeps_the_best(after: int) -> None:
    calls = 0

    def potential(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2 * after:
            os.kill(os.getpid(), signal.SIGINT)
        return square(x)

    target = Schrodinger(potential, Lebesgue(Gaussian(1.0, 2)))
    space = EuclideanSpace(2, reach=4.0)
    result = eigenfunctions(target, 3, space, tol=1e-16, budget=30.0, progress=False)
    assert result.interrupted
    assert result.seconds < 5
    np.testing.assert_allclose(result.values, [-2, -4, -4], atol=1e-2)
    assert result.trials[0].score >= min(t.score for t in result.trials)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def trial(choice: FeatureChoice, modes: int = 3, **settings: object) -> Trial | None:
    space = EuclideanSpace(1)
    held_out = space.fresh(512, torch.Generator().manual_seed(0))
    return attempt(form(), space, choice, modes, held_out=held_out, extra=4)[0]


def test_a_trial_reports_the_cut_with_the_smallest_residual() -> None:
    found = trial(FeatureChoice(width=12, points=600, envelopes=2))
    assert found is not None
    exact = torch.tensor([-1.0, -3.0, -5.0], dtype=torch.float64)
    error = (found.values[:3] - exact).abs()
    assert bool((error <= found.residual[:3] + 1e-10).all())
    scale = relative_scale(found.values[:3])
    assert found.score == pytest.approx(float((found.residual[:3] / scale).mean()))
    assert found.estimate <= found.score
    assert found.mix.shape == (found.features.units * 2, len(found.values))


def test_too_few_features_are_no_trial_and_the_search_widens_them() -> None:
    assert trial(FeatureChoice(width=1, points=200), modes=30) is None

    class Narrow(EuclideanSpace):
        def start(self, modes: int) -> FeatureChoice:
            return FeatureChoice(width=2, points=100)

    search = Search(form(), Narrow(1), 12, target=10.0, budget=5.0)
    best = search.run()
    assert len(best.values) >= 12
    assert best.choice.width > 2


def test_relative_errors_refer_to_values_or_to_spacings_where_these_vanish() -> None:
    values = torch.tensor([0.0, -4.0, -8.0], dtype=torch.float64)
    assert relative_scale(values).tolist() == pytest.approx([8 / 12, 4, 8])
    assert relative_scale(values + 100, 100.0).tolist() == pytest.approx([8 / 12, 4, 8])
    assert bool((relative_scale(torch.zeros(2).double()) > 0).all())
    pair = torch.tensor([-1 + 2j, -1 - 2j])
    torch.testing.assert_close(relative_scale(pair), torch.full((2,), 5**0.5))


def test_imposed_cusps_leave_the_image_bounded_at_the_centre() -> None:
    """lim r·Tφ = (d−1)κ ∂φ/∂r + Zφ, here for e^{−r}: (2 − 1)·(−1) + Z."""
    found = bound_states(lambda x: -1 / x.norm(dim=1), 2, 1, budget=0.5, progress=False)
    features = found.trials[0].features
    rows = cusps(found.form, found.space, features)
    assert rows is not None
    tip = torch.tensor([[1e-9, 0.0], [-1e-9, 0.0]], dtype=torch.float64)
    jet = features.jet(tip, 1)
    slope = (jet.gradient[0, :, 0] - jet.gradient[1, :, 0]) / 2
    torch.testing.assert_close(rows[0], (slope + jet.value[0]).detach(), rtol=1e-4, atol=1e-4)
    assert float((rows @ found.functions.mix).abs().max()) < 1e-4
    assert cusps(form(), EuclideanSpace(1), features) is None


def test_the_space_follows_the_states_in_many_dimensions() -> None:
    """Started with lengths that are wrong by 2, the search finds them."""
    wrong = EuclideanSpace(4, lengths=2.0, reach=2.0)
    found = eigenfunctions(form(4), 1, wrong, budget=3.0, tol=1e-5, progress=False)
    assert isinstance(found.space, EuclideanSpace)
    torch.testing.assert_close(found.space.lengths, torch.eye(4).double(), rtol=0.15, atol=0.1)
    assert region(square, 4, 1).lengths.shape == (4, 4)
