"""Matrices with holes and known answers."""

from __future__ import annotations

import numpy as np
import pytest

from schmidt.completion.observed import Observed


@pytest.fixture
def planted(rng):
    """A matrix of rank 3, and the same with NaN in 60 % of its places."""
    full = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 45))
    return full, np.where(rng.random(full.shape) < 0.4, full, np.nan)


@pytest.fixture
def ratings(rng):
    """Triples of 1, …, 5 from biases and two tastes; one place in six."""
    users, films = 120, 90
    taste = 0.8 * rng.standard_normal((users, 2)) @ rng.standard_normal((2, films))
    bias = 0.5 * rng.standard_normal((users, 1)) + 0.5 * rng.standard_normal(films)
    scores = np.clip(np.round(3 + bias + taste + 0.3 * rng.standard_normal(taste.shape)), 1, 5)
    rows, columns = np.nonzero(rng.random(scores.shape) < 1 / 6)
    return rows, columns, scores[rows, columns]


@pytest.fixture
def observed():
    """A dense matrix with NaN in the holes → Observed."""

    def convert(X):
        rows, columns = np.nonzero(~np.isnan(X))
        return Observed.of(rows, columns, X[rows, columns], X.shape)

    return convert
