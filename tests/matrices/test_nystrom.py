"""Nyström on data: exact where all points are landmarks, scikit-learn's where they are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import laplacian_kernel, polynomial_kernel, rbf_kernel

from schmidt import nystrom
from schmidt.operators import Data, Kernel
from schmidt.operators import nystrom as sampled


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
    trace = found.certificate["trace"]
    assert (trace.low + trace.high) / 2 == pytest.approx(np.trace(E) / len(X), rel=1e-6)
    assert np.linalg.eigvalsh(E)[0] > -1e-6
    assert np.linalg.norm(E) / len(X) <= trace.high
    assert len(set(found.settings["indices"])) == 15
    assert (found.values <= np.linalg.eigvalsh(gaussian(X, X))[::-1][:15] / len(X) + 1e-12).all()


@pytest.mark.parametrize("tol", [0.3, 0.03, 1e-4])
def test_a_tolerance_is_met_with_few_landmarks(tol: float, X: np.ndarray) -> None:
    found = nystrom(gaussian, X, tol=tol)
    assert found.certificate.met
    assert np.trace(gaussian(X, X) - approximation(found, X)) <= tol * len(X)
    eigenvalues = np.linalg.eigvalsh(gaussian(X, X))[::-1]
    needed = 1 + np.argmax(np.cumsum(eigenvalues) >= (1 - tol) * eigenvalues.sum())
    assert needed <= len(found.settings["indices"]) <= 3 * needed


def test_adaptive_landmarks_find_small_clusters(rng: np.random.Generator) -> None:
    """Twenty far clusters, most of one point in a thousand: uniform landmarks miss them."""
    centres = np.arange(20)[:, None] * [100.0, 0]
    X = np.concatenate([centres, np.zeros((980, 2))]) + 0.01 * rng.standard_normal((1000, 2))
    pivoted, uniform = (
        [
            nystrom(gaussian, X, n_landmarks=25, landmarks=kind, seed=seed)
            .certificate["trace"]
            .high
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

        found = nystrom(kernel, Y, X, rank=3)  # k(y, x): the second argument is on the right
        K = kernel(X, Y) / np.sqrt(80 * 60)
        np.testing.assert_allclose(found.values, np.linalg.svd(K, compute_uv=False)[:3], rtol=1e-9)
        left, right = found.left(X), found.right(Y)
        np.testing.assert_allclose(left.T @ left / 80, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(right.T @ right / 60, np.eye(3), atol=1e-9)
        np.testing.assert_allclose((left * found.values) @ right.T, kernel(X, Y), atol=1e-8)
        np.testing.assert_allclose(found.reconstruct(X, Y), kernel(X, Y), atol=1e-8)
        assert found.certificate.met

    def test_one_convention_with_operators(self, rng: np.random.Generator) -> None:
        """k(y, x), right = f on X, left = g on Y, in both Nyström methods."""
        X, Y = rng.standard_normal((40, 1)), rng.standard_normal((50, 2))

        def k(y: Any, x: Any) -> Any:
            return 1 / (1 + (y[:, :1] - x[:, 0]) ** 2 + y[:, 1:] ** 2)

        found = nystrom(k, X, Y, rank=4)
        data = [Data(torch.from_numpy(a)) for a in (X, Y)]
        other = sampled(Kernel(k, domain=data[0], codomain=data[1]), 4, points=40, left_points=50)
        assert found.right(X).shape == other.right(torch.from_numpy(X)).shape == (40, 4)
        assert found.left(Y).shape == other.left(torch.from_numpy(Y)).shape == (50, 4)
        for pair in (found, other):
            values = [np.asarray(side(a)) for side, a in zip(
                (pair.left, pair.right),
                (Y, X) if pair is found else (torch.from_numpy(Y), torch.from_numpy(X)),
                strict=True,
            )]  # fmt: skip
            kernel = (values[0] * np.asarray(pair.values)) @ values[1].T
            assert np.abs(kernel - k(Y, X)).mean() < 0.05

    def test_complex(self, rng: np.random.Generator) -> None:
        X, Y = rng.standard_normal((30, 1)), rng.standard_normal((20, 1))

        def k(y: Any, x: Any) -> np.ndarray:
            return np.exp(1j * y * x.T) + 0.3

        found = nystrom(k, X, Y, rank=20)
        np.testing.assert_allclose(found.reconstruct(Y, X), k(Y, X), atol=1e-8)

    def test_some_of_the_points_prove_nothing_about_all(self, X: np.ndarray) -> None:
        found = nystrom(gaussian, X, X, rank=3, n_landmarks=40)
        assert not found.certificate.met
        assert "40 × 40 of 300 × 300" in str(found.certificate)

    def test_refusals(self, X: np.ndarray) -> None:
        with pytest.raises(ValueError, match="positive semidefinite kernel on one"):
            nystrom(gaussian, X, X, tol=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "say how many"),
        ({"rank": 400}, "between 1 and 300"),
        ({"rank": 0}, "between 1 and 300"),
        ({"rank": 2, "n_landmarks": -5}, "between 2 and 300"),
        ({"rank": 5, "n_landmarks": 3}, "between 5 and"),
        ({"landmarks": [0, 300]}, "between 0 and 299"),
        ({"landmarks": [-1, 3]}, "between 0 and 299"),
        ({"landmarks": [0.5]}, "indices"),
        ({"rank": 2, "Y": np.ones((4, 2)), "landmarks": [0, 1]}, "uniform landmarks"),
        ({"rank": 0, "Y": np.ones((4, 2))}, "at least 1"),
        ({"rank": 9, "Y": np.ones((4, 2))}, "between 1 and 4"),
        ({"rank": 1, "Y": np.ones((4, 2)), "n_landmarks": -1}, "between 1 and"),
        ({"rank": 1, "Y": np.ones((0, 2))}, "no points"),
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


@pytest.mark.parametrize(
    "settings",
    [{"rank": 2, "tol": 0.01}, {"rank": 5}, {"rank": 20}, {"n_landmarks": 30}, {"tol": 1e-6}],
)
@pytest.mark.parametrize("gamma", [0.01, 0.5, 20.0])
def test_the_certificate_is_about_what_is_returned(
    settings: dict, gamma: float, X: np.ndarray
) -> None:
    """A cut to fewer functions than there are landmarks counts."""
    found = nystrom(lambda y, x: rbf_kernel(y, x, gamma=gamma), X, **settings)
    K = rbf_kernel(X, X, gamma=gamma) / 300
    E = K - approximation(found, X) / 300
    exact = np.linalg.eigvalsh(K)[::-1]
    known = found.certificate
    assert np.trace(E) in known["trace"]
    assert np.linalg.norm(E) in known["frobenius"]
    assert np.linalg.norm(E, 2) in known["spectral"]
    assert exact[: found.rank] in known["values"]
    if known.met and "tol" in settings:
        assert np.trace(E) <= settings["tol"] * np.trace(K)
    if known.met and "tol" not in settings:
        np.testing.assert_allclose(found.values, exact[: found.rank], rtol=0.11)
    if settings == {"rank": 2, "tol": 0.01} and gamma == 0.5:
        assert not known.met
        assert known["trace"].high > 0.4


def test_hermitian_kernels_keep_their_imaginary_part(rng: np.random.Generator) -> None:
    """k(y, x) = Σ_w p_w e^{iw(y−x)}, a positive definite function that is not even."""
    X = rng.standard_normal((120, 1))
    w, p = np.arange(1, 5), np.array([0.5, 0.3, 0.15, 0.05])

    def k(y: Any, x: Any) -> np.ndarray:
        return (np.exp(1j * (y[:, None] - x[None]) * w) * p).sum(-1)

    K = k(X, X) / 120
    found = nystrom(k, X, rank=4)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(K)[::-1][:4], rtol=1e-9)
    f = found.right(X)
    np.testing.assert_allclose(f.conj().T @ f / 120, np.eye(4), atol=1e-9)
    np.testing.assert_allclose((f * found.values) @ f.conj().T / 120, K, atol=1e-9)
    assert found.certificate.met
    with pytest.raises(ValueError, match="Hermitian"):
        nystrom(lambda y, x: k(y, x) * (1 + 0.1j), X, rank=4)


@pytest.mark.parametrize("scale", [1e-280, 1e-100, 1e-20, 1e20, 1e150, 1e300])
def test_kernels_of_any_size(scale: float, X: np.ndarray) -> None:
    plain, scaled = (nystrom(lambda y, x, c=c: c * gaussian(y, x), X, rank=5) for c in (1, scale))
    np.testing.assert_allclose(scaled.values, scale * plain.values, rtol=1e-9)
    np.testing.assert_allclose(scaled.right(X), plain.right(X), atol=1e-7)
    assert scaled.certificate.met == plain.certificate.met
    assert scaled.certificate["trace"].high == pytest.approx(
        scale * plain.certificate["trace"].high, rel=1e-6
    )
    two = nystrom(lambda y, x: scale * gaussian(y, x), X, X[:50], rank=3)
    np.testing.assert_allclose(
        two.values / scale, nystrom(gaussian, X, X[:50], rank=3).values, rtol=1e-8
    )


def test_kernels_that_have_lost_their_digits(X: np.ndarray) -> None:
    for more in ({}, {"Y": X}):
        with pytest.raises(ValueError, match="lost their digits"):
            nystrom(lambda y, x: 1e-310 * gaussian(y, x), X, rank=3, **more)


def test_single_precision(rng: np.random.Generator) -> None:
    """A linear kernel of rank 3 in float32 is semidefinite up to its own rounding."""
    X = (rng.standard_normal((500, 3)) * [100, 10, 1] + 50).astype(np.float32)
    found = nystrom(lambda y, x: y @ x.T, X, rank=3)
    K = X.astype(float) @ X.T.astype(float)
    np.testing.assert_allclose(found.values[:2], np.linalg.eigvalsh(K / 500)[::-1][:2], rtol=1e-4)
    E = (K - approximation(found, X)) / 500
    assert np.linalg.norm(E) <= found.certificate["frobenius"].high


def test_points_of_every_kind(X: np.ndarray) -> None:
    exact = nystrom(gaussian, X, rank=4)
    sparse = scipy.sparse.csr_array(X)
    for given in (sparse, sparse.tocoo(), X.tolist(), torch.from_numpy(X).requires_grad_()):
        found = nystrom(gaussian, given, rank=4)
        np.testing.assert_allclose(found.values, exact.values, rtol=1e-9)
        np.testing.assert_allclose(found.right(sparse[:5]), exact.right(X[:5]), atol=1e-9)
