"""Tests of independence keep their level, and find what depends; values may be 0 for a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schmidt.dependence import CDK, GivenPairs, LinearCDK, WeightedPairs, independence_test
from schmidt.dependence.evidence import bootstrap


def test_independent_pairs_are_rejected_as_often_as_the_level_says(
    rng: np.random.Generator,
) -> None:
    heavy = rng.standard_t(2, size=(120, 2, 30, 2))
    p = [independence_test(*one, permutations=19, modes=0).p_value for one in heavy]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.12
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.12)


def test_dependence_is_found_mode_by_mode(rng: np.random.Generator) -> None:
    x, noise = rng.normal(size=(2, 200, 3))
    y = x * [1, 1, 0] + 0.7 * noise
    found = independence_test(x, y, features="linear", permutations=99)
    assert found.dependent
    assert found.modes == 2
    assert (np.diff(found.p_values) >= 0).all()
    assert not found.certificate.met
    square = x[:, 0] ** 2
    assert independence_test(x, square, permutations=99).p_value == 0.01
    assert independence_test(x, square, permutations=99, features="linear").p_value > 0.01
    assert independence_test(1e9 * x, -1e-5 * y, permutations=99).dependent
    assert independence_test(x, np.ones(200)).p_value == 1


def test_groups_and_series_move_as_a_whole(rng: np.random.Generator) -> None:
    group = np.repeat(np.arange(60), 5)
    x, y = rng.normal(size=(2, 60, 2))[:, group]
    assert independence_test(x, y, permutations=99).dependent
    assert not independence_test(x, y, groups=group, permutations=99).dependent
    few = independence_test(x[:10], y[:10], groups=group[:10], permutations=99)
    assert "only 2 arrangements" in few.certificate.alarms[0]
    kept = rng.normal(size=(2, 300))
    for t in range(1, 300):
        kept[:, t] += 0.95 * kept[:, t - 1]
    assert independence_test(*kept, permutations=99).dependent
    assert not independence_test(*kept, groups="series", permutations=99, modes=0).dependent


def test_given_a_third_variable(rng: np.random.Generator) -> None:
    z, a, b = rng.normal(size=(3, 300, 1))
    x, y = np.sin(2 * z) + 0.3 * a, z**2 + np.sin(2 * z) + 0.3 * b
    settings: dict[str, Any] = {"permutations": 99, "modes": 0}
    assert independence_test(x, y, **settings).dependent
    assert not independence_test(x, y, given=z, **settings).dependent
    assert independence_test(x, y + 0.5 * a, given=z, **settings).dependent
    with pytest.raises(ValueError, match="no groups"):
        independence_test(x, y, given=z, groups="series")


def test_independence_is_reported_as_nothing(rng: np.random.Generator) -> None:
    shown = 0
    for _ in range(6):
        model = LinearCDK(3).fit(*rng.normal(size=(2, 40, 20)))
        shown += model.maximal_correlation_ > 0
        if not model.maximal_correlation_:
            assert "independence is not ruled out" in model.certificate_.alarms[0]
    assert shown <= 1
    wide = CDK(3, hidden=(16,), steps=25, progress=False).fit(*rng.normal(size=(2, 30, 500)))
    assert wide.maximal_correlation_ == 0
    assert wide.certificate_.alarms


def test_intervals_hold_the_correlation_of_what_was_found(rng: np.random.Generator) -> None:
    inside = 0
    for _ in range(25):
        x, noise = rng.normal(size=(2, 200, 1))
        model = LinearCDK(1).fit(x, 0.6 * x + 0.8 * noise)
        low, high = model.intervals_[0]
        assert low <= model.singular_values_[0] <= high
        inside += low <= 0.6 <= high
    assert inside >= 20


def test_intervals_of_groups_are_wider(rng: np.random.Generator) -> None:
    x, noise = rng.normal(size=(2, 60, 1))
    x, y = (np.repeat(a, 10, 0) for a in (x, x + noise))
    near = x + 1e-6 * rng.normal(size=x.shape)
    alone = LinearCDK(1).fit(near, y + 1e-6 * rng.normal(size=y.shape))
    told = LinearCDK(1).fit(near, y, groups=np.repeat(np.arange(60), 10))
    assert np.ptp(told.intervals_[0]) > 2 * np.ptp(alone.intervals_[0])


def test_fractional_weights_are_of_a_sample_unless_rows_are_cells(
    rng: np.random.Generator,
) -> None:
    x, y = rng.normal(size=(2, 60, 20))
    w = rng.uniform(size=60)
    model = LinearCDK(2).fit(x, y, sample_weight=w)
    assert model.maximal_correlation_ == 0
    assert model.singular_values_train_[0] > 0.7
    told = LinearCDK(2).fit(x, y, sample_weight=w, weights="law")
    assert "known exactly" in str(told.certificate_)
    i, j = np.indices((4, 3)).reshape(2, -1)
    assert WeightedPairs(i, j, rng.uniform(size=12)).kind == "law"
    assert WeightedPairs(i[:11], j[:11], rng.uniform(size=11)).kind == "law"
    assert WeightedPairs(i, j, np.arange(12)).kind == "counts"
    assert WeightedPairs(i, j, np.arange(12), "sample").kind == "sample"
    with pytest.raises(ValueError, match="whole numbers"):
        WeightedPairs(i, j, rng.uniform(size=12), "counts")
    # weights of a sample correct for how it was drawn: half of what it has is worth 1/9
    x, noise = rng.normal(size=(2, 4000, 1))
    y = np.where(x > 0, x, -x) + 0.3 * noise
    w = np.where(x[:, 0] > 0, 0.9, 0.1) * rng.uniform(0.9, 1.1, size=4000)
    found = LinearCDK(1).fit(x, y, sample_weight=w)
    wanted = np.cov(x[:, 0], y[:, 0], aweights=w)
    rho = wanted[0, 1] / np.sqrt(wanted[0, 0] * wanted[1, 1])
    assert found.singular_values_[0] == pytest.approx(rho, abs=0.02)
    part = WeightedPairs(x, y, w)
    assert part.independent == pytest.approx(w.sum() ** 2 / (w**2).sum())
    one = found.score(x, y, w)
    assert found.score(*(np.r_[a, a] for a in (x, y, w))) == pytest.approx(one, abs=2e-3)


def test_too_few_rows_have_no_intervals() -> None:
    few = WeightedPairs(np.arange(4.0), np.arange(4.0))

    def same(u: Any) -> Any:
        return u[:, None]

    assert bootstrap([(few, same, same)]) is None
    assert GivenPairs(np.arange(3), np.arange(3)).counts is not None
