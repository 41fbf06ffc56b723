"""The training core: one step, a function of state and samples that changes only the state.

A step evaluates the networks at two independent samples, asks the method for the scalar whose
gradient is its own, and moves optimizer and averages along. How networks are evaluated is decided
once, by :func:`evaluator`; compilers wrap the step, see :func:`compiled`. A sample comes from
outside, so several processes may each bring their own and share gradients in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from schmidt.operators.form import Form, Sample, shifted
from schmidt.operators.jet import Derivatives, Jet
from schmidt.operators.measures import Points
from schmidt.operators.methods import Batch, DivergedError, Method
from schmidt.operators.training import Training

Networks = Mapping[str, nn.Module]
"""``right`` and, for a singular value decomposition, ``left``."""

Evaluate = Callable[[Networks, Sequence[Sample]], list[Batch]]
"""Networks at samples, all samples at once."""

LOOK_EVERY = 100
"""Steps between two looks of the host at a compiled run: each look stops the GPU."""


@dataclass
class State:
    """Everything that a training step changes.

    Attributes:
        networks: what is trained.
        averaged: the same with their parameters averaged, which is what training returns.
        parameters: the trained leaves, once each.
        method: with the averages that it keeps.
        optimizer: of the parameters.
        step: how many steps have been done.
        finite: whether all gradients so far were finite.
    """

    networks: dict[str, nn.Module]
    averaged: dict[str, nn.Module]
    parameters: list[Tensor]
    method: Method
    optimizer: Optimizer
    step: int = 0
    finite: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.bool))

    def named_parameters(self) -> dict[str, Tensor]:
        """The trained parameters by side and name."""
        return {
            f"{side}.{name}": p
            for side, network in self.networks.items()
            for name, p in network.named_parameters()
            if p.requires_grad
        }


@dataclass(frozen=True)
class Stepped:
    """What a step was computed from: the form with its shift, and the two samples.

    ``batches`` are the networks there as they were before the step; None where a compiler kept
    them to itself.
    """

    form: Form
    samples: tuple[Sample, Sample]
    batches: tuple[Batch, Batch] | None


def evaluator(
    form: Form, derivatives: Derivatives, *, evd: bool, shared: bool, graph_of_action: bool = False
) -> Evaluate:
    """How networks become batches, chosen once for a run.

    Args:
        form: T, for the orders of derivatives of f and g.
        derivatives: how a network is differentiated.
        evd: f and g are one network.
        shared: f and g are seen at the same points.
        graph_of_action: T f must carry gradients (see :class:`Method`).
    """
    order, left_order = form.orders()

    def jets(network: nn.Module, points: list[Points], order: int) -> list[Jet]:
        x = torch.cat([p.x for p in points])
        return derivatives(network, x, order).split([len(p) for p in points])

    def once(networks: Networks, samples: Sequence[Sample]) -> list[Batch]:
        """One jet of g; T f enters detached: no graph through its second derivatives."""
        right, points = networks["right"], [s.x for s in samples]
        f = g = jets(right, points, left_order)
        if order == 2:
            with torch.no_grad():
                f = jets(right, points, order)
        return [Batch(*parts, True) for parts in zip(samples, f, g, strict=True)]

    def once_with_graph(networks: Networks, samples: Sequence[Sample]) -> list[Batch]:
        f = jets(networks["right"], [s.x for s in samples], order)
        g = [jet.lower(left_order) for jet in f]
        return [Batch(*parts, True) for parts in zip(samples, f, g, strict=True)]

    def both_sides(networks: Networks, samples: Sequence[Sample]) -> list[Batch]:
        right = networks["right"]
        f = jets(right, [s.x for s in samples], order)
        g = jets(networks.get("left", right), [s.y for s in samples], left_order)
        return [Batch(*parts, evd) for parts in zip(samples, f, g, strict=True)]

    if not (evd and shared):
        return both_sides
    return once_with_graph if graph_of_action else once


def pulled(method: Method, form: Form, first: Batch, second: Batch) -> Tensor:
    """The method's surrogate, and its state taken one step further."""
    started = method.started
    if not started:
        method.update(first, second)
    surrogate = method.surrogate(form, first, second)
    if started:
        method.update(first, second)
    return surrogate


