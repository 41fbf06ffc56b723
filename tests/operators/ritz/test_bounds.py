"""Error bounds hold on random matrices, degenerate or not, and on inputs made to break them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from schmidt.operators.ritz.certify import _ratio, bounds, clusters

MATRICES = 300


def symmetric(rng: np.random.Generator, n: int, degenerate: bool):
    values = np.sort(rng.standard_normal(n))[::-1]
    if degenerate:
        values = np.round(1.5 * values) / 1.5
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return values, q, (q * values) @ q.T


def ritz(a: np.ndarray, trial: np.ndarray):
    """Ritz values (descending), vectors and residual norms in the span of trial vectors."""
    v = np.linalg.qr(trial)[0]
    values, turn = np.linalg.eigh(v.T @ a @ v)
    vectors = v @ turn[:, ::-1]
    values = values[::-1]
    return values, vectors, np.linalg.norm(a @ vectors - vectors * values, axis=0)


@pytest.mark.parametrize("degenerate", [False, True])
def test_some_eigenvalue_lies_within_the_linear_bound(rng, degenerate):
    for _ in range(MATRICES):
        n = int(rng.integers(3, 12))
        exact, q, a = symmetric(rng, n, degenerate)
        m = int(rng.integers(1, n))
        noise = 10 ** rng.uniform(-8, 0)
        values, _, residual = ritz(a, q[:, :m] + noise * rng.standard_normal((n, m)))
        modes = int(rng.integers(1, m + 1))
        found = bounds(values, residual, modes)
        distance = np.abs(values[:modes, None] - exact).min(1)
        assert (distance <= found.linear + 1e-12).all()
        assert (found.quadratic <= found.linear).all()
        np.testing.assert_array_equal(found.linear, residual[:modes])


@pytest.mark.parametrize("place", ["top", "middle"])
@pytest.mark.parametrize("degenerate", [False, True])
def test_the_quadratic_bound_holds_with_the_true_gap(rng, degenerate, place):
    """Ritz values of a group, the rest of the spectrum given exactly: eigenvalues and Ritz values
    pair up within the bound."""
    claimed = 0
    for _ in range(MATRICES):
        n = int(rng.integers(6, 12))
        exact, q, a = symmetric(rng, n, degenerate)
        start = 0 if place == "top" else int(rng.integers(1, 3))
        stop = start + int(rng.integers(1, 4))
        noise = 10 ** rng.uniform(-6, -0.5)
        trial = q[:, start:stop] + noise * rng.standard_normal((n, stop - start))
        inside, _, residual = ritz(a, trial)
        values = np.concatenate([exact[:start], inside, exact[stop:]])
        if (np.diff(values) > 0).any():
            continue
        radius = np.concatenate([np.zeros(start), residual, np.zeros(n - stop)])
        found = bounds(values, radius, stop)
        error = np.abs(inside - exact[start:stop])
        sure = np.isfinite(found.gap[start:])
        assert (error <= found.quadratic[start:] + 1e-12)[sure].all()
        claimed += int(sure.sum())
    assert claimed > MATRICES / 2


def test_the_quadratic_bound_is_quadratic_and_of_the_right_size():
    """[[0, ε], [ε, −2]] and the trial vector e₁: error ε²/2, residual ε, gap 2."""
    found = bounds(np.array([0.0, -2.0]), np.array([1e-4, 0.0]), 1)
    assert found.gap[0] == 2
    assert found.quadratic[0] == pytest.approx(5e-9)
    assert np.sqrt(1 + 1e-8) - 1 <= found.quadratic[0] * (1 + 1e-6)


def test_a_group_shares_its_residual_and_its_gap():
    values, residual = np.array([5.0, 3.0, 3.0, 0.0]), np.array([0.0, 3e-3, 4e-3, 0.1])
    found = bounds(values, residual, 3)
    assert found.groups == [slice(0, 1), slice(1, 3)]
    np.testing.assert_allclose(found.gap, [2 - 4e-3, 2.0, 2.0])
    np.testing.assert_allclose(found.quadratic[1:], 25e-6 / 2.0)


def test_nothing_is_claimed_for_the_last_value_without_a_following_one():
    found = bounds(np.array([3.0, 2.0, 1.0]), np.full(3, 1e-3), 3)
    assert np.isnan(found.gap[2])
    assert found.quadratic[2] == found.linear[2]
    assert found.quadratic[1] < found.linear[1]
    alone = bounds(np.array([1.0]), np.array([1e-3]), 1)
    assert np.isnan(alone.gap[0])
    assert alone.quadratic[0] == 1e-3


def test_a_level_that_goes_on_beyond_the_wanted_modes_is_kept_whole():
    values = np.array([4.0, 2.0, 2.0, 2.0, 1.0])
    assert clusters(values, np.full(5, 1e-3), 2) == [slice(0, 1), slice(1, 4)]
    found = bounds(values, np.full(5, 1e-3), 2)
    assert found.groups == [slice(0, 1), slice(1, 2)]
    assert found.quadratic[1] == pytest.approx(3e-6 / (1 - 1e-3))
    cut = bounds(values[:3], np.full(3, 1e-3), 2)  # the level goes on where nobody looked
    assert np.isnan(cut.gap[1])


def test_groups_cover_the_wanted_modes_in_order(rng):
    for _ in range(200):
        n = int(rng.integers(1, 10))
        values = np.sort(np.round(rng.standard_normal(n), 1))[::-1]
        residual = 10 ** rng.uniform(-6, 1, n)
        modes = int(rng.integers(1, n + 1))
        found = bounds(values, residual, modes)
        assert [i for g in found.groups for i in range(g.start, g.stop)] == list(range(modes))
        assert len(found.gap) == len(found.quadratic) == len(found.linear) == modes
        assert (found.gap[np.isfinite(found.gap)] > 0).all()


def test_intervals_that_overlap_across_others_belong_together():
    """A wide interval swallows narrow ones that lie beyond its neighbour, on either side."""
    values = np.array([3.0, 2.9, 2.0, 0.0])
    assert clusters(values, np.array([1.5, 1e-3, 1e-3, 1e-3]), 3) == [slice(0, 3)]
    values = np.array([3.0, 2.0, 1.5, -2.0])
    assert clusters(values, np.array([1e-2, 1e-3, 2.0, 1e-3]), 1) == [slice(0, 3)]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_wide_interval_beyond_the_neighbour_forbids_a_quadratic_claim(sign):
    """Vector 1 couples to an unseen one so that an eigenvalue comes to lie at the well-looking
    Ritz value 2, which then moves linearly with its small residual."""
    a = np.zeros((4, 4))
    a[0, 0], a[1, 1], a[2, 2], a[3, 3] = 3.0, 2.9, 2.0, 4.25
    a[0, 3] = a[3, 0] = 1.5
    a[2, 3] = a[3, 2] = 1e-3
    a *= sign
    values, _, residual = ritz(a, np.eye(4)[:, :3])
    found = bounds(values, residual, 3)
    error = np.abs(values[:, None] - np.linalg.eigvalsh(a)).min(1)
    assert (error <= found.quadratic + 1e-12).all()
    assert error.max() > 1e-4


def test_equal_values_are_one_level_even_with_no_residual():
    values = np.array([2.0, 2.0, 1.0, 1.0 - 1e-9, 0.5])
    assert clusters(values, np.zeros(5), 4) == [slice(0, 2), slice(2, 4)]
    found = bounds(values, np.zeros(5), 4)
    assert (found.quadratic == 0).all()


@pytest.mark.parametrize("where", ["value", "residual"])
@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_nothing_is_claimed_on_the_strength_of_a_nan(where, index):
    values, residual = np.array([3.0, 2.0, 1.0, 0.0]), np.full(4, 1e-3)
    (values if where == "value" else residual)[index] = np.nan
    found = bounds(values, residual, 3)
    claimed = np.isfinite(found.gap)
    assert not claimed[max(0, index - 1) : index + 2].any()
    np.testing.assert_array_equal(found.quadratic[~claimed], found.linear[~claimed])


def test_infinite_residuals_claim_nothing():
    found = bounds(np.array([3.0, 2.0, 1.0]), np.array([1e-3, np.inf, 1e-3]), 2)
    assert np.isnan(found.gap).all()
    assert found.linear[1] == np.inf


def test_the_jackknife_of_a_mean_is_students_interval(rng):
    """Over a constant the ratio is a mean, and its jackknife error is s/√n exactly."""
    for n in (4, 16):
        above = rng.random((n, 5))
        total, upper = _ratio(above, np.full((n, 5), 2.0), 0.99)
        np.testing.assert_allclose(total, above.mean(0) / 2)
        error = above.std(0, ddof=1) / np.sqrt(n) / 2
        np.testing.assert_allclose(upper - total, stats.t.ppf(0.99, n - 1) * error)


def test_the_jackknife_interval_of_a_ratio_has_its_confidence(rng):
    """4000 samples of 16 correlated pairs: nine of ten intervals hold the true ratio."""
    below = 1 + rng.random((16, 4000))
    above = 3 * below + 0.3 * rng.standard_normal(below.shape)
    _, upper = _ratio(above, below, 0.9)
    assert np.mean(upper >= 3.0) == pytest.approx(0.9, abs=0.03)
