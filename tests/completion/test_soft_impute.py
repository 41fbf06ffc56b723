"""softImpute against the conditions that hold at the minimum of its convex problem."""

import numpy as np
import pytest

from schmidt.completion.model import Biases, LowRank, Model, fit_biases
from schmidt.completion.selection import SoftImpute
from schmidt.completion.soft_impute import exact, gradient_norm, soft_svd


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
