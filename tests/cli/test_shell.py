"""The command line itself: errors in one line, folders of one's own, signals, terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import schmidt
from schmidt.cli import COMMANDS, load, main
from schmidt.cli import solve as solve_command
from schmidt.cli import svd as svd_module
from schmidt.operators.run import Run
from schmidt.storage import read_json, read_tensors

SCHMIDT = [sys.executable, "-m", "schmidt"]


def said(capsys, *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    return status, capsys.readouterr().err


def test_every_command_is_in_the_overview_and_can_be_loaded(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert name in text
        assert callable(load(name))


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"schmidt {schmidt.__version__}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["slove"], "did you mean 'solve'"),
        (["solve", "hydrogen2"], "did you mean 'hydrogen2d'"),
        (["solve", "hydrogen2d", "--modes", "three"], "--modes takes INT, got ['three']"),
        (["solve", "hydrogen2d", "--mods", "3"], "did you mean --modes"),
        (["solve", "hydrogen2d", "--method", "sequentail"], "did you mean 'sequential'"),
        (["compare", "hydrogen2d", "--methods", "ritz", "sequentail"], "unknown method"),
        (["svd"], "PATH is missing"),
        (["solve", "a", "b"], "Unrecognized options: b"),
        (["reproduce", "hydrogn"], "hydrogen"),
    ],
)
def test_what_is_not_understood_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, error = said(capsys, *arguments)
    assert status == 2
    assert words in error
    assert "NoneType" not in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_negative_formula_is_a_value_and_not_a_flag(capsys, tmp_path):
    _, error = said(capsys, "solve", "--potential", "-x^4", "--dim", "1", "--out", str(tmp_path))
    assert "Unrecognized" not in error
    assert "requires" not in error


def test_two_commands_never_write_into_one_folder(capsys, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(4))
    out = tmp_path / "out"
    hold = "import sys, time; from schmidt.storage import exclusive\n"
    hold += "with exclusive(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", hold, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        status, error = said(capsys, "svd", str(tmp_path / "a.npy"), "--out", str(out))
        other.kill()
    assert status == 2
    assert "another run is writing into" in error
    assert main(["svd", str(tmp_path / "a.npy"), "--out", str(out)]) == 0


def test_output_paths_are_checked_before_the_work(capsys, tmp_path):
    (tmp_path / "file").touch()
    for out in ("file", "file/below"):
        status, error = said(capsys, "solve", "hydrogen2d", "--out", str(tmp_path / out))
        assert status == 2
        assert "is a file, not a directory" in error
    status, error = said(
        capsys, "solve", "hydrogen2d", "--out", str(tmp_path / "o"), "--json", str(tmp_path)
    )
    assert status == 2
    assert "it is a directory" in error
    assert not (tmp_path / "o").exists()


def test_nothing_to_resume_is_said(capsys, tmp_path):
    arguments = ["solve", "gaussian-kernel", "--modes", "2", "--steps", "2", "--batch", "32"]
    assert main([*arguments, "--resume", "--out", str(tmp_path)]) == 0
    assert "nothing to resume" in capsys.readouterr().out


def test_a_reader_that_leaves_loses_no_files(tmp_path):
    command = [*SCHMIDT, "solve", "gaussian-kernel", "--modes", "2", "--steps", "2"]
    command += ["--batch", "32", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate()
    assert (process.returncode, error) == (0, b"")
    for name in ("report.json", "spectrum.png", "functions.safetensors"):
        assert (tmp_path / name).exists()


def test_ascii_terminals():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*SCHMIDT, "problems"], capture_output=True, env=environment, check=True)
    assert b"grad^2" in done.stdout


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_batch_systems_stop_a_command_like_ctrl_c(capsys, tmp_path, monkeypatch):
    """What was trained is kept, and goes on to the same bits."""
    command = ["solve", "gaussian-kernel", "--modes", "2", "--steps", "12", "--batch", "32"]
    monkeypatch.setattr(solve_command, "draw", lambda solution, out: [])
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    step = Run.step
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        out, calls = tmp_path / name, []

        def signalled(self, name=name, calls=calls):
            calls.append(1)
            if len(calls) == 5:
                signal.raise_signal(getattr(signal, name))
            return step(self)

        with monkeypatch.context() as patched:
            patched.setattr(Run, "step", signalled)
            assert main([*command, "--out", str(out)]) == 130
        assert len(calls) == read_json(out / "checkpoint.json")["step"] == 5
        assert main([*command, "--out", str(out), "--resume"]) == 0
        first, second = (
            read_tensors(p / "functions.safetensors")[0] for p in (tmp_path / "whole", out)
        )
        assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_command_without_checkpoints_ends_at_once(capsys, tmp_path, monkeypatch, number):
    np.save(tmp_path / "a.npy", np.eye(4))

    def signalled(*given, **named):
        signal.raise_signal(getattr(signal, number))

    monkeypatch.setattr(svd_module, "svd", signalled)
    assert main(["svd", str(tmp_path / "a.npy"), "--out", str(tmp_path / "o")]) == 130
    assert capsys.readouterr().err.endswith("schmidt: interrupted\n")
    assert not (tmp_path / "o").exists()


def test_figures_display_in_notebooks_without_pyplot():
    f = schmidt.svd(np.diag([3.0, 2.0, 1.0]), rank=2)
    assert f.plot()._repr_png_().startswith(b"\x89PNG")


def test_the_public_face_lists_all_and_holds_what_it_lists():
    for name in ("adapters", "svd", "PCA", "CDK", "bound_states", "fit", "Eigenpairs", "Bound"):
        assert name in dir(schmidt)
    assert all(getattr(schmidt, name) is not None for name in dir(schmidt))


def test_an_array_of_numpy_is_not_called_damaged(tmp_path: Path):
    np.save(tmp_path / "A.npy", np.eye(2))
    with pytest.raises(ValueError, match="numpy") as error:
        schmidt.Factorization.load(tmp_path / "A.npy")
    assert "delete" not in str(error.value)
