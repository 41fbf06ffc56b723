"""Every command with a folder leaves a page there that shows it; pages are built again."""

from html.parser import HTMLParser

import numpy as np
import pytest

from schmidt.cli import main
from schmidt.storage import read_json

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a page holds; tags must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.images, self.links, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "img":
            self.images.append(found["src"])
        if tag == "a":
            self.links.append(found["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def folder(tmp_path):
    file = tmp_path / "A<b>.npy"
    np.save(file, np.diag([3.0, 2.0, 1.0]))
    for rank in (1, 2):
        out = tmp_path / "all" / f"rank{rank}"
        assert main(["svd", str(file), "--rank", str(rank), "--out", str(out)]) == 0
    return tmp_path / "all"


def test_a_command_leaves_a_page_of_itself(folder, capsys):
    page = Page((folder / "rank2" / "report.html").read_text())
    assert "schmidt svd" in page.text
    assert "A<b>.npy" in page.text  # escaped
    assert "rank 2: met" in page.text
    assert "numpy.load('factors.npz')" in page.text
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert len(page.images) == 1
    run = read_json(folder / "rank2" / "run.json")
    assert run["status"] == 0
    assert "rank 2: met" in run["printed"]
    assert "\x1b" not in run["printed"]
    assert set(run["files"]) == {"factors.npz", "report.json", "spectrum.png"}


def test_a_page_is_built_again_and_several_become_one(folder, capsys):
    one = (folder / "rank1" / "report.html").read_text()
    (folder / "rank1" / "report.html").unlink()
    assert main(["report", str(folder / "rank1")]) == 0
    assert (folder / "rank1" / "report.html").read_text() == one
    assert main(["report", str(folder)]) == 0
    page = Page((folder / "report.html").read_text())
    assert page.links == ["rank1/report.html", "rank2/report.html"]
    assert len(page.images) == 2


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_what_no_command_filled_has_no_page(name, tmp_path, capsys):
    assert main(["report", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert "no such folder" in said if name else "holds no run.json" in said


def test_files_that_are_gone_are_named_and_alarms_stand_first(folder, capsys):
    (folder / "rank1" / "spectrum.png").unlink()
    assert main(["report", str(folder / "rank1")]) == 0
    page = Page((folder / "rank1" / "report.html").read_text())
    assert "gone" in page.text
    assert not page.images
