"""``schmidt search`` as a user calls it."""

import json

import pytest

from schmidt import SemanticIndex
from schmidt.cli import main
from schmidt.cli.texts import embedded_documents, read_documents, snippets


def run(capsys, *arguments):
    status = main(["search", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def folder(tmp_path):
    texts = {
        "sea.txt": "Ships sail the sea. The sea carries ships and sailors.\n\nSailors fish.",
        "deep/fish.md": "Fish swim in the sea. Sailors catch fish with nets.",
        "deep/hill.rst": "Goats climb the hill. The hill has grass for goats.",
        "farm.txt": "Goats and sheep eat grass on the farm. Sheep give wool.",
        "notes.bin": "Ships ships ships.",
    }
    for name, text in texts.items():
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "texts"


def test_a_folder_is_searched(capsys, tmp_path, folder):
    out = tmp_path / "out"
    status, text, _ = run(
        capsys,
        folder,
        "ships and sailors",
        "--rank",
        2,
        "--out",
        out,
        "--json",
        tmp_path / "r.json",
    )
    assert status == 0
    report = json.loads((out / "report.json").read_text())
    assert json.loads((tmp_path / "r.json").read_text()) == report
    found = [hit["document"] for hit in report["hits"]]
    assert set(found[:2]) == {"sea.txt", "deep/fish.md"}
    assert set(found) <= {"sea.txt", "deep/fish.md", "deep/hill.rst", "farm.txt"}
    for heading in ("score", "document", "sentence", "sea.txt"):
        assert heading in text
    assert (out / "map.png").read_bytes().startswith(b"\x89PNG")
    index = SemanticIndex.load(out / "index.safetensors")
    assert [h.name for h in index.search("ships and sailors")] == found


def test_without_files_the_embedded_example_answers(capsys, tmp_path):
    status, _, _ = run(capsys, "--out", tmp_path, "--n", 3)
    assert status == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["documents"] == len(embedded_documents()) > 10
    assert {"lfw", "olivetti_faces"} <= {h["document"] for h in report["hits"]}
    assert len(report["hits"]) == 3
    assert len(report["ranks"]) > 2


def test_one_file_is_searched_by_paragraphs(capsys, tmp_path, folder):
    documents = read_documents([folder / "sea.txt"])
    assert [name[:2] for name in documents] == ["1:", "2:"]
    status, text, _ = run(
        capsys, folder / "sea.txt", "fish", "--mean-of-terms", "--rank", 2, "--out", tmp_path / "o"
    )
    assert status == 0
    assert "2: Sailors fish." in text


@pytest.mark.parametrize(
    ("query", "message", "known", "unknown"),
    [
        ("volcano", "none of its words occurs", [], ["volcano"]),
        ("the and of", "no words but stop words", [], []),
        ("ships volcano", "not in the documents: volcano", ["ships"], ["volcano"]),
    ],
)
def test_what_is_said_about_words_is_true(capsys, tmp_path, folder, query, message, known, unknown):
    status, text, _ = run(capsys, folder, query, "--rank", 2, "--out", tmp_path / "out")
    assert status == 0
    assert message in text
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["words"] == {"known": known, "unknown": unknown}
    assert bool(report["hits"]) == bool(known)


def test_a_word_outside_the_space_is_not_called_unknown(capsys, tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text("sea ship " * 20 if i < 2 else "volcano")
    paths = [tmp_path / f"{i}.txt" for i in range(3)]
    arguments = [*paths, "volcano", "--rank", "1", "--out", tmp_path / "out"]
    _, text, _ = run(capsys, *arguments, "--lexical", "0")
    assert "its words occur, but it is no point of the 1 dimensions" in " ".join(text.split())
    run(capsys, *arguments)
    hits = json.loads((tmp_path / "out/report.json").read_text())["hits"]
    assert [hit["document"] for hit in hits] == ["2.txt"]


def test_bad_arguments_are_one_line(capsys, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.txt").write_text("a single paragraph")
    for arguments, message in (
        ([tmp_path / "none", "sea"], "no such file or folder"),
        ([tmp_path / "empty", "sea"], "contains no .txt, .md, .rst files"),
        ([tmp_path / "one.txt", "sea"], "fewer than two paragraphs"),
        ([folder], "the query comes last"),
        ([folder, "sea", "--rank", "9"], "rank must be a whole number between 1 and 4"),
        ([folder, "sea", "--n", "0"], "n must be a whole number of at least 1"),
        ([folder, "sea", "--stem", "klingon"], "stem"),
    ):
        status, _, error = run(capsys, *arguments, "--out", tmp_path / "out")
        assert status == 2, arguments
        assert message in error
        assert len(error.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_sentences_are_cut_without_markup():
    assert snippets("**Bold** words. Next one!\n\n- item `a`\n=====\n") == [
        "Bold words.",
        "Next one!",
        "- item a",
    ]


def test_brackets_mixed_paths_and_other_encodings(capsys, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes("un café [red] près du port".encode("latin-1"))
    (tmp_path / "b.txt").write_text("the harbour [/INST] and the sea")
    (tmp_path / "c.txt").write_text("a ship at sea")
    monkeypatch.chdir(tmp_path)
    arguments = [tmp_path / "a.txt", "b.txt", "c.txt", "café [/INST]", "--rank", "2"]
    status, text, _ = run(capsys, *arguments, "--out", tmp_path / "out")
    assert status == 0
    assert "café [red] près" in text
    long = "fish " * 60
    status, text, _ = run(capsys, long, "--rank", "2", "--out", tmp_path / "out")
    assert status == 0
