"""The constrained problem min Σ_observed (A − C)² s.t. rank C = k, and its row regressions."""

import numpy as np
import pytest
from scipy.optimize import minimize

from schmidt import MatrixCompletion
from schmidt.completion.fixed_rank import ridge_rows

NAN = np.nan
FIRST = np.array([[2, NAN, NAN, 1], [NAN, 4, NAN, 2], [NAN, 2, 1, 1]])
CHANGED = np.array([[2, NAN, NAN, 1], [NAN, 4, NAN, 2], [NAN, 2, 1, 3]])
LAST = np.array([[2, NAN, NAN, 1], [NAN, 4, NAN, 2], [NAN, 2, 1, 2]])


def completed(A, rank):
    model = MatrixCompletion(
        method="fixed-rank", rank=rank, biases=False, tol=1e-9, max_iter=5000, clip=None
    )
    return model.fit(A).reconstruct()


def test_the_lectures_matrix_of_rank_one_is_completed_exactly():
    np.testing.assert_allclose(
        completed(FIRST, 1), [[2, 2, 1, 1], [4, 4, 2, 2], [2, 2, 1, 1]], atol=1e-7
    )


@pytest.mark.parametrize("A", [CHANGED, LAST])
def test_where_rank_one_does_not_fit_no_start_finds_less(A, rng):
    found = np.nansum((completed(A, 1) - A) ** 2)
    assert found > 0.1

    def squares(z):
        return np.nansum((np.outer(z[:3], z[3:]) - A) ** 2)

    others = [minimize(squares, rng.standard_normal(7), tol=1e-12).fun for _ in range(12)]
    assert found == pytest.approx(min(others), rel=1e-6)


def test_the_lectures_last_matrix_has_a_completion_of_rank_two():
    C = completed(LAST, 2)
    np.testing.assert_allclose(C[~np.isnan(LAST)], LAST[~np.isnan(LAST)], atol=1e-6)
    assert np.linalg.svd(C)[1][2] < 1e-10


def test_without_holes_it_is_the_truncated_svd(rng):
    A = rng.standard_normal((9, 7))
    u, d, vh = np.linalg.svd(A)
    np.testing.assert_allclose(completed(A, 2), (u[:, :2] * d[:2]) @ vh[:2], atol=1e-5)


def test_a_planted_matrix_is_recovered(planted):
    full, X = planted
    np.testing.assert_allclose(completed(X, 3), full, atol=1e-6)


def test_rows_are_ridge_regressions_each_by_itself(planted, observed, rng):
    X = planted[1]
    X[5] = NAN
    x, features = observed(X), rng.standard_normal((45, 4))
    penalties = np.array([0.1, 1.0, 2.0, 0.0])
    found = ridge_rows(x, features, penalties)
    for i, row in enumerate(X):
        seen = ~np.isnan(row)
        f = features[seen]
        expected = (
            np.linalg.solve(f.T @ f + np.diag(penalties), f.T @ row[seen]) if any(seen) else 0
        )
        np.testing.assert_allclose(found[i], expected, atol=1e-10)


def test_rows_with_few_entries_and_no_penalty_get_the_smallest_solution(observed, rng):
    X = np.array([[1.0, NAN, NAN], [NAN, 2.0, 3.0]])
    features = rng.standard_normal((3, 4))
    found = ridge_rows(observed(X), features, np.zeros(4))
    np.testing.assert_allclose(found[0], np.linalg.pinv(features[:1]) @ [1.0], atol=1e-5)
    np.testing.assert_allclose(found[1], np.linalg.pinv(features[1:]) @ [2.0, 3.0], atol=1e-5)
