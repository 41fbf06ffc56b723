"""Hugging Face Trainer and Accelerate, offline, on a tiny random transformer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accelerate
import peft
import pytest
import torch
import transformers
from torch import Tensor, nn

from schmidt.adapters import (
    LoRAPro,
    create_lorapro_optimizer,
    find_pairs,
    lora_ga,
    trainer_optimizer,
)

Build = Callable[..., nn.Module]
Batch = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No network, no other people's warnings, one process."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        for module in ("transformers", "accelerate", "torch", "peft"):
            warnings.filterwarnings("ignore", module=rf"{module}\..*")
        yield


@pytest.fixture
def dataset(batch: Batch) -> list[Batch]:
    return [{k: v[i] for k, v in batch.items()} for i in range(8)]


def arguments(folder: Path, **settings: Any) -> Any:
    defaults = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "max_steps": 6,
        "save_steps": 3,
        "learning_rate": 1.0,  # not the optimizer's: it must not be used
        "logging_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "max_grad_norm": 0.0,
        "seed": 5,
    }
    return transformers.TrainingArguments(**{**defaults, **settings})


def weights(model: nn.Module) -> Tensor:
    return torch.cat([x.detach().flatten() for p in find_pairs(model) for x in (p.A, p.B)])


def trained(model: nn.Module, dataset: list[Batch], folder: Path, **settings: Any) -> Any:
    return transformers.Trainer(
        model=model,
        args=arguments(folder, **settings),
        train_dataset=dataset,
        optimizers=(create_lorapro_optimizer(model, 1e-2), None),
    )


def test_trainer_with_an_optimizer(
    classifier: Build, dataset: list[Batch], batch: Batch, tmp_path: Path
) -> None:
    model = classifier()
    before = model(**batch).loss.item()
    trainer = trained(model, dataset, tmp_path, max_steps=80, save_strategy="no")
    trainer.train()
    assert model(**batch).loss.item() < 0.8 * before
    # the Trainer's own linear schedule, down from the optimizer's lr
    assert trainer.optimizer.param_groups[0]["lr"] < 1e-2 / 10


def test_trainer_resumes_from_its_checkpoint(
    classifier: Build, dataset: list[Batch], tmp_path: Path
) -> None:
    straight = classifier()
    trained(straight, dataset, tmp_path / "a").train()
    stopped = classifier()
    trained(stopped, dataset, tmp_path / "b").train()
    resumed = classifier(seed=2)
    base = {k: v for k, v in straight.state_dict().items() if "lora_" not in k}
    resumed.load_state_dict(base, strict=False)
    trained(resumed, dataset, tmp_path / "b").train(
        resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-3")
    )
    assert torch.equal(weights(straight), weights(stopped))
    assert torch.equal(weights(straight), weights(resumed))


def test_trainer_with_what_its_arguments_say(
    classifier: Build, dataset: list[Batch], tmp_path: Path
) -> None:
    """Rate, decay and betas of TrainingArguments, for two Trainers one after the other."""
    said: dict[str, Any] = {
        "save_strategy": "no",
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "adam_beta1": 0.8,
    }
    given = trainer_optimizer(arguments(tmp_path / "a", **said), clip_norm=1.0)
    twin = classifier()
    settings: Any = {"weight_decay": 0.1, "betas": (0.8, 0.999), "clip_norm": 1.0}
    transformers.Trainer(
        model=twin,
        args=arguments(tmp_path / "b", save_strategy="no"),
        train_dataset=dataset,
        optimizers=(create_lorapro_optimizer(twin, 1e-2, **settings), None),
    ).train()
    for _ in range(2):
        model = classifier()
        trainer = transformers.Trainer(
            model=model,
            args=arguments(tmp_path / "a", **said),
            train_dataset=dataset,
            optimizer_cls_and_kwargs=given,
        )
        trainer.train()
        assert isinstance(trainer.optimizer.optimizer, LoRAPro)
        assert torch.equal(weights(model), weights(twin))


def test_what_the_arguments_say_can_be_overridden(tmp_path: Path) -> None:
    _, settings = trainer_optimizer(arguments(tmp_path), lr=3e-5, mode="sgd")
    assert (settings["lr"], settings["mode"], settings["weight_decay"]) == (3e-5, "sgd", 0.0)
    with pytest.raises(ValueError, match="learning_rate must be a number above 0"):
        trainer_optimizer(arguments(tmp_path, learning_rate=0.0))


def test_trainer_accumulates(classifier: Build, dataset: list[Batch], tmp_path: Path) -> None:
    """Two batches of 2 or one of 4: the same steps."""
    models = classifier(torch.float64), classifier(torch.float64)
    sizes = (
        {"per_device_train_batch_size": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    )
    for model, size in zip(models, sizes, strict=True):
        folder = tmp_path / str(len(size))
        trainer = trained(model, dataset, folder, save_strategy="no", max_steps=3, **size)
        trainer.model_accepts_loss_kwargs = False  # mean of the losses, not their sum
        trainer.train()
    torch.testing.assert_close(weights(models[0]), weights(models[1]))


def test_accelerate(classifier: Build, dataset: list[Batch]) -> None:
    """prepare(), accumulate() and its schedulers: the steps of a plain loop."""
    plain, prepared = classifier(), classifier()
    loader = torch.utils.data.DataLoader(dataset, batch_size=2)  # type: ignore[arg-type]
    optimizer = create_lorapro_optimizer(plain, 1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    for i, part in enumerate(loader):
        (plain(**part).loss / 2).backward()
        if i % 2:
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    own: Any = create_lorapro_optimizer(prepared, 1e-2)
    own_schedule: Any = torch.optim.lr_scheduler.StepLR(own, 1, 0.5)
    model, own, loader, own_schedule = accelerator.prepare(prepared, own, loader, own_schedule)
    for part in loader:
        with accelerator.accumulate(model):
            accelerator.backward(model(**part).loss)
            own.step()
            own_schedule.step()
            own.zero_grad()
    torch.testing.assert_close(weights(plain), weights(prepared))
    assert own.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 1e-2 / 4


def off(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm() / expected.norm()).detach())


def started(build: Build, batch: Batch, base: nn.Module | None = None) -> Any:
    model = build()
    if base is not None:
        rest = {k: v for k, v in base.state_dict().items() if "lora_" not in k}
        model.load_state_dict(rest, strict=False)
    lora_ga(model, [batch])
    return model


def with_optimizer(model: Any, dataset: list[Batch], folder: Path, pro: bool, **more: Any) -> Any:
    optimizers = (create_lorapro_optimizer(model, 1e-2), None) if pro else (None, None)
    settings = arguments(folder, **{"learning_rate": 1e-2, **more})
    return transformers.Trainer(
        model=model,
        args=settings,
        train_dataset=dataset,
        eval_dataset=dataset,
        optimizers=optimizers,
    )


@pytest.mark.parametrize("pro", [False, True], ids=["AdamW", "LoRA-Pro"])
def test_a_start_survives_save_and_resume(
    classifier: Build, dataset: list[Batch], batch: Batch, tmp_path: Path, pro: bool
) -> None:
    """The whole life of a run: 6 steps, or 3, a new process' model, and 3 more."""
    straight = started(classifier, batch)
    trainer = with_optimizer(straight, dataset, tmp_path / "a", pro)
    trainer.train()
    resumed = started(classifier, batch)
    folder = str(tmp_path / "a" / "checkpoint-3")
    again = with_optimizer(resumed, dataset, tmp_path / "b", pro)
    again.train(resume_from_checkpoint=folder)
    assert torch.equal(weights(straight), weights(resumed))
    expected = straight.eval()(**batch).logits
    assert off(resumed.eval()(**batch).logits, expected) == 0
    trainer.save_model(str(tmp_path / "saved"))
    for each in ("saved", "a/checkpoint-6", "b/checkpoint-6"):
        loaded: Any = peft.PeftModel.from_pretrained(classifier().unload(), tmp_path / each)
        assert off(loaded.eval()(**batch).logits, expected) <= 1e-6


