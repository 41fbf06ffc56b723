"""Sketchy Extended, in a small folder of the layout of the public code."""

import numpy as np
import pytest
from PIL import Image

from schmidt.experiments.retrieval import SKETCHY, sketchy, source
from schmidt.experiments.retrieval.sketchy import SPLIT_2, split_classes

TRAIN, TEST = ("ant", "bear", "cup", "deer"), ("bat", "cow")


def features(rng, names, per_class=3):
    classes = np.repeat(np.array(names), per_class)
    paths = np.array([f"{c}/{i}.png" for i, c in enumerate(classes)])
    return {
        "features": rng.standard_normal((len(classes), 512)).astype(np.float32),
        "classes": classes,
        "paths": paths,
    }


def made(root, rng, split=1, **parts):
    folder = root / "SketchyVGG" / f"split{split}"
    folder.mkdir(parents=True)
    for part, names in {"train": TRAIN, "test": TEST, **parts}.items():
        for domain in ("sketch", "photo"):
            np.savez_compressed(folder / f"{part}_{domain}.npz", **features(rng, names))
    return root


@pytest.mark.parametrize("place", [".", "data", "dataset"])
def test_stored_splits(tmp_path, rng, place):
    made(tmp_path / place, rng, split=2)
    data = sketchy(tmp_path, split=2)
    assert data.domains == ("sketches", "photographs")
    assert data.train.x.features.shape == (12, 512)
    assert [data.names[c] for c in data.test.classes] == ["bat", "cow"]
    assert len(data.valid.x) == 0
    assert data.k == len(data.test.y) == 6
    assert data.test.x.picture is None


def test_validation_classes_are_taken_where_there_are_some(tmp_path, rng):
    data = sketchy(made(tmp_path, rng, valid=("elk",)))
    assert [data.names[c] for c in data.valid.classes] == ["elk"]


def test_pictures_are_found_beside_the_features(tmp_path, rng):
    made(tmp_path, rng)
    for folder in ("sketch/tx_000000000000", "extended_photo"):
        place = tmp_path / "Sketchy" / folder / "bat"
        place.mkdir(parents=True)
        Image.new("RGB", (32, 16), (0, 0, 255)).save(place / "0.png")
    data = sketchy(tmp_path)
    assert data.test.y.picture(0).shape == (48, 96, 3)


def test_features_of_all_classes_are_split_here(tmp_path, rng):
    names = [f"class{i:02d}" for i in range(8)] + ["bat", "cow"]
    folder = tmp_path / "SketchyVGG"
    folder.mkdir()
    for domain in ("sketch", "photo"):
        np.savez(folder / f"{domain}.npz", **features(rng, names))
    first, second = sketchy(tmp_path, 1), sketchy(tmp_path, 2)
    assert len(first.train.classes) == 8
    assert [second.names[c] for c in second.test.classes] == ["bat", "cow"]


def test_the_two_splits_have_the_published_sizes():
    names = sorted([*SPLIT_2, *(f"other{i:03d}" for i in range(104))])
    for split, sizes in ((1, (100, 25)), (2, (104, 21))):
        train, test = split_classes(names, split)
        assert (len(train), len(test)) == sizes
        assert sorted(train + test) == names
    assert split_classes(names, 2)[1] == sorted(SPLIT_2)
    assert split_classes(names[::-1], 1) == split_classes(names, 1)


def test_settings_are_those_of_the_paper(tmp_path, rng):
    data, settings = source(made(tmp_path, rng))
    assert data.name == "Sketchy Extended, split 1"
    assert settings == SKETCHY
    assert (settings.modes, settings.hidden, settings.batch) == (512, (8192,), 4096)
    assert settings.steps_for(data) == 10


def test_clear_errors(tmp_path, rng):
    with pytest.raises(ValueError, match="has splits 1 and 2, got 3"):
        sketchy(tmp_path, 3)
    with pytest.raises(FileNotFoundError, match="no folder SketchyVGG"):
        sketchy(tmp_path)
    made(tmp_path, rng)
    with pytest.raises(FileNotFoundError, match="has no folder split2"):
        sketchy(tmp_path, 2)
    (tmp_path / "SketchyVGG/split1/test_photo.npz").unlink()
    with pytest.raises(FileNotFoundError, match="needs train_sketch"):
        sketchy(tmp_path)


def test_leaking_splits_are_refused(tmp_path, rng):
    """The public code writes such files when asked for a validation split."""
    made(tmp_path, rng, train=(*TRAIN, *TEST))
    with pytest.raises(ValueError, match="class 'bat' is in train and in test: not zero-shot"):
        sketchy(tmp_path)


def test_wrong_arrays(tmp_path, rng):
    made(tmp_path, rng)
    wrong = features(rng, TRAIN)
    wrong["classes"] = wrong["classes"][:-1]
    np.savez(tmp_path / "SketchyVGG/split1/train_photo.npz", **wrong)
    with pytest.raises(ValueError, match="with n classes and paths"):
        sketchy(tmp_path)
