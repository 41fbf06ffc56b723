"""What the Ritz solver returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from schmidt.factorization import Factorization
from schmidt.operators.form import Form
from schmidt.operators.ritz.certify import Certificate
from schmidt.operators.ritz.search import Trial
from schmidt.operators.ritz.spaces import Choice, Space
from schmidt.operators.spectrum import Functions


@dataclass(frozen=True)
class Ritz:
    """Eigenvalues and eigenfunctions, with what is known about their errors.

    Attributes:
        form, space: what was solved, and where.
        values: (L,) eigenvalues of the form, descending; complex, by real part, for T that is not
            self-adjoint.
        functions: the eigenfunctions, normalised in the space's measure.
        certificate: error bounds from fresh points.
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
    choice: Choice
    seconds: float
    settings: dict[str, Any]
    interrupted: bool = False

    @property
    def interval(self) -> np.ndarray:
        """(L, 2): [μ − radius, μ + radius], each holding a point of the spectrum of a self-adjoint
        T with the certificate's confidence."""
        radius = self.certificate.radius
        return np.stack([self.values.real - radius, self.values.real + radius], 1)

    @cached_property
    def factorization(self) -> Factorization:
        """T ≈ Σ_l value_l |f_l⟩⟨f_l| for self-adjoint T."""
        if self.form.self_adjoint is not True:
            raise ValueError(
                "an operator that is not self-adjoint is not Σ value |f⟩⟨f|: use `values` and "
                "`functions`"
            )
        return Factorization(
            self.functions,
            self.values,
            self.functions,
            certificate=self.certificate,
            settings=self.settings,
        )

    def report(self) -> dict[str, Any]:
        """Values, bounds and settings as plain numbers, for JSON."""
        c = self.certificate
        return {
            "values": [_plain(v) for v in self.values],
            "residual": [_plain(v) for v in c.residual],
            "radius": [_plain(v) for v in c.radius],
            "estimated_error": [_plain(v) for v in c.estimate],
            "estimated_gap": [_plain(v) for v in c.gap],
            "levels": [[g.start + 1, g.stop] for g in c.groups],
            "condition": [_plain(v) for v in c.condition],
            "overlap": _plain(c.overlap),
            "confidence": c.confidence,
            "certificate_points": c.points,
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
                    "seconds": t.seconds,
                }
                for t in self.trials
            ],
        }


def _plain(value: Any) -> Any:
    if isinstance(value, complex | np.complexfloating):
        return [float(value.real), float(value.imag)]
    return float(value) if np.isfinite(value) else None
