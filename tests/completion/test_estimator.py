"""What users of MatrixCompletion see."""

import json

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from schmidt import MatrixCompletion
from schmidt.storage import DamagedFileError


def rmse(model, full, X):
    return np.sqrt(np.mean((model.reconstruct() - full)[np.isnan(X)] ** 2))


def test_a_planted_matrix_is_recovered_with_everything_chosen_inside(planted):
    full, X = planted
    model = MatrixCompletion(biases=False).fit(X)
    assert model.rank_ == 3
    assert model.choice_.method == "fixed-rank"
    assert rmse(model, full, X) < 1e-5


def test_noise_is_shrunk_and_the_error_is_near_that_of_the_best_penalty(rng):
    full = rng.standard_normal((100, 4)) @ rng.standard_normal((4, 120))
    X = np.where(rng.random(full.shape) < 0.3, full + 2 * rng.standard_normal(full.shape), np.nan)
    chosen = MatrixCompletion().fit(X)
    others = [MatrixCompletion(penalty=p).fit(X) for p in (5.0, 8.0, 11.0, 14.0)]
    assert rmse(chosen, full, X) < 1.05 * min(rmse(m, full, X) for m in others)


def test_of_pure_noise_only_the_mean_is_kept(rng):
    X = np.where(rng.random((120, 100)) < 0.2, rng.standard_normal((120, 100)), np.nan)
    model = MatrixCompletion().fit(X)
    assert model.rank_ == 0
    assert model.penalty_ is None
    assert model.choice_.method == "biases"
    assert np.abs(model.reconstruct()).max() < 0.5


def test_it_is_not_worse_than_biases_on_ratings(ratings, rng):
    rows, columns, values = ratings
    test = rng.random(len(values)) < 0.2
    model = MatrixCompletion().fit(rows[~test], columns[~test], values[~test])
    held = [a[test] for a in ratings]
    biases = MatrixCompletion(penalty=1e6).fit(rows[~test], columns[~test], values[~test])
    assert biases.rank_ == 0
    assert -model.score(*held) < 0.95 * -biases.score(*held)


def test_sparse_dense_and_triples_say_the_same(planted):
    _, X = planted
    rows, columns = np.nonzero(~np.isnan(X))
    values = X[rows, columns]
    matrix = sparse.coo_array((values, (rows, columns)), shape=X.shape)
    dense = MatrixCompletion(penalty=2.0).fit(X)
    for model in (
        MatrixCompletion(penalty=2.0).fit(matrix),
        MatrixCompletion(penalty=2.0).fit(matrix.tocsc()),
        MatrixCompletion(penalty=2.0).fit(rows.tolist(), columns, values),
    ):
        got = model.predict(rows, columns)
        np.testing.assert_allclose(got, dense.predict(rows, columns), atol=1e-10)


