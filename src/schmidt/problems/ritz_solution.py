"""A certified answer to a problem by the Ritz solver, judged against the exact one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from schmidt.factorization import Eigenpairs
from schmidt.operators.form import Sample
from schmidt.operators.ritz import Ritz, relative_scale
from schmidt.operators.spectrum import Functions
from schmidt.problems.judged import Judged, numbers
from schmidt.problems.problem import Problem


@dataclass
class RitzSolution(Judged):
    """The Ritz solver's answer to a problem, with the exact one beside it.

    Attributes:
        problem: what was solved.
        ritz: values, functions and certificate.
        sample: the held-out points that comparisons of functions refer to.
    """

    problem: Problem
    ritz: Ritz
    sample: Sample
    shown = "ritz"

    @property
    def modes(self) -> int:
        return len(self.ritz.values)

    @property
    def values(self) -> np.ndarray:
        """Real where no eigenvalue has an imaginary part."""
        found = self.ritz.values
        return found if found.imag.any() else found.real

    def findable(self, exact: np.ndarray) -> np.ndarray:
        """All: the solver needs no positive values."""
        return exact

    def sizes(self, exact: np.ndarray) -> np.ndarray:
        """Sizes of the eigenvalues of T without its shift: a physicist's energies."""
        return relative_scale(torch.as_tensor(exact), self.problem.form.offset).numpy()

    @cached_property
    def functions(self) -> tuple[Functions, Functions]:
        return self.ritz.functions, self.ritz.functions

    @property
    def eigenpairs(self) -> Eigenpairs:
        """Energies and functions, with their certificate."""
        return self.ritz.eigenpairs

    def report(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        c = self.comparison
        energies = self.problem.energy(self.values) if self.problem.energy else None
        ritz = self.ritz.report()
        scale = self.sizes(self.values)
        return {
            "problem": self.problem.name,
            "method": "ritz",
            "modes": self.modes,
            **ritz,
            "relative_residual": numbers(self.ritz.residual / scale),
            "relative_radius": numbers(self.ritz.radius / scale),
            "relative_estimate": numbers(self.ritz.estimate / scale),
            "exact": None if self.exact is None else numbers(self.exact),
            "energies": numbers(energies) if energies is not None else None,
            "relative_error": numbers(self.relative_error),
            "mean_relative_error": self.mean_relative_error if self.judged else None,
            "judged_modes": self.judged,
            "angle_distance": numbers(c.angle_distance) if c else None,
            "subspace_distance": c.subspace_distance if c else None,
            "subspace_distance_total": c.subspace_distance_total if c else None,
            "orthogonality": c.orthogonality if c else None,
            "held_out_points": len(self.sample.x),
            "seed": self.ritz.settings["seed"],
        }
