"""Training: a form, networks and a method in, ordered singular or eigen functions out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from schmidt.factorization import Factorization
from schmidt.operators.checkpoint import Progress
from schmidt.operators.form import Form
from schmidt.operators.jet import Derivatives
from schmidt.operators.methods import Method
from schmidt.operators.networks.ansatz import Hidden
from schmidt.operators.ritz.in_span import polished
from schmidt.operators.run import Run
from schmidt.operators.spectrum import Functions, Spectrum, spectrum
from schmidt.operators.training import Training
from schmidt.progress import Bar, Interruptible, progress_bar

Monitor = Callable[[nn.Module, nn.Module | None], Mapping[str, float]]
"""Called now and then with the averaged networks; what it returns enters the history."""


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
        derivatives: how the networks are differentiated.
        polished: with ``polish="ritz"``, the Ritz solution in the networks' hidden units.
        method: what it was trained by.
    """

    form: Form
    right: nn.Module
    left: nn.Module | None
    history: list[dict[str, Any]]
    steps: int
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    derivatives: Derivatives | None = None
    polished: Factorization | None = None
    method: Method | None = None

    @cached_property
    def spectrum(self) -> Spectrum:
        """Values by norms, Rayleigh quotients and Rayleigh–Ritz, on held-out points."""
        return spectrum(
            self.form, self.right, self.left, derivatives=self.derivatives, method=self.method
        )

    @property
    def factorization(self) -> Factorization:
        """The best answer: Ritz values and functions, of the networks' hidden units if the run was
        polished, else of the learned span."""
        if self.polished is not None:
            return self.polished
        s = self.spectrum
        return self._result(s.ritz[: s.rank], s.mix_f, s.mix_g, "ritz")

    @property
    def learned(self) -> Factorization:
        """What the networks learned by themselves, in learned order: the values are norms, or
        Rayleigh quotients where the method's norms mean nothing, and descend only as far as
        training has put them in order."""
        s = self.spectrum
        if self.method is not None and self.method.normalised:
            return self._result(s.rayleigh, s.own_f, s.own_g, "rayleigh")
        return self._result(s.norm, s.own_f, s.own_g, "norm")

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
    start: str = "random",
    polish: str | None = None,
    settings: Mapping[str, Any] | None = None,
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
        method: "sequential", "joint", "none", another name in
            ``schmidt.operators.methods.METHODS``, or a :class:`~schmidt.operators.methods.Method`.
        training: steps, batch, optimizer, …
        derivatives: how to differentiate networks; default exact.
        start: "random", or "ritz": begin from the Ritz solution in the span of the networks' first
            hidden units (scalar functions of :class:`Hidden` networks).
        polish: None, or "ritz": end with a Ritz step in the span of the trained hidden units; the
            result's ``factorization`` is then that, in float64.
        settings: further entries for the result's settings, which resuming checks too.
        checkpoint: directory for checkpoints; none are written without it.
        resume: go on from the checkpoint in that directory, if there is one. On the same machine
            the result is the same to the last bit as that of an uninterrupted run, provided that
            the optimizer keeps its state in ``state_dict`` and all randomness is torch's.
        monitor, monitor_every: see :data:`Monitor`.
        progress: show a progress bar where standard error is a terminal.

    Returns:
        A :class:`Fit`. Ctrl-C returns what there is, after writing the checkpoint.

    Raises:
        NotSelfAdjointError: eigenvalues asked for, but T is measurably not self-adjoint.
        DivergedError: NaN or Inf, with the step and the likely cause.
    """
    for name, given, known in (
        ("start", start, ("random", "ritz")),
        ("polish", polish, (None, "ritz")),
    ):
        if given not in known:
            raise ValueError(f"{name} must be one of {known}, got {given!r}")
    if "ritz" in (start, polish):
        for network in (right, left):
            if network is not None:
                Hidden(network)  # says now, and not after training, what it cannot take
    settings = {**(settings or {}), "start": start}
    run = Run(form, right, left, method, training, derivatives, settings)
    directory = None if checkpoint is None else Path(checkpoint)
    if resume and directory is None:
        raise ValueError("resume needs the directory of the checkpoint")
    at = run.load(directory) if resume and directory is not None else run.start()
    if start == "ritz" and at.step == 0:
        run.start_from_ritz()
        at = run.start()
    bar = progress_bar(run.training.steps, "training", enabled=progress)
    interrupted = _train(run, at, directory, monitor, monitor_every, bar)
    last, before = run.averaged["right"], run.averaged.get("left")
    extra: Factorization | None = None
    seconds = at.seconds
    if polish == "ritz":
        begin = time.perf_counter()
        try:
            values, f, g = polished(form, last, before, run.modes)
        except ValueError as error:  # what was learned must not be lost
            warnings.warn(f"not polished: {error}", stacklevel=2)
        else:
            named = {**run.settings, "estimate": "ritz", "polish": polish}
            extra = Factorization(g, values.numpy(), f, settings=named)
        seconds += time.perf_counter() - begin
    return Fit(
        form,
        last,
        before,
        at.history,
        at.step,
        seconds,
        run.settings,
        interrupted,
        run.derivatives,
        extra,
        run.method,
    )


def _train(
    run: Run,
    at: Progress,
    directory: Path | None,
    monitor: Monitor | None,
    monitor_every: int,
    bar: Bar,
) -> bool:
    """Train from where ``at`` stands; True if Ctrl-C ended it."""
    training, averaged = run.training, run.averaged
    before, start = at.seconds, time.perf_counter()
    with bar, Interruptible() as interrupted:
        while at.step < training.steps and not interrupted:
            parts = run.step(at.step)
            at.step += 1
            at.seconds = before + time.perf_counter() - start
            last = at.step == training.steps
            if at.step % training.log_every == 0 or last:
                entry = run.entry(at, *parts)
                at.history.append(entry)
                bar.update(at.step, _headline(entry))
            if monitor and (at.step % monitor_every == 0 or last):
                found = monitor(averaged["right"], averaged.get("left"))
                at.history.append({"step": at.step, "seconds": at.seconds, **found})
            if directory and (at.step % training.checkpoint_every == 0 or last or interrupted):
                run.save(directory, at)
    return bool(interrupted)


def _headline(entry: Mapping[str, Any]) -> str:
    values = " ".join(f"{v:.4g}" for v in entry["values"][:4])
    return f"σ {values} …"
