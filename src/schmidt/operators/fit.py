"""Training: a form, networks and a method in, ordered singular or eigen functions out."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.factorization import Factorization
from schmidt.operators import checkpoint as checkpoints
from schmidt.operators import methods
from schmidt.operators.derivatives import Derivatives, Exact
from schmidt.operators.form import Form, Sample
from schmidt.operators.functions import Functions
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Points
from schmidt.operators.methods import Batch, Method
from schmidt.operators.self_adjoint import require_self_adjoint
from schmidt.operators.spectrum import Spectrum, spectrum
from schmidt.operators.training import Training
from schmidt.progress import Interruptible, Progress, progress_bar

Monitor = Callable[[nn.Module, nn.Module | None], Mapping[str, float]]
"""Called now and then with the averaged networks; what it returns enters the history."""


class DivergedError(RuntimeError):
    """Training met NaN or Inf."""


@dataclass
class Fit:
    """What training gives.

    Attributes:
        form: T.
        right, left: the trained networks (parameters averaged); ``left`` is None for eigenvalues.
        history: one entry per logged step: step, seconds, learning rate, objective, values by
            norms, and what the monitor returned.
        steps: steps done; fewer than asked for if interrupted.
        seconds: training time, summed over resumed runs.
        settings: what made this run.
        interrupted: whether Ctrl-C ended it.
    """

    form: Form
    right: nn.Module
    left: nn.Module | None
    history: list[dict[str, Any]]
    steps: int
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    @cached_property
    def spectrum(self) -> Spectrum:
        """Values by norms, Rayleigh quotients and Rayleigh–Ritz, on held-out points."""
        return spectrum(self.form, self.right, self.left)

    @property
    def factorization(self) -> Factorization:
        """The best answer: Ritz values and Ritz functions of the learned span."""
        s = self.spectrum
        return self._result(s.ritz[: s.rank], s.mix_f, s.mix_g, "ritz")

    @property
    def learned(self) -> Factorization:
        """What the networks learned by themselves: values by norms, functions as they are."""
        s = self.spectrum
        return self._result(s.norm, torch.diag(s.scale_f), torch.diag(s.scale_g), "norm")

    def _result(self, values: np.ndarray, f: Tensor, g: Tensor, estimate: str) -> Factorization:
        right = Functions(self.right, f)
        left = right if self.left is None else Functions(self.left, g)
        return Factorization(left, values, right, settings={**self.settings, "estimate": estimate})


def fit(
    form: Form,
    right: nn.Module,
    left: nn.Module | None = None,
    *,
    method: str | Method = "sequential",
    training: Training | None = None,
    derivatives: Derivatives | None = None,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    monitor: Monitor | None = None,
    monitor_every: int = 100,
    progress: bool = True,
) -> Fit:
    """Learn the leading singular functions of T, or eigenfunctions if T is self-adjoint.

    Args:
        form: T.
        right: network f on X, points (B, d) → (B, L) or (B, L, O). Trained in place.
        left: network g on Y for a singular value decomposition; None for eigenvalues (g = f),
            which needs T self-adjoint and finds the positive part of its spectrum.
        method: "sequential", "joint", "none", or a :class:`~schmidt.operators.methods.Method`.
        training: steps, batch, optimizer, …
        derivatives: how to differentiate networks; default exact.
        checkpoint: directory for checkpoints; none are written without it.
        resume: go on from the checkpoint in that directory, if there is one. The result is the
            same to the last bit as that of an uninterrupted run.
        monitor, monitor_every: see :data:`Monitor`.
        progress: show a progress bar where standard error is a terminal.

    Returns:
        A :class:`Fit`. Ctrl-C returns what there is, after writing the checkpoint.

    Raises:
        NotSelfAdjointError: eigenvalues asked for, but T is measurably not self-adjoint.
        DivergedError: NaN or Inf, with the step and the likely cause.
    """
    run = _Run(form, right, left, method, training or Training(), derivatives or Exact())
    return run.go(
        Path(checkpoint) if checkpoint is not None else None,
        resume,
        monitor,
        monitor_every,
        progress_bar(run.training.steps, "training", enabled=progress),
    )


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        form: Form,
        right: nn.Module,
        left: nn.Module | None,
        method: str | Method,
        training: Training,
        derivatives: Derivatives,
    ) -> None:
        self.form, self.training, self.derivatives = form, training, derivatives
        given = {"right": right} if left is None else {"right": right, "left": left}
        self.networks = {
            k: v.to(torch.device(training.device), training.torch_dtype) for k, v in given.items()
        }
        self.averaged = {
            k: copy.deepcopy(v).requires_grad_(False) for k, v in self.networks.items()
        }
        self.generator = torch.Generator().manual_seed(training.seed)
        modes = self._check_networks()
        self.method = methods.method(method, modes) if isinstance(method, str) else method
        self.parameters = [
            p for n in self.networks.values() for p in n.parameters() if p.requires_grad
        ]
        if not self.parameters:
            raise ValueError("the network has no trainable parameters")
        self.optimizer = training.make_optimizer(self.parameters)
        optimizer = training.optimizer
        self.settings = {
            **asdict(training),
            "optimizer": optimizer if isinstance(optimizer, str) else _name(optimizer),
            "method": method if isinstance(method, str) else type(method).__name__,
            "modes": modes,
        }

    def _check_networks(self) -> int:
        right, left = self.networks["right"], self.networks.get("left")
        probe = self._draw(4, torch.Generator().manual_seed(0))
        shapes = []
        for name, network, points in (("right", right, probe.x), ("left", left, probe.y)):
            if network is None:
                continue
            with torch.no_grad():
                values = network(points.x)
            if values.ndim not in (2, 3) or len(values) != len(points):
                raise ValueError(
                    f"the {name} network must map {len(points)} points to shape "
                    f"({len(points)}, modes) or ({len(points)}, modes, outputs); "
                    f"it gave {tuple(values.shape)}"
                )
            shapes.append(tuple(values.shape[1:]))
        if len(set(shapes)) != 1:
            raise ValueError(f"left and right networks disagree: {shapes[1]} and {shapes[0]}")
        if left is None:
            require_self_adjoint(
                self.form,
                right,
                self.derivatives,
                n=self.training.batch // 2,
                dtype=self.training.torch_dtype,
                device=self.training.device,
            )
        return shapes[0][0]

    def _draw(self, n: int, generator: torch.Generator) -> Sample:
        return self.form.sample(n, generator).to(self.training.device, self.training.torch_dtype)

    def batches(self) -> tuple[Batch, Batch]:
        """Two independent halves, the networks evaluated on both at once."""
        samples = [self._draw(self.training.batch // 2, self.generator) for _ in range(2)]
        shared = samples[0].shared
        right, left = self.networks["right"], self.networks.get("left")
        order = self.form.order
        if left is None and shared:
            g = self._jets(right, [s.x for s in samples], 0 if order == 2 else order)
            f = g
            if order == 2:  # T f enters detached: no graph through its second derivatives
                with torch.no_grad():
                    f = self._jets(right, [s.x for s in samples], order)
        else:
            f = self._jets(right, [s.x for s in samples], order)
            g = self._jets(left or right, [s.y for s in samples], order)
        first, second = (Batch(samples[i], f[i], g[i], left is None) for i in range(2))
        return first, second

    def _jets(self, network: nn.Module, points: list[Points], order: int) -> list[Jet]:
        x = torch.cat([p.x for p in points])
        return self.derivatives(network, x, order).split([len(p) for p in points])

    def step(self, step: int) -> tuple[Form, Batch, Batch]:
        rate = self.training.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        shift = self.training.shift(step)
        form = self.form + shift if shift else self.form
        first, second = self.batches()
        surrogate = self.method.surrogate(form, first, second)
        self.optimizer.zero_grad(set_to_none=True)
        surrogate.backward()
        limit = self.training.clip if self.training.clip is not None else math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        if not bool(torch.isfinite(norm)):
            raise DivergedError(f"step {step}: {self._cause(first, second)}")
        self.optimizer.step()
        for name, network in self.networks.items():
            average: list[Tensor] = list(self.averaged[name].parameters())
            # a short memory at first, or the initial values would linger in the average
            decay = min(self.training.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [p.detach() for p in network.parameters()], 1 - decay)
        return form, first, second

    def _cause(self, first: Batch, second: Batch) -> str:
        for batch in (first, second):
            for points in (batch.sample.x, batch.sample.y):
                if not bool(points.weight.isfinite().all()):
                    return "sample weights are NaN or Inf; does the proposal density vanish there?"
            if not bool(batch.f.value.isfinite().all()):
                return (
                    "the network's values are NaN or Inf; lower the learning rate, lengthen the "
                    "warm-up, or set clip=1.0"
                )
            if not bool(batch.f.streams.isfinite().all()):
                return (
                    "derivatives of the network are NaN or Inf; lower the learning rate, or is it "
                    "not differentiable somewhere?"
                )
            pi = self.form.matrix(batch.g.detach(), batch.f.detach(), batch.sample)
            if not bool(pi.isfinite().all()):
                return "⟨g|Tf⟩ is NaN or Inf: a potential or kernel is not finite at some point"
        return "the gradient is NaN or Inf; lower the learning rate or set clip=1.0"

    def go(
        self,
        directory: Path | None,
        resume: bool,
        monitor: Monitor | None,
        monitor_every: int,
        bar: Progress,
    ) -> Fit:
        training = self.training
        at = checkpoints.Progress()
        modules = {**self.networks, **{f"averaged_{k}": v for k, v in self.averaged.items()}}
        if resume and directory is None:
            raise ValueError("resume needs the directory of the checkpoint")
        if resume and directory is not None and checkpoints.exists(directory):
            at = checkpoints.read(directory, self.settings, modules, self.optimizer, self.generator)

        def save() -> None:
            if directory is not None:
                checkpoints.write(
                    directory, at, self.settings, modules, self.optimizer, self.generator
                )

        before = at.seconds
        start = time.perf_counter()
        with bar, Interruptible() as interrupted:
            while at.step < training.steps and not interrupted:
                parts = self.step(at.step)
                at.step += 1
                at.seconds = before + time.perf_counter() - start
                last = at.step == training.steps
                if at.step % training.log_every == 0 or last:
                    entry = self._entry(at, *parts)
                    at.history.append(entry)
                    bar.update(at.step, _headline(entry))
                if monitor and (at.step % monitor_every == 0 or last):
                    found = monitor(self.averaged["right"], self.averaged.get("left"))
                    at.history.append({"step": at.step, "seconds": at.seconds, **found})
                if at.step % training.checkpoint_every == 0 or last or interrupted:
                    save()
        return Fit(
            self.form,
            self.averaged["right"],
            self.averaged.get("left"),
            at.history,
            at.step,
            at.seconds,
            self.settings,
            bool(interrupted),
        )

    def _entry(
        self, at: checkpoints.Progress, form: Form, first: Batch, second: Batch
    ) -> dict[str, Any]:
        f = (first.gram_f + second.gram_f).diagonal() / 2
        g = (first.gram_g + second.gram_g).diagonal() / 2
        return {
            "step": at.step,
            "seconds": at.seconds,
            "lr": self.training.learning_rate(at.step - 1),
            "shift": self.training.shift(at.step - 1),
            "objective": float(self.method.objective(form, first, second)),
            "values": [round(v, 6) for v in (f * g).sqrt().tolist()],
        }


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__qualname__", type(factory).__name__)


def _headline(entry: Mapping[str, Any]) -> str:
    values = " ".join(f"{v:.4g}" for v in entry["values"][:4])
    return f"σ {values} …"