@dataclass(frozen=True)
class Step:
    """``step(state, samples)``: one step of the optimizer and of the averages.

    Attributes:
        form: T.
        training: schedules and clipping.
        evaluate: how networks become batches.
        extra_shift: what is added to T at the start, falling to 0.
    """

    form: Form
    training: Training
    evaluate: Evaluate
    extra_shift: float = 0.0

    def shift(self, step: int) -> float:
        """The multiple of the identity that is added to T at a step."""
        return self.extra_shift * self.training.annealing(step)

    def shifted_form(self, step: int) -> Form:
        shift = self.shift(step)
        return self.form + shift if shift else self.form

    def __call__(self, state: State, samples: tuple[Sample, Sample]) -> Stepped:
        """One step.

        Raises:
            DivergedError: NaN or Inf in the gradient, or dependent functions; with the step and
                the likely cause. The parameters are then those before the step.
        """
        self._set_rate(state)
        form = self.shifted_form(state.step)
        first, second = self.evaluate(state.networks, samples)
        try:
            surrogate = pulled(state.method, form, first, second)
        except DivergedError as error:
            raise DivergedError(f"step {state.step}: {error}") from None
        if not bool(torch.isfinite(self._pull_back(state, surrogate))):
            cause = likely_cause(self.form, first, second)
            raise DivergedError(f"step {state.step}: {cause}")
        self._move(state)
        return Stepped(form, samples, (first, second))

    def require_finite(self, state: State) -> None:
        """Look whether all is finite; an uncompiled step has looked already."""
        return

    def _set_rate(self, state: State) -> None:
        rate = self.training.learning_rate(state.step)
        for group in state.optimizer.param_groups:
            group["lr"] = rate

    def _pull_back(self, state: State, surrogate: Tensor) -> Tensor:
        """Gradients of the parameters, clipped; returns their norm."""
        state.optimizer.zero_grad(set_to_none=True)
        surrogate.backward()
        limit = self.training.clip if self.training.clip is not None else math.inf
        return nn.utils.clip_grad_norm_(state.parameters, limit)

    def _move(self, state: State) -> None:
        """Optimizer, averages of parameters, copies of buffers."""
        step = state.step
        state.optimizer.step()
        for name, network in state.networks.items():
            average: list[Tensor] = list(state.averaged[name].parameters())
            # a short memory at first, or the initial values would linger in the average
            decay = min(self.training.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [p.detach() for p in network.parameters()], 1 - decay)
            pairs = zip(state.averaged[name].buffers(), network.buffers(), strict=True)
            for mine, current in pairs:
                mine.copy_(current)
        state.step += 1


@dataclass(frozen=True)
class CompiledStep(Step):
    """A step whose surrogate a compiler has; its host looks at the numbers now and then only."""

    surrogate: Callable[..., Tensor] = field(kw_only=True)
    flatten: Callable[[tuple[Sample, Sample]], list[Tensor]] = field(kw_only=True)

    def __call__(self, state: State, samples: tuple[Sample, Sample]) -> Stepped:
        self._set_rate(state)
        like = state.parameters[0]
        shift = torch.full((), self.shift(state.step), dtype=like.dtype, device=like.device)
        surrogate = self.surrogate(shift, *self.flatten(samples))
        norm = self._pull_back(state, surrogate)
        state.finite = state.finite.to(norm.device) & norm.isfinite()
        self._move(state)
        if state.step % LOOK_EVERY == 0:
            self.require_finite(state)
        return Stepped(self.shifted_form(state.step - 1), samples, None)

    def require_finite(self, state: State) -> None:
        if not bool(state.finite):
            raise DivergedError(
                f"NaN or Inf before step {state.step}; lower the learning rate or set clip=1.0. "
                "Without Training.compiled the step and the cause are named"
            )


