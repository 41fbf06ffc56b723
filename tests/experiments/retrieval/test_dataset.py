"""Splits by class."""

import numpy as np
import pytest

from schmidt.domains import split_classes
from schmidt.experiments.retrieval import DomainPair, Items, ZeroShot, split


def items(classes, start=0):
    classes = np.asarray(classes)
    return Items(np.arange(start, start + len(classes), dtype=float)[:, None], classes)


@pytest.mark.parametrize(
    ("count", "sizes"), [(4, (2, 0, 2)), (10, (7, 1, 2)), (1150, (805, 115, 230))]
)
def test_parts(count, sizes):
    parts = split_classes(np.arange(count), seed=0)
    assert tuple(map(len, parts)) == sizes
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_items_follow_their_classes():
    classes = np.arange(40) % 10
    data = split(
        "toy", items(classes), items(classes[::-1], 100), [str(i) for i in range(10)], seed=5
    )
    for pair in (data.train, data.valid, data.test):
        assert (pair.x.features[:, 0].astype(int) % 10 == pair.x.classes).all()
        assert (classes[::-1][pair.y.features[:, 0].astype(int) - 100] == pair.y.classes).all()
    assert sum(len(p.x) for p in (data.train, data.valid, data.test)) == 40


def test_pictures_follow_their_items():
    whole = Items(np.zeros((6, 1)), np.arange(6), lambda i: np.full((2, 2), i))
    part = whole.of(np.array([1, 4])).of(np.array([4]))
    assert part.picture is not None
    assert part.picture(0)[0, 0] == 4


def test_bytes_are_pixels():
    pixels = Items(np.array([[0, 255]], np.uint8), np.array([0]))
    assert pixels.values.tolist() == [[0, 1]]
    assert pixels.values.dtype == np.float32


def test_k_is_at_most_the_gallery():
    part = DomainPair(items([0, 1]), items([0, 1]))
    other = DomainPair(items([2, 3]), items([2, 3]))
    empty = DomainPair(items([]), items([]))
    assert ZeroShot("toy", part, empty, other, names="abcd", k=10).k == 2


def test_leaks_are_refused():
    part, empty = DomainPair(items([0, 1]), items([0, 1])), DomainPair(items([]), items([]))
    with pytest.raises(ValueError, match="class 'b' is in train and in test"):
        ZeroShot("toy", part, empty, DomainPair(items([1]), items([1])), names="ab")
    with pytest.raises(ValueError, match="no items to test with"):
        ZeroShot("toy", part, empty, DomainPair(items([2]), items([])), names="abc")


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="a domain needs features"):
        Items(np.zeros((3, 2)), np.zeros(2))
