"""Arrays of every type, shape and layout mean the same to everything that takes arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import estimator_checks

from laws.arrays import arrays
from schmidt import CDK, PCA, LinearCDK, MatrixCompletion, SemanticIndex, svd

FEW = settings(max_examples=40, deadline=None, derandomize=True)


def precision(A: np.ndarray) -> float:
    """What an answer in the type of the data is good for."""
    return {"f2": 1e-5, "f4": 1e-5, "c8": 1e-5}.get(A.dtype.str[1:], 1e-11)


@FEW
@given(arrays(), st.data())
def test_svd(pair: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    """Values, residuals, orthonormal sides; and the array is left as it was."""
    A, plain = pair
    k = data.draw(st.integers(1, min(A.shape)))
    before = A.tobytes()
    found = svd(A, rank=k)
    assert A.tobytes() == before
    exact = np.linalg.svd(plain, compute_uv=False)
    tol = precision(A) * max(exact[0], 1e-300)
    np.testing.assert_allclose(found.values, exact[:k], atol=tol)
    error = float(np.linalg.norm(plain - found.reconstruct(), 2))
    assert error <= found.certificate["spectral"].high + tol
    assert error >= exact[k] - tol if k < len(exact) else error <= tol
    for side in (found.left, found.right):
        np.testing.assert_allclose(side.conj().T @ side, np.eye(k), atol=precision(A))


@FEW
@given(arrays((3, 9), (2, 6), real=True))
def test_pca(pair: tuple[np.ndarray, np.ndarray]) -> None:
    A, plain = pair
    if np.ptp(plain, axis=0).max() == 0:
        return
    found, same = PCA(1).fit(A), PCA(1).fit(plain)
    size = np.abs(plain).max()
    np.testing.assert_allclose(found.mean_, same.mean_, atol=precision(A) * size)
    values, others = found.singular_values_, same.singular_values_
    np.testing.assert_allclose(values, others, rtol=precision(A), atol=precision(A) * size)


@settings(FEW, max_examples=4)
@given(arrays((60, 90), (1, 3), real=True))
def test_linear_dependence(pair: tuple[np.ndarray, np.ndarray]) -> None:
    A, plain = pair
    y = plain[:, :1] + np.arange(len(plain))[:, None] % 7
    found, same = (LinearCDK(modes=1).fit(x, y) for x in (A, plain))
    np.testing.assert_allclose(found.singular_values_, same.singular_values_, atol=1e-4)


@settings(FEW, max_examples=15)
@given(arrays((6, 9), (5, 8), real=True))
def test_completion(pair: tuple[np.ndarray, np.ndarray]) -> None:
    A, plain = pair
    if A.dtype == bool:
        with pytest.raises(ValueError, match="values must be real numbers"):
            MatrixCompletion().fit(A)
        return
    size = max(1.0, float(np.abs(plain).max()))
    found, same = (MatrixCompletion(penalty=size).fit(x) for x in (A, plain))
    np.testing.assert_allclose(found.reconstruct(), same.reconstruct(), atol=1e-3 * size)


CONTRACT = (
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
)
"""Checks of scikit-learn that need no data. All of them run on PCA (tests/matrices). The others are
not meant here: CDK and LinearCDK are fitted to pairs (X, Y), MatrixCompletion to triples, where a
row is an observation and a place, SemanticIndex to texts; those checks pass a matrix and labels."""


@pytest.mark.parametrize("check", CONTRACT)
@pytest.mark.parametrize("estimator", [PCA, CDK, LinearCDK, MatrixCompletion, SemanticIndex])
def test_the_contract_of_estimators(check: str, estimator: Any) -> None:
    getattr(estimator_checks, check)(estimator.__name__, estimator())
