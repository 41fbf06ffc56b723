"""``schmidt complete`` as a user calls it."""

import csv
import json

import numpy as np
import pytest

from schmidt import MatrixCompletion
from schmidt.cli import main
from schmidt.cli.ratings import read_ratings


def run(capsys, *arguments):
    status = main(["complete", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def write_ratings(path, rng, header=True, delimiter=","):
    """40 users and 30 films with a rank-one taste; 40 % of the places."""
    scores = 3 + rng.choice([-1, 1], 40)[:, None] * rng.choice([-1, 1], 30)
    lines = [delimiter.join(("who", "what", "stars"))] * header
    for u, i in np.argwhere(rng.random(scores.shape) < 0.4):
        lines.append(delimiter.join((f"u{u}", f"i{i}", str(scores[u, i]))))
    path.write_text("\n".join(lines) + "\n")
    return scores


def test_the_planted_example_is_completed_better_than_by_biases(capsys, tmp_path):
    out = tmp_path / "run"
    status, text, _ = run(capsys, "--out", out, "--json", tmp_path / "r.json")
    assert status == 0
    report = json.loads((out / "report.json").read_text())
    assert json.loads((tmp_path / "r.json").read_text()) == report
    assert report["validation_rmse"] < 0.8 * report["bias_rmse"]
    assert report["true_rmse"] < 0.8 * report["true_bias_rmse"]
    assert f"{report['validation_rmse']:.4f}" in text
    for heading in ("biases only", "held out", "all missing", "best unseen items"):
        assert heading in text
    for name in ("path.png", "matrix.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    model = MatrixCompletion.load(out / "model.safetensors")
    rows = table(out / "predictions.csv")
    assert len(rows) == 10 * report["users"]
    expected = model.predict([r["user"] for r in rows], [r["item"] for r in rows])
    np.testing.assert_allclose([float(r["prediction"]) for r in rows], expected, atol=1e-4)


@pytest.mark.parametrize(("header", "delimiter"), [(True, ","), (False, "\t"), (True, ";")])
def test_a_table_is_read_and_completed(capsys, tmp_path, rng, header, delimiter):
    path = tmp_path / "stars.csv"
    scores = write_ratings(path, rng, header, delimiter)
    status, text, _ = run(capsys, path, "--every", "--user", "u3", "--out", tmp_path / "out")
    assert status == 0
    assert "u3" in text
    ratings = read_ratings(path)
    seen = set(zip(ratings.users, ratings.items, strict=True))
    rows = table(tmp_path / "out/predictions.csv")
    assert len(rows) == 1200 - len(seen)
    assert not seen & {(r["user"], r["item"]) for r in rows}
    truth = [scores[int(r["user"][1:]), int(r["item"][1:])] for r in rows]
    error = np.array([float(r["prediction"]) for r in rows]) - truth
    assert np.sqrt(np.mean(error**2)) < 0.1  # the scores are 2 and 4


def test_a_given_penalty_is_used(capsys, tmp_path, rng):
    write_ratings(tmp_path / "r.csv", rng)
    status, text, _ = run(
        capsys, tmp_path / "r.csv", "--penalty", 2.0, "--rank", 3, "--out", tmp_path / "out"
    )
    assert status == 0
    assert "λ = 2 as given" in text
    assert not (tmp_path / "out/path.png").exists()
    assert json.loads((tmp_path / "out/report.json").read_text())["penalty"] == 2.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains no ratings"),
        ("user,item,rating\n", "contains no ratings"),
        ("u,i,3\nu,j\n", "line 2: expected user, item, rating"),
        ("u,i,3\nu,j,good\n", "line 2: the rating 'good' is no number"),
        ("u,i,3\nu,i,4\n", "occur more than once, the first is ('u', 'i')"),
        ("u,i,3\nu,j,nan\n", "not finite"),
        ("u,i,3\nu,j,4\n", "too few to choose λ"),
    ],
)
def test_a_bad_table_is_one_line_and_writes_nothing(capsys, tmp_path, content, message):
    path = tmp_path / "r.csv"
    path.write_text(content)
    status, _, error = run(capsys, path, "--out", tmp_path / "out")
    assert status == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_bad_options_are_named(capsys, tmp_path, rng):
    write_ratings(tmp_path / "r.csv", rng)
    for arguments, message in (
        ([tmp_path / "none.csv"], "none.csv"),
        ([tmp_path / "r.csv", "--user", "eve"], "no such user"),
        ([tmp_path / "r.csv", "--top", "0"], "--top must be at least 1"),
        ([tmp_path / "r.csv", "--penalty", "-1"], "penalty must be a number"),
    ):
        status, _, error = run(capsys, *arguments, "--out", tmp_path / "out")
        assert status == 2
        assert message in error
    (tmp_path / "b.csv").write_bytes(b"u,i,\xff\xfe3")
    assert "no text in UTF-8" in run(capsys, tmp_path / "b.csv")[2]


def test_a_first_line_without_a_rating_is_no_header(capsys, tmp_path, rng):
    write_ratings(tmp_path / "r.csv", rng, header=False)
    text = (tmp_path / "r.csv").read_text()
    (tmp_path / "r.csv").write_text("u1,x,\n" + text)
    status, _, error = run(capsys, tmp_path / "r.csv", "--out", tmp_path / "out")
    assert status == 2
    assert "line 1: the rating '' is no number" in error
