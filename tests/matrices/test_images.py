"""Pictures as matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from schmidt.matrices.images import compress, psnr


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    smooth = np.add.outer(np.sin(np.arange(60) / 9), np.cos(np.arange(40) / 7))
    return (100 + 40 * smooth + 10 * rng.random((60, 40))).astype(np.uint8)


def test_versions_are_best_approximations(picture: np.ndarray) -> None:
    (five, all_of_it), (values,) = compress(picture, [5, 40])
    u, s, vh = np.linalg.svd(picture.astype(float))
    expected = ((u[:, :5] * s[:5]) @ vh[:5]).round().clip(0, 255)
    np.testing.assert_array_equal(five.image, expected)
    assert five.stored == 5 * (60 + 40)
    assert five.pixels == 60 * 40
    assert five.energy == pytest.approx((s[:5] ** 2).sum() / (s**2).sum())
    np.testing.assert_allclose(values, s, rtol=1e-9)
    np.testing.assert_array_equal(all_of_it.image, picture)
    assert all_of_it.psnr == math.inf


def test_channels_are_matrices_of_their_own(picture: np.ndarray) -> None:
    colour = np.stack([picture, picture.T[:40].T, 255 - picture], -1)
    (version,), values = compress(colour, [3])
    for c in range(3):
        (single,), _ = compress(np.ascontiguousarray(colour[:, :, c]), [3])
        np.testing.assert_array_equal(version.image[:, :, c], single.image)
    assert len(values) == 3
    assert version.stored == 3 * 3 * 100


def test_energy_chooses_the_rank(picture: np.ndarray) -> None:
    (version,), _ = compress(picture, energy=0.999)
    s = np.linalg.svd(picture.astype(float), compute_uv=False)
    assert version.rank == 1 + np.argmax(np.cumsum(s**2) >= 0.999 * (s**2).sum())
    assert version.energy >= 0.999


def test_psnr_of_a_known_error() -> None:
    a = np.zeros((4, 4), np.uint8)
    assert psnr(a, a + 5) == pytest.approx(20 * math.log10(255 / 5))


def test_refusals(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="picture of bytes"):
        compress(picture.astype(float), [1])
    with pytest.raises(ValueError, match="= 40"):
        compress(picture, [41])
    with pytest.raises(ValueError, match="either"):
        compress(picture)
