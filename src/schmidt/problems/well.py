"""A particle in a square box: T = ∇² + c on [0, 1]², zero on the boundary."""

from __future__ import annotations

import math

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, SmoothBox
from schmidt.operators.ritz import BoxSpace
from schmidt.operators.training import Training
from schmidt.problems.box import free, functions, network, values
from schmidt.problems.problem import Exact, Problem

SHIFT = 29 * math.pi**2


def well2d(shift: float = SHIFT) -> Problem:
    """Energies π²(n_x² + n_y²); with the default shift 29π² the first 17 are the positive part."""
    if not shift > 2 * math.pi**2:
        raise ValueError(f"the shift must exceed the lowest energy 2π², got {shift}")
    return Problem(
        name="well2d",
        summary=f"infinite square well, T = ∇² + {shift / math.pi**2:g}π² on [0, 1]²",
        form=Schrodinger(free, Lebesgue(SmoothBox(0.0, 1.0, 2))) + shift,
        modes=15,
        network=lambda kind, modes: network(kind, modes, 2, SHIFT),
        exact=Exact(lambda L: shift - values(L, 2), functions),
        training=Training(steps=2000, batch=1400, lr=1e-2, extra_shift=29 * math.pi**2),
        energy=lambda v: shift - v,
        extent=(0.0, 1.0),
        space=lambda count: BoxSpace(2),
    )
