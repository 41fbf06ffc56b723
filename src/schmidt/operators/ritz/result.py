"""What the Ritz solver returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from schmidt.certificate import Certificate
from schmidt.factorization import Eigenpairs
from schmidt.operators.form import Form
from schmidt.operators.ritz.search import Trial
from schmidt.operators.ritz.spaces import FeatureChoice, Space
from schmidt.operators.spectrum import Functions


class AlarmWarning(UserWarning):
    """An alarm of a certificate, at the moment it is raised."""


@dataclass(frozen=True, kw_only=True)
class Ritz:
    """Eigenvalues and eigenfunctions, with what is known about their errors.

    Attributes:
        form, space: what was solved, and where.
        values: (L,) eigenvalues of the form, descending; complex, by real part, for T that is not
            self-adjoint.
        functions: the eigenfunctions, normalised in the space's measure.
        certificate: ``bounds["values"]``, the interval around each value that holds a point of the
            spectrum; ``met``, where it is also proven that no state was missed; ``notes``, which
            say how far that is known; ``alarms``; ``estimates``, by the names ``error`` (likely
            errors: quadratic, presuming the gaps seen), ``residual``, ``gap``, ``condition``,
            ``level`` (1, 2, … for values that residuals cannot tell apart), ``overlap``,
            ``points``.
        trials: everything the search tried, in order.
        choice: what it chose; ``eigenfunctions(form, L, result.space, choice=result.choice)``
            repeats the result without a search.
        seconds: for search, solution and certificate.
        settings: what made this result.
        interrupted: Ctrl-C cut the search short.
    """

    form: Form
    space: Space
    values: np.ndarray
    functions: Functions
    certificate: Certificate
    trials: list[Trial] = field(repr=False)
    choice: FeatureChoice
    seconds: float
    settings: dict[str, Any]
    interrupted: bool = False

    @property
    def energies(self) -> np.ndarray:
        """(L,) eigenvalues of H where T = c − H with the shift c, ascending."""
        return self.form.offset - self.values

    @property
    def radius(self) -> np.ndarray:
        """(L,) half the width of the interval around each value; NaN where T is not self-adjoint,
        whose residuals bound no errors."""
        if "values" not in self.certificate:
            return np.full(len(self.values), np.nan)
        return np.asarray(self.certificate["values"].radius)

    @property
    def estimate(self) -> np.ndarray:
        """(L,) likely errors; promised nothing."""
        return np.asarray(self.certificate.estimates["error"])

    @property
    def residual(self) -> np.ndarray:
        """(L,) ‖(T−μ)f‖/‖f‖ on fresh points."""
        return np.asarray(self.certificate.estimates["residual"])

    @property
    def levels(self) -> list[slice]:
        """Runs of values that residuals cannot tell apart."""
        level = np.asarray(self.certificate.estimates["level"])
        edges = [0, *(np.flatnonzero(np.diff(level)) + 1).tolist(), len(level)]
        return [slice(a, b) for a, b in pairwise(edges)]

    @property
    def splittings(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances of neighbouring values (L − 1,), and bounds of *their* errors: the sums of both
        radii. A splitting below its error is not resolved, whatever digits it has."""
        return np.abs(np.diff(self.values)), self.radius[:-1] + self.radius[1:]

    @property
    def interval(self) -> np.ndarray:
        """(L, 2): [μ − radius, μ + radius], each holding a point of the spectrum of a self-adjoint
        T, all of them but for the certificate's failure."""
        return np.stack([self.values.real - self.radius, self.values.real + self.radius], 1)

    @cached_property
    def eigenpairs(self) -> Eigenpairs:
        """Energies, ascending, with functions and the certificate (of energies)."""
        known, offset = self.certificate, self.form.offset
        if "values" in known:
            flipped = known["values"] * -1.0
            moved = replace(flipped, low=flipped.low + offset, high=flipped.high + offset)
            known = replace(known, bounds={**known.bounds, "values": moved})
        return Eigenpairs(
            self.energies,
            self.functions,
            certificate=known,
            settings=self.settings,
            order="ascending",
        )

    def report(self) -> dict[str, Any]:
        """Values, bounds and settings as plain numbers, for JSON."""
        c = self.certificate
        return {
            "values": [_plain(v) for v in self.values],
            "residual": [_plain(v) for v in self.residual],
            "radius": [_plain(v) for v in self.radius],
            "estimated_error": [_plain(v) for v in self.estimate],
            "estimated_gap": [_plain(v) for v in c.estimates["gap"]],
            "levels": [[g.start + 1, g.stop] for g in self.levels],
            "condition": [_plain(v) for v in c.estimates["condition"]],
            "overlap": _plain(c.estimates["overlap"]),
            "failure": c.failure,
            "met": c.met,
            "notes": list(c.notes),
            "certificate_points": c.estimates["points"],
            "alarms": list(c.alarms),
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "settings": self.settings,
            "trials": [
                {
                    **asdict(t.choice),
                    "residual": t.score,
                    "estimate": _plain(t.estimate),
                    "cut": t.cut,
                    "rank": t.rank,
                    "features": t.mix.shape[0],
                    "work": t.work,
                    "seconds": t.seconds,
                }
                for t in self.trials
            ],
        }


def _plain(value: Any) -> Any:
    if isinstance(value, complex | np.complexfloating):
        return [float(value.real), float(value.imag)]
    return float(value) if np.isfinite(value) else None
