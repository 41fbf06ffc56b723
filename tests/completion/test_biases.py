"""Row and column biases."""

import numpy as np

from schmidt.completion.model import LowRank, Model, fit_biases


def test_they_minimise_the_penalised_squares(planted, observed, rng):
    x = observed(planted[1] + rng.standard_normal((60, 1)))
    biases = fit_biases(x, (3.0, 7.0))
    residual = Model(biases, LowRank.zero(x.shape)).residual(x)
    # the gradients by b and c vanish
    np.testing.assert_allclose(x.row_sums(residual), 3.0 * biases.rows, atol=1e-4)
    np.testing.assert_allclose(x.column_sums(residual), 7.0 * biases.columns, atol=1e-4)


def test_penalties_are_the_ratio_of_the_variances(rng, observed):
    rows, columns = 2.0 * rng.standard_normal((300, 1)), 0.5 * rng.standard_normal(200)
    X = 1 + rows + columns + rng.standard_normal((300, 200))
    X[rng.random(X.shape) > 0.1] = np.nan
    by_row, by_column = fit_biases(observed(X)).penalties
    assert 0.19 < by_row < 0.33  # σ²/τ² = 1/4
    assert 3.0 < by_column < 5.3  # and 4


def test_without_biases_in_the_data_they_stay_small(rng, observed):
    X = np.where(rng.random((200, 150)) < 0.1, rng.standard_normal((200, 150)), np.nan)
    biases = fit_biases(observed(X))
    assert np.sqrt(np.mean(biases.rows**2)) < 0.1
    assert np.sqrt(np.mean(biases.columns**2)) < 0.1


def test_rows_without_entries_have_none(observed):
    X = np.array([[1.0, 2.0, np.nan], [np.nan] * 3, [4.0, 5.0, np.nan]])
    biases = fit_biases(observed(X))
    assert biases.rows[1] == 0
    assert biases.columns[2] == 0
    assert np.isfinite(biases.rows).all()
