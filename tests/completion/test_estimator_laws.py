"""Matrix completion keeps the laws of estimators: triples, and matrices with holes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from laws.estimators import EstimatorLaws
from schmidt import MatrixCompletion

Data = tuple[np.ndarray, ...]


class TestTriples(EstimatorLaws):
    judged = 2
    unordered = 1e-6

    def make(self) -> Any:
        return MatrixCompletion(penalty=0.5, rank=3, tol=1e-9, max_iter=500)

    def data(self, rng: np.random.Generator) -> Data:
        A = rng.normal(size=(15, 2)) @ rng.normal(size=(2, 12)) + rng.normal(size=(15, 1))
        rows, columns = (A + 9).nonzero()
        kept = rng.random(len(rows)) < 0.6
        return rows[kept], columns[kept], A[rows[kept], columns[kept]]

    def answer(self, fitted: Any, data: Data) -> list[np.ndarray]:
        return [fitted.predict(*data[:2])]

    def test_units_of_values_do_not_matter(self, rng: np.random.Generator) -> None:
        rows, columns, values = self.data(rng)
        model = self.make()
        expected = model.fit(rows, columns, values).predict(rows, columns)
        for unit in (4.0**-40, 4.0**25):
            scale = {} if model.penalty is None else {"penalty": model.penalty * unit}
            other = self.make().set_params(**scale).fit(rows, columns, values * unit)
            np.testing.assert_allclose(other.predict(rows, columns) / unit, expected, rtol=1e-9)


class TestFixedRank(TestTriples):
    unordered = 1e-5

    def make(self) -> Any:
        return MatrixCompletion(method="fixed-rank", rank=1, penalty=0.1, tol=1e-10, max_iter=500)


class TestChosen(TestTriples):
    """λ and the rank from held-out entries."""

    def make(self) -> Any:
        return MatrixCompletion(rank=3)


class TestMatrix(TestTriples):
    """A matrix whose holes are NaN, which are no mistake there."""

    judged = 0
    unordered = None  # the place of a row is its name

    def data(self, rng: np.random.Generator) -> Data:
        rows, columns, values = super().data(rng)
        A = np.full((15, 12), np.nan)
        A[rows, columns] = values
        return (A,)

    def answer(self, fitted: Any, data: Data) -> list[np.ndarray]:
        return [fitted.predict(*np.nonzero(np.isfinite(data[0])))]

    def test_units_of_values_do_not_matter(self, rng: np.random.Generator) -> None:
        (A,) = self.data(rng)
        one, other = (self.make().set_params(penalty=p).fit(B) for p, B in ((1, A), (64, 64 * A)))
        np.testing.assert_allclose(self.answer(other, (A,))[0], 64 * self.answer(one, (A,))[0])

    @pytest.mark.parametrize("bad", ["inf", "complex", "empty", "words", "scalar"])
    def test_what_makes_no_sense_is_refused(self, bad: str, rng: np.random.Generator) -> None:
        super().test_what_makes_no_sense_is_refused(bad, rng)
