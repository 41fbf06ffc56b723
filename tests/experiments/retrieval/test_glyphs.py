"""Letters in the faces of matplotlib: repeatable, disjoint, neither too easy nor drawn wrong."""

import unicodedata

import numpy as np
import pytest

from schmidt.experiments.retrieval import Jitter, glyphs
from schmidt.experiments.retrieval.glyphs import (
    SAME,
    SANS,
    SERIF,
    SIDE,
    characters,
    jittered,
    letters,
    shape,
)


@pytest.fixture(scope="module")
def small():
    return glyphs(0, classes=20)


def test_there_are_about_a_thousand_letters():
    found = letters()
    assert 1000 < len(found) < 1300
    assert len(set(found)) == len(found)
    assert all(unicodedata.category(c)[0] == "L" for c in found)
    # Latin, Greek and Cyrillic A look alike: one of them stays
    assert len(set("AΑА") & set(found)) <= 1


def test_no_two_letters_look_alike_and_no_letter_is_the_same_in_both_domains(rng):
    sample = "".join(rng.permutation(list(letters()))[:60])
    serif, sans = (np.stack([shape(face, c) for c in sample]) for face in (SERIF[0], SANS[0]))
    alike = np.minimum(serif @ serif.T, sans @ sans.T) - np.eye(60)
    assert alike.max() <= 0.975 + 1e-6
    assert (serif * sans).sum(1).max() <= SAME


def test_shapes_know_what_they_are(small):
    a, b = shape("DejaVuSans", "A"), shape("DejaVuSans", "B")
    assert np.linalg.norm(a) == pytest.approx(1)
    assert a @ b < 0.9
    assert not shape("DejaVuSans", " ").any()


def test_sizes(small):
    sizes = small.sizes()
    assert [sizes[part]["classes"] for part in ("train", "valid", "test")] == [14, 2, 4]
    assert small.train.y.features.shape == (14 * 8 * 8, SIDE**2)
    assert small.test.y.features.dtype == np.uint8
    assert len(small.test.y) == 4 * 8 * 2
    assert small.k == 16
    # the optional faces add up to four more to the four that every letter has
    per_class = np.bincount(small.test.x.classes)
    assert set(per_class[per_class > 0]) <= set(range(4, 9))
    assert small.test.x.picture(0).shape == (SIDE, SIDE)
    assert small.test.x.picture(0).ravel() == pytest.approx(small.test.x.features[0])


def test_classes_are_disjoint_and_shared_by_the_domains(small):
    parts = [small.train, small.valid, small.test]
    sets = [set(p.x.classes) for p in parts]
    assert all(set(p.y.classes) == s for p, s in zip(parts, sets, strict=True))
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_the_seed_decides_everything(small):
    again, other = glyphs(0, classes=20), glyphs(1, classes=20)
    assert (again.train.x.features == small.train.x.features).all()
    assert (again.test.y.classes == small.test.y.classes).all()
    assert list(again.names) == list(small.names)
    assert list(other.names) != list(small.names)


def test_items_are_drawn_in_the_middle(small):
    for items in (small.train.x, small.train.y):
        pixels = items.values.reshape(len(items), SIDE, SIDE)
        assert pixels.min() >= 0
        assert 0.5 < pixels.max() <= 1
        ink = pixels.sum(0)
        row, column = (np.arange(SIDE) @ ink.sum(1 - axis) / ink.sum() for axis in (0, 1))
        assert abs(column - (SIDE - 1) / 2) < 1
        assert abs(row - (SIDE - 1) / 2) < 5


def test_still_pictures_are_only_sampled_down(rng):
    still = Jitter(rotation=0, shear=0, scale=0, shift=0)
    pictures = np.kron(rng.integers(0, 256, (3, 4, 4)), np.ones((16, 16))).astype(np.uint8)
    out = jittered(pictures, 1, 32, still, rng)
    expected = pictures.reshape(3, 32, 2, 32, 2).mean((2, 4))
    inside = (slice(None), slice(1, -1), slice(1, -1))
    edges = np.abs(out[inside] - expected[inside]) > 1
    assert edges.mean() < 0.4
    centres = np.s_[:, 4::8, 4::8]
    assert out[centres] == pytest.approx(expected[centres], abs=1)


def test_a_shift_moves_by_so_many_pixels():
    picture = np.zeros((200, 64, 64), np.uint8)
    picture[:, 28:36, 28:36] = 255
    shifted = jittered(
        picture, 1, 32, Jitter(rotation=0, shear=0, scale=0, shift=3), np.random.default_rng(0)
    ).astype(float)
    ink = shifted.sum((1, 2))
    rows = (np.arange(32)[:, None] * shifted).sum((1, 2)) / ink
    assert abs(rows - 15.5).max() <= 3.1
    assert abs(rows - 15.5).max() > 2.5


def test_every_letter_is_in_the_faces_that_must_have_it():
    assert all(c in characters(SANS[4]) for c in letters()[::50])


def test_too_many_classes():
    with pytest.raises(ValueError, match="classes must lie between 4 and"):
        glyphs(0, classes=10**6)
