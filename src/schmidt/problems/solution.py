"""What was found for a problem, judged against the exact answer."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from schmidt.certificate import Certificate
from schmidt.compare import Comparison, align, compare, degenerate_groups, gram, procrustes
from schmidt.factorization import Eigenpairs, Factorization
from schmidt.operators.fit import Fit
from schmidt.operators.form import Sample
from schmidt.operators.ritz import Ritz, relative_scale
from schmidt.operators.spectrum import Functions, Spectrum, double, spectrum
from schmidt.problems.problem import Problem

NEGLIGIBLE = 1e-10


@dataclass
class Solution:
    """What was found for a problem, whatever method made it, with the exact answer beside it.

    Attributes:
        problem: what was solved.
        found: the answer: :class:`~schmidt.operators.ritz.Ritz` of the Ritz solver, or the
            training run, :class:`~schmidt.operators.Fit`.
        sample: the held-out points that all comparisons refer to.
    """

    problem: Problem
    found: Ritz | Fit
    sample: Sample

    @property
    def method(self) -> str:
        """ "ritz", or the method of training."""
        return "ritz" if self.certified else str(self.found.settings["method"])

    @property
    def certified(self) -> bool:
        """Whether the Ritz solver made it, which bounds its errors."""
        return isinstance(self.found, Ritz)

    @cached_property
    def result(self) -> Factorization | Eigenpairs:
        """Values and functions with their certificate: eigenpairs by energy, or a factorization."""
        found = self.found
        return found.eigenpairs if isinstance(found, Ritz) else found.factorization

    @property
    def certificate(self) -> Certificate:
        """What is known about the values, in terms of T; empty where nothing was proven."""
        known = getattr(self.found, "certificate", None)
        return known if isinstance(known, Certificate) else Certificate(asked=f"{self.modes} modes")

    @property
    def interrupted(self) -> bool:
        """Whether a signal cut the work short."""
        return self.found.interrupted

    @cached_property
    def spectrum(self) -> Spectrum:
        """The three estimates of the values of a training run, on the held-out points."""
        fit = self.found
        if isinstance(fit, Ritz):
            raise AttributeError("the Ritz solver has one estimate of every value: .values")
        return spectrum(self.problem.form, fit.right, fit.left, self.sample, method=fit.method)

    @property
    def modes(self) -> int:
        """L."""
        return len(self.found.values if isinstance(self.found, Ritz) else self.spectrum.norm)

    @property
    def values(self) -> np.ndarray:
        """(L,) the best values found for T, shift included; NaN where there is none. Real where no
        eigenvalue has an imaginary part. Of a training run the Ritz values, of the polished
        functions if it was polished."""
        if isinstance(self.found, Ritz):
            values = self.found.values
            return values if values.imag.any() else values.real
        polished = self.found.polished
        return self.spectrum.ritz if polished is None else np.asarray(polished.values)

    @property
    def energies(self) -> np.ndarray | None:
        """(L,) the same as energies; None where the problem has none."""
        return None if self.problem.energy is None else self.problem.energy(self.values)

    @property
    def radius(self) -> np.ndarray:
        """(L,) half the widths of the certified intervals, of values and of energies; NaN where
        nothing was certified."""
        return self.found.radius if isinstance(self.found, Ritz) else np.full(self.modes, np.nan)

    def findable(self, exact: np.ndarray) -> np.ndarray:
        """Those of the leading exact values that belong to modes which could be found: all by the
        Ritz solver; by training the positive ones, as others become zero functions."""
        return exact if self.certified else exact[exact > NEGLIGIBLE * abs(exact[0])]

    def sizes(self, exact: np.ndarray) -> np.ndarray:
        """What errors of values are divided by: of the Ritz solver's the sizes of the eigenvalues
        of T without its shift, a physicist's energies; of others the values."""
        if self.certified:
            return relative_scale(torch.as_tensor(exact), self.problem.form.offset).numpy()
        return np.where(exact == 0, 1, np.abs(exact))

    @property
    def shown(self) -> str:
        """Which functions are compared and drawn: "learned", or "ritz" where training fixes no
        order and the learned functions mean nothing one by one; "polished" after a polish."""
        if isinstance(self.found, Ritz):
            return "ritz"
        if self.found.polished is not None:
            return "polished"
        method = self.found.method
        return "learned" if method is None or method.ordered else "ritz"

    @cached_property
    def functions(self) -> tuple[Functions, Functions]:
        """Right and left functions, normalised."""
        fit = self.found
        if isinstance(fit, Ritz):
            return fit.functions, fit.functions
        if fit.polished is not None:
            return fit.polished.right, fit.polished.left
        s = self.spectrum
        mixes = (s.mix_f, s.mix_g) if self.shown == "ritz" else (s.own_f, s.own_g)
        right = Functions(double(fit.right), mixes[0])
        return right, right if fit.left is None else Functions(double(fit.left), mixes[1])

    @property
    def exact(self) -> np.ndarray | None:
        """Exact values of T, shift included; None if there is no exact answer."""
        return None if self.problem.exact is None else self.problem.exact.values(self.modes)

    @property
    def judged(self) -> int:
        """Modes that can be judged; 0 if there is no exact answer."""
        exact = self.exact
        return 0 if exact is None else len(self.findable(exact))

    @property
    def relative_error(self) -> np.ndarray:
        """|value − exact|/size per mode; NaN where one of them is missing."""
        exact = self.exact
        if exact is None:
            return np.full(self.modes, np.nan)
        return np.abs(self.values - exact) / self.sizes(exact)

    @property
    def mean_relative_error(self) -> float:
        """The mean over the judged modes; a missing value counts as an error of 1."""
        if not self.judged:
            return float("nan")
        return float(np.mean(np.nan_to_num(self.relative_error[: self.judged], nan=1.0)))

    def right_values(self) -> np.ndarray:
        """The shown right functions, normalised, on the held-out points: (N, L), float64."""
        return self._seen(self.functions[0], self.sample.x.x.numpy())

    def left_values(self) -> np.ndarray:
        """The shown left functions, likewise."""
        return self._seen(self.functions[1], self.sample.y.x.numpy())

    def _seen(self, functions: Functions, x: np.ndarray) -> np.ndarray:
        """Values of functions, without imaginary parts if the eigenvalues have none."""
        seen = np.asarray(functions(x))
        return seen if self.values.imag.any() else seen.real

    @property
    def comparable(self) -> bool:
        """Whether there are real exact functions to compare with."""
        exact = self.problem.exact
        return exact is not None and exact.right is not None and not self.values.imag.any()

    @property
    def compared(self) -> int:
        """Functions that can be compared one by one with exact ones."""
        return min(self.judged, self.functions[0].mix.shape[1])

    @cached_property
    def _reference(self) -> tuple[int, np.ndarray]:
        """How many exact functions to ask for, and the combinations of them to compare with.

        When the modes end inside a degenerate level, any directions of that level are right: take
        those nearest to the shown functions.
        """
        exact = self.problem.exact
        assert exact is not None
        k = self.compared
        values = self.findable(exact.values(k + 64))
        last = next(g for g in degenerate_groups(values) if g.start < k <= g.stop)
        turn = np.eye(last.stop)[:, :k]
        if last.stop > k and exact.right is not None:
            level = exact.right(self.sample.x.x.numpy(), last.stop)[:, last]
            learned = self.right_values()[:, last.start : k]
            turn[last, last.start : k] = procrustes(level, learned, self.sample.x.weight)
        return last.stop, turn

    def exact_functions(self, x: np.ndarray) -> np.ndarray:
        """The exact right functions to compare with, at points: (N, k)."""
        exact = self.problem.exact
        assert exact is not None
        assert exact.right is not None
        count, turn = self._reference
        return exact.right(x, count) @ turn

    @cached_property
    def comparison(self) -> Comparison | None:
        """Every measure of E.1.3 over the judged modes; None without exact real functions."""
        if not self.comparable or not self.compared:
            return None
        k = self.compared
        exact = self.exact
        assert exact is not None
        return compare(
            self.right_values()[:, :k],
            self.exact_functions(self.sample.x.x.numpy()),
            weights=self.sample.x.weight,
            values=np.nan_to_num(self.values[:k]),
            exact=exact[:k],
        )

    def aligned(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Shown (rotated onto the exact ones inside degenerate groups) and exact functions at x.

        Returns two (len(x), k) arrays, the second None where there is nothing to compare with; for
        pictures.
        """
        here = self._seen(self.functions[0], x)
        if not self.comparable:
            return np.real(here), None
        k = self.compared
        here = here[:, :k]
        exact = self.exact
        assert exact is not None
        shown = self.right_values()[:, :k]
        w = self.sample.x.weight
        groups = degenerate_groups(exact[:k])
        rotated = align(shown, self.exact_functions(self.sample.x.x.numpy()), w, groups).numpy()
        root = w.sqrt().numpy()[:, None]
        turn = np.linalg.lstsq(root * shown, root * rotated, rcond=None)[0]
        return here @ turn, self.exact_functions(x)

    def gram(self) -> np.ndarray:
        """⟨f_i|f_j⟩ of the shown functions."""
        return gram(self.right_values(), self.sample.x.weight)

    def _repr_html_(self) -> str:
        """The values with their errors, and what is known of them."""
        return f"<h4>{html.escape(self.problem.summary)}</h4>" + self.result._repr_html_()

    def report(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON; what both kinds have is called the same."""
        c, energies, known = self.comparison, self.energies, self.certificate
        common = {
            "problem": self.problem.name,
            "method": self.method,
            "modes": self.modes,
            "values": numbers(self.values),
            "energies": None if energies is None else numbers(energies),
            "bounds": {name: bound.as_dict() for name, bound in known.bounds.items()},
            "met": known.met,
            "notes": list(known.notes),
            "alarms": list(known.alarms),
            "exact": None if self.exact is None else numbers(self.exact),
            "relative_error": numbers(self.relative_error),
            "mean_relative_error": self.mean_relative_error if self.judged else None,
            "judged_modes": self.judged,
            "functions": self.shown,
            "angle_distance": numbers(c.angle_distance) if c else None,
            "subspace_distance": c.subspace_distance if c else None,
            "subspace_distance_total": c.subspace_distance_total if c else None,
            "orthogonality": c.orthogonality if c else None,
            "held_out_points": len(self.sample.x),
            "seed": self.found.settings["seed"],
            "seconds": self.found.seconds,
            "interrupted": self.interrupted,
        }
        return common | (self._of_search() if self.certified else self._of_training())

    def _of_search(self) -> dict[str, Any]:
        found = self.found
        assert isinstance(found, Ritz)
        scale = self.sizes(self.values)
        return found.report() | {
            "relative_residual": numbers(found.residual / scale),
            "relative_radius": numbers(found.radius / scale),
            "relative_estimate": numbers(found.estimate / scale),
        }

    def _of_training(self) -> dict[str, Any]:
        fit, s = self.found, self.spectrum
        assert not isinstance(fit, Ritz)
        polished = fit.polished
        return {
            "eigenvalues": {
                "norm": numbers(s.norm),
                "rayleigh": numbers(s.rayleigh),
                "ritz": numbers(s.ritz),
                **({} if polished is None else {"polished": numbers(polished.values)}),
            },
            "best_estimate": "ritz" if polished is None else "polished",
            "vanished_modes": [int(i) + 1 for i in np.flatnonzero(s.vanished)],
            "steps": fit.steps,
            "batch": fit.settings["batch"],
            "settings": dict(fit.settings),
            "history": fit.history,
        }


def numbers(values: Sequence[float] | np.ndarray) -> list[float | list[float] | None]:
    """For JSON: None for what is not finite, [re, im] for complex numbers."""
    out: list[float | list[float] | None] = []
    for v in values:
        if not np.isfinite(v):
            out.append(None)
        elif np.iscomplexobj(v):
            out.append([float(np.real(v)), float(np.imag(v))])
        else:
            out.append(float(v))
    return out


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
