"""Values are honest on rows that took no part, free of units, and the same for cells and rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from schmidt.dependence import CDK, ClassPairs, GivenPairs, LinearCDK
from schmidt.dependence.laws import deal, folds

Pairs = tuple[np.ndarray, np.ndarray]
HAIR_EYE = np.array([[68, 119, 26, 7], [20, 84, 17, 94], [15, 54, 14, 10], [5, 29, 14, 16]])
"""Of 592 people (Snee 1974); exact correlations .4569 .1491 .0510."""
EXACT = [0.456916, 0.149086, 0.050975]
QUIET = {"progress": False}


def one_true_pair(n: int, dim: int, rho: float, rng: np.random.Generator) -> Pairs:
    x, y = rng.normal(size=(2, n, dim))
    y[:, 0] = rho * x[:, 0] + np.sqrt(1 - rho**2) * y[:, 0]
    return x, y


def square(n: int, rng: np.random.Generator) -> Pairs:
    x = rng.uniform(-2, 2, size=(n, 1))
    return x, x**2


def ring(n: int, rng: np.random.Generator) -> Pairs:
    angle = rng.uniform(0, 2 * np.pi, size=(n, 1))
    return np.cos(angle), np.sin(angle)


def normal(n: int, rng: np.random.Generator) -> Pairs:
    x, noise = rng.normal(size=(2, n, 1))
    return x, 0.8 * x + 0.6 * noise


def mixture(n: int, rng: np.random.Generator) -> Pairs:
    """Three far clusters, in x and y those of another order: two modes of correlation 1."""
    which = rng.integers(3, size=n)
    x = np.array([[0.0, 0], [6, 0], [0, 6]])[which] + rng.normal(size=(n, 2))
    return x, np.array([[9.0], [-9], [0]])[which] + rng.normal(size=(n, 1))


def finite(n: int, rng: np.random.Generator) -> Pairs:
    """Only y's second label depends on whether x is the middle one of three."""
    x = rng.integers(3, size=n)
    y = (rng.uniform(size=n) < np.where(x == 1, 0.9, 0.1)).astype(int)
    return x[:, None].astype(float), y[:, None].astype(float)


FINITE = (0.9 - 11 / 30) ** 2 / 3 + 2 * (0.1 - 11 / 30) ** 2 / 3
LAWS: list[tuple[Callable[..., Pairs], int, float]] = [
    (square, 3, 3 / 2),
    (ring, 3, 3 / 2),
    (normal, 4, sum(0.64**k for k in range(1, 5)) / 2),
    (mixture, 2, 1.0),
    (finite, 1, FINITE / (11 / 30 * 19 / 30) / 2),
]


@pytest.mark.parametrize(("draw", "modes", "exact"), LAWS)
def test_nonlinear_dependence_is_found(
    draw: Callable[..., Pairs], modes: int, exact: float, rng: np.random.Generator
) -> None:
    found = CDK(modes, hidden=(32, 32), steps=300, lr=5e-3, **QUIET).fit(*draw(5000, rng))
    assert found.score(*draw(20_000, rng)) > 0.9 * exact
    assert found.chosen_ != "linear"
    assert found.certificate_.estimates["held_out_score"] > 0.7 * exact
    assert not found.certificate_.met


def test_few_rows_of_many_columns_are_not_taken_for_dependence(rng: np.random.Generator) -> None:
    x, y = one_true_pair(200, 20, 0.6, rng)
    fresh = one_true_pair(5000, 20, 0.6, rng)
    linear, found = LinearCDK(4).fit(x, y), CDK(4, **QUIET).fit(x, y)
    for model in (linear, found):
        assert model.singular_values_[0] < 0.7
        assert model.singular_values_train_[0] > model.singular_values_[0] + 0.1
        assert model.score(*fresh) > 0.0
    assert found.score(*fresh) > linear.score(*fresh) - 0.03
    x, y = rng.normal(size=(2, 50, 120))
    fresh = rng.normal(size=(2, 500, 120))
    for model in (LinearCDK(3).fit(x, y), CDK(3, **QUIET).fit(x, y)):
        assert model.maximal_correlation_ < 3.5 / 50**0.5
        assert model.score(*fresh) > -0.1


