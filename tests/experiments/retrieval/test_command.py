"""``schmidt retrieve`` as a user calls it."""

import json

import numpy as np
import pytest

from schmidt.cli import main

PICTURES = ("hits.png", "truncation.png", "singular-values.png", "orthogonality.png")


def call(capsys, *arguments):
    status = main(["retrieve", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_folders_of_pictures(capsys, tmp_path, two_folders):
    out = tmp_path / "out"
    small = ("--steps", "20", "--modes", "3", "--out", str(out))
    status, text, _ = call(capsys, "--data", str(two_folders), *small)
    assert status == 0
    for words in ("mAP cos", "mAP ip", "P@4", "chance", "raw features", "NeuralSVD, joint"):
        assert words in text
    for name in PICTURES:
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    report = json.loads((out / "report.json").read_text())
    assert list(report["methods"]) == ["raw", "linear", "tied", "joint", "sequential", "none"]
    page = (out / "report.md").read_text()
    assert "| not nested, as learned |" in page
    assert "![truncation](truncation.png)" in page
    with np.load(out / "embeddings.npz") as saved:
        assert saved["joint_queries"].shape == (8, 3)
        assert saved["names"][saved["query_classes"]].shape == (8,)


def test_quick_on_arrays_without_pictures(capsys, tmp_path, rng):
    classes = np.repeat(np.arange(12), 4)
    X, Y = (np.eye(12)[classes] + 0.1 * rng.standard_normal((48, 12)) for _ in range(2))
    np.savez(tmp_path / "a.npz", X=X, cx=classes, Y=Y, cy=classes)
    out = tmp_path / "out"
    arguments = ("--data", str(tmp_path / "a.npz"), "--quick", "--steps", "20", "--out", str(out))
    status, text, _ = call(capsys, *arguments)
    assert status == 0
    assert "sequential" not in text
    assert (out / "hits.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "gone"), "no such folder: gone"),
        (("--data", "gone.npz"), "no such file: gone.npz"),
        (("--quick", "--methods", "raw"), "either --quick or --methods"),
    ],
)
def test_bad_input_is_one_clear_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_more_modes_than_classes(capsys, tmp_path, two_folders):
    arguments = ("--data", str(two_folders), "--modes", "50", "--methods", "joint")
    status, _, err = call(capsys, *arguments, "--out", str(tmp_path / "out"))
    assert status == 2
    assert "at most 3" in err
