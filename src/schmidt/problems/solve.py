"""Solving a problem and judging the answer against the exact one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from schmidt.compare import Comparison, align, compare, degenerate_groups, gram
from schmidt.factorization import Factorization
from schmidt.operators.fit import Fit, fit
from schmidt.operators.form import Sample
from schmidt.operators.functions import Functions
from schmidt.operators.methods import Method
from schmidt.operators.spectrum import Spectrum, spectrum
from schmidt.operators.training import Training
from schmidt.problems.problem import Problem

MONITOR_TIMES = 20


@dataclass
class Solution:
    """A trained answer to a problem, with the exact one beside it.

    Attributes:
        problem: what was solved.
        fit: the training run: networks, history, settings.
        sample: the held-out points that all numbers refer to.
    """

    problem: Problem
    fit: Fit
    sample: Sample

    @cached_property
    def spectrum(self) -> Spectrum:
        """The three estimates of the values, on the held-out points."""
        return spectrum(self.problem.form, self.fit.right, self.fit.left, self.sample)

    @property
    def modes(self) -> int:
        return len(self.spectrum.norm)

    @property
    def exact(self) -> np.ndarray:
        """Exact values of T, shift included."""
        return self.problem.exact.values(self.modes)

    @property
    def factorization(self) -> Factorization:
        """Ritz values and Ritz functions: the best answer."""
        return self.fit.factorization

    @property
    def learned(self) -> Factorization:
        """The functions as learned, with their norms as values."""
        return self.fit.learned

    def right_values(self) -> np.ndarray:
        """The learned right functions, normalised, on the held-out points: (N, L)."""
        scale = torch.diag(self.spectrum.scale_f)
        return np.asarray(Functions(self.fit.right, scale)(_points(self.sample.x.x)))

    def left_values(self) -> np.ndarray:
        """The learned left functions, likewise."""
        if self.fit.left is None:
            return self.right_values()
        scale = torch.diag(self.spectrum.scale_g)
        return np.asarray(Functions(self.fit.left, scale)(_points(self.sample.y.x)))

    @property
    def judged(self) -> int:
        """Modes that can be judged: those with a positive exact value."""
        positive = int((self.exact > 1e-12 * abs(self.exact[0])).sum())
        return positive if self.fit.left is None else self.modes

    @cached_property
    def comparison(self) -> Comparison | None:
        """Every measure of E.1.3 over the modes with positive exact value."""
        if self.problem.exact.right is None:
            return None
        k = self.judged
        exact = self.problem.exact.right(_points(self.sample.x.x), k)
        return compare(
            self.right_values()[:, :k],
            exact,
            weights=self.sample.x.weight,
            values=np.nan_to_num(self.spectrum.ritz[:k]),
            exact=self.exact[:k],
        )

    def aligned(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Learned (rotated onto the exact ones inside degenerate groups) and exact functions at x.

        Returns two (len(x), k) arrays, k the number of judged modes; for pictures.
        """
        k = self.judged
        exact = self.problem.exact.right
        learned = self.right_values()[:, :k]
        here = np.asarray(Functions(self.fit.right, torch.diag(self.spectrum.scale_f))(x))[:, :k]
        if exact is None:
            return here, here
        reference = exact(_points(self.sample.x.x), k)
        groups = degenerate_groups(self.exact[:k])
        rotated = align(learned, reference, self.sample.x.weight, groups).numpy()
        w = self.sample.x.weight.numpy()[:, None]
        unit = learned / np.sqrt((w * learned**2).sum(0))
        turn = np.linalg.lstsq(np.sqrt(w) * unit, np.sqrt(w) * rotated, rcond=None)[0]
        return here @ turn, exact(x, k)

    def gram(self) -> np.ndarray:
        """⟨f_i|f_j⟩ of the normalised learned functions."""
        return gram(self.right_values(), self.sample.x.weight)

    def report(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        s, c = self.spectrum, self.comparison
        k = self.judged
        relative = np.abs(s.ritz - self.exact) / np.where(self.exact == 0, 1, np.abs(self.exact))
        energies = self.problem.energy(s.ritz) if self.problem.energy else None
        settings = self.fit.settings
        return {
            "problem": self.problem.name,
            "method": settings["method"],
            "modes": self.modes,
            "eigenvalues": {
                "norm": _numbers(s.norm),
                "rayleigh": _numbers(s.rayleigh),
                "ritz": _numbers(s.ritz),
            },
            "best_estimate": "ritz",
            "exact": _numbers(self.exact),
            "energies": _numbers(energies) if energies is not None else None,
            "relative_error": _numbers(relative),
            "mean_relative_error": float(np.mean(np.nan_to_num(relative[:k], nan=1.0))),
            "angle_distance": _numbers(c.angle_distance) if c else None,
            "subspace_distance": c.subspace_distance if c else None,
            "subspace_distance_total": c.subspace_distance_total if c else None,
            "orthogonality": c.orthogonality if c else None,
            "judged_modes": k,
            "vanished_modes": [int(i) + 1 for i in np.flatnonzero(s.vanished)],
            "steps": self.fit.steps,
            "interrupted": self.fit.interrupted,
            "batch": settings["batch"],
            "seconds": self.fit.seconds,
            "seed": settings["seed"],
            "held_out_points": len(self.sample.x),
            "settings": {k: v for k, v in settings.items()},
            "history": self.fit.history,
        }


def _points(x: torch.Tensor) -> np.ndarray:
    return x.cpu().numpy()


def _numbers(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def solve(
    problem: Problem | str,
    *,
    modes: int | None = None,
    method: str | Method = "sequential",
    network: str | nn.Module | tuple[nn.Module, nn.Module] = "disjoint",
    training: Training | None = None,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Solution:
    """Train networks on a problem with a known answer, and judge them.

    Args:
        problem: a :class:`Problem`, or the name of one in ``schmidt.problems.PROBLEMS``.
        modes: L; default the problem's.
        method: "sequential", "joint" or "none".
        network: "disjoint", "shared", or a network of your own (a pair for an SVD).
        training: all settings; default the problem's.
        settings: single settings to change, e.g. ``steps=500, lr=1e-3, seed=1``.
        checkpoint, resume, progress: as in :func:`schmidt.operators.fit`.
    """
    chosen = named(problem) if isinstance(problem, str) else problem
    training = replace(training or chosen.training, **settings)
    if isinstance(network, str):
        right, left = chosen.networks(network, modes, training.seed)
    elif isinstance(network, tuple):
        right, left = network
    else:
        right, left = network, None
    sample = chosen.form.evaluation()
    result = fit(
        chosen.form,
        right,
        left,
        method=method,
        training=training,
        checkpoint=checkpoint,
        resume=resume,
        monitor=_error_monitor(chosen),
        monitor_every=max(50, training.steps // MONITOR_TIMES),
        progress=progress,
    )
    result.settings |= {
        "problem": chosen.name,
        "network": network if isinstance(network, str) else type(right).__name__,
    }
    return Solution(chosen, result, sample)


def named(name: str) -> Problem:
    """The problem of that name; an unknown name lists the known ones."""
    from schmidt.problems import PROBLEMS

    if name not in PROBLEMS:
        raise ValueError(f"unknown problem {name!r}; known: {', '.join(PROBLEMS)}")
    return PROBLEMS[name]()


def _error_monitor(problem: Problem) -> Any:
    """Mean relative error of the Ritz values, for the curve of error against time."""

    def monitor(right: nn.Module, left: nn.Module | None) -> Mapping[str, float]:
        found = spectrum(problem.form, right, left, sample).ritz
        exact = problem.exact.values(len(found))
        keep = exact > 1e-12 * abs(exact[0])
        error = np.abs(found[keep] - exact[keep]) / exact[keep]
        return {"mean_relative_error": float(np.mean(np.nan_to_num(error, nan=1.0)))}

    sample = problem.form.evaluation()
    return monitor
