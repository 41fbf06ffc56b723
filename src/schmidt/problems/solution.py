"""A trained answer to a problem, judged against the exact one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from schmidt.factorization import Factorization
from schmidt.operators.fit import Fit
from schmidt.operators.form import Sample
from schmidt.operators.spectrum import Functions, Spectrum, double, spectrum
from schmidt.problems.judged import NEGLIGIBLE, Judged, numbers
from schmidt.problems.problem import Problem


@dataclass
class Solution(Judged):
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
        fit = self.fit
        return spectrum(self.problem.form, fit.right, fit.left, self.sample, method=fit.method)

    @property
    def modes(self) -> int:
        return len(self.spectrum.norm)

    @property
    def values(self) -> np.ndarray:
        """Ritz values: of the polished functions, if the run was polished, else of the learned."""
        polished = self.fit.polished
        return self.spectrum.ritz if polished is None else np.asarray(polished.values)

    def findable(self, exact: np.ndarray) -> np.ndarray:
        """The positive ones: others become zero functions."""
        return exact[exact > NEGLIGIBLE * abs(exact[0])]

    def sizes(self, exact: np.ndarray) -> np.ndarray:
        return np.where(exact == 0, 1, np.abs(exact))

    @property
    def factorization(self) -> Factorization:
        """Ritz values and Ritz functions: the best answer."""
        return self.fit.factorization

    @property
    def learned(self) -> Factorization:
        """The functions as learned, with their norms or Rayleigh quotients as values."""
        return self.fit.learned

    @property
    def shown(self) -> str:  # type: ignore[override]
        """Which functions are compared and drawn: "learned", or "ritz" where training fixes no
        order and the learned functions mean nothing one by one; "polished" after a polish."""
        if self.fit.polished is not None:
            return "polished"
        method = self.fit.method
        return "learned" if method is None or method.ordered else "ritz"

    @cached_property
    def functions(self) -> tuple[Functions, Functions]:
        if self.fit.polished is not None:
            return self.fit.polished.right, self.fit.polished.left
        s = self.spectrum
        mixes = (s.mix_f, s.mix_g) if self.shown == "ritz" else (s.own_f, s.own_g)
        right = Functions(double(self.fit.right), mixes[0])
        left = right if self.fit.left is None else Functions(double(self.fit.left), mixes[1])
        return right, left

    def report(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        s, c = self.spectrum, self.comparison
        energies = self.problem.energy(self.values) if self.problem.energy else None
        settings = self.fit.settings
        polished = self.fit.polished
        return {
            "problem": self.problem.name,
            "method": settings["method"],
            "modes": self.modes,
            "eigenvalues": {
                "norm": numbers(s.norm),
                "rayleigh": numbers(s.rayleigh),
                "ritz": numbers(s.ritz),
                **({} if polished is None else {"polished": numbers(polished.values)}),
            },
            "best_estimate": "ritz" if polished is None else "polished",
            "exact": None if self.exact is None else numbers(self.exact),
            "energies": numbers(energies) if energies is not None else None,
            "relative_error": numbers(self.relative_error),
            "mean_relative_error": self.mean_relative_error if self.judged else None,
            "functions": self.shown,
            "angle_distance": numbers(c.angle_distance) if c else None,
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
    known = problem.exact
    if known is None:
        return None

    def monitor(right: nn.Module, left: nn.Module | None) -> dict[str, float]:
        found = spectrum(problem.form, right, left, sample).ritz
        exact = known.values(len(found))
        keep = exact > NEGLIGIBLE * abs(exact[0])
        error = np.abs(found[keep] - exact[keep]) / exact[keep]
        return {"mean_relative_error": float(np.mean(np.nan_to_num(error, nan=1.0)))}

    return monitor
