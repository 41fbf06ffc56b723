"""Fast training on a GPU: a whole step – jets, gradient, optimizer, average – as one CUDA graph.

A step of the paper's network is a hundred small kernels, and launching them from Python takes
longer than running them. A graph is launched at once. What changes from step to step stands in
tensors of fixed address: points, weights, learning rate, memory of the average. The points of step
t depend on the seed and t alone, so that a run can be stopped and resumed at any step.

Without a GPU the same step runs uncaptured, which is how it is tested.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.experiments.reproduce import model
from schmidt.experiments.reproduce.model import Recipe
from schmidt.operators.checkpoint import Progress
from schmidt.operators.fit import Fit
from schmidt.operators.form import Sample
from schmidt.operators.measures import Points
from schmidt.operators.methods import Batch, DivergedError
from schmidt.operators.run import Run
from schmidt.operators.training import Training
from schmidt.progress import Interruptible

CAPTURED = ("sequential", "joint", "none", "neuralef")
"""Methods whose step has no decision on the host; SpIN's Cholesky factors have one."""
BLOCK = 200
ALPHA, EPS = 0.999, 1e-10


def plain(recipe: Recipe) -> bool:
    """Whether a recipe is trained as the paper's are: what a graph knows."""
    return (recipe.sampling, recipe.optimizer, recipe.extra_shift) == ("plain", "paper", 0.0)


def usable(recipe: Recipe, method: str, device: str) -> bool:
    """Whether a run can be captured."""
    return torch.device(device).type == "cuda" and method in CAPTURED and plain(recipe)


class Step:
    """One training step on tensors of fixed address; ``replay`` does it.

    Args:
        run: networks, averages, method and optimizer state, just made or loaded.
        recipe: for sampling and schedule; plain sampling, RMSprop, no extra shift.
    """

    def __init__(self, run: Run, recipe: Recipe) -> None:
        if not plain(recipe):
            raise ValueError("only the paper's sampling, optimizer and shift can be captured")
        self.run, self.recipe = run, recipe
        self.network = run.networks["right"]
        self.device = next(self.network.parameters()).device
        self.x = torch.zeros(recipe.batch, model.DIM, device=self.device)
        self.weight = torch.ones(recipe.batch, device=self.device)
        self.rate = torch.zeros((), device=self.device)
        self.memory = torch.zeros((), device=self.device)
        self.finite = torch.ones((), dtype=torch.bool, device=self.device)
        self.parameters: list[Any] = list(run.parameters)
        pairs = zip(run.averaged["right"].parameters(), self.network.parameters(), strict=True)
        self.average: list[Any] = [mine for mine, theirs in pairs if theirs.requires_grad]
        self.squares = [self._square(p) for p in self.parameters]
        self.captured: torch.cuda.CUDAGraph | None = None
        self.block: tuple[int, Tensor, Tensor] | None = None

    def _square(self, parameter: nn.Parameter) -> Tensor:
        """The optimizer's second moment, kept in its own state so that checkpoints hold it."""
        state = self.run.optimizer.state[parameter]
        if "square_avg" not in state:
            state["step"] = torch.zeros(())
            state["square_avg"] = torch.zeros_like(parameter)
        return state["square_avg"]

    def points(self, step: int) -> tuple[Tensor, Tensor]:
        """Points and weights of a step, drawn in blocks that only the seed and the step decide."""
        number, index = divmod(step, BLOCK)
        if self.block is None or self.block[0] != number:
            seed = (self.run.training.seed + 1) * 1_000_003 + number
            generator = torch.Generator().manual_seed(seed)
            size = (BLOCK, self.recipe.batch, model.DIM)
            z = torch.randn(size, generator=generator).to(self.device)
            variance = self.recipe.width**2
            density = (-0.5 * z.pow(2).sum(-1)).exp() / (2 * math.pi * variance)
            self.block = (number, self.recipe.width * z, 2 / (self.recipe.batch * density))
        return self.block[1][index], self.block[2][index]

    def set(self, step: int) -> None:
        """Put the inputs of a step where the graph reads them."""
        x, weight = self.points(step)
        self.x.copy_(x)
        self.weight.copy_(weight)
        self.rate.fill_(self.run.training.learning_rate(step))
        self.memory.fill_(1 - min(self.run.training.ema, (1 + step) / (10 + step)))

    def body(self) -> None:
        """Everything that a step computes."""
        half = self.recipe.batch // 2
        samples = [
            Sample(p, p)
            for p in (
                Points(self.x[:half], self.weight[:half]),
                Points(self.x[half:], self.weight[half:]),
            )
        ]
        first, second = self._batches(samples)
        surrogate = self.run.method.surrogate(self.run.form, first, second)
        grads: list[Any] = list(torch.autograd.grad(surrogate, self.parameters))
        with torch.no_grad():
            torch._foreach_mul_(self.squares, ALPHA)
            torch._foreach_addcmul_(self.squares, grads, grads, 1 - ALPHA)
            roots = torch._foreach_sqrt(self.squares)
            torch._foreach_add_(roots, EPS)
            torch._foreach_div_(grads, roots)
            torch._foreach_mul_(grads, self.rate)
            torch._foreach_sub_(self.parameters, grads)
            gaps: Any = torch._foreach_sub(self.parameters, self.average)
            torch._foreach_mul_(gaps, self.memory)
            torch._foreach_add_(self.average, gaps)
            self.finite.logical_and_(surrogate.isfinite())

    def _batches(self, samples: list[Sample]) -> tuple[Batch, Batch]:
        order, left_order = self.run.form.orders()
        x = torch.cat([s.x.x for s in samples])
        sizes = [len(s.x) for s in samples]
        g = self.run.derivatives(self.network, x, left_order)
        f = g
        if order == 2:
            with torch.no_grad():
                f = self.run.derivatives(self.network, x, order)
        parts = zip(samples, f.split(sizes), g.split(sizes), strict=True)
        first, second = (Batch(s, a, b, True) for s, a, b in parts)
        return first, second

    def capture(self) -> None:
        """Record ``body`` as a graph; what the rehearsals change is put back."""
        state = [*self.parameters, *self.average, *self.squares, self.finite]
        kept = [t.detach().clone() for t in state]
        self.set(0)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.body()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.body()
        with torch.no_grad():
            for tensor, before in zip(state, kept, strict=True):
                tensor.copy_(before)
        self.captured = graph

    def replay(self, step: int) -> None:
        self.set(step)
        if self.captured is None:
            self.body()
        else:
            self.captured.replay()


