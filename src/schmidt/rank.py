"""Choosing a rank: a count, a tolerance in a named norm, an energy Σσ², or a mass Σσ.

The best approximation of rank k leaves the tail σ_{k+1}, σ_{k+2}, … behind, so every question about
its quality is a question about that tail. A few leading values and ‖A‖_F answer the questions about
Σσ² (the rest of the energy is the tail's); the mass of an unseen tail is known only in a bracket.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

ROUNDING = 1e-14
"""Of sums of squares of some million numbers in float64, relative."""
Norm = Literal["fro", "spectral", "sigma"]
Kind = Literal["rank", "tol", "energy", "mass"]
NORMS = ("fro", "spectral", "sigma")


@dataclass(frozen=True)
class RankRule:
    """How many terms are wanted.

    Attributes:
        kind: "rank", "tol", "energy" or "mass".
        amount: the count, the tolerance, or the share.
        norm: of a tolerance. "fro": ‖A − A_k‖_F ≤ tol ‖A‖_F. "spectral": ‖A − A_k‖₂ ≤ tol ‖A‖₂.
            "sigma": all singular values above tol·σ₁ and no others (the numerical rank).
    """

    kind: Kind
    amount: float
    norm: Norm = "fro"

    def __str__(self) -> str:
        if self.kind == "rank":
            return f"rank {int(self.amount)}"
        if self.kind == "tol":
            return f"tol {self.amount:g} ({self.norm})"
        return f"{self.kind} {self.amount:g}"

    @property
    def tail_energy(self) -> float | None:
        """The largest Σ_{i>k} σ_i² / ‖A‖_F² that the rule allows, where it is such a rule."""
        if self.kind == "energy":
            return 1 - self.amount
        if self.kind == "tol" and self.norm == "fro":
            return self.amount**2
        return None

    def choose(
        self, values: np.ndarray, norm2: float | None, remaining: int, rounding: float = 0.0
    ) -> int | None:
        """The smallest k that satisfies the rule, or None where these values do not reach it.

        Args:
            values: the leading singular values, descending.
            norm2: ‖A‖_F²; None where it is unknown.
            remaining: how many terms the rest of A may have; 0 if it is known to vanish.
            rounding: share of ‖A‖_F² that is rounding: terms below it are not asked for.
        """
        if self.kind == "rank":
            return int(self.amount) if self.amount <= len(values) else None
        if remaining == 0 and values[0] == 0:
            return 1
        if self.kind == "mass":
            return _by_mass(values, self.amount, norm2, remaining)
        if self.tail_energy is not None:
            share = max(self.tail_energy, rounding)
            return _by_energy(values, share, norm2, remaining)
        above = int((values > self.amount * values[0]).sum())
        return max(above, 1) if above < len(values) or remaining == 0 else None


def rank_rule(
    rank: int | None = None,
    tol: float | None = None,
    energy: float | None = None,
    mass: float | None = None,
    norm: str = "fro",
) -> RankRule:
    """The one rule that was given.

    Raises:
        ValueError: none or several were given, or one is out of range.
    """
    given: dict[Kind, Any] = {"rank": rank, "tol": tol, "energy": energy, "mass": mass}
    named = [(kind, amount) for kind, amount in given.items() if amount is not None]
    if len(named) != 1:
        raise ValueError(
            "say how many terms by exactly one of rank=, tol=, energy=, mass=; got "
            + (", ".join(kind for kind, _ in named) if named else "none of them")
        )
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    kind, amount = named[0]
    if isinstance(amount, bool) or not isinstance(amount, numbers.Real):
        raise ValueError(f"{kind} must be a number, got {amount!r}")
    amount = float(amount)
    if kind == "rank" and (not amount.is_integer() or amount < 1):
        raise ValueError(f"rank must be a whole number of at least 1, got {amount:g}")
    if kind == "tol" and not 0 < amount < 1:
        raise ValueError(
            f"tol is relative to the norm of A and must lie between 0 and 1, got {amount}"
        )
    if kind in ("energy", "mass") and not 0 < amount <= 1:
        raise ValueError(f"{kind} is a share and must lie in (0, 1], got {amount}")
    return RankRule(kind, amount, cast(Norm, norm))


def tail_energy(values: np.ndarray, norm2: float) -> float:
    """‖A‖_F² − Σσ², not below 0: the energy of what is not among the values."""
    return max(norm2 - float(np.square(values).sum()), 0.0)


def largest_tail(values: np.ndarray, norm2: float | None, terms: int) -> float:
    """The most that Σσ of a tail of so many terms can be: √(terms Σσ²), by Cauchy and Schwarz.

    Without ‖A‖_F, that many times the last of the values, which are descending.
    """
    if norm2 is None:
        return terms * float(values[-1])
    return math.sqrt(terms * (tail_energy(values, norm2) + ROUNDING * norm2)) if terms else 0.0


def _by_energy(values: np.ndarray, share: float, norm2: float | None, remaining: int) -> int | None:
    energies = np.square(values)
    if remaining == 0:
        tails = np.append(np.cumsum(energies[::-1])[::-1][1:], 0.0)  # no cancellation
        total = float(energies.sum())
    elif norm2 is None:
        raise ValueError(
            "energy and a tolerance in the Frobenius norm need ‖A‖_F, which is unknown for an "
            "operator: give rank=, or tol= with norm='spectral' or norm='sigma'"
        )
    else:
        tails, total = norm2 - np.cumsum(energies), norm2
    enough = np.flatnonzero(tails <= share * total)
    return int(enough[0]) + 1 if len(enough) else None


def _by_mass(values: np.ndarray, share: float, norm2: float | None, remaining: int) -> int | None:
    total = float(values.sum()) + largest_tail(values, norm2, remaining)
    kept = np.cumsum(values)
    # rounding must not ask for another value when the share is 1
    enough = np.flatnonzero(kept >= share * total * (1 - 4 * np.finfo(float).eps))
    return int(enough[0]) + 1 if len(enough) else None
