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


def test_a_split_is_a_partition(planted, observed, rng):
    x = observed(planted[1])
    train, held = x.split(0.25, rng)
    assert len(held) == round(0.25 * len(x))
    together = train.matrix().toarray() + held.matrix().toarray()
    np.testing.assert_array_equal(together, x.matrix().toarray())
    assert len(train) + len(held) == len(x)