def fit(
    recipe: Recipe,
    method: str,
    network: nn.Module,
    training: Training,
    folder: Path,
    report: Callable[[int], None] | None,
    every: int,
) -> Fit:
    """As :func:`schmidt.operators.fit`, going on from a checkpoint in ``folder`` if there is one.

    The history is not kept: reading a value on the host would stop the GPU.
    """
    settings = {"recipe": recipe.plain(), "captured": True}
    run = Run(model.form(recipe), network, None, method, training, None, settings)
    masks = getattr(run.method, "masks", None)
    if masks is not None:
        where = torch.zeros((), device=training.device)
        run.method = type(run.method)(masks.to(where))  # type: ignore[call-arg]
    at = run.load(folder)
    step = Step(run, recipe)
    if step.device.type == "cuda":
        step.capture()
    with Interruptible() as interrupted:
        _train(step, at, folder, interrupted, report, every)
    return Fit(
        run.form,
        run.averaged["right"],
        None,
        at.history,
        at.step,
        at.seconds,
        run.settings,
        bool(interrupted) and at.step < training.steps,
        run.derivatives,
        method=run.method,
    )


def _train(
    step: Step,
    at: Progress,
    folder: Path,
    interrupted: Interruptible,
    report: Callable[[int], None] | None,
    every: int,
) -> None:
    training = step.run.training
    before, start = at.seconds, time.perf_counter()
    while at.step < training.steps and not interrupted:
        step.replay(at.step)
        at.step += 1
        last = at.step == training.steps
        if at.step % BLOCK and not last and not interrupted:
            continue
        if not bool(step.finite):
            raise DivergedError(
                f"NaN or Inf before step {at.step}; lower the learning rate or the batch's noise"
            )
        at.seconds = before + time.perf_counter() - start
        if report is not None and at.step % every < BLOCK:
            report(at.step)
        if last or interrupted or at.step % training.checkpoint_every < BLOCK:
            step.run.save(folder, at)
