"""One run: a method on a task, from a seed, with everything that is measured on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from schmidt.adapters import find_pairs
from schmidt.adapters.gradients import GradientHooks
from schmidt.adapters.pairs import factors_of as factors
from schmidt.adapters.tangent import alignment_error
from schmidt.experiments.finetune.methods import PreparedNetwork, TuningMethod, prepare
from schmidt.experiments.finetune.task import Task, TuningSettings
from schmidt.experiments.keeping import Kept


class Alignment:
    """ε / ‖G‖ over all pairs of a model, of the backward passes inside its context.

    ε² = Σ ‖(I − P_B) G (I − P_A)‖_F² is what no step of the factors can follow, to first order. It
    is a property of the factors and the gradient, whatever the optimizer does with them.
    """

    def __init__(self, body: nn.Module) -> None:
        self._pairs = {p.name: p for p in find_pairs(body)}
        self._gradients: dict[str, Tensor] = {}

    def watch(self) -> GradientHooks:
        """A context in which one backward pass is measured."""
        self._gradients.clear()
        layers: Mapping[str, Any] = {name: p.module for name, p in self._pairs.items()}
        return GradientHooks(layers, self._keep)

    def _keep(self, name: str, gradient: Tensor) -> None:
        self._gradients[name] = self._gradients.get(name, 0) + gradient

    @torch.no_grad()
    def value(self) -> float:
        """ε / ‖G‖; call it before the factors change."""
        missed = total = 0.0
        for name, G in self._gradients.items():
            pair = self._pairs[name]
            error = alignment_error(pair.right(pair.A)[0], pair.left(pair.B)[0], G)
            missed += float(error) ** 2
            total += float(G.double().square().sum())
        self._gradients.clear()
        return math.sqrt(missed / total) if total else math.nan


Weights = dict[str, Tensor]


@torch.no_grad()
def effective(layers: Mapping[str, nn.Module]) -> Weights:
    """The weight matrix (out, in) that each linear layer applies, adapters included."""
    return {name: _effective(layer) for name, layer in layers.items()}


@torch.no_grad()
def pretrained(layers: Mapping[str, nn.Module]) -> Weights:
    """The weight matrices below the adapters."""
    return {name: _base(layer).detach().clone() for name, layer in layers.items()}


def change(now: Weights, before: Weights) -> Weights:
    """now − before."""
    return {name: now[name] - before[name] for name in before}


def norm(of: Weights) -> float:
    """The Frobenius norm over all layers together."""
    return math.sqrt(sum(float(w.double().square().sum()) for w in of.values()))


def cosine(one: Weights, other: Weights) -> float:
    """⟨one, other⟩ / (‖one‖ ‖other‖) over all layers together; NaN where one is zero."""
    inner = sum(float((one[n].double() * other[n].double()).sum()) for n in other)
    size = norm(one) * norm(other)
    return inner / size if size else math.nan


def _base(layer: Any) -> Tensor:
    weight = (layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer).weight
    assert isinstance(weight, Tensor)
    return weight


def _effective(layer: Any) -> Tensor:
    W = _base(layer).detach()
    if not hasattr(layer, "active_adapters"):
        return W.clone()
    for adapter in layer.active_adapters:
        pair = factors(layer, adapter)
        if pair:
            W = W + layer.scaling[adapter] * (pair[1] @ pair[0])
    for adapter, magnitude in layer.lora_magnitude_vector.items():  # DoRA: rows of fixed norm
        if adapter in layer.active_adapters:
            W = W * (magnitude.weight / W.norm(dim=1)).unsqueeze(1)
    return W


UNTIMED = 3
"""The first steps allocate memory and are not counted."""


@dataclass(frozen=True)
class TuningRun:
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

    method: TuningMethod
    seed: int
    settings: TuningSettings
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

    def plain(self) -> dict[str, Any]:
        """Everything that was found, to be kept; who, from where and how is known."""
        return {k: v for k, v in vars(self).items() if k not in ("method", "seed", "settings")}

    @property
    def path(self) -> float:
        """Σ_t ‖W_{t+1} − W_t‖_F."""
        return sum(self.lengths)

    def beside(self, full: TuningRun) -> TuningRun:
        """The same run compared with full fine-tuning."""
        size = norm(full.change)
        if self.diverged or full.diverged or not size:
            return self
        apart = norm(change(self.change, full.change)) / size
        return replace(self, cosine=cosine(self.change, full.change), distance=apart)


def train(
    task: Task,
    method: TuningMethod,
    settings: TuningSettings,
    seed: int,
    watch: Callable[[int], bool] = lambda step: False,
    kept: Kept | None = None,
    name: str = "",
) -> TuningRun | None:
    """Fine-tune once.

    Args:
        watch: called before every step; if it returns True the run stops, and None is returned.
        kept, name: where the run keeps its state while it is under way, and goes on from it, to the
            same bits.
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
    resumable: tuple[Any, ...] = (
        ready.network,
        *(o for o in (ready.optimizer, ready.others) if o),
        *schedules,
    )
    begun = 0
    state = None if kept is None else kept.read(name)
    if state is not None:
        for part, saved in zip(resumable, state["parts"], strict=True):
            _restore(part, saved)
        begun, most, here = state["step"], state["most"], effective(ready.layers)
        losses, lengths, clock = (state[k] for k in ("losses", "lengths", "clock"))
        aligned = state["aligned"]
    for step, batch in enumerate(task.batches(seed, settings.steps, settings.batch)):
        if step < begun:
            continue
        stop = watch(step)
        if kept is not None and step > begun and (stop or kept.due):
            state = {"step": step, "most": most, "losses": losses, "lengths": lengths}
            state |= {"clock": clock, "aligned": aligned}
            kept.write(name, state | {"parts": [part.state_dict() for part in resumable]})
        if stop:
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
    done = TuningRun(
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


def _restore(part: Any, saved: Any) -> None:
    if isinstance(part, LambdaLR):  # its function is made anew, and stands in no state
        saved = {**saved, "lr_lambdas": [None] * len(saved["lr_lambdas"])}
    part.load_state_dict(saved)


def _step(ready: PreparedNetwork) -> None:
    for optimizer in (ready.optimizer, ready.others):
        if optimizer:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def _schedule(optimizer: Optimizer, settings: TuningSettings) -> LambdaLR:
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
