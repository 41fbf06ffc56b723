"""How many bound states there are below an energy, by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from schmidt.certificate import Bound, Certificate
from schmidt.operators.ritz import line
from schmidt.operators.ritz.elements import (
    EndlessLineError,
    FewStatesError,
    LineError,
    Potential,
    look,
)
from schmidt.operators.ritz.index import at_most_below
from schmidt.operators.ritz.spaces.confining import on_the_line, scalar_field
from schmidt.parameters import Number, check

SETTINGS = {"kinetic": Number(0, open="low"), "energy": Number(none=True)}
MOST = 1000
ROUNDING = 1e-10
SHARE = (0.2, 0.04, 0.008)
"""Slacks of the count, as shares of the distance to the next level."""


@dataclass(frozen=True)
class Count:
    """How many levels lie below an energy.

    Attributes:
        count: their number.
        energy: E.
        certificate: ``bounds["count"]``; ``met`` where the number is proven.
    """

    count: int
    energy: float
    certificate: Certificate

    def __int__(self) -> int:
        return self.count

    def _repr_html_(self) -> str:
        return self.certificate._repr_html_()


def count_below(potential: Any, energy: float | None = None, *, kinetic: float = 1.0) -> Count:
    """The number of bound states of −κu″ + Vu on the line below an energy.

    Ritz values of elements bound it from below, interval arithmetic from above: where both agree
    the number is proven, which needs a formula (:func:`schmidt.problems.formula.formula`) and an
    energy below the continuous spectrum. Of any other function only what a million points show
    can be counted.

    Args:
        potential: V, as for :func:`bound_states` with ``dim=1``.
        energy: E; default: where the continuous spectrum begins, so that all bound states count.
        kinetic: κ.

    Raises:
        ValueError: the energy lies in the continuous spectrum, or V has no lowest value.

    Cost: as for the states themselves, a second for tens of them.

    Example:
        >>> from schmidt.operators.ritz import count_below
        >>> int(count_below(lambda x: -30 / np.cosh(x) ** 2))
        5
    """
    check(SETTINGS, kinetic=kinetic, energy=energy)
    field = scalar_field(potential, 1)
    on_line = on_the_line(field)
    seen = look(on_line)
    edge = min(seen.edge) + 0.0
    if energy is None and not math.isfinite(edge):
        raise ValueError("the potential grows without end and binds everything: give an energy")
    if energy is not None and energy > edge:
        raise ValueError(
            f"the spectrum is continuous from {edge:.6g} on: no number of levels lies below "
            f"{energy:g}"
        )
    top = edge if energy is None else float(energy)
    modes = math.ceil(seen.weyl(top, kinetic)) + 2
    if modes > MOST:
        lower = "give an energy" if energy is None else "give a lower one"
        raise ValueError(
            f"about {modes} levels lie below {top:.6g}: at most {MOST} are counted; {lower}"
        )
    found = _levels(on_line, modes, kinetic)
    # a level that lies at E to rounding counts neither way
    rounding = ROUNDING * max(abs(top), float(np.abs(found).max(initial=0.0)))
    count = int((found < top - rounding).sum())
    most: float = math.inf
    enclose = getattr(field, "enclose", None)
    if enclose is not None:
        # a level of the count may lie anywhere below E; those above keep a distance
        after = float(found[count]) if count < len(found) else edge
        room = after - top if math.isfinite(after) and after > top else abs(top) + 1e-12
        for share in SHARE:
            proven = at_most_below(enclose, top, share * room, kinetic=kinetic)
            if proven is not None:
                most = min(most, proven)
            if most <= count:
                break
    what = f"the number of levels below {top:.6g}"
    note = f"proven: {count} levels lie below {top:.6g}"
    if most > count:
        note = (
            f"counted: {count} levels lie below {top:.6g}; features of V narrower than "
            f"{seen.spacing(-10, 10):.2g} are not excluded"
        )
    bound = Bound(count, max(most, count))
    return Count(count, top, Certificate({"count": bound}, most <= count, asked=what, notes=[note]))


def _levels(potential: Potential, modes: int, kinetic: float) -> np.ndarray:
    """Up to so many levels, as many as can be told from the edge."""
    while modes:
        try:
            return line.lowest(potential, modes, kinetic=kinetic).energies
        except FewStatesError as few:
            modes = min(few.bound, modes - 1)
        except EndlessLineError:
            raise
        except LineError:  # no well, or a state at the edge itself
            modes = modes - 1 if modes < 4 else modes // 2 + 1
    return np.zeros(0)
