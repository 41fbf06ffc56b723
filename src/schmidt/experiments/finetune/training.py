"""One run: a method on a task, from a seed, with everything that is measured on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from schmidt.experiments.finetune.alignment import Alignment
from schmidt.experiments.finetune.methods import Method, Prepared, prepare
from schmidt.experiments.finetune.settings import Settings
from schmidt.experiments.finetune.task import Task
from schmidt.experiments.finetune.weights import (
    Weights,
    change,
    cosine,
    effective,
    norm,
    pretrained,
)

UNTIMED = 3
"""The first steps allocate memory and are not counted."""


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Attributes:
        method, seed, settings: who, from where, how.
        losses: training loss of every step.
        alignment: ε_t / ‖G_t‖ at the steps where it was measured; empty for full fine-tuning.
        lengths: ‖W_{t+1} − W_t‖_F of every step over all adapted layers.
        seconds: of a training step, median, in processor time of this process.
        state_bytes: of the optimizer of the adapted layers, largest over the steps.
        trained: parameters trained in the adapted layers.
        scores: on the test set, per example.
        test_loss, validation_loss: mean losses.
        change: ΔW of the adapted layers.
        cosine: of ΔW to that of full fine-tuning from the same seed; None without it.
        distance: ‖ΔW − ΔW_full‖ / ‖ΔW_full‖.
        diverged: whether the loss stopped being finite; then the rest is NaN.
    """

    method: Method
    seed: int
    settings: Settings
    losses: list[float]
    alignment: dict[int, float]
    lengths: list[float]
    seconds: float
    state_bytes: int
    trained: int
    scores: Tensor = field(repr=False)
    test_loss: float
    validation_loss: float
    change: Weights = field(repr=False)
    cosine: float | None = None
    distance: float | None = None
    diverged: bool = False

    @property
    def path(self) -> float:
        """Σ_t ‖W_{t+1} − W_t‖_F."""
        return sum(self.lengths)

    def beside(self, full: Run) -> Run:
        """The same run compared with full fine-tuning."""
        size = norm(full.change)
        if self.diverged or full.diverged or not size:
            return self
        apart = norm(change(self.change, full.change)) / size
        return replace(self, cosine=cosine(self.change, full.change), distance=apart)


def train(
    task: Task,
    method: Method,
    settings: Settings,
    seed: int,
    watch: Callable[[int], bool] = lambda step: False,
) -> Run | None:
    """Fine-tune once.

    Args:
        watch: called before every step; if it returns True the run stops, and None is returned.
    """
    ready = prepare(task, method, settings, seed)
    before = pretrained(ready.layers)
    here = effective(ready.layers)
    schedules = [_schedule(o, settings) for o in (ready.optimizer, ready.others) if o]
    alignment = None if method.full else Alignment(ready.network.body)
    losses: list[float] = []
    lengths: list[float] = []
    aligned: dict[int, float] = {}
    clock: list[float] = []
    most = 0
    ready.network.eval()  # no dropout: methods see the same gradients
    for step, batch in enumerate(task.batches(seed, settings.steps, settings.batch)):
        if watch(step):
            return None
        measured = alignment is not None and step % settings.measure_every == 0
        begin = time.process_time()
        with alignment.watch() if alignment and measured else nullcontext():
            loss = task.loss(ready.network, batch)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                break
            loss.backward()
        if alignment and measured:
            aligned[step] = alignment.value()
        _step(ready)
        if not measured:
            clock.append(time.process_time() - begin)
        for schedule in schedules:
            schedule.step()
        most = max(most, state_bytes(ready.optimizer))
        now = effective(ready.layers)
        lengths.append(norm(change(now, here)))
        here = now
    trained = sum(p.numel() for p in ready.network.body.parameters() if p.requires_grad)
    timed = sorted(clock[UNTIMED:] or clock)
    done = Run(
        method=method,
        seed=seed,
        settings=settings,
        losses=losses,
        alignment=aligned,
        lengths=lengths,
        seconds=timed[len(timed) // 2] if timed else math.nan,
        state_bytes=most,
        trained=trained,
        scores=torch.full((0,), math.nan),
        test_loss=math.nan,
        validation_loss=math.nan,
        change=change(here, before),
        diverged=True,
    )
    if not math.isfinite(losses[-1]) or not math.isfinite(norm(here)):
        return done
    test = task.judge(ready.network, "test")
    return replace(
        done,
        scores=test.scores,
        test_loss=test.loss,
        validation_loss=task.judge(ready.network, "validation").loss,
        diverged=False,
    )


def _step(ready: Prepared) -> None:
    for optimizer in (ready.optimizer, ready.others):
        if optimizer:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def _schedule(optimizer: Optimizer, settings: Settings) -> LambdaLR:
    steps = settings.steps
    rise = max(1, round(settings.warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return LambdaLR(optimizer, factor)


def state_bytes(optimizer: Optimizer) -> int:
    """Bytes of the tensors in an optimizer's state, counters of steps left out."""
    return sum(t.numel() * t.element_size() for t in _tensors(dict(optimizer.state)) if t.ndim)


def _tensors(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, dict):
        for value in held.values():
            yield from _tensors(value)
    elif isinstance(held, list | tuple):
        for value in held:
            yield from _tensors(value)
