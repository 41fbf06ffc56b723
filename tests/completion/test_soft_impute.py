"""softImpute against the conditions that hold at the minimum of its convex problem."""

import numpy as np
import pytest

from schmidt.completion.model import Biases, LowRank, Model, fit_biases
from schmidt.completion.selection import SoftImpute
from schmidt.completion.soft_impute import (
    _distance,
    _half_step,
    exact,
    fast_als,
    gradient_norm,
    soft_svd,
    soft_threshold,
    widen,
)


def minimise(x, biases, penalty, svd):
    method = SoftImpute(svd, None, tol=1e-10, max_iter=20000, seed=0)
    start = Model(biases, LowRank.zero(x.shape))
    return method.solve(x, start, penalty, np.random.default_rng(0))[0]


@pytest.mark.parametrize("svd", [True, False])
@pytest.mark.parametrize("with_biases", [True, False])
def test_the_minimum_obeys_its_conditions(planted, observed, rng, svd, with_biases):
    X = planted[1]
    x = observed(X + 1 + rng.standard_normal((60, 1)) + 0.1 * rng.standard_normal(X.shape))
    biases = fit_biases(x, (2.0, 4.0)) if with_biases else Biases.none(x.shape)
    penalty = 3.0
    model = minimise(x, biases, penalty, svd)
    residual = model.residual(x)
    gradient = x.matrix(residual).toarray()
    u, v = model.part.left, model.part.right
    assert 1 < model.part.rank < 20
    # 0 ∈ ∂: P_Ω(X − model) = λ(UVᵀ + W) with UᵀW = 0, WV = 0, ‖W‖₂ ≤ 1
    np.testing.assert_allclose(gradient.T @ u, penalty * v, atol=1e-5)
    np.testing.assert_allclose(gradient @ v, penalty * u, atol=1e-5)
    assert np.linalg.norm(gradient, 2) <= penalty * (1 + 1e-5)
    if with_biases:
        np.testing.assert_allclose(x.row_sums(residual), 2 * model.biases.rows, atol=1e-4)
        np.testing.assert_allclose(x.column_sums(residual), 4 * model.biases.columns, atol=1e-4)


def test_alternating_least_squares_and_exact_svds_agree(planted, observed):
    x = observed(planted[1])
    biases = fit_biases(x)
    a, b = (minimise(x, biases, 4.0, svd) for svd in (True, False))
    assert a.objective(x, 4.0) == pytest.approx(b.objective(x, 4.0), rel=1e-9)
    np.testing.assert_allclose(a.part.values, b.part.values, rtol=1e-4)


def test_each_iteration_lowers_the_objective(planted, observed):
    x = observed(planted[1])
    model = Model(Biases.none(x.shape), LowRank.zero(x.shape))
    values = [model.objective(x, 2.0)]
    for _ in range(20):
        model, _ = exact(x, model, 2.0, tol=0, max_iter=1)
        values.append(model.objective(x, 2.0))
    assert (np.diff(values) <= 1e-12).all()


def test_one_step_on_the_lectures_matrix_is_equations_2_to_4(observed):
    """Fill with the estimate (zero), take the SVD, soft-threshold it."""
    X = np.array([[2, np.nan, np.nan, 1], [np.nan, 4, np.nan, 2], [np.nan, 2, 1, 2.0]])
    x = observed(X)
    start = Model(Biases.none(x.shape), LowRank.zero(x.shape))
    model, _ = exact(x, start, 1.5, tol=0, max_iter=1)
    u, d, vh = np.linalg.svd(np.nan_to_num(X))
    expected = sum(max(d[i] - 1.5, 0) * np.outer(u[:, i], vh[i]) for i in range(3))
    part = model.part
    np.testing.assert_allclose((part.left * part.values) @ part.right.T, expected, atol=1e-12)


def test_without_holes_it_is_the_soft_thresholded_svd(rng, observed):
    X = rng.standard_normal((12, 9))
    x = observed(X)
    model = minimise(x, Biases.none(x.shape), 1.0, svd=False)
    np.testing.assert_allclose(model.part.values, soft_svd(X, 1.0).values, rtol=1e-8)


def test_above_the_largest_singular_value_nothing_is_left(planted, observed):
    x = observed(planted[1])
    biases = fit_biases(x)
    largest = gradient_norm(x, biases)
    for svd in (True, False):
        assert minimise(x, biases, largest * 1.01, svd).part.rank == 0
        assert minimise(x, biases, largest * 0.9, svd).part.rank >= 1


def dense(part):
    return (part.left * part.values) @ part.right.T


def low_rank(rng, m, n, values):
    u, v = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in (m, n))
    return LowRank(u, np.array(values), v)


def test_soft_thresholds(rng):
    np.testing.assert_array_equal(soft_threshold(np.array([3.0, 1.0, 0.5]), 1.0), [2, 0, 0])
    X = low_rank(rng, 9, 7, [4.0, 2.0, 1.0, 0.5])
    found = soft_svd(dense(X), 1.0)
    assert found.rank == 2
    np.testing.assert_allclose(found.values, [3.0, 1.0])