class _Surrogate(nn.Module):
    """The surrogate as a function of tensors, with the networks' parameters, for compilers."""

    def __init__(self, step: Step, state: State, like: tuple[Sample, Sample]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(state.networks)
        self.step, self.method = step, state.method.on(state.parameters[0])
        self.shared = like[0].shared
        self.annealed = bool(step.extra_shift)

    def forward(self, shift: Tensor, *points: Tensor) -> Tensor:
        parts = [Points(*points[i : i + 2]) for i in range(0, len(points), 2)]
        if self.shared:
            samples = [Sample(p, p) for p in parts]
        else:
            samples = [Sample(*parts[i : i + 2]) for i in (0, 2)]
        form = shifted(self.step.form, shift) if self.annealed else self.step.form
        networks: Any = dict(self.networks.items())
        first, second = self.step.evaluate(networks, samples)
        return self.method.surrogate(form, first, second)


def _flatten(samples: tuple[Sample, Sample]) -> list[Tensor]:
    sides = [p for s in samples for p in ((s.x,) if s.shared else (s.x, s.y))]
    return [t for p in sides for t in (p.x, p.weight)]


def compiled(step: Step, state: State, samples: tuple[Sample, Sample], how: str) -> Step:
    """The same step with its surrogate compiled.

    Args:
        step, state: what is to be compiled; the state stays as it is.
        samples: two like those to come, in size and kind.
        how: "graphs": surrogate and gradient are recorded as two CUDA graphs, because launching a
            hundred small kernels from Python takes longer than running them; without a GPU they
            run as they are. "inductor": by ``torch.compile``.

    Raises:
        ValueError: a method whose surrogate takes decisions on the host, or keeps averages.
    """
    if not state.method.capturable:
        raise ValueError(
            f"{type(state.method).__name__} cannot be compiled: its surrogate takes decisions on "
            "the host or keeps averages. Leave Training.compiled out, or take 'sequential', "
            "'joint', 'none' or 'neuralef'"
        )
    module: Callable[..., Tensor] = _Surrogate(step, state, samples)
    if how == "inductor":
        module = cast(Callable[..., Tensor], torch.compile(module))
    elif state.parameters[0].is_cuda:
        like = state.parameters[0]
        shift = torch.zeros((), dtype=like.dtype, device=like.device)
        inputs = tuple(t.clone() for t in (shift, *_flatten(samples)))
        try:
            graphed: Any = torch.cuda.make_graphed_callables(
                cast(nn.Module, module), inputs, allow_unused_input=True
            )
            module = graphed
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"the step cannot be recorded as a CUDA graph ({reason}): leave "
                "Training.compiled out"
            ) from error
    own = {name: getattr(step, name) for name in Step.__dataclass_fields__}
    return CompiledStep(**own, surrogate=module, flatten=_flatten)


def likely_cause(form: Form, first: Batch, second: Batch) -> str:
    """Why a gradient is NaN or Inf, in words that say what to do."""
    for batch in (first, second):
        for points in (batch.sample.x, batch.sample.y):
            if not bool(points.weight.isfinite().all()):
                return "sample weights are NaN or Inf; does the proposal density vanish there?"
        if not bool(batch.f.value.isfinite().all()):
            return (
                "the network's values are NaN or Inf; lower the learning rate, lengthen the "
                "warm-up, or set clip=1.0"
            )
        if batch.f.value.abs().max() > 1e12:
            return "the functions grew without bound; lower the learning rate or set clip=1.0"
        if not bool(batch.f.streams.isfinite().all()):
            return (
                "derivatives of the network are NaN or Inf; lower the learning rate, or is it "
                "not differentiable somewhere?"
            )
        pi = form.matrix(batch.g.detach(), batch.f.detach(), batch.sample)
        if not bool(pi.isfinite().all()):
            return "⟨g|Tf⟩ is NaN or Inf: a potential or kernel is not finite at some point"
    return "the gradient is NaN or Inf; lower the learning rate or set clip=1.0"


def with_shift(step: Step, extra_shift: float) -> Step:
    """The step with another extra shift."""
    return replace(step, extra_shift=extra_shift)
