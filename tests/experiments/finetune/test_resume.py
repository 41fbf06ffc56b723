"""A killed experiment goes on to the same bits, and only the same experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from schmidt.experiments.finetune import (
    METHODS,
    Classification,
    Language,
    Plan,
    TuningRun,
    TuningSettings,
    run,
    train,
)
from schmidt.experiments.keeping import Kept
from schmidt.storage import DamagedFileError, FolderInUseError, exclusive

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
MEASURED_TIME = ("seconds",)


class Killed(BaseException):
    """Nothing is written after it."""


def same(first: TuningRun, second: TuningRun) -> bool:
    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, torch.Tensor):
            return torch.equal(a.nan_to_num(9.0), b.nan_to_num(9.0))
        if isinstance(a, dict):
            return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
        return a == b or (a != a and b != b)

    plain, again = first.plain(), second.plain()
    return all(equal(v, again[k]) for k, v in plain.items() if k not in MEASURED_TIME)


@pytest.mark.parametrize("name", ["full", "dora", "lora-plus", "pro-full", "ga-pro"])
def test_every_method_goes_on_to_the_same_bits(
    name: str, sentences: Classification, settings: TuningSettings, tmp_path: Path
) -> None:
    method, settings = METHODS[name], replace(settings, steps=4, start_batches=1)
    whole = train(sentences, method, settings, 1)
    assert whole is not None
    kept = Kept(tmp_path, seconds=0)

    def killed(step: int) -> bool:
        if step == 3:
            raise Killed
        return False

    with pytest.raises(Killed):
        train(sentences, method, settings, 1, killed, kept, "one")
    asked: list[int] = []
    again = train(sentences, method, settings, 1, lambda s: asked.append(s) or False, kept, "one")
    assert again is not None
    assert asked == [2, 3], "from the last checkpoint on"
    assert same(whole, again)


def small(task: Any, settings: TuningSettings) -> Plan:
    return Plan(lambda: task, settings, grid=(3e-2,), decays=(0.1,), compared=("lora",))


def test_a_killed_experiment_ends_as_if_nothing_had_happened(
    language: Language, settings: TuningSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schmidt.experiments.finetune import experiment

    plan = small(language, replace(settings, steps=3))
    whole = run(language, plan, ["lora"], 1)
    real, trained = experiment.train, []

    def counted(*given: Any) -> Any:
        trained.append(given[-1])
        if len(trained) == 3:
            raise Killed
        return real(*given)

    monkeypatch.setattr(experiment, "train", counted)
    with pytest.raises(Killed):
        run(language, plan, ["lora"], 1, folder=tmp_path, checkpoint_seconds=0)
    again = run(language, plan, ["lora"], 1, folder=tmp_path, resume=True)
    assert trained[2] == trained[3]
    assert len(set(trained)) == len(trained) - 1, "what was finished is not trained again"
    for a, b in zip(whole.rows(), again.rows(), strict=True):
        assert a[:2] == b[:2]
        assert all(same(x, y) for x, y in zip(a[2], b[2], strict=True))
    assert whole.tuned["lora"].grid == again.tuned["lora"].grid
    assert not list(tmp_path.glob("*under-way*"))

    count = len(trained)
    more = run(language, plan, ["lora", "dora"], 1, folder=tmp_path, resume=True)
    assert len(trained) == count + 1, "another method is added to what is there"
    assert same(more.runs["lora"][0], again.runs["lora"][0])

    other = replace(plan, settings=replace(plan.settings, lr=0.5))
    with pytest.raises(ValueError, match=r"another experiment.*settings\.lr: 0\.01 then, 0\.5 now"):
        run(language, other, ["lora"], 1, folder=tmp_path, resume=True)
    elsewhere = replace(language, train=language.train.flip(0))
    with pytest.raises(ValueError, match=r"another experiment.*data"):
        run(elsewhere, plan, ["lora"], 1, folder=tmp_path, resume=True)

    file = next(tmp_path.glob("lora-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(DamagedFileError):
        run(language, plan, ["lora"], 1, folder=tmp_path, resume=True)
    run(language, plan, [], 1, folder=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1, "a new experiment begins with nothing"


def test_two_experiments_never_share_a_folder(
    language: Language, settings: TuningSettings, tmp_path: Path
) -> None:
    from threading import Thread

    errors: list[BaseException] = []

    def other() -> None:
        try:
            run(language, small(language, settings), [], 1, folder=tmp_path)
        except FolderInUseError as error:
            errors.append(error)

    with exclusive(tmp_path):
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert errors
