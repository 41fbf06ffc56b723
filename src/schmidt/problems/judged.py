"""An answer to a problem beside the exact one: errors, angles, pictures' material."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from schmidt.compare import Comparison, align, compare, degenerate_groups, gram
from schmidt.operators.form import Sample
from schmidt.operators.spectrum import Functions
from schmidt.problems.problem import Problem

NEGLIGIBLE = 1e-10


class Judged(ABC):
    """Values and functions that were found, and how far they are from the exact ones.

    Attributes:
        problem: what was solved.
        sample: the held-out points that all comparisons refer to.
        shown: which functions are compared and drawn.
    """

    problem: Problem
    sample: Sample
    shown: str

    @property
    @abstractmethod
    def modes(self) -> int:
        """L."""

    @property
    @abstractmethod
    def values(self) -> np.ndarray:
        """(L,) the best values found for T, shift included; NaN where there is none."""

    @abstractmethod
    def findable(self, exact: np.ndarray) -> np.ndarray:
        """Those of the leading exact values that belong to modes which could be found."""

    @abstractmethod
    def sizes(self, exact: np.ndarray) -> np.ndarray:
        """What errors of values are divided by."""

    @property
    @abstractmethod
    def functions(self) -> tuple[Functions, Functions]:
        """Right and left functions, normalised."""

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
            w = self.sample.x.weight.numpy()[:, None]
            level = exact.right(self.sample.x.x.numpy(), last.stop)[:, last]
            overlap = (w * level).T @ self.right_values()[:, last.start : k]
            u, _, vh = np.linalg.svd(overlap, full_matrices=False)
            turn[last, last.start : k] = u @ vh
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
