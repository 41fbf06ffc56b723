"""Runs are kept, resumed after a kill, never mixed up, and may fail."""

import json
from dataclasses import replace

import pytest

from schmidt.experiments.reproduce import runs as tasks
from schmidt.experiments.reproduce.runs import RESULT, BrokenRun, perform, run_all
from schmidt.experiments.reproduce.runs import TrainingRun as Task
from schmidt.storage import write_json


class Stop(Exception):
    pass


def stable(record):
    """A record without what differs from run to run."""
    return {k: v for k, v in record.items() if k not in ("seconds", "memory")}


def test_finished_runs_are_not_run_again(tmp_path, tiny, monkeypatch):
    planned = [Task("a", "sequential", tiny, seed) for seed in (0, 1)]
    write_json(planned[0].folder(tmp_path) / RESULT, {"record": {"planted": 1}})
    ran = []
    monkeypatch.setattr(
        "schmidt.experiments.reproduce.runs.perform",
        lambda task, root, report: ran.append(task) or perform(task, root, report),
    )
    first = run_all(planned, tmp_path, workers=0, progress=False)
    again = run_all(planned, tmp_path, workers=0, progress=False)
    assert ran == [planned[1]]
    assert first == again
    assert first[0] == {"planted": 1}


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_result(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(tasks.model, "training", often(tasks.model.training))
    task = Task("a", "sequential", tiny, 0)
    whole = perform(task, tmp_path / "whole")

    def killer(step):
        if step >= 9:
            raise Stop

    with pytest.raises(Stop):
        perform(task, tmp_path / "cut", killer)
    folder = task.folder(tmp_path / "cut")
    assert json.loads((folder / "checkpoint.json").read_text())["step"] == 8
    assert task.finished(tmp_path / "cut") is None
    resumed = perform(task, tmp_path / "cut")
    assert stable(resumed) == stable(whole)
    assert not list(folder.glob("checkpoint*"))


def often(made):
    return lambda *given: replace(made(*given), checkpoint_every=4)


def test_every_setting_has_a_folder_of_its_own(tmp_path, tiny):
    base = Task("NeuralEF 128", "neuralef", tiny, 0)
    others = [
        replace(base, seed=1),
        replace(base, method="joint"),
        replace(base, recipe=replace(tiny, lr=2e-3)),
    ]
    folders = {t.folder(tmp_path) for t in [base, *others]}
    assert len(folders) == 4
    assert base.folder(tmp_path).name.startswith("neuralef-128-seed0-")


def test_a_run_that_diverges_is_a_result(tmp_path, tiny):
    wild = replace(tiny, lr=1e30)
    (record,) = run_all([Task("a", "sequential", wild, 0)], tmp_path, 0, progress=False)
    assert "step" in record["failed"]


def test_runs_in_processes_of_their_own(tmp_path, tiny):
    planned = [Task("a", "sequential", tiny, 0)]
    (record,) = run_all(planned, tmp_path, workers=1, progress=False)
    here = perform(planned[0], tmp_path / "here")
    assert record.keys() == here.keys()
    assert record["relative_error"] == pytest.approx(here["relative_error"], rel=1e-6)
    assert 0 <= record["memory"] < 2e9


def test_a_run_that_breaks_is_named(tmp_path, tiny):
    bad = Task("a", "no such method", tiny, 0)
    with pytest.raises(BrokenRun, match=r"a-seed0-.* ended with exit code 1"):
        run_all([bad], tmp_path, workers=1, progress=False)
    with pytest.raises(ValueError, match="workers must not be negative"):
        run_all([bad], tmp_path, workers=-1)
