"""The commands as a user calls them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from schmidt.cli import main

PICTURES = ("functions.png", "spectrum.png", "orthogonality.png", "training.png")
TRAINED = ("solve", "hydrogen2d", "--method", "sequential")
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


RITZ_PICTURES = ("functions.png", "spectrum.png", "bounds.png")


@pytest.mark.parametrize(
    "arguments",
    [
        ("well2d", "--modes", "3"),
        ("box", "--dim", "3", "--modes", "4"),
        ("oscillator", "--dim", "1", "--modes", "3"),
        ("ornstein-uhlenbeck", "--modes", "3"),
        ("--potential", "x^2 + 2*y^2 - x", "--dim", "2", "--modes", "3"),
    ],
)
def test_the_ritz_solver_is_the_default_and_draws(capsys, tmp_path, arguments):
    out = tmp_path / "run"
    status, text, _ = run(
        capsys, "solve", *arguments, "--budget", "1.5", "--out", str(out), "--tol", "1e-6"
    )
    assert status == 0
    report = json.loads((out / "report.json").read_text())
    assert report["method"] == "ritz"
    for name in RITZ_PICTURES:
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert (out / "search.png").exists() == (arguments[:3] != ("oscillator", "--dim", "1"))
    if arguments[0] == "--potential":
        assert report["exact"] is None
        # −¼ from completing the square, then 2n + 1 and √2(2m + 1)
        expected = [-0.25 + 1 + 2**0.5, -0.25 + 3 + 2**0.5, -0.25 + 1 + 3 * 2**0.5]
        assert report["energies"] == pytest.approx(expected, abs=1e-5)
    else:
        assert report["mean_relative_error"] < 1e-5
    certified = "ornstein" not in arguments[0]
    assert ("certified" in text) == certified
    assert (out / "functions.safetensors").exists() == certified


def test_a_run_starts_and_ends_with_a_ritz_step(capsys, tmp_path):
    status, text, _ = run(capsys, *small(tmp_path, "--start", "ritz", "--polish", "ritz"))
    assert status == 0
    assert "polished" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["best_estimate"] == "polished"
    assert report["mean_relative_error"] < 1e-3


def test_methods_side_by_side(capsys, tmp_path):
    arguments = ("compare", "well2d", "--modes", "3", "--steps", "60", "--budget", "1")
    status, text, _ = run(
        capsys, *arguments, "--methods", "ritz", "sequential", "joint", "--out", str(tmp_path)
    )
    assert status == 0
    for heading in ("ritz error", "ritz certified", "sequential error", "subspace distance"):
        assert heading in text
    for name in ("side-by-side.png", "errors.png", "ritz/bounds.png", "joint/training.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    reports = [json.loads((tmp_path / m / "report.json").read_text()) for m in ("ritz", "joint")]
    assert reports[0]["mean_relative_error"] < 1e-4 < reports[1]["mean_relative_error"]


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
        (("solve", "hydrogen2d", "--modes", "0"), "--modes must be a whole number of at least 1"),
        (("solve", "hydrogen2d", "--steps", "9"), "--steps: not a setting of --method ritz; add"),
        ((*TRAINED, "--budget", "9"), "--budget: not a setting of --method sequential; add"),
        ((*TRAINED, "--steps", "0"), "steps must be a whole number of at least 1, got 0"),
        ((*TRAINED, "--device", "tpu9"), "cannot use device 'tpu9'"),
        (("solve",), "name a problem"),
        (("solve", "box", "--extent", "3"), "--extent belongs to --potential"),
        (("solve", "--potential", "x**2"), "--potential needs --dim"),
        (("solve", "box", "--potential", "x**2", "--dim", "1"), "not both"),
        (("solve", "--potential", "x**2 + q", "--dim", "1"), "unknown name 'q'"),
        (("solve", "--potential", "0*x", "--dim", "1"), "its spectrum is continuous"),
        (("solve", "morse", "--dim", "3"), "dimension of morse is fixed"),
        (("compare", "morse", "--methods", "ritz"), "name two or more methods"),
        (("compare", "helium"), "unknown problem 'helium'"),
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
