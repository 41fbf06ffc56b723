"""PCA: an estimator like any other, and the identities that make it one with the SVD."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA as Reference
from sklearn.utils.estimator_checks import parametrize_with_checks

from schmidt import PCA
from schmidt.certificate import Bound
from schmidt.matrices import NotConvergedError

from .conftest import Planted, values


@parametrize_with_checks([PCA(), PCA(n_components=1, solver="power")])
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture
def data(planted: Planted, rng: np.random.Generator) -> np.ndarray:
    """Rows with far apart variances, about a mean."""
    return planted(200, 30, 0.7 ** np.arange(30)) + rng.standard_normal(30)


@pytest.mark.parametrize("solver", ["auto", "krylov", "power"])
def test_agrees_with_scikit_learn(solver: str, data: np.ndarray) -> None:
    ours, theirs = PCA(4, solver=solver).fit(data), Reference(4).fit(data)
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_", "mean_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6)
    signs = np.sign((ours.components_ * theirs.components_).sum(1))
    np.testing.assert_allclose(
        ours.components_,
        theirs.components_ * signs[:, None],
        atol=2e-3 if solver != "auto" else 1e-9,
    )
    np.testing.assert_allclose(
        ours.inverse_transform(ours.transform(data)),
        theirs.inverse_transform(theirs.transform(data)),
        atol=1e-3,
    )


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_reconstruction_is_the_best_approximation_of_rank_k(k: int, data: np.ndarray) -> None:
    """X V Vᵀ = Σ_{i≤k} s_i u_i v_iᵀ for centred X, by U S = X V."""
    centred = data - data.mean(0)
    u, s, vh = np.linalg.svd(centred, full_matrices=False)
    model = PCA(k)
    reconstruction = model.inverse_transform(model.fit_transform(data)) - data.mean(0)
    np.testing.assert_allclose(reconstruction, (u[:, :k] * s[:k]) @ vh[:k], atol=1e-12)
    assert np.linalg.norm(centred - reconstruction) == pytest.approx(
        model.certificate_["frobenius"].high
    )
    np.testing.assert_allclose(
        model.transform(data), model.left_ * model.singular_values_, atol=1e-12
    )


def test_components_of_the_columns_come_from_u(data: np.ndarray) -> None:
    """U holds the eigenvectors of X Xᵀ, the components of the columns as points."""
    centred = data - data.mean(0)
    left = PCA(3).fit(data).left_
    image = centred @ (centred.T @ left)
    np.testing.assert_allclose(image, left * np.linalg.norm(image, axis=0), atol=1e-10)


def test_power_iteration_deflates(data: np.ndarray) -> None:
    """The second component is the first of what is left after x_i ← x_i − ⟨x_i, v₁⟩ v₁."""
    two = PCA(2, solver="power").fit(data)
    v = two.components_[0]
    centred = data - data.mean(0)
    deflated = PCA(1, solver="power").fit(centred - np.outer(centred @ v, v))
    np.testing.assert_allclose(deflated.components_[0], two.components_[1], atol=1e-4)


def test_power_iteration_says_when_it_does_not_converge(planted: Planted) -> None:
    """Values 1 and 1 − 10⁻⁵ need some 10⁶ steps."""
    X = planted(40, 10, np.r_[1, 1 - 1e-5, 0.5 ** np.arange(1, 9)])
    with pytest.raises(NotConvergedError, match="nearly that of the next"):
        PCA(1, solver="power", accuracy=1e-12).fit(np.r_[X, -X])


@pytest.mark.parametrize("solver", ["auto", "power", "krylov"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_share_of_the_variance(share: float, solver: str, data: np.ndarray) -> None:
    model = PCA(share, solver=solver).fit(data)
    assert model.n_components_ == Reference(share).fit(data).n_components_
    assert model.explained_variance_ratio_.sum() >= share


def test_a_share_needs_no_full_spectrum(planted: Planted) -> None:
    X = planted(900, 800, values(800, 1.5))
    model = PCA(0.9).fit(X)
    assert model.n_components_ == Reference(0.9).fit(X).n_components_


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_sparse_data_are_centred_without_becoming_dense(kind: Any) -> None:
    rng = np.random.default_rng(0)
    small = scipy.sparse.random_array((300, 50), density=0.1, rng=rng)
    ours, theirs = PCA(3).fit(kind(small)), Reference(3).fit(small.toarray())
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(
        ours.transform(kind(small)), ours.transform(small.toarray()), atol=1e-12
    )
    large = scipy.sparse.random_array((20_000, 30_000), density=1e-5, rng=rng, format="csr")
    model = PCA(2, accuracy=1e-3).fit(large)  # 4.8 GB, were it dense
    assert model.transform(large[:5]).shape == (5, 2)


class TestPartialFit:
    @pytest.mark.parametrize("size", [1, 3, 7, 50, 200])
    def test_batches_of_any_size(self, size: int, data: np.ndarray) -> None:
        model = PCA(3)
        for start in range(0, len(data), size):
            model.partial_fit(data[start : start + size])
        whole = PCA(3).fit(data)
        assert model.n_samples_seen_ == 200
        np.testing.assert_allclose(model.mean_, whole.mean_, atol=1e-13)
        for name in ("explained_variance_", "explained_variance_ratio_", "components_"):
            np.testing.assert_allclose(getattr(model, name), getattr(whole, name), atol=1e-3)

    def test_exact_where_nothing_is_forgotten(self, rng: np.random.Generator) -> None:
        X = rng.standard_normal((60, 8)) + 3
        model = PCA()
        for batch in np.split(X, [1, 2, 30]):
            model.partial_fit(batch)
        whole = PCA().fit(X)
        np.testing.assert_allclose(model.explained_variance_, whole.explained_variance_, rtol=1e-10)
        assert model.explained_variance_ratio_.sum() == pytest.approx(1)

    def test_sparse_batches_stay_sparse(self) -> None:
        """Batches of 5,000 × 20,000 would be 800 MB each."""
        rng = np.random.default_rng(0)
        model = PCA(2, accuracy=1e-3)
        parts = [
            scipy.sparse.random_array((5_000, 20_000), density=2e-5, rng=rng, format="csr")
            for _ in range(2)
        ]
        for part in parts:
            model.partial_fit(part)
        whole = PCA(2, accuracy=1e-3).fit(scipy.sparse.vstack(parts).tocsr())
        np.testing.assert_allclose(model.mean_, whole.mean_, atol=1e-12)
        assert model._total == pytest.approx(whole._total, rel=1e-10)

    def test_a_share(self, data: np.ndarray) -> None:
        model = PCA(0.9).partial_fit(data[:100]).partial_fit(data[100:])
        assert model.n_components_ == PCA(0.9).fit(data).n_components_

    def test_fit_begins_anew(self, data: np.ndarray) -> None:
        model = PCA(2).partial_fit(data[:50])
        model.fit(data)
        np.testing.assert_array_equal(model.components_, PCA(2).fit(data).components_)

    @pytest.mark.parametrize("solver", ["auto", "power", "krylov"])
    def test_goes_on_from_fit(self, solver: str, planted: Planted) -> None:
        """Nothing of the first rows is forgotten that was found there."""
        X = planted(200, 30, 0.5 ** np.arange(30)) * 50 + 7
        model = PCA(4, solver=solver, accuracy=1e-9).fit(X[:120])
        model.partial_fit(X[120:150]).partial_fit(X[150:])
        whole = PCA(4).fit(X)
        assert model.n_samples_seen_ == 200
        np.testing.assert_allclose(model.mean_, whole.mean_, rtol=1e-12)
        np.testing.assert_allclose(
            model.explained_variance_ratio_, whole.explained_variance_ratio_, rtol=1e-2
        )
        bound = model.certificate_["values"]
        assert whole.singular_values_ in Bound(bound.low - 1e-9, bound.high + 1e-9)
        assert PCA(4, solver=solver).fit(X[:120]).partial_fit(X[120:150]).n_samples_seen_ == 150

    @pytest.mark.parametrize("n", [40, 400])
    @pytest.mark.parametrize("order", ["sorted", "clustered", "as they come", "outliers last"])
    @pytest.mark.parametrize("kind", [np.float64, np.float32])
    def test_any_order_of_rows(self, order: str, n: int, kind: Any) -> None:
        """The certificate holds, and up to 256 columns nothing is forgotten."""
        rng = np.random.default_rng(1)
        X = rng.standard_normal((600, n)) * (1 + np.arange(n) / n) + 3
        X[:200] += 3 * rng.standard_normal(n)
        if order == "sorted":
            X = X[np.argsort(X[:, 0])]
        elif order == "as they come":
            X = X[rng.permutation(600)]
        elif order == "outliers last":
            X[-5:] *= 30
        X = X.astype(kind)
        model, reached = PCA(3), []
        for start in range(0, 600, 50):
            model.partial_fit(X[start : start + 50])
            if start:
                whole = X[: start + 50].astype(float)
                centred = whole - whole.mean(0)
                exact = np.linalg.svd(centred, compute_uv=False)
                known = model.certificate_
                assert exact[:3] in known["values"]
                assert np.linalg.norm(centred) in known["norm"]
                V = model.components_.astype(float)
                error = centred - centred @ V.T @ V
                assert np.linalg.norm(error) <= known["frobenius"].high
                assert exact[3] <= known["spectral"].high
                assert (exact[:3] ** 2).sum() / (exact**2).sum() <= known["energy"].high + 1e-12
                reached.append(known.met)
        if n <= 256:
            np.testing.assert_allclose(
                model.singular_values_, exact[:3], rtol=1e-10 if kind is np.float64 else 1e-5
            )
            assert all(reached)

    def test_what_was_forgotten_is_said(self) -> None:
        """Noise in 2,000 directions that come one after the other: no component is proven."""
        rng = np.random.default_rng(0)
        model = PCA(2)
        for _ in range(4):
            model.partial_fit(rng.standard_normal((100, 2000)))
        assert not model.certificate_.met
        assert model.certificate_.notes
        assert not hasattr(model, "left_")


def test_precision_and_names(data: np.ndarray) -> None:
    model = PCA(2).fit(data.astype(np.float32))
    assert model.components_.dtype == model.transform(data.astype(np.float32)).dtype == np.float32
    assert list(model.get_feature_names_out()) == ["pca0", "pca1"]


def test_iris_needs_one_component_for_nine_tenths() -> None:
    X = load_iris().data
    model = PCA(0.9).fit(X)
    assert model.n_components_ == 1
    np.testing.assert_allclose(model.explained_variance_ratio_, [0.9246], atol=1e-4)


@pytest.mark.parametrize(
    ("k", "message"),
    [(0, "between 1 and 30"), (31, "got 31"), (1.5, "share"), ("two", "'two'"), (True, "True")],
)
def test_impossible_numbers_of_components(k: Any, message: str, data: np.ndarray) -> None:
    with pytest.raises(ValueError, match=message):
        PCA(k).fit(data)


def test_coordinates_of_the_wrong_shape(data: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        PCA(2).fit(data).inverse_transform(np.zeros((3, 4)))


def test_scores_are_never_pickled(data: np.ndarray) -> None:
    model = PCA(2).fit(np.tile(data, (50, 1)))
    copied = pickle.loads(pickle.dumps(model))
    assert len(pickle.dumps(model)) < 10_000
    assert not hasattr(copied, "left_")
    assert hasattr(model, "left_")
    np.testing.assert_array_equal(copied.transform(data), model.transform(data))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_means_much_larger_than_what_varies(sparse: bool, kind: Any) -> None:
    """Columns of 10⁶ ± 1: scores are right to the precision of the entries."""
    rng = np.random.default_rng(0)
    X = (1e6 + rng.standard_normal((300, 8)) * np.arange(1, 9)).astype(kind)
    exact = X.astype(float) - X.astype(float).mean(0)
    given = scipy.sparse.csr_array(X) if sparse else X
    model = PCA(3).fit(given)
    s = np.linalg.svd(exact, compute_uv=False)
    np.testing.assert_allclose(model.singular_values_, s[:3], rtol=1e-5)
    np.testing.assert_allclose(
        model.transform(given), exact @ model.components_.T.astype(float), atol=1e-4
    )
    model = PCA(3).partial_fit(given[:100]).partial_fit(given[100:])
    np.testing.assert_allclose(model.singular_values_, s[:3], rtol=1e-5)
    np.testing.assert_allclose(model.mean_, X.astype(float).mean(0), rtol=1e-14)


def test_every_solver_says_what_it_knows(data: np.ndarray) -> None:
    centred = data - data.mean(0)
    s = np.linalg.svd(centred, compute_uv=False)
    known = PCA(2, solver="power").fit(data).certificate_
    assert s[:2] in known["values"]
    assert np.linalg.norm(s[2:]) <= known["frobenius"].high * (1 + 1e-12)
    for solver, message in (("lanczos", "solver must be"), (3, "solver must be")):
        with pytest.raises(ValueError, match=message):
            PCA(2, solver=solver).fit(data)
    with pytest.raises(ValueError, match="accuracy"):
        PCA(2, accuracy=0).fit(data)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("solver", ["auto", "power"])
def test_variances_out_of_range_are_refused(scale: float, solver: str, data: np.ndarray) -> None:
    """Ratios of variances that vanish would be zeros."""
    with pytest.raises(ValueError, match="scale the data"):
        PCA(2, solver=solver).fit(data * scale)
    with pytest.raises(ValueError, match="scale the data"):
        PCA(2).partial_fit(data * scale)


def test_a_batch_far_below_all_others(data: np.ndarray) -> None:
    X = np.r_[data, data * 1e-140]
    model = PCA(3).partial_fit(X[:200]).partial_fit(X[200:])
    np.testing.assert_allclose(model.singular_values_, PCA(3).fit(X).singular_values_, rtol=1e-9)
