"""All methods side by side, their report, and the command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from schmidt.cli import main
from schmidt.experiments.finetune import (
    METHODS,
    PLANS,
    Classification,
    Plan,
    TuningSettings,
    plan,
    report,
    run,
)
from schmidt.experiments.finetune.pictures import draw_finetuning

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
SOME = ("lora", "pro-factored")


@pytest.fixture
def small(sentences: Classification, settings: TuningSettings) -> Plan:
    return Plan(
        lambda: sentences,
        settings,
        grid=(3e-2,),
        sizes=(24, 48),
        decays=(0.0, 0.1),
        compared=("full", "lora"),
    )


def test_everything_of_a_plan_is_there(
    sentences: Classification, small: Plan, tmp_path: Path
) -> None:
    seen = []
    found = run(sentences, small, SOME, 2, seen.append)
    assert list(found.runs) == ["full", *SOME], "full fine-tuning is always there"
    assert all(len(runs) == 2 for runs in found.runs.values())
    assert [title for title, _, _ in found.rows()] == [
        "full fine-tuning",
        "LoRA",
        "LoRA, tuned",
        "LoRA-Pro factored",
    ]
    tuned = found.tuned["lora"]
    assert tuned.lr == min(tuned.grid, key=tuned.grid.__getitem__)
    assert set(found.sizes) == set(found.decays) == {"full", "lora"}
    assert found.sizes["lora"][48] is tuned.runs
    assert found.sizes["lora"][24][0].settings.lr == tuned.lr
    assert found.decays["full"][0.1][0].settings.weight_decay == 0.1
    assert len(seen) == 3 * 2 + (len(tuned.grid) - 1) + 1 + 2 * 2 * 2 - (tuned.lr == 1e-2)
    ratios = report.ratios(found)
    assert list(ratios) == ["pro-factored"]
    for ratio, a, b in zip(
        ratios["pro-factored"], found.runs["pro-factored"], found.runs["lora"], strict=True
    ):
        assert a.cosine is not None
        assert b.cosine is not None
        assert ratio == pytest.approx(a.cosine / b.cosine)
    names = [p.name for p in draw_finetuning(found, tmp_path)]
    assert names == [
        "tweets-training.png",
        "tweets-results.png",
        "tweets-by-training-examples.png",
        "tweets-by-weight-decay.png",
    ]
    page = report.page([found], names).markdown()
    assert all(f"![{n.removesuffix('.png')}]({n})" in page for n in names)
    assert "accuracy by weight decay" in page
    assert "GLUE with T5 is not run" in page
    json.dumps(report.numbers(found), allow_nan=False)


def test_the_grid_grows_while_its_best_is_at_an_end(
    sentences: Classification, small: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schmidt.experiments.finetune import experiment

    real = experiment.train

    def faked(task, m, settings, seed, watch=lambda s: False, *kept):  # type: ignore[no-untyped-def]
        found = real(task, m, settings, seed, watch, *kept)
        object.__setattr__(found, "validation_loss", abs(settings.lr - 0.3))
        return found

    monkeypatch.setattr(experiment, "train", faked)
    found = run(sentences, small, ["lora"], 1).tuned["lora"]
    assert list(found.grid) == [1e-2, 3e-2, 9e-2, 0.3, 0.9]
    assert found.lr == 0.3
    assert not found.edge


def test_interrupted_it_reports_what_there_is(
    sentences: Classification, small: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from schmidt.experiments.finetune import experiment

    class Pressed:
        def __enter__(self) -> Pressed:
            self.asked = 0
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def __bool__(self) -> bool:
            self.asked += 1
            return self.asked > 8

    monkeypatch.setattr(experiment, "Interruptible", Pressed)
    found = run(sentences, small, SOME, 1)
    assert found.interrupted
    assert len(found.runs["full"]) == 1
    assert not found.runs["lora"]
    assert report.rows(found)
    assert "interrupted" in report.notes(found)[-1]
    assert draw_finetuning(found, tmp_path)


def test_wrong_requests(sentences: Classification, small: Plan) -> None:
    with pytest.raises(ValueError, match="AdaLoRA multiplies each rank"):
        run(sentences, small, ["adalora"], 1)
    with pytest.raises(ValueError, match=r"unknown method 'lor'; known: full, lora"):
        run(sentences, small, ["lor"], 1)
    with pytest.raises(ValueError, match="seeds must be positive"):
        run(sentences, small, ["lora"], 0)
    with pytest.raises(ValueError, match="unknown tier"):
        plan("huge", "code")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown task"):
        plan("quick", "glue")


def test_plans_name_methods_that_exist() -> None:
    for tier in PLANS.values():
        for p in tier.values():
            assert {*p.tuned, *p.compared} <= set(METHODS)


def test_the_command(
    sentences: Classification,
    small: Plan,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    import schmidt.experiments.finetune.command as command

    brief = replace(small, sizes=(), decays=())
    monkeypatch.setattr(command, "plan", lambda tier, task: brief)
    out = tmp_path / "out"
    arguments = ["finetune", "tweets", "--methods", "lora", "--steps", "3", "--rank", "3"]
    assert main([*arguments, "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((out / "results.json").read_text())
    written.pop("checksum")
    assert printed == written
    assert written["tweets"]["settings"]["rank"] == 3
    assert written["tweets"]["settings"]["alpha"] == 6
    assert len(written["tweets"]["runs"]["lora"][0]["losses"]) == 3
    assert {p.name for p in out.iterdir()} >= {"report.md", "results.json", "tweets-training.png"}
    assert main([*arguments, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "LoRA, tuned" in shown
    assert "not run" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "adalora"], "AdaLoRA multiplies each rank"),
        (["--seeds", "0"], "--seeds must be a whole number of at least 1, got 0"),
        (["--lr", "-1"], "--lr must be a number above 0, got -1.0"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["finetune", "code", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_the_extras(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["finetune", "tweets", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("schmidt.experiments.finetune.classification.find_spec", lambda name: None)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "pip install '.[adapters,examples]'" in error
    assert error.count("\n") == 1
    for name in ("transformers", "peft"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["finetune", "code", "--out", str(tmp_path / "out")]) == 2
    assert "needs transformers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
