"""What is known about an answer: errors that are exact, bounds that are proven, and how surely."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Certificate:
    """What is known about ‖A − A_k‖ and about every triplet.

    Attributes:
        norm: ‖A‖_F, or None for an operator.
        frobenius: ‖A − A_k‖_F where ``frobenius_exact``, else an upper bound.
        frobenius_exact: to three digits at least. False where ‖A‖_F is unknown, or where the
            error is so small that ‖A‖_F² − Σσ² is rounding and A too large to form A − A_k.
        spectral: an upper bound of ‖A − A_k‖₂.
        spectral_lower: a lower bound of it.
        probability: that the upper bound ``spectral`` (and ``frobenius`` where it is not exact) is
            wrong; 0 for what follows from exact arithmetic on measured numbers.
        residuals: (k,) √(‖A v − s u‖² + ‖Aᴴu − s v‖²); some singular value lies within that
            distance of s.
        energy: (low, high) of Σ_{i≤k} σ_i² / Σ σ_i², or None.
        mass: (low, high) of Σ_{i≤k} σ_i / Σ σ_i.
        rule: what was asked for.
        met: whether the answer is proven to be what was asked for.
        note: what else there is to say.
        products: columns that A or Aᴴ was applied to for the certificate.
    """

    norm: float | None
    frobenius: float
    frobenius_exact: bool
    spectral: float
    spectral_lower: float
    probability: float
    residuals: np.ndarray
    energy: tuple[float, float] | None
    mass: tuple[float, float]
    rule: str
    met: bool
    note: str = ""
    products: int = 0

    def __str__(self) -> str:
        sign = "=" if self.frobenius_exact else "≤"
        surely = "" if self.probability == 0 else f" (fails with probability {self.probability:g})"
        lines = [
            f"{self.rule}: " + ("met" if self.met else "NOT proven to be met"),
            f"‖A − A_k‖_F {sign} {self.frobenius:.6g}"
            + (f" of ‖A‖_F = {self.norm:.6g}" if self.norm is not None else ""),
            f"{self.spectral_lower:.4g} ≤ ‖A − A_k‖₂ ≤ {self.spectral:.4g}{surely}",
            f"residuals ≤ {self.residuals.max():.1e}",
        ]
        return "\n".join([*lines, self.note] if self.note else lines)

    def in_units(self, unit: float) -> Certificate:
        """The certificate of unit·A."""
        if unit == 1:
            return self
        return replace(
            self,
            norm=None if self.norm is None else self.norm * unit,
            frobenius=self.frobenius * unit,
            spectral=self.spectral * unit,
            spectral_lower=self.spectral_lower * unit,
            residuals=self.residuals * unit,
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers and lists."""
        return {
            "rule": self.rule,
            "met": self.met,
            "norm": self.norm,
            "frobenius": self.frobenius,
            "frobenius_exact": self.frobenius_exact,
            "spectral": self.spectral,
            "spectral_lower": self.spectral_lower,
            "failure_probability": self.probability,
            "residuals": self.residuals.tolist(),
            "energy": None if self.energy is None else list(self.energy),
            "mass": list(self.mass),
            "note": self.note,
            "products": self.products,
        }
