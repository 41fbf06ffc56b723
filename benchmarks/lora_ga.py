"""Starts of LoRA side by side: PEFT's zero, LoRA-GA with several γ, orthogonal, and PEFT's LoRA-GA.

    pip install -e '.[adapters]'
    python benchmarks/lora_ga.py
    python benchmarks/lora_ga.py --lrs 1e-3 3e-3 1e-2

All train the small language model of ``schmidt finetune code`` from Python to C++ with AdamW and
rsLoRA, from one seed and the same batches, and differ in the start alone. "first step": cosine of
B0 B0ᵀ G + G A0ᵀ A0 to G, over all layers together, measured on the batches that made the start: the
best possible is that of the rank-2r part of G. "size": ‖s²(B0 B0ᵀ G + G A0ᵀ A0)‖ / ‖G‖, how fast
plain gradient descent would begin beside full fine-tuning. Then the test
loss after training.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import peft
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from schmidt.adapters import find_pairs, lora_ga, orthogonal_start
from schmidt.adapters.gradients import mean_gradients
from schmidt.experiments.finetune import Language, python_to_cpp

Batches = list[Mapping[str, Tensor]]
Begin = Callable[[nn.Module, Batches, Language], nn.Module]


@dataclass(frozen=True)
class Options:
    """What to run."""

    rank: int = 2
    lrs: tuple[float, ...] = (1e-3, 3e-3)
    """Learning rates, each for all starts."""
    steps: int = 100
    seed: int = 0


def config(rank: int, task: Language, **more: Any) -> peft.LoraConfig:
    settings = {"r": rank, "lora_alpha": 2 * rank, "use_rslora": True}
    return peft.LoraConfig(**settings, target_modules=list(task.targets), **more)


def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    ids = batch["input_ids"]
    logits = model(input_ids=ids).logits[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def zero(rank: int) -> Begin:
    return lambda base, batches, task: peft.get_peft_model(base, config(rank, task))


def ours(rank: int, gamma: float | None) -> Begin:
    def begin(base: nn.Module, batches: Batches, task: Language) -> nn.Module:
        model = peft.get_peft_model(base, config(rank, task))
        lora_ga(model, batches, loss, gamma=gamma)
        return model

    return begin


def orthogonal(rank: int) -> Begin:
    def begin(base: nn.Module, batches: Batches, task: Language) -> nn.Module:
        model = peft.get_peft_model(base, config(rank, task))
        orthogonal_start(model)
        return model

    return begin


def peers(rank: int, scale: float) -> Begin:
    """PEFT's own, which changes the base weights; with the loss times ``scale``."""

    def begin(base: nn.Module, batches: Batches, task: Language) -> nn.Module:
        chosen = config(rank, task, init_lora_weights="lora_ga", lora_ga_config=peft.LoraGAConfig())

        def step() -> None:
            for batch in batches:
                (scale * loss(base, batch)).backward()

        peft.preprocess_loraga(base, chosen, step)
        return peft.get_peft_model(base, chosen)

    return begin


def first_step(model: nn.Module, batches: Batches) -> tuple[float, float]:
    pairs = {p.name: p for p in find_pairs(model)}
    inner = steps = gradients = applied = 0.0
    found = mean_gradients(model, {n: p.module for n, p in pairs.items()}, batches, loss)
    for name, G in found:
        pair, s = pairs[name], pairs[name].scaling
        A, B = pair.right(pair.A.detach())[0], pair.left(pair.B.detach())[0]
        step = B @ (B.T @ G) + (G @ A.T) @ A
        inner += float((step * G).sum())
        steps += float(step.square().sum())
        applied += s**4 * float(step.square().sum())
        gradients += float(G.square().sum())
    return inner / math.sqrt(steps * gradients), math.sqrt(applied / gradients)


def train(model: nn.Module, task: Language, lr: float, options: Options) -> float:
    factors = [f for p in find_pairs(model) for f in (p.A, p.B)]
    optimizer = torch.optim.AdamW(factors, lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, options.steps, pct_start=0.05)
    for batch in task.batches(options.seed, options.steps, 16):
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float(loss(model, {"input_ids": task.test}))


def main(options: Options) -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(1)
    task = python_to_cpp(1600, 64, 300)
    batches: Batches = list(task.batches(options.seed, 4, 16))
    starts: dict[str, Begin] = {"zero (PEFT)": zero(options.rank)}
    for gamma in (4.0, 16.0, 64.0, 256.0):
        starts[f"LoRA-GA, γ = {gamma:g}"] = ours(options.rank, gamma)
    starts["LoRA-GA, factors of size 1/s"] = ours(options.rank, None)
    starts["orthogonal, γ = 16"] = orthogonal(options.rank)
    starts["PEFT's LoRA-GA"] = peers(options.rank, 1.0)
    starts["PEFT's LoRA-GA, loss / 1000"] = peers(options.rank, 1e-3)
    table = Table(box=None)
    for title in ("start", "first step", "size", *(f"loss, lr {lr:g}" for lr in options.lrs)):
        table.add_column(title, no_wrap=True, justify="left" if title == "start" else "right")
    for name, begin in starts.items():
        cells: list[str] = []
        for lr in options.lrs:
            torch.manual_seed(options.seed)
            base = copy.deepcopy(task.model).requires_grad_(False)
            model = begin(base, batches, task)
            if not cells:
                cosine, size = first_step(model, batches)
                cells += [f"{cosine:.3f}", f"{size:.3g}"]
            cells.append(f"{train(model, task, lr, options):.3f}")
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
