"""One run: what is measured is what happened."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from schmidt.experiments.finetune import METHODS, Classification, Language, TuningSettings, train
from schmidt.experiments.finetune.methods import prepare
from schmidt.experiments.finetune.training import (
    change,
    cosine,
    effective,
    norm,
    pretrained,
    state_bytes,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_begins_at_the_pretrained_network(
    sentences: Classification, settings: TuningSettings, name: str
) -> None:
    plain = sentences.network(3)
    ready = prepare(sentences, METHODS[name], settings, 3)
    batch = next(iter(sentences.batches(3, 1, 6)))
    torch.testing.assert_close(sentences.loss(ready.network, batch), sentences.loss(plain, batch))
    assert len(ready.layers) == 12
    for layer, W in effective(ready.layers).items():
        torch.testing.assert_close(W, pretrained(ready.layers)[layer])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns(language: Language, settings: TuningSettings, name: str) -> None:
    longer = replace(settings, steps=20, sgd_lr=1.0)
    run = train(language, METHODS[name], longer, 0)
    assert run is not None
    assert not run.diverged
    assert run.test_loss < language.judge(language.network(0), "test").loss
    assert len(run.losses) == len(run.lengths) == 20
    assert run.path >= norm(run.change) * (1 - 1e-6)
    assert run.scores.shape == (32,)
    if METHODS[name].full:
        assert run.alignment == {}
    else:
        assert list(run.alignment) == list(range(0, 20, 2))
        assert all(0 <= v <= 1 for v in run.alignment.values())


def test_the_change_is_that_of_the_weights_in_use(
    sentences: Classification, settings: TuningSettings
) -> None:
    """For DoRA too, whose weight is not W0 + s·B·A: PEFT merges it and must agree."""
    for name in ("dora", "ga-pro", "lora"):
        ready = prepare(sentences, METHODS[name], settings, 0)
        for batch in sentences.batches(0, 3, 6):
            sentences.loss(ready.network, batch).backward()
            ready.optimizer.step()
            ready.optimizer.zero_grad()
        found = effective(ready.layers)
        before = pretrained(ready.layers)
        assert norm(change(found, before)) > 1e-4
        merged = ready.network.body.merge_and_unload()  # type: ignore[operator]
        for layer, W in found.items():
            torch.testing.assert_close(W, merged.get_submodule(layer).weight.detach())


def test_runs_repeat_and_seeds_differ(sentences: Classification, settings: TuningSettings) -> None:
    runs = [train(sentences, METHODS["ga-pro"], settings, seed) for seed in (0, 0, 1)]
    assert all(runs)
    assert runs[0].losses == runs[1].losses
    assert runs[0].losses != runs[2].losses


def test_beside_full_fine_tuning(sentences: Classification, settings: TuningSettings) -> None:
    full = train(sentences, METHODS["full"], settings, 0)
    lora = train(sentences, METHODS["lora"], settings, 0)
    assert full
    assert lora
    itself = full.beside(full)
    assert itself.cosine == pytest.approx(1)
    assert itself.distance == 0
    beside = lora.beside(full)
    angle = cosine(lora.change, full.change)
    assert beside.cosine == pytest.approx(angle)
    a, b = norm(lora.change), norm(full.change)
    assert beside.distance == pytest.approx(math.sqrt(a**2 + b**2 - 2 * a * b * angle) / b)


def test_alignment_is_what_projection_leaves_of_the_gradient(
    sentences: Classification, settings: TuningSettings
) -> None:
    from schmidt.adapters import find_pairs
    from schmidt.experiments.finetune.training import Alignment

    ready = prepare(sentences, METHODS["lora-ga"], settings, 0)
    batch = next(iter(sentences.batches(0, 1, 6)))
    measure = Alignment(ready.network.body)
    with measure.watch():
        sentences.loss(ready.network, batch).backward()
    found = measure.value()
    for pair in find_pairs(ready.network.body):
        pair.module.get_base_layer().weight.requires_grad_(True)  # type: ignore[operator, union-attr]
    sentences.loss(ready.network, batch).backward()
    missed = total = 0.0
    for pair in find_pairs(ready.network.body):
        G = pair.module.get_base_layer().weight.grad  # type: ignore[operator, union-attr]
        left, right = (x @ torch.linalg.pinv(x) for x in (pair.B, pair.A.T))
        eye = [torch.eye(len(p)) for p in (left, right)]
        missed += float(((eye[0] - left) @ G @ (eye[1] - right)).square().sum().detach())
        total += float(G.square().sum())
    assert found == pytest.approx(math.sqrt(missed / total), rel=1e-4)


def test_state_is_counted_without_the_counters_of_steps() -> None:
    p = torch.nn.Parameter(torch.zeros(3, 4))
    optimizer = torch.optim.AdamW([p])
    assert state_bytes(optimizer) == 0
    p.grad = torch.ones_like(p)
    optimizer.step()
    assert state_bytes(optimizer) == 2 * 12 * 4


def test_divergence_is_said_and_does_not_stop(
    sentences: Classification, settings: TuningSettings
) -> None:
    run = train(sentences, METHODS["full"], replace(settings, lr=1e20), 0)
    assert run is not None
    assert run.diverged
    assert len(run.scores) == 0


def test_a_run_can_be_stopped(sentences: Classification, settings: TuningSettings) -> None:
    steps = []
    run = train(sentences, METHODS["lora"], settings, 0, lambda s: steps.append(s) or s == 2)
    assert run is None
    assert steps == [0, 1, 2]


def test_wrong_settings(sentences: Classification, settings: TuningSettings) -> None:
    with pytest.raises(ValueError, match="lr must be positive"):
        replace(settings, lr=0.0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        replace(settings, steps=0)
    with pytest.raises(ValueError, match="weight_decay"):
        replace(settings, weight_decay=-1.0)
    with pytest.raises(ValueError, match=r"warmup is a share"):
        replace(settings, warmup=1.0)
    with pytest.raises(ValueError, match="a batch of 50 needs as many examples"):
        train(sentences, METHODS["lora"], replace(settings, batch=50), 0)
    with pytest.raises(ValueError, match="there are 48 training examples"):
        sentences.sized(49)