def test_stored_zeros_are_observed():
    matrix = sparse.coo_array(([0.0, 2.0, 4.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    assert MatrixCompletion(penalty=1.0).fit(matrix).mean_ == 2.0


def test_ids_may_be_anything_hashable(ratings):
    rows, columns, values = ratings
    names = [("user", int(r)) for r in rows]
    films = [f"film {c}" for c in columns]
    settings = {"penalty": 3.0, "tol": 1e-9, "max_iter": 5000}
    named = MatrixCompletion(**settings).fit(names, films, values)
    plain = MatrixCompletion(**settings).fit(rows, columns, values)
    got = named.predict([("user", 3)], ["film 5", "film 6"])
    np.testing.assert_allclose(got, plain.predict([3, 3], [5, 6]), atol=1e-6)


def test_what_is_unknown_is_predicted_by_biases_or_refused(ratings):
    model = MatrixCompletion(penalty=3.0, clip=None, unknown="bias").fit(*ratings)
    assert model.predict([10**6], [10**6]) == pytest.approx([model.mean_])
    column = model.column_ids_.labels.index(5)
    expected = model.mean_ + model.column_biases_[column]
    assert model.predict(["nobody"], [5]) == pytest.approx([expected])
    assert len(model.recommend("nobody", n=3)) == 3
    strict = MatrixCompletion(penalty=3.0, unknown="raise").fit(*ratings)
    with pytest.raises(ValueError, match=r"1 of the rows asked for are unknown: 'nobody'"):
        strict.predict(["nobody"] * 3, [5])
    with pytest.raises(ValueError, match="columns asked for are unknown: -4"):
        strict.predict([3], [-4])
    with pytest.raises(ValueError, match="unknown"):
        strict.recommend("nobody")
    loud = MatrixCompletion(penalty=3.0, clip=None).fit(*ratings)
    with pytest.warns(UserWarning, match="4 of the rows .* are unknown: 'a', 'b', 'c', … –") as w:
        got = loud.predict(["a", "b", "c", "d", 3], [5])
    assert len(w) == 1
    np.testing.assert_allclose(got, model.predict(["a", "b", "c", "d", 3], [5]))


def test_rows_and_columns_without_entries_get_biases_of_the_other_side(planted):
    _, X = planted
    X[4], X[:, 7] = np.nan, np.nan
    for solver in ("als", "svd"):
        model = MatrixCompletion(penalty=2.0, solver=solver).fit(X)
        assert not model.row_factors_[4].any()
        expected = model.mean_ + model.column_biases_
        np.testing.assert_allclose(model.reconstruct()[4], expected, atol=1e-6)
        assert model.column_biases_[7] == 0


def test_predictions_are_clipped_to_the_ratings_but_not_to_measurements(ratings, planted):
    model = MatrixCompletion(penalty=0.5).fit(*ratings)
    assert model.limits_ == (1, 5)
    full = model.reconstruct()
    assert full.min() == 1
    assert full.max() == 5
    assert MatrixCompletion(penalty=0.5).fit(planted[1]).limits_ is None
    wide = MatrixCompletion(penalty=0.5, clip=(2, 4)).fit(*ratings).reconstruct()
    assert (wide.min(), wide.max()) == (2, 4)
    assert MatrixCompletion(penalty=0.5, clip=None).fit(*ratings).reconstruct().max() > 5


def test_recommendations_are_the_best_of_what_was_not_seen(ratings):
    rows, columns, _ = ratings
    model = MatrixCompletion(penalty=3.0, clip=None).fit(*ratings)
    user = int(rows[0])
    seen = set(columns[rows == user].tolist())
    unseen = [c for c in model.column_ids_.labels if c not in seen]
    best = model.recommend(user, n=5)
    scores = model.predict([user], unseen)
    assert [c for c, _ in best] == [unseen[i] for i in np.argsort(-scores, kind="stable")[:5]]
    assert [s for _, s in best] == pytest.approx(sorted(scores)[::-1][:5])
    everything = model.recommend(user, n=1000, exclude_seen=False)
    assert len(everything) == len(model.column_ids_)
    assert len(model.recommend(user, n=1000)) == len(unseen)


def test_folding_in_a_known_row_changes_nothing_at_the_minimum(ratings):
    """The rows' factors are the regression on the columns' at the solution, new or not."""
    rows, columns, values = ratings
    settings = {"penalty": 3.0, "tol": 1e-9, "max_iter": 5000, "solver": "als"}
    model = MatrixCompletion(**settings).fit(rows, columns, values)
    user = rows == rows[0]
    before = model.predict(rows[user], columns[user])
    model.fold_in(["copy"] * user.sum(), columns[user], values[user])
    after = model.predict(["copy"] * user.sum(), columns[user])
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert model.recommend("copy") == [
        (c, pytest.approx(s, abs=1e-4)) for c, s in model.recommend(int(rows[0]))
    ]


def test_a_row_folded_in_bit_by_bit_is_the_row_folded_in_at_once(ratings):
    rows, columns, values = ratings
    user = np.flatnonzero(rows == rows[0])
    a, b = (MatrixCompletion(penalty=3.0).fit(*ratings) for _ in range(2))
    a.fold_in(["new"] * len(user), columns[user], values[user])
    for i in user:
        b.fold_in(["new"], columns[[i]], values[[i]])
    np.testing.assert_allclose(a.row_factors_, b.row_factors_, atol=1e-12)
    matrix = MatrixCompletion(penalty=2.0).fit(np.array([[1.0, 2, np.nan], [3, np.nan, 5]]))
    assert matrix.fold_in([2], [0], [4.0]).reconstruct().shape == (3, 3)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (([0], [10**6], [3.0]), "columns asked for are unknown: 1000000"),
        (([0], [0, 1], [3.0]), "differ in length"),
        ((["x", "x"], [0, 0], [3.0, 4.0]), "more than once"),
        ((["x"], [0], [np.nan]), "not finite"),
        ((["x"], [0], ["good"]), "real numbers"),
    ],
)
def test_what_cannot_be_folded_in_changes_nothing(ratings, more, message):
    model = MatrixCompletion(penalty=3.0).fit(*ratings)
    before = model.row_factors_
    with pytest.raises(ValueError, match=message):
        model.fold_in(*more)
    assert model.row_factors_ is before
    assert len(model.row_ids_) == len(before)


def test_saved_and_loaded_it_predicts_the_same(ratings, tmp_path):
    rows, columns, values = ratings
    films = [f"film {c}" for c in columns]
    model = MatrixCompletion(penalty=3.0, clip=(1, 5)).fit(rows, films, values)
    path = model.save(tmp_path / "ratings.safetensors")
    again = MatrixCompletion.load(path)
    np.testing.assert_array_equal(again.reconstruct(), model.reconstruct())
    assert again.get_params() == model.get_params()
    assert again.recommend(3) == model.recommend(3)
    again.fold_in(["eve"], ["film 5"], [4])
    assert again.predict(["eve"], ["film 5"]).shape == (1,)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamagedFileError, match="damaged"):
        MatrixCompletion.load(path)


