"""The commands as a user calls them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from schmidt.cli import main

PICTURES = ("functions.png", "spectrum.png", "orthogonality.png", "training.png")
KEYS = """
    problem method modes eigenvalues exact relative_error mean_relative_error angle_distance
    subspace_distance orthogonality steps batch seconds seed settings
"""


def run(capsys, *arguments):
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def small(out, *more):
    return (
        "solve",
        "gaussian-kernel",
        "--modes",
        "3",
        "--steps",
        "40",
        "--batch",
        "64",
        "--out",
        str(out),
        *more,
    )


def test_solve_writes_table_pictures_and_json(capsys, tmp_path):
    status, out, _ = run(capsys, *small(tmp_path / "run", "--json", str(tmp_path / "r.json")))
    assert status == 0
    for heading in ("mode", "norm", "Rayleigh", "Ritz", "exact", "error", "mean relative error"):
        assert heading in out
    for name in PICTURES:
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "r.json").read_text())
    assert set(KEYS.split()) <= set(report)
    assert set(report["eigenvalues"]) == {"norm", "rayleigh", "ritz"}
    assert json.loads((tmp_path / "run/report.json").read_text()) == report
    assert (tmp_path / "run/functions.safetensors").exists()


@pytest.mark.parametrize("problem", ["hydrogen2d", "oscillator2d", "well2d"])
def test_every_problem_solves_and_draws(capsys, tmp_path, problem):
    status, out, _ = run(
        capsys,
        "solve",
        problem,
        "--modes",
        "4",
        "--steps",
        "3",
        "--batch",
        "64",
        "--method",
        "joint",
        "--network",
        "shared",
        "--out",
        str(tmp_path),
    )
    assert status == 0
    assert "energy" in out
    assert (tmp_path / "functions.png").exists()


def test_a_matrix_from_a_file(capsys, tmp_path):
    np.save(tmp_path / "a.npy", np.diag([3.0, 2.0, 1.0]))
    status, out, _ = run(
        capsys,
        "solve",
        "matrix",
        "--file",
        str(tmp_path / "a.npy"),
        "--steps",
        "300",
        "--modes",
        "2",
        "--out",
        str(tmp_path / "o"),
    )
    assert status == 0
    assert "checked against numpy" in out


def test_resume_goes_on_where_the_run_stopped(capsys, tmp_path):
    assert run(capsys, *small(tmp_path))[0] == 0
    before = json.loads((tmp_path / "report.json").read_text())
    assert run(capsys, *small(tmp_path, "--resume"))[0] == 0
    assert json.loads((tmp_path / "report.json").read_text()) == before
    status, _, err = run(capsys, *small(tmp_path, "--resume", "--seed", "1"))
    assert status == 2
    assert "seed: 0 then, 1 now" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("solve", "helium"), "unknown problem 'helium'; known: hydrogen2d"),
        (("solve", "matrix"), "needs a file: --file A.npy"),
        (("solve", "hydrogen2d", "--file", "a.npy"), "--file belongs to the problem 'matrix'"),
        (("solve", "matrix", "--file", "gone.npy"), "no such file: gone.npy"),
        (("solve", "hydrogen2d", "--modes", "0"), "number of modes must be positive, got 0"),
        (("solve", "hydrogen2d", "--steps", "0"), "steps must be positive"),
        (("solve", "hydrogen2d", "--device", "tpu9"), "cannot use device 'tpu9'"),
    ],
)
def test_bad_input_is_one_clear_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_problems_lists_them(capsys):
    status, out, _ = run(capsys, "problems")
    assert status == 0
    for name in ("hydrogen2d", "oscillator2d", "well2d", "gaussian-kernel", "matrix"):
        assert name in out


def test_importing_schmidt_loads_neither_matplotlib_nor_the_command_line():
    code = (
        "import sys, schmidt; "
        "print([m for m in ('matplotlib', 'tyro', 'rich', 'sklearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit):
        main(["solve", "--help"])
    text = capsys.readouterr().out
    for flag in (
        "--modes",
        "--method",
        "--network",
        "--steps",
        "--batch",
        "--lr",
        "--seed",
        "--device",
        "--dtype",
        "--resume",
        "--out",
        "--json",
    ):
        assert flag in text
