"""Entries that come, change and go after the fit; what is recommended."""

import numpy as np
import pytest

from schmidt import MatrixCompletion

SETTINGS = [
    {"method": "variational"},
    {"penalty": 3.0},
    {"method": "fixed-rank", "rank": 2, "penalty": 3.0},
]


def later(ratings):
    """Ratings without those of the last users, and those."""
    new = ratings[0] >= 110
    return [a[~new] for a in ratings], [a[new] for a in ratings]


def rmse(model, triples):
    return -model.score(*triples)


@pytest.mark.parametrize("settings", SETTINGS)
def test_new_rows_are_predicted_as_after_a_new_fit(ratings, settings):
    known, new = later(ratings)
    half = np.arange(len(new[0])) % 2 == 0
    given, asked = ([a[part] for a in new] for part in (half, ~half))
    settings = settings | {"unknown": "bias"}
    model = MatrixCompletion(**settings).fit(*known)
    before = rmse(model, asked)
    again = MatrixCompletion(**settings).fit(
        *(np.append(a, b) for a, b in zip(known, given, strict=True))
    )
    folded = MatrixCompletion(**settings).fit(*known).fold_in(*given)
    partial = model.partial_fit(*given)
    for changed in (folded, partial):
        assert rmse(changed, asked) < before
        assert rmse(changed, asked) < 1.1 * rmse(again, asked)
    assert len(partial._seen) == len(known[0]) + len(given[0])


@pytest.mark.parametrize("settings", SETTINGS)
def test_changed_ratings_replace(ratings, settings, tmp_path):
    rows, columns, values = ratings
    model = MatrixCompletion(**settings).fit(*ratings)
    user = rows == rows[0]
    before = model.predict(rows[user], columns[user])
    model.partial_fit(np.column_stack([rows[user], columns[user]]), 6 - values[user])
    assert len(model._seen) == len(rows)
    after = model.predict(rows[user], columns[user])
    assert np.corrcoef(before - before.mean(), after - after.mean())[0, 1] < 0.5
    again = MatrixCompletion.load(model.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again.predict(rows, columns), model.predict(rows, columns))
    for m in (model, again):
        m.partial_fit(["new", "new"], ["film", columns[0]], [5.0, 1.0])
    np.testing.assert_array_equal(again.reconstruct(), model.reconstruct())
    assert model.reconstruct().shape == (len(model.row_ids_), len(model.column_ids_))
    assert np.isfinite(model.reconstruct()).all()


def test_what_was_put_in_bit_by_bit_is_what_was_put_in_at_once(ratings):
    known, new = later(ratings)
    a, b = (MatrixCompletion(method="variational").fit(*known) for _ in range(2))
    a.fold_in(*new)
    for triple in zip(*new, strict=True):
        b.fold_in(*([v] for v in triple))
    np.testing.assert_allclose(a.row_factors_, b.row_factors_, atol=1e-10)
    np.testing.assert_array_equal(a._seen.matrix().toarray(), b._seen.matrix().toarray())


def test_the_forgotten_are_as_if_they_had_never_been(ratings):
    rows, columns, values = ratings
    kept = rows != rows[0]
    settings = {"method": "variational", "validation": 0.3}
    model = MatrixCompletion(**settings).fit(*ratings).forget(int(rows[0]))
    never = MatrixCompletion(**settings).fit(rows[kept], columns[kept], values[kept])
    assert list(model.row_ids_.labels) == list(never.row_ids_.labels)
    np.testing.assert_array_equal(model.reconstruct(), never.reconstruct())
    with pytest.raises(ValueError, match="unknown"):
        model.forget(int(rows[0]))
    matrix = MatrixCompletion(penalty=2.0).fit(np.array([[1.0, 2, np.nan], [3, np.nan, 5]]))
    assert not matrix.forget(0)._seen.row_counts[0]
    with pytest.raises(ValueError, match="no other entries"):
        matrix.forget(1)


def test_many_are_recommended_to_as_one_is(ratings, monkeypatch):
    model = MatrixCompletion(penalty=3.0, unknown="bias").fit(*ratings)
    users = list(model.row_ids_.labels)
    single = [model.recommend(user, 4) for user in users]
    many = model.recommend_many(n=4)
    assert [[i for i, _ in line] for line in many] == [[i for i, _ in line] for line in single]
    scores = [[[score for _, score in line] for line in table] for table in (many, single)]
    np.testing.assert_allclose(*scores, rtol=1e-12)
    monkeypatch.setattr("schmidt.completion.recommendations.BLOCK", 1)
    both = [single[3], model.recommend("nobody", 4)]
    assert model.recommend_many([users[3], "nobody"], 4) == both


def test_similar_items_are_those_the_rows_see_alike(rng):
    taste = np.repeat(rng.standard_normal((2, 2)), 10, axis=0)
    full = rng.standard_normal((80, 2)) @ taste.T + 0.1 * rng.standard_normal((80, 20))
    X = np.where(rng.random(full.shape) < 0.6, full, np.nan)
    model = MatrixCompletion().fit(X)
    alike = model.similar_items(3, n=9)
    assert {i for i, _ in alike} == set(range(10)) - {3}
    low = model.row_factors_ @ model.column_factors_.T
    cosine = (
        low[:, 3] @ low[:, alike[0][0]] / np.prod(np.linalg.norm(low[:, [3, alike[0][0]]], axis=0))
    )
    assert alike[0][1] == pytest.approx(cosine)
    with pytest.raises(ValueError, match="unknown"):
        model.similar_items(99)
