"""Nyström on data: exact where all points are landmarks, scikit-learn's where they are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import laplacian_kernel, polynomial_kernel, rbf_kernel

from schmidt import nystrom


def gaussian(x: Any, y: Any) -> np.ndarray:
    return rbf_kernel(x, y, gamma=0.5)


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((300, 2))


def approximation(found: Any, x: np.ndarray) -> np.ndarray:
    """K̂ = N Σ λ φ φᵀ / N."""
    f = found.left(x)
    return (f * found.values) @ f.T


def test_with_all_points_it_is_the_eigendecomposition(X: np.ndarray) -> None:
    found = nystrom(gaussian, X, tol=1e-13)
    K = gaussian(X, X)
    exact = np.linalg.eigvalsh(K)[::-1] / len(X)
    np.testing.assert_allclose(found.values[:20], exact[:20], rtol=1e-8)
    f = found.truncate(12).left(X)
    np.testing.assert_allclose(f.T @ f / len(X), np.eye(12), atol=1e-6)
    np.testing.assert_allclose(K @ f / len(X), f * found.values[:12], atol=1e-7)


def test_functions_are_continued_by_equation_11(X: np.ndarray, rng: np.random.Generator) -> None:
    """φ(x) = λ⁻¹ N⁻¹ Σ_j k(x, x_j) φ(x_j), at points never seen."""
    found = nystrom(gaussian, X, tol=1e-12).truncate(8)
    new = rng.standard_normal((50, 2))
    continued = gaussian(new, X) @ found.left(X) / len(X) / found.values
    np.testing.assert_allclose(found.left(new), continued, atol=1e-5)


@pytest.mark.parametrize("kernel", [gaussian, laplacian_kernel, polynomial_kernel])
def test_same_landmarks_give_scikit_learns_approximation(kernel: Any, X: np.ndarray) -> None:
    name = {gaussian: "rbf", laplacian_kernel: "laplacian", polynomial_kernel: "poly"}[kernel]
    settings: dict = {"gamma": 0.5} if kernel is gaussian else {}
    if kernel is polynomial_kernel:
        settings = {"degree": 3, "coef0": 1, "gamma": 0.5}
    theirs = Nystroem(name, n_components=8, random_state=0, **settings).fit(X)
    found = nystrom(kernel, X, landmarks=theirs.component_indices_)
    Z = theirs.transform(X)
    np.testing.assert_allclose(approximation(found, X), Z @ Z.T, rtol=1e-6, atol=1e-8)
    new = X[:20] + 0.3
    Z = theirs.transform(new)
    np.testing.assert_allclose(approximation(found, new), Z @ Z.T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("landmarks", ["pivoted", "uniform"])
def test_the_error_is_exact_and_bounds_every_norm(landmarks: str, X: np.ndarray) -> None:
    found = nystrom(gaussian, X, n_landmarks=15, landmarks=landmarks)
    E = gaussian(X, X) - approximation(found, X)
    assert found.certificate.trace == pytest.approx(np.trace(E) / len(X), rel=1e-6)
    assert np.linalg.eigvalsh(E)[0] > -1e-6
    assert np.linalg.norm(E) / len(X) <= found.certificate.trace
    assert found.certificate.landmarks == len(set(found.settings["indices"])) == 15
    assert (found.values <= np.linalg.eigvalsh(gaussian(X, X))[::-1][:15] / len(X) + 1e-12).all()


@pytest.mark.parametrize("tol", [0.3, 0.03, 1e-4])
def test_a_tolerance_is_met_with_few_landmarks(tol: float, X: np.ndarray) -> None:
    found = nystrom(gaussian, X, tol=tol)
    assert found.certificate.relative <= tol
    assert found.certificate.met
    eigenvalues = np.linalg.eigvalsh(gaussian(X, X))[::-1]
    needed = 1 + np.argmax(np.cumsum(eigenvalues) >= (1 - tol) * eigenvalues.sum())
    assert needed <= found.certificate.landmarks <= 3 * needed


def test_adaptive_landmarks_find_small_clusters(rng: np.random.Generator) -> None:
    """Twenty far clusters, most of one point in a thousand: uniform landmarks miss them."""
    centres = np.arange(20)[:, None] * [100.0, 0]
    X = np.concatenate([centres, np.zeros((980, 2))]) + 0.01 * rng.standard_normal((1000, 2))
    pivoted, uniform = (
        [
            nystrom(gaussian, X, n_landmarks=25, landmarks=kind, seed=seed).certificate.trace
            for seed in range(5)
        ]
        for kind in ("pivoted", "uniform")
    )
    assert np.median(pivoted) < 1e-3 < 5e-3 < np.median(uniform)


class TestTwoDataSets:
    def test_is_the_svd_of_the_matrix(self, rng: np.random.Generator) -> None:
        X, Y = rng.standard_normal((80, 2)), rng.standard_normal((60, 3))

        def kernel(x: Any, y: Any) -> np.ndarray:
            return np.sin(x[:, :1] + y[:, 0]) + 0.3 * x[:, 1:] * y[:, 2]

        found = nystrom(kernel, X, Y, rank=3)
        K = kernel(X, Y) / np.sqrt(80 * 60)
        np.testing.assert_allclose(found.values, np.linalg.svd(K, compute_uv=False)[:3], rtol=1e-9)
        left, right = found.left(X), found.right(Y)
        np.testing.assert_allclose(left.T @ left / 80, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(right.T @ right / 60, np.eye(3), atol=1e-9)
        np.testing.assert_allclose((left * found.values) @ right.T, kernel(X, Y), atol=1e-8)

    def test_refusals(self, X: np.ndarray) -> None:
        with pytest.raises(ValueError, match="positive semidefinite kernel on one"):
            nystrom(gaussian, X, X, tol=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "say how many"),
        ({"rank": 400}, "between 1 and the 300 points"),
        ({"rank": 5, "n_landmarks": 3}, "between 5 and"),
        ({"rank": 5, "landmarks": "kmeans"}, "pivoted"),
        ({"tol": 2.0}, "share of tr K"),
    ],
)
def test_impossible_settings(settings: dict, message: str, X: np.ndarray) -> None:
    with pytest.raises(ValueError, match=message):
        nystrom(gaussian, X, **settings)


def test_kernels_that_are_not_one(X: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not symmetric"):
        nystrom(lambda x, y: np.exp(x[:, :1] - y[:, 0]), X, rank=2)
    with pytest.raises(ValueError, match="semidefinite"):
        nystrom(lambda x, y: -(x @ y.T), X, rank=2)
    with pytest.raises(ValueError, match="semidefinite"):
        nystrom(lambda x, y: 1.0 + 10 * np.abs(x[:, :1] - y[:, 0]), X, rank=5)
    with pytest.raises(ValueError, match="NaN"):
        nystrom(lambda x, y: np.full((len(x), len(y)), np.nan), X, rank=2)
    with pytest.raises(ValueError, match="must return an array"):
        nystrom(lambda x, y: np.ones(len(x)), X, rank=2)


def test_a_seed_repeats_itself(X: np.ndarray) -> None:
    one, two, other = (nystrom(gaussian, X, rank=3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.left(X), two.left(X))
    assert one.settings["indices"] != other.settings["indices"]
    np.testing.assert_allclose(one.values, other.values, rtol=0.05)
