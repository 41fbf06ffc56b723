"""Training: a form, networks and a method in, ordered singular or eigen functions out."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from schmidt.certificate import Certificate
from schmidt.factorization import Eigenpairs, Factorization
from schmidt.operators.checkpoint import Progress, exists
from schmidt.operators.form import Form
from schmidt.operators.jet import Derivatives
from schmidt.operators.methods import Method
from schmidt.operators.networks.ansatz import Hidden
from schmidt.operators.ritz.in_span import polished
from schmidt.operators.run import Run
from schmidt.operators.spectrum import Functions, Spectrum, spectrum
from schmidt.operators.training import Training
from schmidt.parameters import FLAG, Choice, Kind, Number, check
from schmidt.progress import Bar, Interruptible, progress_bar
from schmidt.storage import exclusive

PARAMETERS = {
    "start": Choice("random", "ritz"),
    "polish": Choice("ritz", none=True),
    "resume": FLAG,
    "progress": FLAG,
    "checkpoint": Kind((str, Path), "a directory", none=True),
    "monitor": Kind((Callable,), "a function of the networks", none=True),  # type: ignore[arg-type]
    "monitor_every": Number(1, whole=True),
}

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
        interrupted: whether a signal (Ctrl-C, SIGTERM, SIGHUP) ended it before its last step.
        derivatives: how the networks are differentiated.
        polished: with ``polish="ritz"``, the Ritz solution in the networks' hidden units.
        method: what it was trained by.
    """

    form: Form
    right: nn.Module
    _: KW_ONLY
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
        """The best answer, by magnitude: Ritz values and functions, of the networks' hidden units
        if the run was polished, else of the learned span. Nothing about it is proven, and its
        certificate says so, with estimates."""
        if self.polished is not None:
            return self.polished
        s = self.spectrum
        return self._result(s.ritz[: s.rank], s.mix_f, s.mix_g, "ritz")

    @property
    def eigenpairs(self) -> Eigenpairs:
        """The same for eigenvalues, the largest first, with their signs.

        Raises:
            ValueError: there are left functions, so the values are singular values.
        """
        if self.left is not None:
            raise ValueError(
                "left functions were trained, so values are singular values: take .factorization"
            )
        found = self.factorization
        order = np.argsort(-found.values, kind="stable")
        known = found.certificate
        if known is not None:
            estimates = {k: v[order] if np.ndim(v) else v for k, v in known.estimates.items()}
            known = replace(known, estimates=estimates)
        right = found.right.select(order)
        return Eigenpairs(found.values[order], right, certificate=known, settings=found.settings)

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
        settings = {**self.settings, "estimate": estimate}
        s = self.spectrum
        count = len(values)
        spread = {
            # of two estimates of one value: large where training has not settled
            "disagreement": np.abs(s.rayleigh[:count] - s.ritz[:count])
        }
        vanished = int(s.vanished.sum())
        alarms = [f"{vanished} modes vanished: T has no more positive values for them"]
        known = _unproven(
            self.form, count, "the learned functions", spread, *(alarms if vanished else [])
        )
        if estimate != "ritz":
            return Factorization(left, values, right, certificate=known, settings=settings)
        return _by_magnitude(values, right, left, known, settings)


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
        checkpoint: directory for checkpoints, held for this run alone; none are written without
            it. One is written before the first step, and then as the training settings say.
        resume: go on from the checkpoint in that directory; a warning says if there is none. On
            the same machine the result is the same to the last bit as that of an uninterrupted
            run, provided that the optimizer keeps its state in ``state_dict`` and all randomness
            is torch's. More steps than before may be asked for; anything else that makes the run
            another one is refused (see :mod:`schmidt.identity`).
        monitor, monitor_every: see :data:`Monitor`.
        progress: show a progress bar where standard error is a terminal.

    Returns:
        A :class:`Fit`. Ctrl-C, SIGTERM and SIGHUP return what there is, after writing the
        checkpoint.

    Raises:
        NotSelfAdjointError: eigenvalues asked for, but T is measurably not self-adjoint.
        DivergedError: NaN or Inf, with the step and the likely cause.
        ValueError, DamagedFileError: a checkpoint of another run, or a damaged one.
        FolderInUseError: another run is writing checkpoints there.
    """
    check(
        PARAMETERS,
        start=start,
        polish=polish,
        resume=resume,
        monitor=monitor,
        monitor_every=monitor_every,
        progress=progress,
        checkpoint=checkpoint,
    )
    if "ritz" in (start, polish):
        for network in (right, left):
            if network is not None:
                Hidden(network)  # says now, and not after training, what it cannot take
    if resume and checkpoint is None:
        raise ValueError("resume needs the directory of the checkpoint")
    settings = {**(settings or {}), "start": start}
    run = Run(
        form,
        right,
        left,
        method=method,
        training=training,
        derivatives=derivatives,
        settings=settings,
    )
    directory = None if checkpoint is None else Path(checkpoint)
    with nullcontext() if directory is None else exclusive(directory):
        if directory is not None and resume and not exists(directory):
            warnings.warn(
                f"there is nothing to resume in {directory}: the run starts from the beginning",
                stacklevel=2,
            )
        if directory is not None and resume and exists(directory):
            at = run.load(directory)
        else:
            if start == "ritz":
                run.start_from_ritz()
            at = run.start()
            if directory is not None:  # says now if nothing can be written
                run.save(directory, at)
        run.compile()
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
            known = _unproven(form, len(values), "the networks' hidden units")
            extra = _by_magnitude(values.numpy(), f, g, known, named)
        seconds += time.perf_counter() - begin
    return Fit(
        form,
        last,
        left=before,
        history=at.history,
        steps=at.step,
        seconds=seconds,
        settings=run.settings,
        interrupted=interrupted and at.step < run.training.steps,
        derivatives=run.derivatives,
        polished=extra,
        method=run.method,
    )


def _train(
    run: Run,
    at: Progress,
    directory: Path | None,
    monitor: Monitor | None,
    monitor_every: int,
    bar: Bar,
) -> bool:
    """Train from where ``at`` stands; True if a signal ended it."""
    training, averaged = run.training, run.averaged
    before, start, saved = at.seconds, time.perf_counter(), at.seconds
    with bar, Interruptible() as interrupted:
        while at.step < training.steps and not interrupted:
            outcome = run.step()
            at.step = run.state.step
            at.seconds = before + time.perf_counter() - start
            last = at.step == training.steps
            if at.step % training.log_every == 0 or last:
                entry = run.entry(at, outcome)
                at.history.append(entry)
                bar.update(at.step, _headline(entry))
            if monitor and (at.step % monitor_every == 0 or last):
                found = monitor(averaged["right"], averaged.get("left"))
                try:
                    told = _told(found, at.step)
                except (ValueError, TypeError):
                    if directory:  # what was trained is not lost
                        run.save(directory, at)
                    raise
                at.history.append({"step": at.step, "seconds": at.seconds, **told})
            if directory and (last or interrupted or _due(training, at, saved)):
                run.save(directory, at)
                saved = at.seconds
        run.core.require_finite(run.state)
    return bool(interrupted)


def _due(training: Training, at: Progress, saved: float) -> bool:
    """Whether a checkpoint is due, by steps or by time."""
    every, seconds = training.checkpoint_every, training.checkpoint_seconds
    if every is not None and at.step % every == 0:
        return True
    return seconds is not None and at.seconds - saved >= seconds


def _told(found: Any, step: int) -> dict[str, Any]:
    """What a monitor returned, if it is what history can keep."""
    if not isinstance(found, Mapping):
        raise TypeError(
            f"step {step}: the monitor must return a mapping of names to numbers, got "
            f"{type(found).__name__}; return {{}} for nothing"
        )
    for name, value in found.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(
                f"step {step}: the monitor returned {value!r} for {name!r}; it must return finite "
                "numbers, and leave out what it does not know"
            )
    return {str(name): float(value) for name, value in found.items()}


def _headline(entry: Mapping[str, Any]) -> str:
    values = " ".join(f"{v:.4g}" for v in entry["values"][:4])
    return f"σ {values} …"


def _by_magnitude(
    values: np.ndarray,
    right: Functions,
    left: Functions,
    known: Certificate,
    settings: Mapping[str, Any],
) -> Factorization:
    """A factorization of functions, reordered where values are signed."""
    order = np.argsort(-np.abs(values), kind="stable")
    if not np.array_equal(order, np.arange(len(values))):
        same, right = left is right, right.select(order)
        left = right if same else left.select(order)
        estimates = {k: v[order] if np.ndim(v) else v for k, v in known.estimates.items()}
        values, known = values[order], replace(known, estimates=estimates)
    return Factorization(left, values, right, certificate=known, settings=settings)


def _unproven(
    form: Form, modes: int, span: str, estimates: Mapping[str, Any] | None = None, *alarms: str
) -> Certificate:
    """What is known of a trained answer: estimates, and that they prove nothing."""
    return Certificate(
        asked=f"{modes} leading modes of {type(form).__name__}",
        alarms=alarms,
        notes=(
            f"values are those of T in the span of {span}, estimated on points that did not "
            "train; nothing bounds their distance from T's own, or says that none was missed",
        ),
        estimates=estimates or {},
    )
