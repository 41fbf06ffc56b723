"""The closed-form linear kernel: canonical correlations, correspondence analysis, ridge, tied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import NotFittedError

from schmidt.dependence import LinearCDK
from schmidt.storage import DamagedFileError

Pairs = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def pairs(rng: np.random.Generator) -> Pairs:
    z = rng.normal(size=(400, 2))
    x = z @ rng.normal(size=(2, 4)) + 0.8 * rng.normal(size=(400, 4)) + 3
    return x, z @ rng.normal(size=(2, 3)) + 0.8 * rng.normal(size=(400, 3))


def test_without_ridge_it_is_canonical_correlation_analysis(pairs: Pairs) -> None:
    x, y = pairs
    found = LinearCDK(ridge=0).fit(x, y)
    cca = CCA(n_components=3, max_iter=20_000, tol=1e-14).fit(x, y)
    u, v = cca.transform(x, y)
    wanted = [np.corrcoef(a, b)[0, 1] for a, b in zip(u.T, v.T, strict=True)]
    np.testing.assert_allclose(found.singular_values_train_, wanted, atol=1e-6)
    for mine, theirs in ((found.transform_x(x), u), (found.transform_y(y), v)):
        overlap = np.abs(np.corrcoef(mine.T, theirs.T)[:3, 3:])
        np.testing.assert_allclose(overlap, np.eye(3), atol=1e-4)


def test_embeddings_are_centred_orthogonal_and_carry_the_root_of_the_values(pairs: Pairs) -> None:
    x, y = pairs
    found = LinearCDK(ridge=0).fit(x, y)
    f, g, s = found.transform_x(x), found.transform_y(y), np.diag(found.singular_values_train_)
    np.testing.assert_allclose(f.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(f.T @ f / len(f), s, atol=1e-10)
    np.testing.assert_allclose(g.T @ g / len(g), s, atol=1e-10)
    np.testing.assert_allclose(f.T @ g / len(g), s**2, atol=1e-10)


def test_on_one_hot_rows_it_is_correspondence_analysis(
    table: np.ndarray, correspondence: Callable[[np.ndarray], tuple[np.ndarray, ...]]
) -> None:
    i, j = np.indices(table.shape).reshape(2, -1)
    found = LinearCDK(ridge=0).fit(np.eye(5)[i], np.eye(4)[j], sample_weight=table.ravel())
    left, s, right = correspondence(table)
    np.testing.assert_allclose(found.singular_values_[:3], s[:3], atol=1e-10)
    kernel = table / np.outer(table.sum(1), table.sum(0))
    found_kernel = found.dependence(np.eye(5), np.eye(4), pairwise=True)
    np.testing.assert_allclose(found_kernel, kernel, atol=1e-8)
    one = found.truncate(1).dependence(np.eye(5), np.eye(4), pairwise=True)
    np.testing.assert_allclose(one, 1 + s[0] * np.outer(left[:, 0], right[:, 0]), atol=1e-8)


def test_weights_are_repetitions(pairs: Pairs) -> None:
    x, y = (side[:60] for side in pairs)
    count = np.arange(60) % 4
    a = LinearCDK(ridge=0.1).fit(x, y, sample_weight=count)
    b = LinearCDK(ridge=0.1).fit(np.repeat(x, count, 0), np.repeat(y, count, 0))
    np.testing.assert_allclose(a.singular_values_, b.singular_values_)
    np.testing.assert_allclose(a.transform_x(x), b.transform_x(x))


def test_units_and_shifts_do_not_matter_without_ridge(pairs: Pairs) -> None:
    x, y = pairs
    mixed = x @ np.random.default_rng(5).normal(size=(4, 4)) - 7
    a, b = LinearCDK(ridge=0).fit(x, y), LinearCDK(ridge=0).fit(mixed, y)
    np.testing.assert_allclose(a.singular_values_, b.singular_values_)
    np.testing.assert_allclose(a.singular_values_train_, b.singular_values_train_)
    np.testing.assert_allclose(a.dependence(x, y), b.dependence(mixed, y))


def test_redundant_columns_do_not_matter(pairs: Pairs) -> None:
    x, y = pairs
    wide = np.hstack([x, x[:, :1], np.ones((len(x), 1))])
    a, b = LinearCDK(3, ridge=0).fit(x, y), LinearCDK(3, ridge=0).fit(wide, y)
    np.testing.assert_allclose(a.singular_values_, b.singular_values_)


def test_classes_are_all_their_pairs(views: Callable[..., tuple[Pairs, Pairs]]) -> None:
    (x, cx), (y, cy) = views(count=5, each=4)
    i, j = np.nonzero(cx[:, None] == cy)
    a, b = LinearCDK(ridge=0.1).fit((x, cx), (y, cy)), LinearCDK(ridge=0.1).fit(x[i], y[j])
    np.testing.assert_allclose(a.singular_values_train_, b.singular_values_train_, atol=1e-12)
    np.testing.assert_allclose(a.dependence(x, y), b.dependence(x, y), atol=1e-12)


def test_tied_is_the_kernel_of_the_symmetrised_law(pairs: Pairs) -> None:
    x, y = pairs[0][:, :3] - pairs[0][:, :3].mean(0), pairs[1] - pairs[1].mean(0)
    tied = LinearCDK(ridge=0, tied=True).fit(x, y)
    both = LinearCDK(ridge=0).fit(np.vstack([x, y]), np.vstack([y, x]))
    kept = tied.singular_values_train_ > 0
    f, g = both.transform_x(x), both.transform_y(x)
    positive = (f * g).sum(0) > 0
    np.testing.assert_allclose(
        tied.singular_values_train_[kept], both.singular_values_train_[positive]
    )
    np.testing.assert_allclose(tied.transform_x(x), tied.transform_y(x), atol=1e-12)


def test_an_automatic_ridge_helps_where_dimensions_are_many(rng: np.random.Generator) -> None:
    z = rng.normal(size=(300, 2))
    x = np.hstack([z + rng.normal(size=(300, 2)), rng.normal(size=(300, 60))])
    y = np.hstack([z + rng.normal(size=(300, 2)), rng.normal(size=(300, 60))])
    plain = LinearCDK(2, ridge=0).fit(x[:100], y[:100])
    chosen = LinearCDK(2).fit(x[:100], y[:100])
    assert chosen.ridge_ > 1e-3
    assert chosen.score(x[100:], y[100:]) > plain.score(x[100:], y[100:])


def test_the_score_is_half_the_sum_of_squares_where_it_was_fitted(pairs: Pairs) -> None:
    found = LinearCDK(ridge=0).fit(*pairs)
    again = ((side, np.arange(len(side))) for side in pairs)  # every pair a class of its own
    wanted = (found.singular_values_train_**2).sum() / 2
    assert found.score(*again) == pytest.approx(wanted, rel=1e-9)


def test_kinds_and_precisions_are_kept(pairs: Pairs) -> None:
    found = LinearCDK(2, ridge=0).fit(*pairs)
    x = pairs[0][:5]
    for dtype in (np.float32, np.float64):
        out = found.transform_x(x.astype(dtype))
        assert isinstance(out, np.ndarray)
        assert out.dtype == dtype
    out = found.transform_x(torch.tensor(x, dtype=torch.float32))
    assert isinstance(out, torch.Tensor)
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out, found.transform_x(x), rtol=1e-4, atol=1e-5)
    assert found.transform_x(x, modes=1).shape == (5, 1)


def test_a_saved_estimator_is_the_same_to_the_last_bit(pairs: Pairs, tmp_path: Path) -> None:
    found = LinearCDK(2).fit(*pairs)
    again = LinearCDK.load(found.save(tmp_path / "linear.safetensors"))
    assert again.get_params() == found.get_params()
    for a, b in zip(pairs, (0, 1), strict=True):
        name = ("transform_x", "transform_y")[b]
        np.testing.assert_array_equal(getattr(again, name)(a), getattr(found, name)(a))
    np.testing.assert_array_equal(again.singular_values_, found.singular_values_)
    (tmp_path / "bad").write_bytes(b"12345678")
    with pytest.raises(DamagedFileError):
        LinearCDK.load(tmp_path / "bad")


def test_refusals(pairs: Pairs) -> None:
    x, y = pairs
    with pytest.raises(NotFittedError):
        LinearCDK().transform_x(x)
    with pytest.raises(ValueError, match="as many x as y"):
        LinearCDK().fit(x, y[:-1])
    with pytest.raises(ValueError, match="for both domains"):
        LinearCDK().fit((x, np.zeros(400)), y)
    with pytest.raises(ValueError, match="at most 3 linear modes"):
        LinearCDK(4, ridge=0).fit(x, y)
    with pytest.raises(ValueError, match="of one size"):
        LinearCDK(2, ridge=0, tied=True).fit(x, y)
    for ridge in (-1.0, "best"):
        with pytest.raises(ValueError, match=r"ridge must be (a number of at least 0|'auto')"):
            LinearCDK(ridge=ridge).fit(x, y)
    with pytest.raises(ValueError, match="constant"):
        LinearCDK(1, ridge=0).fit(np.ones((9, 2)), y[:9])
    found = clone(LinearCDK(2, ridge=0)).fit(x, y)
    with pytest.raises(ValueError, match="modes must be a whole number between 1 and 2"):
        found.truncate(3)
    with pytest.raises(ValueError, match="contain NaN"):
        found.transform_x(np.full((1, 4), np.nan))
    with pytest.raises(ValueError, match="pairwise=True"):
        found.dependence(x[:3], y[:4])
    with pytest.raises(ValueError, match="metric must be"):
        found.retrieve(x, y, metric="euclid")
    with pytest.raises(ValueError, match="n must be a whole number between 1 and 400"):
        found.retrieve(x, y, 401)
