"""A trained answer to a problem, judged against the exact one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from schmidt.compare import Comparison, align, compare, degenerate_groups, gram
from schmidt.factorization import Factorization
from schmidt.operators.fit import Fit
from schmidt.operators.form import Sample
from schmidt.operators.functions import Functions
from schmidt.operators.spectrum import Spectrum, double, spectrum
from schmidt.problems.problem import Problem

NEGLIGIBLE = 1e-10


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
    def judged(self) -> int:
        """Modes that can be judged: those with a positive exact value."""
        return int((self.exact > NEGLIGIBLE * abs(self.exact[0])).sum())

    @property
    def relative_error(self) -> np.ndarray:
        """|Ritz − exact|/|exact| per mode; NaN where there is no Ritz value."""
        size = np.where(self.exact == 0, 1, np.abs(self.exact))
        return np.abs(self.spectrum.ritz - self.exact) / size

    @property
    def mean_relative_error(self) -> float:
        """The mean over the judged modes; a missing Ritz value counts as an error of 1."""
        return float(np.mean(np.nan_to_num(self.relative_error[: self.judged], nan=1.0)))

    @property
    def factorization(self) -> Factorization:
        """Ritz values and Ritz functions: the best answer."""
        return self.fit.factorization

    @property
    def learned(self) -> Factorization:
        """The functions as learned, with their norms as values."""
        return self.fit.learned

    @property
    def shown(self) -> str:
        """Which functions are compared and drawn: "learned", or "ritz" where training fixes no
        order and the learned functions mean nothing one by one."""
        return "ritz" if self.fit.settings["method"] == "none" else "learned"

    @cached_property
    def _functions(self) -> tuple[Functions, Functions]:
        s = self.spectrum
        scales = (torch.diag(s.scale_f), torch.diag(s.scale_g))
        mixes = (s.mix_f, s.mix_g) if self.shown == "ritz" else scales
        right = Functions(double(self.fit.right), mixes[0])
        left = right if self.fit.left is None else Functions(double(self.fit.left), mixes[1])
        return right, left

    def right_values(self) -> np.ndarray:
        """The shown right functions, normalised, on the held-out points: (N, L), float64."""
        return np.asarray(self._functions[0](self.sample.x.x.numpy()))

    def left_values(self) -> np.ndarray:
        """The shown left functions, likewise."""
        return np.asarray(self._functions[1](self.sample.y.x.numpy()))

    @property
    def compared(self) -> int:
        """Functions that can be compared one by one with exact ones."""
        return min(self.judged, self._functions[0].mix.shape[1])

    @cached_property
    def _reference(self) -> tuple[int, np.ndarray]:
        """How many exact functions to ask for, and the combinations of them to compare with.

        When the modes end inside a degenerate level, any directions of that level are right: take
        those nearest to the shown functions.
        """
        k = self.compared
        values = self.problem.exact.values(k + 64)
        values = values[values > NEGLIGIBLE * abs(values[0])]
        last = next(g for g in degenerate_groups(values) if g.start < k <= g.stop)
        turn = np.eye(last.stop)[:, :k]
        if last.stop > k and self.problem.exact.right is not None:
            w = self.sample.x.weight.numpy()[:, None]
            level = self.problem.exact.right(self.sample.x.x.numpy(), last.stop)[:, last]
            overlap = (w * level).T @ self.right_values()[:, last.start : k]
            u, _, vh = np.linalg.svd(overlap, full_matrices=False)
            turn[last, last.start : k] = u @ vh
        return last.stop, turn

    def exact_functions(self, x: np.ndarray) -> np.ndarray:
        """The exact right functions to compare with, at points: (N, k)."""
        assert self.problem.exact.right is not None
        count, turn = self._reference
        return self.problem.exact.right(x, count) @ turn

    @cached_property
    def comparison(self) -> Comparison | None:
        """Every measure of E.1.3 over the modes with positive exact value."""
        if self.problem.exact.right is None:
            return None
        k = self.compared
        return compare(
            self.right_values()[:, :k],
            self.exact_functions(self.sample.x.x.numpy()),
            weights=self.sample.x.weight,
            values=np.nan_to_num(self.spectrum.ritz[:k]),
            exact=self.exact[:k],
        )

    def aligned(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shown (rotated onto the exact ones inside degenerate groups) and exact functions at x.

        Returns two (len(x), k) arrays; for pictures.
        """
        k = self.compared
        here = np.asarray(self._functions[0](x))[:, :k]
        if self.problem.exact.right is None:
            return here, here
        shown = self.right_values()[:, :k]
        w = self.sample.x.weight
        groups = degenerate_groups(self.exact[:k])
        rotated = align(shown, self.exact_functions(self.sample.x.x.numpy()), w, groups).numpy()
        root = w.sqrt().numpy()[:, None]
        turn = np.linalg.lstsq(root * shown, root * rotated, rcond=None)[0]
        return here @ turn, self.exact_functions(x)

    def gram(self) -> np.ndarray:
        """⟨f_i|f_j⟩ of the shown functions."""
        return gram(self.right_values(), self.sample.x.weight)

    def report(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        s, c = self.spectrum, self.comparison
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
            "relative_error": _numbers(self.relative_error),
            "mean_relative_error": self.mean_relative_error,
            "functions": self.shown,
            "angle_distance": _numbers(c.angle_distance) if c else None,
            "subspace_distance": c.subspace_distance if c else None,
            "subspace_distance_total": c.subspace_distance_total if c else None,
            "orthogonality": c.orthogonality if c else None,
            "judged_modes": self.judged,
            "vanished_modes": [int(i) + 1 for i in np.flatnonzero(s.vanished)],
            "steps": self.fit.steps,
            "interrupted": self.fit.interrupted,
            "batch": settings["batch"],
            "seconds": self.fit.seconds,
            "seed": settings["seed"],
            "held_out_points": len(self.sample.x),
            "settings": dict(settings),
            "history": self.fit.history,
        }


def error_monitor(problem: Problem, sample: Sample) -> Any:
    """Mean relative error of the Ritz values, for the curve of error against time."""

    def monitor(right: nn.Module, left: nn.Module | None) -> dict[str, float]:
        found = spectrum(problem.form, right, left, sample).ritz
        exact = problem.exact.values(len(found))
        keep = exact > NEGLIGIBLE * abs(exact[0])
        error = np.abs(found[keep] - exact[keep]) / exact[keep]
        return {"mean_relative_error": float(np.mean(np.nan_to_num(error, nan=1.0)))}

    return monitor


def _numbers(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
