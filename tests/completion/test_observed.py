"""Entries, and products at entries."""

import numpy as np

from schmidt.completion.observed import Observed, product_at


def test_entries_come_in_order_of_rows_and_keep_their_values(rng):
    dense = rng.standard_normal((7, 5))
    places = rng.permutation(35)[:20]
    rows, columns = np.unravel_index(places, dense.shape)
    x = Observed.of(rows, columns, dense[rows, columns], dense.shape)
    mask = np.zeros(dense.shape, bool)
    mask[rows, columns] = True
    np.testing.assert_array_equal(x.matrix().toarray(), np.where(mask, dense, 0))
    np.testing.assert_array_equal(dense[x.rows, x.columns], x.values)
    np.testing.assert_array_equal(x.row_counts, mask.sum(1))
    np.testing.assert_array_equal(x.column_counts, mask.sum(0))
    np.testing.assert_allclose(x.row_sums(x.values), (mask * dense).sum(1))
    np.testing.assert_array_equal(x.transposed().matrix().toarray(), x.matrix().toarray().T)


def test_the_product_at_entries_is_the_product_whatever_the_blocks(rng, monkeypatch):
    left, right = rng.standard_normal((40, 6)), rng.standard_normal((30, 6))
    rows, columns = rng.integers(40, size=5000), rng.integers(30, size=5000)
    expected = (left @ right.T)[rows, columns]
    np.testing.assert_allclose(product_at(left, right, rows, columns), expected, atol=1e-12)
    monkeypatch.setattr("schmidt.completion.observed.BLOCK", 1)
    np.testing.assert_allclose(product_at(left, right, rows, columns), expected, atol=1e-12)
    none = product_at(left[:, :0], right[:, :0], rows, columns)
    np.testing.assert_array_equal(none, np.zeros(5000))


def test_each_fold_is_a_partition_and_no_entry_is_held_out_twice(planted, observed):
    x = observed(planted[1])
    times = np.zeros(x.shape)
    for train, held in x.folds(0.25, 4, seed=1):
        assert len(held) == round(0.25 * len(x))
        together = train.matrix().toarray() + held.matrix().toarray()
        np.testing.assert_array_equal(together, x.matrix().toarray())
        assert len(train) + len(held) == len(x)
        times += held.matrix().toarray() != 0
    assert times.max() == 1


def test_what_is_held_out_follows_the_entries_wherever_they_stand(planted, observed, rng):
    X = planted[1]
    rows, columns = rng.permutation(60), rng.permutation(45)
    x, moved = observed(X), observed(X[np.ix_(rows, columns)])
    for (_, a), (_, b) in zip(x.folds(0.1, 3, 0), moved.folds(0.1, 3, 0), strict=True):
        there = a.matrix().toarray()[np.ix_(rows, columns)]
        np.testing.assert_array_equal(there, b.matrix().toarray())
    np.testing.assert_array_equal(x.normals(1, 2, 5)[columns], moved.normals(1, 2, 5))


def test_held_out_entries_are_spread_where_all_rows_are_alike(observed):
    """Whole rows that are equal must not be held out together."""
    held = observed(np.tile([1.0, 2.0], (400, 1))).folds(0.25, 1, 0)[0][1]
    assert 60 < held.column_counts[0] < 140
    assert (held.row_counts == 2).sum() < 60


def test_normal_numbers_are_normal_and_differ_between_equal_rows(observed):
    x = observed(np.ones((5000, 2)))
    drawn = x.normals(0, 3, seed=7)
    assert len(np.unique(drawn)) == drawn.size
    assert abs(drawn.mean()) < 0.03
    assert abs(drawn.std() - 1) < 0.03
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.05