def test_ids_that_json_cannot_hold_are_refused_before_writing(ratings, tmp_path):
    rows, columns, values = ratings
    model = MatrixCompletion(penalty=3.0).fit([frozenset([int(r)]) for r in rows], columns, values)
    with pytest.raises(TypeError, match="cannot save row ids like"):
        model.save(tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_seed_gives_the_same_answer_and_it_is_an_estimator(ratings):
    a, b = (MatrixCompletion(seed=3).fit(*ratings).reconstruct() for _ in range(2))
    np.testing.assert_array_equal(a, b)
    copy = clone(MatrixCompletion(penalty=2.0, seed=5))
    assert copy.get_params()["penalty"] == 2.0
    json.dumps(copy.get_params())
    with pytest.raises(NotFittedError, match="call fit first"):
        copy.predict([0], [0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1, 1, 2], [5, 5, 6], [1.0, 2, 3]), r"more than once, the first is \(1, 5\)"),
        (([1, 2], [5, 6], [1.0, np.nan]), "not finite .the first is number 1"),
        (([1, 2], [5, 6], [1.0, np.inf]), "not finite"),
        (([1, 2], [5, 6], ["4", "5"]), "real numbers, got .*'4'.*convert"),
        (([1, 2], [5, 6], [4, "five"]), "real numbers"),
        (([1, 2], [5, 6], np.array([4, "five"], dtype=object)), "got 'five' of type str"),
        (([1, 2], [5, 6], [True, False]), "real numbers"),
        (([1, 2], [5, 6], [1j, 2]), "real numbers"),
        (([1, 2], [5], [1.0, 2]), "differ in length: 2, 1, 2"),
        (([1, None], [5, 6], [1.0, 2]), "row id is missing"),
        (([1, 2], [5, np.nan], [1.0, 2]), "column id is missing"),
        (([[1], [2]], [5, 6], [1.0, 2]), "hashable"),
        (("ab", [5, 6], [1.0, 2]), "as a sequence"),
        (([], [], []), "no observed entries"),
        (([1, 2], [5, 6]), "need all of rows, columns and values"),
        (([1, 2], None, [5, 6]), "need all of rows, columns and values"),
        ((np.full((3, 3), np.nan),), "no observed entries"),
        ((np.ones(4),), "must be a matrix, got shape"),
        (([(1, 2, 3.0), (2, 3, 4.0)],), "for triples call fit"),
        ((np.array([[1.0, np.inf], [np.nan, 2]]),), "not finite"),
        ((sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(2, 2)),), "more than once"),
        ((sparse.coo_array(([1.0, np.nan], ([0, 1], [1, 1])), shape=(2, 2)),), "not finite"),
    ],
)
def test_bad_input_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        MatrixCompletion(penalty=1.0).fit(*given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "method must be one of auto, variational, soft-impute, fixed-rank"),
        ({"method": "fixed-rank"}, "needs rank"),
        ({"rank": 0}, "rank must be a whole number of at least 1 or None, got 0"),
        ({"rank": 4}, "rank must be at most 3"),
        ({"penalty": -1.0}, "penalty must be a number of at least 0 or None"),
        ({"penalty": 0.0}, "leaves the holes undetermined"),
        ({"clip": (5, 1)}, "low < high"),
        ({"clip": "no"}, "clip must be"),
        ({"validation": 1.0}, "above 0 and below 1"),
        ({"max_iter": 0}, "at least 1"),
        ({"method": "variational", "penalty": 1.0}, "has no penalty"),
        ({}, "too few to choose λ"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MatrixCompletion(**settings).fit(np.arange(12.0).reshape(3, 4) / 2)


def test_matrix_rows_are_counted(planted):
    model = MatrixCompletion(penalty=2.0).fit(planted[1])
    with pytest.raises(ValueError, match="rows of a matrix are counted"):
        model.predict(["0"], [1])
    with pytest.raises(ValueError, match="numbered 60, 61"):
        model.fold_in([75], [0], [1.0])
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        model.recommend(0, n=0)
    with pytest.raises(ValueError, match="same length"):
        model.predict([0, 1, 2], [0, 1])


@pytest.mark.parametrize("seed", range(6))
def test_it_is_not_worse_than_biases_whatever_there_is_to_find(seed):
    """From no low-rank part at all to a strong one, in unit noise."""
    rng = np.random.default_rng(seed)
    tastes = 0.15 * seed * rng.standard_normal((90, 2)) @ rng.standard_normal((2, 70))
    full = tastes + 0.5 * rng.standard_normal((90, 1)) + 0.5 * rng.standard_normal(70)
    noisy = full + rng.standard_normal(full.shape)
    X = np.where(rng.random(full.shape) < 0.2, noisy, np.nan)
    ours, biases = (rmse(MatrixCompletion(penalty=p).fit(X), full, X) for p in (None, 1e9))
    assert ours < biases + 1e-6
    if seed == 5:
        assert ours < 0.8 * biases
