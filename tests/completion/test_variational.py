"""Variational Bayes: its steps against their definition, and what it finds."""

import numpy as np
import pytest

from schmidt import MatrixCompletion
from schmidt.completion.variational import Entries, Tables, Variational, regress


def by_hand(X, means, covariances, precision, noise):
    """(2) for every row, with E[φφᵀ] written out."""
    k = means.shape[1] - 1
    w, cov = np.zeros((len(X), k + 1)), np.zeros((len(X), k + 1, k + 1))
    for i, row in enumerate(X):
        gram, target = precision.copy(), np.zeros(k + 1)
        for j in np.flatnonzero(~np.isnan(row)):
            phi = np.append(means[j, :k], 1)
            second = np.outer(phi, phi)
            second[:k, :k] += covariances[j][:k, :k]
            cross = means[j, k] * phi
            cross[:k] += covariances[j][k, :k]
            gram += second / noise
            target += (row[j] * phi - cross) / noise
        cov[i] = np.linalg.inv(gram)
        w[i] = cov[i] @ target
    return w, cov


def test_rows_are_bayesian_regressions_on_uncertain_columns(planted, observed, rng):
    X = planted[1][:12, :9]
    X[3] = np.nan
    k, n = 3, X.shape[1]
    means = rng.standard_normal((n, k + 1))
    covariances = np.array([a @ a.T for a in 0.3 * rng.standard_normal((n, k + 1, k + 1))])
    moments = Tables.certain(means).moments.copy()
    low = np.tril_indices(k)
    packed = (k + 1) * (k + 2) // 2
    moments[:, : len(low[0])] += covariances[:, low[0], low[1]]
    moments[:, packed : packed + k] += covariances[:, k, :k]
    moments[:, -1] += covariances[:, k, k]
    precision = np.diag([1.0, 2.0, 0.5, 3.0]) + 0.1
    x = observed(X)
    found, error, total = regress(
        Entries.of(x, 0.0, np.float64), Tables(means, moments), precision, 0.7
    )
    w, cov = by_hand(X, means, covariances, precision, 0.7)
    np.testing.assert_allclose(found.means, w, atol=1e-10)
    second = cov + w[:, :, None] * w[:, None, :]
    np.testing.assert_allclose(found.moments[:, -1], second[:, k, k], atol=1e-10)
    np.testing.assert_allclose(total, second[np.arange(12) != 3].sum(axis=0), atol=1e-9)
    sampled = 0.0
    for i in range(12):
        a = rng.multivariate_normal(w[i], cov[i], 4000)
        for j in np.flatnonzero(~np.isnan(X[i])):
            m = rng.multivariate_normal(means[j], covariances[j], 4000)
            fit = (a[:, :k] * m[:, :k]).sum(axis=1) + a[:, k] + m[:, k]
            sampled += np.mean((X[i, j] - fit) ** 2)
    assert error + np.nansum(X**2) == pytest.approx(sampled, rel=0.05)


def test_tables_turn_with_their_latent_vectors(rng):
    means, turn = rng.standard_normal((6, 4)), rng.standard_normal((3, 2))
    turned = Tables.certain(means).turned(turn)
    direct = Tables.certain(np.hstack([means[:, :3] @ turn, means[:, 3:]]))
    np.testing.assert_allclose(turned.means, direct.means, atol=1e-12)
    np.testing.assert_allclose(turned.moments, direct.moments, atol=1e-12)


def test_the_balanced_form_says_the_same(planted, observed):
    x = observed(planted[1] + 1)
    state = Variational(x)
    state.run()
    part, (rows, columns) = state.model().part, state.balanced()[0]
    product = rows.means[:, :-1] @ columns.means[:, :-1].T
    np.testing.assert_allclose(product, (part.left * part.values) @ part.right.T, atol=1e-9)
    lengths = (np.linalg.norm(t.means[:, :-1], axis=0) for t in (rows, columns))
    for found in lengths:
        np.testing.assert_allclose(found, np.sqrt(part.values), rtol=1e-6)


def test_rank_and_noise_are_learned(rng):
    full = rng.standard_normal((150, 3)) @ rng.standard_normal((3, 100))
    X = np.where(rng.random(full.shape) < 0.3, full + 0.5 * rng.standard_normal(full.shape), np.nan)
    model = MatrixCompletion(method="variational").fit(X)
    assert model.rank_ == 3
    assert model.choice_.path is None
    assert model.choice_.variational.noise[0] == pytest.approx(0.5, rel=0.1)
    assert model.penalty_ is None
    assert any("not convex" in note for note in model.certificate_.notes)
    assert MatrixCompletion(method="variational", rank=2).fit(X).rank_ == 2


def test_single_and_double_precision_agree(ratings, monkeypatch):
    double = MatrixCompletion(method="variational").fit(*ratings)
    monkeypatch.setattr("schmidt.completion.variational.DOUBLE", 0)
    single = MatrixCompletion(method="variational").fit(*ratings)
    assert single.rank_ == double.rank_
    np.testing.assert_allclose(
        single.predict(*ratings[:2]), double.predict(*ratings[:2]), atol=1e-2
    )


def test_whichever_is_better_on_held_out_entries_is_taken(ratings):
    choice = MatrixCompletion().fit(*ratings).choice_
    errors = [choice.variational.error, choice.path.error]
    errors += [] if choice.fit is None else [choice.fit.error]
    assert choice.error == min(errors)
