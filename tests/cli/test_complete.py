"""``schmidt complete`` as a user calls it."""

import csv
import gzip
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
    status, text, _ = run(
        capsys, "--method", "soft-impute", "--out", out, "--json", tmp_path / "r.json"
    )
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
    status, text, _ = run(capsys, path, "--every", "--show", "u3", "--out", tmp_path / "out")
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
        ("", "is empty"),
        ("user,item,rating\n", "no rows besides its header"),
        ("u,i,3\nu,j\n", "line 1: 3 columns, but the last line has 2"),
        ("u,i,3\nu,j,good\n", "line 2, column 3: 'good' is no number"),
        ("u,i,good\nu,j,3\n", "--header no if it is a rating"),
        ("u,i,3\nu,i,4\n", "occur more than once, the first is ('u', 'i')"),
        ("u,i,3\nu,j,nan\n", "1 of 2 rows have no rating in column '3', the first is row 2"),
        ("u,i,3\n,j,2\n", "1 of 2 rows have no user"),
        ("u,i,3\nu,j,inf\n", "not finite"),
        ("u,i,3\nu,j,4\n", "too few to choose λ"),
        ('u,"i,3\nu,j,4\n', "line 1: a quote that does not enclose one field"),
        ("0,u,i,3\n1,u,j,4\n", "which of them is the user"),
        ("1,2,881250949,3\n1,3,881250949,4\n", "which of them is the user"),
        ("user,user_id,item,rating\na,1,i,3\n", "could all be the user"),
        ("user,item,timestamp\na,i,881250949\n", "is the rating"),
        (
            "user,item,rating\n" + "".join(f"u{n % 9},i{n},1\n" for n in range(99)),
            "implicit feedback",
        ),
    ],
)
def test_a_bad_table_is_one_line_and_writes_nothing(capsys, tmp_path, content, message):
    path = tmp_path / "r.csv"
    path.write_text(content)
    status, _, error = run(capsys, path, "--out", tmp_path / "out")
    assert status == 2
    assert message in error
    last = error.strip().splitlines()[-1]
    assert last.startswith("schmidt: error")
    assert message in last
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_bad_options_are_named(capsys, tmp_path, rng):
    write_ratings(tmp_path / "r.csv", rng)
    for arguments, message in (
        ([tmp_path / "none.csv"], "none.csv"),
        ([tmp_path / "r.csv", "--show", "eve"], "no such user"),
        ([tmp_path / "r.csv", "--user", "eve"], "there is no column 'eve'"),
        ([tmp_path / "r.csv", "--user", "1", "--item", "1", "--rating", "3"], "named for two"),
        ([tmp_path / "r.csv", "--top", "0"], "--top must be a whole number of at least 1"),
        ([tmp_path / "r.csv", "--penalty", "-1"], "penalty must be a number"),
    ):
        status, _, error = run(capsys, *arguments, "--out", tmp_path / "out")
        assert status == 2
        assert message in error


def test_a_first_line_without_a_rating_is_no_header(capsys, tmp_path, rng):
    write_ratings(tmp_path / "r.csv", rng, header=False)
    text = (tmp_path / "r.csv").read_text()
    (tmp_path / "r.csv").write_text("u1,x,\n" + text)
    status, _, error = run(capsys, tmp_path / "r.csv", "--out", tmp_path / "out")
    assert status == 2
    assert "have no rating in column '3', the first is row 1" in error


READ = [("ann", "é", 4.5), ("bob", "é", 3.0), ("ann", "x", 2.5)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "userId,movieId,timestamp,rating\nann,é,3,4.5\nbob,é,4,3\nann,x,5,2.5\n"),
        ("a.csv", "rating;user;film\n4,5;ann;é\n3,0;bob;é\n2,5;ann;x\n"),
        ("a.csv", "user;item;rating\nann;é;4,5\nbob;é;3,0\nann;x;2,5\n"),
        ("a.csv", ",item,user,rating\n0,é,ann,4.5\n1,é,bob,3\n2,x,ann,2.5\n"),
        ("a.csv", "date,stars,name,user_id,asin\n"
         "2021,2.5,N,ann,x\n2020,3,N,bob,é\n2019,4.5,N,ann,é\n"),
        ("a.dat", "ann::é::4.5::881250949\nbob::é::3::881250950\nann::x::2.5::881250951\n"),
        ("u.data", "ann\té\t4.5\t881250949\nbob\té\t3\t881250950\nann\tx\t2.5\t881250951\n"),
        ("a.txt", "ann é 4.5\nbob é 3\nann x 2.5\n"),
        ("a.json", '[{"user": "ann", "item": "é", "rating": 4.5}, {"user": "bob", "item": "é", '
         '"rating": 3}, {"user": "ann", "item": "x", "rating": 2.5}]'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "gzip"])
def test_tables_of_every_kind_are_read_alike(tmp_path, name, content, encoding):
    if encoding in ("latin-1", "utf-8-sig") and name.endswith("json"):
        pytest.skip("JSON is UTF-8")
    data = content.encode("utf-8" if encoding == "gzip" else encoding)
    path = tmp_path / (name + ".gz" * (encoding == "gzip"))
    path.write_bytes(gzip.compress(data) if encoding == "gzip" else data)
    found = read_ratings(path)
    assert list(zip(found.users, found.items, found.values, strict=True)) == READ
    assert "user = column" in found.understood[-1]


def test_columns_can_be_named_and_are_printed_before_the_fit(capsys, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b,c,d\n1,2,3,4\n1,3,3,5\n2,2,1,3\n")
    status, _, error = run(
        capsys, path, "--user", "b", "--item", "1", "--rating", "d", "--out", tmp_path / "out"
    )
    assert status == 2
    assert "user = column 'b', item = column 'a', rating = column 'd'" in error
    assert "too few to choose λ" in error


def test_the_latest_rating_is_kept_where_there_are_times(capsys, tmp_path):
    path = tmp_path / "a.csv"
    lines = [f"u{n},i{n % 5},{1 + n % 5},2020-01-01" for n in range(60)]
    path.write_text("\n".join(["user,item,rating,date", "u0,i0,5,2021-01-01", *lines]) + "\n")
    arguments = [path, "--duplicates", "last", "--penalty", "2", "--out", tmp_path / "out"]
    assert run(capsys, *arguments)[0] == 0
    model = MatrixCompletion.load(tmp_path / "out/model.safetensors")
    seen = model._seen.matrix().toarray()
    assert seen[model.row_ids_.labels.index("u0"), model.column_ids_.labels.index("i0")] == 5
