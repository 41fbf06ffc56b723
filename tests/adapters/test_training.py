"""The optimizer with what surrounds it: layers, accumulation, schedulers, AMP, compile."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import LoRAPro, create_lorapro_optimizer, find_pairs, lora_ga
from schmidt.adapters.rules import RULES

Build = Callable[..., nn.Module]
Batch = dict[str, Tensor]


def step(model: nn.Module, optimizer: LoRAPro, *batches: Batch) -> float:
    """One step on the mean of the batches' losses, accumulated."""
    optimizer.zero_grad()
    for batch in batches:
        loss = model(**batch).loss / len(batches)
        loss.backward()
    optimizer.step()
    return loss.item()


def products(model: nn.Module) -> list[Tensor]:
    return [(p.scaling * p.left(p.B) @ p.right(p.A)).detach() for p in find_pairs(model)]


@pytest.mark.parametrize("mode", RULES)
def test_every_kind_of_layer_learns(mixed: Build, ids: Tensor, mode: Any) -> None:
    model = mixed(modules_to_save=["head"], use_rslora=True, rank_pattern={"conv": 3})
    target = torch.randn(4, 2, dtype=torch.float64)
    optimizer = create_lorapro_optimizer(model, 0.01 if mode == "sgd" else 0.03, mode=mode)
    losses = []
    for _ in range(200 if mode == "sgd" else 60):
        optimizer.zero_grad()
        losses.append((model(ids) - target).square().sum())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    assert all(delta.abs().max() > 0 for delta in products(model))


def test_magnitudes_of_dora_and_heads_are_trained(classifier: Build, batch: Batch) -> None:
    model = classifier(use_dora=True, bias="all")
    optimizer = create_lorapro_optimizer(model, 1e-2)
    trainable = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    for _ in range(3):
        step(model, optimizer, batch)
    now = dict(model.named_parameters())
    # the bias of the keys has no gradient: it shifts all scores of a softmax alike
    still = [n for n, p in trainable.items() if torch.equal(p, now[n]) and "key" not in n]
    assert still == []


def test_accumulated_gradients_are_those_of_the_whole_batch(
    classifier: Build, batch: Batch
) -> None:
    whole, parts = classifier(torch.float64), classifier(torch.float64)
    halves = [{k: v[i : i + 4] for k, v in batch.items()} for i in (0, 4)]
    optimizers = [create_lorapro_optimizer(m, 1e-2) for m in (whole, parts)]
    for _ in range(3):
        step(whole, optimizers[0], batch)
        step(parts, optimizers[1], *halves)
    torch.testing.assert_close(products(parts), products(whole))


def test_schedulers_set_the_step_size(classifier: Build, batch: Batch) -> None:
    model = classifier()
    optimizer = create_lorapro_optimizer(model, 1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(t, 2) / 2)
    before = products(model)
    step(model, optimizer, batch)  # warmup starts at lr = 0
    assert all(torch.equal(a, b) for a, b in zip(products(model), before, strict=True))
    scheduler.step()
    assert [g["lr"] for g in optimizer.param_groups] == [5e-3] * len(optimizer.param_groups)
    step(model, optimizer, batch)
    assert not torch.equal(products(model)[0], before[0])
    scheduler.load_state_dict(scheduler.state_dict())


def test_half_precision_forward_and_a_loss_scale(classifier: Build, batch: Batch) -> None:
    """autocast around the step too: its inverses stay in single precision."""
    model = classifier()
    optimizer = create_lorapro_optimizer(model, 1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(**batch).loss
            scaler.scale(loss).backward()
            scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    state = optimizer.state[find_pairs(model)[0].A]
    assert state["first_A"].dtype == torch.float32


def test_a_step_inside_autocast_is_the_step_outside(classifier: Build, batch: Batch) -> None:
    models = [classifier(), classifier()]
    for inside, model in enumerate(models):
        optimizer = create_lorapro_optimizer(model, 1e-2)
        model(**batch).loss.backward()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(inside)):
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(*map(products, models), strict=True))


def test_overflowing_steps_are_skipped_by_the_loss_scale(classifier: Build, batch: Batch) -> None:
    model = classifier()
    optimizer = create_lorapro_optimizer(model, 1e-2)
    scaler = torch.amp.GradScaler("cpu")
    before = copy.deepcopy(products(model))
    scaler.scale(model(**batch).loss).backward()
    grad = find_pairs(model)[0].A.grad
    assert grad is not None
    grad[0, 0] = float("inf")
    scaler.step(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(products(model), before, strict=True))