def test_a_start_survives_the_best_model_at_the_end(
    classifier: Build, dataset: list[Batch], batch: Batch, tmp_path: Path
) -> None:
    model = started(classifier, batch)
    trainer = with_optimizer(
        model,
        dataset,
        tmp_path,
        False,
        eval_strategy="steps",
        eval_steps=3,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # so that the best is not the last
    )
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best.endswith("checkpoint-3")
    expected = model.eval()(**batch).logits
    loaded: Any = peft.PeftModel.from_pretrained(classifier().unload(), best)
    assert off(loaded.eval()(**batch).logits, expected) <= 1e-6


def test_a_start_survives_accelerate(
    classifier: Build, dataset: list[Batch], batch: Batch, tmp_path: Path
) -> None:
    """save_state and load_state, and the steps after them."""
    model = started(classifier, batch)
    accelerator = accelerate.Accelerator(cpu=True)
    optimizer: Any = create_lorapro_optimizer(model, 1e-2)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    results = []
    for turn in range(2):
        for _ in range(2):
            optimizer.zero_grad()
            accelerator.backward(prepared(**batch).loss)
            optimizer.step()
        if turn:
            results.append(weights(model).clone())
            accelerator.load_state(str(tmp_path / "state"))
            optimizer.zero_grad()
            for _ in range(2):
                optimizer.zero_grad()
                accelerator.backward(prepared(**batch).loss)
                optimizer.step()
            results.append(weights(model).clone())
        else:
            accelerator.save_state(str(tmp_path / "state"), safe_serialization=False)
    assert torch.equal(*results)
