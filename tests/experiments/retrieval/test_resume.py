"""A killed experiment goes on to the same bits, and only the same experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schmidt.dependence import closing
from schmidt.experiments.retrieval import Items, RetrievalSettings, ZeroShot, run, split

SMALL = RetrievalSettings(components=6, modes=4, hidden=(16,), steps=12, batch=32, warmup=2)
METHODS = ["linear", "joint", "none"]


class Killed(BaseException):
    """Nothing is written after it."""


@pytest.fixture
def data() -> ZeroShot:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(14), 4)
    centre = rng.standard_normal((14, 8))[labels]
    sides = [centre + 0.3 * rng.standard_normal(centre.shape) for _ in range(2)]
    items = [Items(side.astype(np.float32), labels) for side in sides]
    return split("planted", *items, [str(i) for i in range(14)], k=3)


def test_a_killed_experiment_ends_as_if_nothing_had_happened(
    data: ZeroShot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(data, METHODS, SMALL).embeddings()
    calls = 0
    real = closing.Stages.__call__

    def dying(self: Any, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:  # of the second method that is trained
            raise Killed
        return real(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(closing.Stages, "__call__", dying)
        with pytest.raises(Killed):
            run(data, METHODS, SMALL, folder=tmp_path, checkpoint_seconds=0)
    assert {p.stem for p in tmp_path.glob("*.safetensors")} == {"linear", "joint"}
    assert (tmp_path / "none" / "checkpoint.json").exists()
    again = run(data, METHODS, SMALL, folder=tmp_path, resume=True)
    assert not (tmp_path / "none").exists()
    for name, value in again.embeddings().items():
        assert np.array_equal(value, whole[name]), name
    third = run(data, METHODS, SMALL, folder=tmp_path, resume=True)
    assert third.report() == again.report(), "times too: nothing is trained again"


def test_another_experiment_is_refused(data: ZeroShot, tmp_path: Path) -> None:
    run(data, ["linear"], SMALL, folder=tmp_path)
    for other in (replace(SMALL, lr=1.0), replace(SMALL, components=5)):
        with pytest.raises(ValueError, match="it holds another experiment – settings"):
            run(data, ["linear"], other, folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="seed: 0 then, 1 now"):
        run(data, ["linear"], SMALL, seed=1, folder=tmp_path, resume=True)
    moved = data.train.x.features.copy()
    moved[0, 0] += 1
    train = replace(data.train, x=replace(data.train.x, features=moved))
    with pytest.raises(ValueError, match=r"another experiment.*data"):
        run(replace(data, train=train), ["linear"], SMALL, folder=tmp_path, resume=True)