def test_compiled_models_train_alike() -> None:
    base = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    config = peft.LoraConfig(r=2, target_modules=["0", "2"])
    plain: Any = peft.get_peft_model(base, config).double()  # type: ignore[arg-type]
    compiled = copy.deepcopy(plain)
    x = torch.randn(7, 6, dtype=torch.float64)
    for running in (plain, torch.compile(compiled, backend="aot_eager")):
        optimizer = create_lorapro_optimizer(running, 1e-2)
        for _ in range(3):
            optimizer.zero_grad()
            running(x).square().sum().backward()
            optimizer.step()
    assert products(plain)[0].abs().max() > 0
    torch.testing.assert_close(products(compiled), products(plain))


def test_half_precision_bases_with_single_precision_adapters(batch: Batch) -> None:
    """PEFT's default: the base in bfloat16, factors in float32."""
    base = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)).bfloat16()
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["0", "2"]))  # type: ignore[arg-type]
    optimizer = create_lorapro_optimizer(model, 1e-2)
    x = torch.randn(16, 6, dtype=torch.bfloat16)
    y = (x[:, :2] > 0).bfloat16()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert {p.A.dtype for p in find_pairs(model)} == {torch.float32}
    assert base[0].base_layer.weight.dtype == torch.bfloat16


def test_after_a_lora_ga_start(classifier: Build, batch: Batch) -> None:
    """The frozen adapter that carries the start's difference is left alone."""
    model = classifier(torch.float64, r=2)
    before = model(**batch).loss.item()
    lora_ga(model, [batch])
    assert model(**batch).loss.item() == pytest.approx(before)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    optimizer = create_lorapro_optimizer(model, 1e-2)
    for _ in range(5):
        step(model, optimizer, batch)
    assert model(**batch).loss.item() < before
    now = dict(model.named_parameters())
    assert all(torch.equal(p, now[n]) for n, p in frozen.items())


class Int8Linear(nn.Linear):
    """A quantised base: integers and one scale, no gradient."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__(n, m)
        self.size = self.weight.abs().max().item() / 127
        integers = (self.weight / self.size).round().to(torch.int8)
        self.weight = nn.Parameter(integers, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.size, self.bias)


def test_quantised_bases() -> None:
    model = peft.get_peft_model(
        nn.Sequential(Int8Linear(6, 5)),  # type: ignore[arg-type]
        peft.LoraConfig(r=5, target_modules=["0"]),
    )
    optimizer = create_lorapro_optimizer(model, 0.05)
    x, target = torch.randn(40, 6), torch.randn(6, 5)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (model(x) - x @ target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]
    (pair,) = find_pairs(model)
    assert pair.module.base_layer.weight.dtype == torch.int8  # type: ignore[union-attr]


def test_follows_full_fine_tuning_more_closely_than_lora(batch: Batch, classifier: Build) -> None:
    """Cosine of all changes with AdamW's on the same batches, same step size, same start."""
    lr, steps, settings = 1e-3, 15, {"r": 4, "modules_to_save": []}
    full = classifier(**settings)
    layers = {p.name: p.module.base_layer.weight for p in find_pairs(full)}  # type: ignore[union-attr]
    for p in full.parameters():
        p.requires_grad_(False)
    before = {name: w.detach().clone() for name, w in layers.items()}  # type: ignore[operator]
    for w in layers.values():
        w.requires_grad_(True)
    train(full, torch.optim.AdamW(list(layers.values()), lr=lr, weight_decay=0.0), batch, steps)  # type: ignore[arg-type]
    change = torch.cat([(layers[n] - before[n]).flatten() for n in layers]).detach()  # type: ignore[operator]

    def cosine(make: Callable[[nn.Module], torch.optim.Optimizer]) -> float:
        model = classifier(**settings)
        for name, p in model.named_parameters():
            p.requires_grad_("lora_" in name)
        train(model, make(model), batch, steps)
        found = torch.cat([x.flatten() for x in products(model)])
        return float(torch.cosine_similarity(found, change, dim=0))

    lora = cosine(
        lambda m: torch.optim.AdamW(
            [p for p in m.parameters() if p.requires_grad], lr=lr, weight_decay=0.0
        )
    )
    exact = cosine(lambda m: create_lorapro_optimizer(m, lr, mode="adamw-full"))
    factored = cosine(lambda m: create_lorapro_optimizer(m, lr))
    assert exact > 1.5 * lora
    assert factored > 1.5 * lora


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
