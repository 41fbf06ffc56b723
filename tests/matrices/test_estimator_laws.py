"""Principal components keep the laws of estimators, by every solver and in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from laws.estimators import EstimatorLaws
from schmidt import PCA


class Batches(PCA):
    """The same by ``partial_fit``, from nothing."""

    def fit(self, X: Any, y: Any = None) -> Batches:
        self.__dict__ = {k: v for k, v in vars(self).items() if k in self.get_params()}
        X = X[:, :] if getattr(X, "ndim", 2) == 2 else X
        for start in range(0, max(len(X), 1), 20):
            self.partial_fit(X[start : start + 20])
        return self


class TestPCA(EstimatorLaws):
    unordered = 1e-8
    transient = ("left_",)

    def make(self) -> Any:
        return PCA(3)

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return (3 + rng.normal(size=(60, 7)) * np.arange(1, 8),)

    def test_a_common_unit_only_scales_the_values(self, rng: np.random.Generator) -> None:
        (X,) = self.data(rng)
        for kind, units, tol in (
            (np.float64, (2.0**-300, 2.0**40), 1e-7),
            (np.float32, (2.0**-60, 2.0**60), 1e-3),
        ):
            one = self.make().fit(X.astype(kind))
            for unit in units:
                other = self.make().fit(X.astype(kind) * kind(unit))
                wanted = one.singular_values_ * unit
                np.testing.assert_allclose(other.singular_values_, wanted, rtol=tol)
                np.testing.assert_allclose(other.components_, one.components_, atol=tol)


class TestShareOfVariance(TestPCA):
    def make(self) -> Any:
        return PCA(0.7)


class TestPower(TestPCA):
    unordered = 1e-4

    def make(self) -> Any:
        return PCA(2, solver="power", accuracy=1e-9)


class TestBatches(TestPCA):
    unordered = 1e-8

    def make(self) -> Any:
        return Batches(3)

    def test_files_and_pickles_keep_everything(self) -> None:  # type: ignore[override]
        pytest.skip("the same class as above")
