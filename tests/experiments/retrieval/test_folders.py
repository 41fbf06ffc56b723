"""Two folders of pictures."""

import numpy as np
import pytest
from PIL import Image

from schmidt.experiments.retrieval import folders


def test_pictures_by_domain_and_class(two_folders):
    (two_folders / "photos" / "box" / "notes.txt").write_text("not a picture")
    (two_folders / ".cache").mkdir()
    data = folders(two_folders, seed=1, side=16)
    assert data.name == "data"
    assert data.domains == ("drawings", "photos")
    assert len(data.names) == 6
    sizes = data.sizes()
    assert [sizes[p]["classes"] for p in ("train", "valid", "test")] == [4, 0, 2]
    assert sizes["test"]["y"] == 2 * 4
    assert data.train.x.features.shape == (4 * 4, 16 * 16)
    shown = data.test.x.picture(3)
    assert shown.shape == (96, 72, 3)
    assert shown.dtype == np.uint8


def test_the_domain_of_queries_can_be_chosen(two_folders):
    assert folders(two_folders, query="photos").domains == ("photos", "drawings")
    with pytest.raises(ValueError, match=r"no domain 'paintings'.*drawings and photos"):
        folders(two_folders, query="paintings")


def test_pictures_and_features_stay_together(two_folders):
    data = folders(two_folders, side=8)
    for items in (data.test.x, data.train.y):
        for i in (0, len(items) - 1):
            small = Image.fromarray(items.picture(i)).convert("L").resize((8, 8))
            wide = items.features[i].reshape(8, 8)[:, 1:-1]
            assert np.corrcoef(np.asarray(small)[:, 1:-1].ravel(), wide.ravel())[0, 1] > 0.5


def test_transparency_is_white_and_colour_is_kept(two_folders):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 20, 10))
    for domain in ("photos", "drawings"):
        for name in ("arrow", "box", "cross", "disc", "edge", "fan"):
            image.save(two_folders / domain / name / "0.png")
    data = folders(two_folders)
    picture = data.train.x.picture(0)
    assert picture[10, 48].tolist() == [255, 0, 0]
    assert picture[85, 48].tolist() == [255, 255, 255]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        folders(tmp_path / "gone")


def test_not_two_domains(two_folders):
    (two_folders / "third").mkdir()
    with pytest.raises(ValueError, match=r"two folders.*found 3: drawings, photos, third"):
        folders(two_folders)


def test_a_class_of_one_domain_only(two_folders):
    (two_folders / "photos" / "ghost").mkdir()
    Image.new("L", (4, 4)).save(two_folders / "photos" / "ghost" / "0.png")
    with pytest.raises(ValueError, match="1 classes are in photos but not in drawings: ghost"):
        folders(two_folders)


def test_an_unreadable_picture(two_folders):
    broken = two_folders / "drawings" / "box" / "1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"cannot read .*1\.png as a picture"):
        folders(two_folders)


def test_no_classes(tmp_path):
    for domain in ("a", "b"):
        (tmp_path / domain).mkdir()
    with pytest.raises(ValueError, match="has no folders of classes"):
        folders(tmp_path)


def test_too_few_classes(two_folders, tmp_path):
    for domain in ("photos", "drawings"):
        for name in ("arrow", "box", "cross"):
            for file in (two_folders / domain / name).iterdir():
                file.unlink()
            (two_folders / domain / name).rmdir()
    with pytest.raises(ValueError, match="at least 4 classes are needed"):
        folders(two_folders)