def test_distances_are_those_of_the_matrices(rng):
    a, b = low_rank(rng, 9, 7, [4.0, 2.0]), low_rank(rng, 9, 7, [3.0, 1.0, 0.5])
    assert _distance(a, b) == pytest.approx(np.linalg.norm(dense(a) - dense(b)))
    assert _distance(a, a) < 1e-7


def test_a_half_step_is_ridge_regression_on_the_filled_matrix(rng):
    """min over B of ½‖X̂ − ABᵀ‖² + ½λ‖B‖² with A = U√d."""
    part, residual = low_rank(rng, 9, 7, [4.0, 2.0]), rng.standard_normal((9, 7))
    a = part.left * np.sqrt(part.values)
    filled = residual + dense(part)
    b = filled.T @ a @ np.linalg.inv(a.T @ a + 0.7 * np.eye(2))
    found = _half_step(residual.T, part, 0.7)
    # M = U D (B D)ᵀ/√d … = A Bᵀ, orthonormal again
    np.testing.assert_allclose(dense(found), part.left @ (b * np.sqrt(part.values)).T, atol=1e-12)
    for side in (found.left, found.right):
        np.testing.assert_allclose(side.T @ side, np.eye(2), atol=1e-12)


def test_the_gradients_norm_is_that_of_the_residual_matrix(planted, observed, rng):
    x = observed(planted[1] + 3)
    biases = fit_biases(x)
    residual = x.matrix(Model(biases, LowRank.zero(x.shape)).residual(x)).toarray()
    assert gradient_norm(x, biases) == pytest.approx(np.linalg.norm(residual, 2), rel=1e-3)
    assert gradient_norm(x, biases) <= np.linalg.norm(residual, 2) * (1 + 1e-12)


@pytest.mark.parametrize("svd", [True, False])
def test_iterations_end_at_the_tolerance_or_at_their_number(planted, observed, svd):
    x = observed(planted[1] + 1)
    biases = fit_biases(x, (2.0, 4.0))
    start = Model(biases, LowRank.zero(x.shape))
    if not svd:
        start = widen(x, start, 3.0, 6, 0)
    way = exact if svd else fast_als
    # the first step that is small enough is the last
    found = [way(x, start, 3.0, tol=0, max_iter=i) for i in range(1, 13)]
    assert [steps for _, steps in found] == list(range(1, 13))
    parts = [dense(start.part), *(dense(model.part) for model, _ in found)]
    moved = [np.linalg.norm(parts[i + 1] - parts[i]) for i in range(12)]
    moved = [d / np.linalg.norm(part) for d, part in zip(moved, parts[1:], strict=True)]
    model, steps = way(x, start, 3.0, tol=0.1, max_iter=1000)
    assert 2 <= steps <= 12
    assert moved[steps - 1] <= (0.1 if svd else 0.15)
    assert moved[steps - 2] > (0.1 if svd else 0.07)
    assert model.objective(x, 3.0) < start.objective(x, 3.0)
    # biases are those of the last low-rank part
    np.testing.assert_allclose(x.row_sums(model.residual(x)), 2 * model.biases.rows, atol=1e-9)


def test_a_part_of_rank_zero_stays_so(planted, observed):
    x = observed(planted[1])
    start = Model(fit_biases(x), LowRank.zero(x.shape))
    model, iterations = fast_als(x, start, 1.0, tol=1e-3, max_iter=9)
    assert iterations == model.part.rank == 0


def test_ranks_are_bounded_where_asked(planted, observed):
    x = observed(planted[1])
    start = Model(Biases.none(x.shape), LowRank.zero(x.shape))
    assert exact(x, start, 0.1, tol=0, max_iter=3, rank=2)[0].part.rank == 2
    assert exact(x, start, 0.1, tol=0, max_iter=3)[0].part.rank > 2


def test_widening_adds_the_directions_in_which_the_residual_exceeds_lambda(planted, observed, rng):
    x = observed(planted[1])
    start = Model(Biases.none(x.shape), LowRank.zero(x.shape))
    values = np.linalg.svd(x.matrix().toarray(), compute_uv=False)
    wide = widen(x, start, 0.5 * values[3], 4, 0)
    assert wide.part.rank == 4
    assert (wide.part.values <= values[:4] - 0.5 * values[3] + 1e-9).all()
    np.testing.assert_allclose(wide.part.values[:2], values[:2] - 0.5 * values[3], rtol=0.05)
    assert widen(x, start, values[0] * 1.01, 4, 0).part.rank == 0
    again = widen(x, wide, 0.5 * values[3], 3, 1)
    assert 4 <= again.part.rank <= 7
    for side in (again.part.left, again.part.right):
        np.testing.assert_allclose(side.T @ side, np.eye(again.part.rank), atol=1e-9)
    assert widen(x, wide, 1e-9, 0, 0) is wide
    small = observed(rng.standard_normal((5, 4)))
    part = low_rank(rng, 5, 4, [2.0, 1.0, 0.5])
    assert widen(small, Model(Biases.none((5, 4)), part), 1e-9, 9, 0).part.rank == 4
