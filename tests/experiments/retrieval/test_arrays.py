"""Feature arrays."""

import numpy as np
import pytest

from schmidt.experiments.retrieval import arrays
from schmidt.storage import DamagedFileError


def save(path, rng, **changed):
    classes = np.repeat(np.arange(10), 5)
    content = {
        "X": rng.standard_normal((50, 6)),
        "cx": classes,
        "Y": rng.standard_normal((50, 4)),
        "cy": classes[::-1].copy(),
    }
    content.update(changed)
    np.savez(path, **{k: v for k, v in content.items() if v is not None})
    return path


def test_arrays_of_different_length(tmp_path, rng):
    data = arrays(save(tmp_path / "pairs.npz", rng), seed=3)
    assert data.name == "pairs"
    assert not data.comparable
    assert [data.sizes()[p]["classes"] for p in ("train", "valid", "test")] == [7, 1, 2]
    assert data.train.x.features.shape == (35, 6)
    assert data.test.x.picture is None


def test_classes_can_be_text_and_items_pictures(tmp_path, rng):
    words = np.array([f"class {c}" for c in range(10)]).repeat(5)
    pixels = rng.integers(0, 255, (50, 3, 4, 3)).astype(np.uint8)
    data = arrays(save(tmp_path / "a.npz", rng, X=pixels, cx=words, cy=words))
    assert data.names[0] == "class 0"
    assert data.train.x.features.shape[1] == 36
    assert data.train.x.values.max() <= 1


def test_numbers_sort_as_numbers(tmp_path, rng):
    codes = np.repeat(np.arange(9, 19), 5)
    data = arrays(save(tmp_path / "a.npz", rng, cx=codes, cy=codes))
    assert list(data.names) == [str(i) for i in range(9, 19)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cy": None}, "has no cy; it needs X, cx, Y, cy, and has X, cx, Y"),
        ({"cx": np.arange(49)}, r"X must be \(n, d\) and its classes \(n,\)"),
        ({"cx": np.repeat(np.arange(1, 11), 5)}, "1 classes are in X but not in Y: 10"),
        ({"X": np.full((50, 2), np.nan)}, "values that are not finite"),
    ],
)
def test_clear_errors(tmp_path, rng, changed, message):
    with pytest.raises(ValueError, match=message):
        arrays(save(tmp_path / "a.npz", rng, **changed))


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        arrays(tmp_path / "gone.npz")
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(DamagedFileError, match=r"bad\.npz cannot be read"):
        arrays(tmp_path / "bad.npz")