def test_units_do_not_matter(rng: np.random.Generator) -> None:
    x, y = one_true_pair(300, 3, 0.9, rng)
    units = [np.array([1e4, -1e-8, 3e7]), np.array([-1e-5, 1e8, 1.0])]
    a, b = LinearCDK().fit(x, y), LinearCDK().fit(x * units[0], y * units[1])
    np.testing.assert_allclose(b.singular_values_, a.singular_values_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(b.singular_values_train_, a.singular_values_train_, rtol=1e-6)
    np.testing.assert_allclose(
        b.dependence(x * units[0], y * units[1]), a.dependence(x, y), rtol=1e-5
    )
    far = LinearCDK().fit(x * 1e-4 + 1e6, y)
    np.testing.assert_allclose(far.singular_values_, a.singular_values_, rtol=1e-4, atol=1e-6)
    settings = {"hidden": (16,), "steps": 20, **QUIET}
    powers = 2.0 ** np.array([20, -30, 7])  # exact in binary: every bit is the same
    for extra in ({}, {"inputs": "standard", "share": True}):
        one = CDK(2, **settings, **extra).fit(x, y)
        other = CDK(2, **settings, **extra).fit(x * powers, y * powers)
        np.testing.assert_array_equal(other.singular_values_, one.singular_values_)
    one, other = CDK(2, **settings).fit(x, y), CDK(2, **settings).fit(x * units[0], y * units[1])
    np.testing.assert_allclose(other.singular_values_[0], one.singular_values_[0], atol=0.03)


def test_cells_of_a_table_are_its_rows() -> None:
    i, j = np.indices(HAIR_EYE.shape).reshape(2, -1)
    count = HAIR_EYE.ravel()
    eye = np.eye(4)
    rows = np.repeat(i, count), np.repeat(j, count)
    cells = LinearCDK(3).fit(eye[i], eye[j], sample_weight=count)
    people = LinearCDK(3).fit(eye[rows[0]], eye[rows[1]])
    for model in (cells, people):
        np.testing.assert_allclose(model.singular_values_train_, EXACT, atol=1e-6)
        assert abs(model.singular_values_[0] - EXACT[0]) < 0.05
    np.testing.assert_allclose(cells.singular_values_, people.singular_values_)
    score = cells.score(eye[i], eye[j], count)
    assert score == pytest.approx(cells.score(eye[rows[0]], eye[rows[1]]))
    law = LinearCDK(3).fit(eye[i], eye[j], sample_weight=count / count.sum())
    np.testing.assert_allclose(law.singular_values_, EXACT, atol=1e-6)
    assert "known exactly" in str(law.certificate_)
    found = CDK(3, hidden=(16,), steps=50, **QUIET).fit(eye[i], eye[j], sample_weight=count)
    assert abs(found.singular_values_[0] - EXACT[0]) < 0.1
    same = CDK(3, hidden=(16,), steps=50, **QUIET).fit(eye[rows[0]], eye[rows[1]])
    np.testing.assert_allclose(same.singular_values_, found.singular_values_, atol=0.1)


def test_copies_and_groups_do_not_judge_each_other(rng: np.random.Generator) -> None:
    x, y = one_true_pair(200, 20, 0.6, rng)
    once, copied = LinearCDK(3).fit(x, y), LinearCDK(3).fit(*(np.repeat(a, 5, 0) for a in (x, y)))
    assert copied.ridge_ == once.ridge_
    np.testing.assert_allclose(copied.singular_values_, once.singular_values_)
    near = [np.repeat(a, 5, 0) + 1e-3 * rng.normal(size=(1000, 20)) for a in (x, y)]
    group = np.repeat(np.arange(200), 5)
    alone, told = LinearCDK(3).fit(*near), LinearCDK(3).fit(*near, groups=group)
    assert alone.singular_values_[0] > told.singular_values_[0] + 0.1  # nobody said so
    np.testing.assert_allclose(told.singular_values_, once.singular_values_, atol=0.01)
    parts = deal(GivenPairs(np.arange(1000), np.arange(1000)), [0.5, 0.2, 0.3], 0, group)
    ids = [set((part.x // 5).tolist()) for part, _ in parts]  # type: ignore[attr-defined]
    assert not any(a & b for a, b in itertools.combinations(ids, 2))
    captions = GivenPairs(np.repeat(x, 5, 0), rng.normal(size=(1000, 2)))
    for part, _ in folds(captions, 5, 0):  # one x with five y
        assert len(part) == 5 * len(np.unique(part.x, axis=0))  # type: ignore[attr-defined]
    found = CDK(2, hidden=(16,), steps=20, **QUIET).fit(*near, groups=group)
    assert found.singular_values_[0] < 0.8


def test_series_are_judged_by_blocks(rng: np.random.Generator) -> None:
    walks = rng.normal(size=(2, 400, 2)).cumsum(1)  # independent, and slow
    assert LinearCDK(1).fit(*walks).singular_values_[0] > 0.5
    assert LinearCDK(1).fit(*walks, groups="series").singular_values_[0] < 0.5
    parts = folds(GivenPairs(np.arange(100), np.arange(100)), 5, 0, "series")
    for part, _ in parts:
        assert (np.diff(part.x) == 1).all()  # type: ignore[attr-defined]


def test_few_classes_are_parted_by_their_items(views: Callable[..., Any]) -> None:
    x, y = views(count=3, each=20)
    parts = folds(ClassPairs(*x, *y), 5, 0)
    assert len(parts) == 5
    assert all(len(part.classes) == 3 for part, _ in parts)  # type: ignore[attr-defined]
    assert LinearCDK(2).fit(x, y).singular_values_[0] > 0.5


def test_a_pair_does_not_meet_itself_in_the_score() -> None:
    """Every sample of 3 pairs of a 2 × 3 law, weighed by its probability: an exact expectation."""
    p = np.array([[0.3, 0.1, 0.15], [0.05, 0.3, 0.1]])
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0, 1.0], [1.0, 0.5], [-1.0, 2.0]])
    i, j = np.indices(p.shape).reshape(2, -1)
    model = LinearCDK(1, ridge=0.1).fit(x[i], y[j], sample_weight=p.ravel())
    exact = model.score(x[i], y[j], p.ravel())
    expected = sum(
        p.ravel()[list(some)].prod() * model.score(x[i[list(some)]], y[j[list(some)]])
        for some in itertools.product(range(6), repeat=3)
    )
    assert expected == pytest.approx(exact, rel=1e-10)


def test_ratios_are_positive_and_calibrated(gaussian: Callable[..., Pairs]) -> None:
    rho = 0.8
    found = CDK(4, hidden=(32, 32), **QUIET).fit(*gaussian(5000, rho, 3))
    (x, y), away = gaussian(4000, rho, 4), np.random.default_rng(0).permutation(4000)

    def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = rho**2 * (a**2 + b**2) - 2 * rho * a * b
        return (-np.log(1 - rho**2) / 2 - square / (2 * (1 - rho**2)))[:, 0]

    both = np.vstack([x, x]), np.vstack([y, y[away]])
    logs, true = found.log_dependence(*both), exact(*both)
    clipped = np.log(np.maximum(found.dependence(*both), 1e-3))
    likely = true > -3
    assert np.isfinite(logs).all()
    assert (found.dependence(*both) < 0).any()
    errors = [np.sqrt(((a - true)[likely] ** 2).mean()) for a in (logs, clipped)]
    assert errors[0] < 0.45
    assert errors[0] < errors[1]
    assert abs(found.log_dependence(x, y).mean() - -np.log(1 - rho**2) / 2) < 0.1  # information
    apart = np.exp(found.log_dependence(x, y[away]))
    assert apart.mean() == pytest.approx(1, abs=0.1)
    short = found.truncate(2)
    np.testing.assert_allclose(
        short.log_dependence(x, y), found.log_dependence(x, y, modes=2), rtol=1e-4, atol=1e-4
    )
    table = found.log_dependence(torch.tensor(x[:3]), torch.tensor(y[:4]), pairwise=True)
    assert table.shape == (3, 4)


def test_rows_for_validation_judge_a_loader(gaussian: Callable[..., Pairs]) -> None:
    x, y = (torch.tensor(a, dtype=torch.float32) for a in gaussian(2000))
    batches = list(zip(x.split(100), y.split(100), strict=True))
    settings = {"hidden": (16,), "steps": 30, **QUIET}
    alone = CDK(1, **settings).fit(batches)
    assert any("nothing was held out" in text for text in alone.certificate_.alarms)
    found = CDK(1, **settings).fit(batches, validation=gaussian(1000, seed=5))
    assert not found.certificate_.alarms
    assert abs(found.singular_values_[0] - 0.8) < 0.1
    linear = LinearCDK(1).fit(batches, validation=gaussian(1000, seed=5))
    assert abs(linear.singular_values_[0] - 0.8) < 0.1


@pytest.mark.parametrize("n", [2, 3, 4, 5, 9])
def test_a_handful_of_pairs_shows_nothing(n: int, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, n, 3))
    found = CDK(1, hidden=(8,), steps=3, **QUIET).fit(x, y)
    assert found.maximal_correlation_ == 0
    assert any("no evidence" in text for text in found.certificate_.alarms)
