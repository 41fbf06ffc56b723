"""Inputs that could be misread: what they must mean, or that they are refused."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from schmidt import MatrixCompletion

pd = pytest.importorskip("pandas")


def fitted(*given, **settings):
    return MatrixCompletion(**{"penalty": 3.0} | settings).fit(*given)


@pytest.fixture
def frame(ratings):
    rows, columns, values = ratings
    time = 10**9 + np.arange(len(rows))
    return pd.DataFrame({"movieId": columns, "timestamp": time, "userId": rows, "score": values})


def same(a, b, ratings):
    rows, columns, _ = ratings
    np.testing.assert_array_equal(a.predict(rows, columns), b.predict(rows, columns))


# --- triples are never a matrix -------------------------------------------------------------------


def test_a_frame_of_triples_is_read_by_the_names_of_its_columns(frame, ratings):
    expected = fitted(*ratings)
    renamed = frame.set_axis(["Film ID", "x", "USER_ID", "Stars"], axis=1)
    for table in (frame, renamed, frame.to_records(index=False), frame.to_dict("list")):
        same(fitted(table), expected, ratings)
    polars = pytest.importorskip("polars")
    same(fitted(polars.from_pandas(frame)), expected, ratings)


def test_frames_whose_columns_could_mean_two_things_are_refused(frame):
    for table, message in (
        (frame.assign(user=1), "which of the columns .* is the user"),
        (frame.drop(columns="score"), "is the rating"),
        (frame.assign(rating=1.0), "is the rating"),
        (frame.set_axis(["a", "b", "c", "d"], axis=1), "may hold triples"),
        (frame.set_axis(["a", "b", "c", "d"], axis=1).astype({"c": str}), "no matrix of numbers"),
        ({"a": [1, 2], "b": [3, 4]}, "no matrix of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted(table)


def test_an_array_of_triples_is_refused_with_the_way_to_say_it(ratings):
    table = np.column_stack(ratings)
    for array, way in (
        (table, r"fit\(X\[:, 0\], X\[:, 1\], X\[:, 2\]\)"),
        (table.tolist(), "may hold triples"),
        (table.T, r"fit\(X\[0\], X\[1\], X\[2\]\)"),
        (np.column_stack([table, np.arange(len(table))]), "may hold triples"),
        (pd.DataFrame(table), "may hold triples"),
        (np.random.default_rng(0).standard_normal((9, 3)), "may hold triples"),
    ):
        with pytest.raises(ValueError, match=way):
            fitted(array)
    expected = fitted(*ratings)
    told = MatrixCompletion(penalty=3.0).fit(table, layout="triples")
    same(told, expected, ratings)
    assert {type(label) for label in told.row_ids_.labels} == {int}
    matrix = MatrixCompletion(penalty=3.0).fit(table, layout="matrix")
    assert matrix.row_factors_.shape[0] == len(table)
    with pytest.raises(ValueError, match="layout must be one of"):
        MatrixCompletion(penalty=3.0).fit(table, layout="table")


def test_a_wide_frame_has_its_index_and_columns_as_ids(frame, ratings):
    wide = frame.pivot(index="userId", columns="movieId", values="score")
    wide.index = [f"u{i}" for i in wide.index]
    model = fitted(wide, tol=1e-9, max_iter=5000)
    triples = fitted([f"u{r}" for r in ratings[0]], *ratings[1:], tol=1e-9, max_iter=5000)
    places = [f"u{r}" for r in ratings[0]], ratings[1]
    np.testing.assert_allclose(model.predict(*places), triples.predict(*places), atol=1e-5)
    with pytest.raises(ValueError, match="set_index"):
        fitted(wide.reset_index(names="user"))
    with pytest.raises(ValueError, match="each row once"):
        fitted(wide.set_axis(["x"] * len(wide)))
    nullable = wide.astype("Float64")
    np.testing.assert_array_equal(
        fitted(nullable).row_biases_, fitted(wide.astype(float)).row_biases_
    )


def test_zeros_for_holes_are_noticed(planted):
    with pytest.warns(UserWarning, match="zeros count as values"):
        fitted(np.nan_to_num(planted[1]))


# --- masks ----------------------------------------------------------------------------------------


def test_masked_cells_are_holes(planted):
    _, X = planted
    masked = np.ma.masked_invalid(X)
    masked.data[masked.mask] = 999_999
    np.testing.assert_array_equal(fitted(masked).reconstruct(), fitted(X).reconstruct())
    rows, columns = np.nonzero(np.ones_like(X))
    with pytest.raises(ValueError, match="values are masked"):
        fitted(rows, columns, masked.ravel())
    with pytest.raises(ValueError, match="row ids are masked"):
        fitted(np.ma.masked_equal(rows, 3), columns, rows.astype(float))
    with pytest.raises(ValueError, match="values are masked"):
        fitted(X).score([0, 1], [0, 0], np.ma.masked_equal([1.0, 2.0], 2))


# --- shapes ---------------------------------------------------------------------------------------


def test_nothing_is_broadcast_silently(ratings):
    rows, columns, values = ratings
    model = fitted(*ratings)
    error = values - model.predict(rows, columns)
    assert model.score(*ratings) == pytest.approx(-np.sqrt(np.mean(error**2)))
    weights = np.arange(len(values)) % 3
    expected = -np.sqrt(np.average(error**2, weights=weights))
    assert model.score(*ratings, sample_weight=weights) == pytest.approx(expected)
    for call, message in (
        (lambda: model.score(rows, columns, values[:, None]), r"shape .* write values.ravel\(\)"),
        (lambda: model.score(rows, columns, values[:1]), "differ in length"),
        (lambda: model.score(rows, columns, values.mean()), "must be a vector"),
        (lambda: model.score([], [], []), "no entries to score"),
        (lambda: model.score(*ratings, sample_weight=weights[:, None]), "must be a vector"),
        (lambda: model.score(*ratings, sample_weight=-1.0 - weights), "not be negative"),
        (lambda: model.predict(rows[:, None], columns), "one-dimensional"),
        (lambda: model.predict(pd.DataFrame({"u": rows}), columns), "one-dimensional"),
        (lambda: model.predict(set(rows.tolist()), columns), "need an order"),
        (lambda: model.predict(np.array(3), columns), "as a sequence"),
        (lambda: model.predict(sparse.coo_array([[1, 2]]), columns), "one-dimensional"),
        (lambda: fitted(rows, columns, values[:, None]), "must be a vector"),
        (lambda: fitted(rows, columns, sparse.coo_array([values])), "dense"),
        (lambda: model.fold_in([0], [[0]], [1.0]), "hashable"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, np.str_, lambda v: float(v) + 0.5, lambda v: (v, "x")])
def test_ids_keep_their_type_in_a_file(ratings, tmp_path, kind):
    rows, columns, values = ratings
    users, films = [kind(int(r)) for r in rows], [np.int64(c) for c in columns]
    model = fitted(users, films, values)
    again = MatrixCompletion.load(model.save(tmp_path / "m.safetensors"))
    assert again.recommend(users[0]) == model.recommend(users[0])
    assert [type(v) for v in again.row_ids_.labels] == [type(v) for v in model.row_ids_.labels]
    assert again.certificate_.as_dict() == model.certificate_.as_dict()


def test_ids_of_another_type_are_an_error_in_both_directions(ratings):
    rows, columns, values = ratings
    texts = [str(r) for r in rows]
    for trained, asked in (
        (texts, rows),
        (texts, rows.astype(float)),
        (rows, texts),
        (rows, [t.encode() for t in texts]),
        (texts, [t.encode() for t in texts]),
    ):
        model = fitted(trained, columns, values, unknown="bias")
        with pytest.raises(ValueError, match="convert the ids to the type"):
            model.predict(asked, columns)
        with pytest.raises(ValueError, match="convert the ids"):
            model.recommend(asked[0])
    model = fitted(rows, columns, values)
    np.testing.assert_array_equal(
        model.predict(rows.astype(np.uint8).astype(float), columns), model.predict(rows, columns)
    )
    with pytest.raises(ValueError, match=r"row (True|False) is of type bool"):
        model.predict(rows > 3, columns)
    with pytest.raises(ValueError, match="differ in type only"):
        fitted([*texts[:-1], int(rows[-1])], columns, values)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT")])
def test_missing_ids_are_named(missing, ratings):
    with pytest.raises(ValueError, match="a row id is missing"):
        fitted([1, missing], [5, 6], [1.0, 2.0])
    with pytest.raises(ValueError, match="id is missing"):
        fitted(*ratings).predict([missing], [0])


@pytest.mark.parametrize(
    "column",
    [
        pd.Categorical(["b", "a", "b"]),
        pd.Series(["b", "a", "b"], dtype="category"),
        pd.array([2, 1, 2], dtype="Int64"),
        pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-02"]),
        np.array(["2020-01-02", "2020-01-01", "2020-01-02"], dtype="M8[ns]"),
        [10**30, -(10**30), 10**30],
        np.array([2**64 - 1, 0, 2**64 - 1], dtype=np.uint64),
        ["\ud800", "é", "\ud800"],
        [True, False, True],
    ],
)
def test_columns_of_any_kind_are_ids(column):
    model = fitted(column, [1, 1, 2], [1.0, 2.0, 4.0])
    assert len(model.row_ids_) == 2
    first, second, third = model.predict(column, [1, 1, 1])
    assert first == third != second


# --- duplicates, constants, few entries -----------------------------------------------------------


def test_double_entries_are_refused_or_the_last_or_their_mean(ratings):
    rows, columns, values = ratings
    twice = [np.append(rows, rows[:9]), np.append(columns, columns[:9])]
    more = np.append(values, values[:9] % 5 + 1)
    with pytest.raises(ValueError, match=r"9 entries occur more than once.*duplicates='last'"):
        fitted(*twice, more)
    last = values.copy()
    last[:9] = more[-9:]
    same(fitted(*twice, more, duplicates="last"), fitted(rows, columns, last), ratings)
    mean = values.copy()
    mean[:9] = (values[:9] + more[-9:]) / 2
    same(fitted(*twice, more, duplicates="mean"), fitted(rows, columns, mean), ratings)
    coo = sparse.coo_array(([1.0, 3.0, 4.0], ([0, 0, 1], [0, 0, 1])), shape=(2, 2))
    assert fitted(coo, duplicates="mean").mean_ == 3.0
    model = fitted(*ratings, duplicates="last").fold_in(rows[:9], columns[:9], more[-9:])
    np.testing.assert_array_equal(
        model._seen.matrix().toarray(), fitted(rows, columns, last)._seen.matrix().toarray()
    )


def test_values_that_are_all_equal_are_implicit_feedback(ratings):
    rows, columns, _ = ratings
    with pytest.raises(ValueError, match=r"implicit feedback.*schmidt\.svd"):
        MatrixCompletion().fit(rows, columns, np.ones(len(rows)))
    with pytest.warns(UserWarning, match="implicit feedback"):
        fitted(rows, columns, np.ones(len(rows)))
    one = fitted(["a"], ["b"], [3.0])
    assert one.predict(["a"], ["b"]) == pytest.approx([3.0])


# --- neither order nor units ----------------------------------------------------------------------


def test_the_largest_and_the_smallest_numbers_are_values():
    rows, columns = np.nonzero(np.ones((4, 5)))
    for unit in (3e307, 5e-324):
        values = unit * np.array([1, 2, 3, 4, 5] * 4)
        model = fitted(rows, columns, values, penalty=unit, clip=None)
        assert np.isfinite(model.reconstruct()).all()
        assert -model.score(rows, columns, values) <= unit


@pytest.mark.parametrize("settings", [{}, {"method": "fixed-rank", "rank": 2, "penalty": 3.0}])
def test_the_order_of_the_entries_changes_nothing(ratings, settings):
    order = np.random.default_rng(5).permutation(len(ratings[0]))
    model = MatrixCompletion(**settings).fit(*ratings)
    shuffled = MatrixCompletion(**settings).fit(*(column[order] for column in ratings))
    assert shuffled.rank_ == model.rank_
    same(shuffled, model, ratings)
    np.testing.assert_array_equal(shuffled.reconstruct(), model.reconstruct())


@pytest.mark.parametrize("settings", [{"method": "soft-impute", "solver": "als"}, {}])
def test_the_order_of_rows_and_columns_changes_the_choice_by_rounding_only(rng, settings):
    truth = 0.7 * rng.standard_normal((40, 3)) @ rng.standard_normal((3, 30))
    X = np.where(rng.random(truth.shape) < 0.5, truth + rng.standard_normal(truth.shape), np.nan)
    first = MatrixCompletion(**settings).fit(X)
    rows, columns = rng.permutation(40), rng.permutation(30)
    moved = MatrixCompletion(**settings).fit(X[np.ix_(rows, columns)])
    assert moved.rank_ == first.rank_ > 0
    if settings:
        assert moved.penalty_ == pytest.approx(first.penalty_, rel=1e-6)
    np.testing.assert_allclose(
        moved.reconstruct(), first.reconstruct()[np.ix_(rows, columns)], atol=1e-5
    )


def test_the_choice_does_not_depend_on_what_the_seed_held_out(rng):
    """Several parts are held out where one would be too small to choose by."""
    truth = 0.9 * rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30))
    X = np.where(rng.random(truth.shape) < 0.5, truth + 0.7, np.nan)
    X += 0.5 * rng.standard_normal(X.shape)
    found = [MatrixCompletion(seed=s).fit(X).reconstruct() for s in range(3)]
    assert MatrixCompletion().fit(X).choice_.folds == 5
    for other in found[1:]:
        assert np.sqrt(np.mean((other - found[0]) ** 2)) < 0.15


# --- estimator manners ----------------------------------------------------------------------------


def test_pairs_and_values_go_through_scikit_learns_searches(ratings):
    places, values = np.column_stack(ratings[:2]), ratings[2]
    scores = cross_val_score(MatrixCompletion(penalty=3.0, unknown="bias"), places, values, cv=3)
    assert (scores > -1.5).all()
    search = GridSearchCV(MatrixCompletion(unknown="bias"), {"penalty": [3.0, 1e6]}, cv=2).fit(
        places, values
    )
    assert search.best_params_ == {"penalty": 3.0}
    model = fitted(places, values)
    same(model, fitted(*ratings), ratings)
    np.testing.assert_array_equal(model.predict(places), model.predict(*ratings[:2]))
    assert model.score(places.tolist(), values) == model.score(*ratings)


def test_it_can_be_pickled_copied_and_saved_with_numpys_numbers(ratings, tmp_path):
    settings = {"penalty": np.float32(3.0), "rank": np.int64(4), "seed": np.int64(1)}
    model = clone(MatrixCompletion(**settings)).fit(*ratings)
    for again in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        MatrixCompletion.load(model.save(tmp_path / "m.safetensors")),
    ):
        np.testing.assert_array_equal(again.reconstruct(), model.reconstruct())


def test_what_is_not_proven_is_not_said(ratings):
    known = MatrixCompletion().fit(*ratings)
    assert known.certificate_.estimates["held_out_error"] == known.choice_.error
    assert not known.certificate_.met
    assert not known.certificate_.bounds
    assert "max_iter" in fitted(*ratings, max_iter=1).certificate_.alarms[0]
    assert not known.factorization_.certificate.met
    full = fitted(np.random.default_rng(0).standard_normal((7, 6)))
    assert any("nothing to complete" in note for note in full.certificate_.notes)
