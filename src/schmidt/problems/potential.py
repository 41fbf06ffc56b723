"""A potential of the user's own: no exact answer, but certified bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures.measure import Field
from schmidt.operators.networks import Ansatz
from schmidt.operators.ritz import FeatureChoice, LineSpace, Space, confining
from schmidt.operators.ritz.spaces.confining import scalar_field
from schmidt.operators.ritz.weyl import region
from schmidt.operators.training import Training
from schmidt.problems.formula import formula
from schmidt.problems.problem import Problem, signed, trunk

MODES = 6


def potential(
    source: str | Field,
    dim: int,
    *,
    modes: int | None = None,
    kinetic: float = 1.0,
    extent: float | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Problem:
    """The lowest states of −κ∇² + V in R^d for a formula or a function V.

    T = κ∇² − V + c with c the energy below which Weyl's law expects the states.

    Args:
        source: a formula such as ``"x**2 + y**2 + x**2*y**2"`` (see
            :func:`schmidt.problems.formula.formula`), or points (B, d) → (B,).
        dim: d.
        modes: how many states to expect; default 6.
        kinetic: κ.
        extent: about how far from the origin the states reach; default: found by Weyl's law.
        parameters: numbers that the formula knows by name.
    """
    modes = MODES if modes is None else modes
    if isinstance(source, str):
        field: Field = formula(source, dim, parameters)
        text = ", ".join([source, *(f"{k} = {v:g}" for k, v in (parameters or {}).items())])
    else:
        if parameters:
            raise ValueError("parameters belong to a formula; a function has its own")
        field, text = scalar_field(source, dim), getattr(source, "__name__", "V")
    space = confining(field, dim, modes, kinetic=kinetic, extent=extent)
    if isinstance(space, LineSpace):
        known = space.found
        energy, depth = float(known.energies[modes - 1]), space.kinetic_energy
        reach = float((space.centre.abs() + 1.5 * space.reach * space.lengths[0, 0])[0])
    else:
        weyl = region(field, dim, modes, kinetic=kinetic, extent=extent)
        # the mean kinetic energy in the classical region; finite where V has no lowest value
        energy, depth = weyl.energy, kinetic * (dim + 2) * weyl.momentum
        reach = float(weyl.radius) * 1.3
    shift = energy + 0.1 * depth

    def network(kind: str, count: int) -> nn.Module:
        choice = FeatureChoice(width=32, points=1000)
        inputs = space.inputs(choice)
        body = trunk(kind, inputs.features, count)  # type: ignore[arg-type]
        envelope = space.envelopes(choice)
        assert envelope is not None
        amplitude = math.sqrt(1.5 * depth)  # of the largest value, about
        return Ansatz(body, envelope, inputs=inputs, amplitude=amplitude).float()

    def where(count: int) -> Space:
        return confining(field, dim, count, kinetic=kinetic, extent=extent)

    return Problem(
        name="potential",
        summary=f"T = {'' if kinetic == 1 else f'{kinetic:g} '}∇² − V {signed(shift)}, V = {text}",
        form=Schrodinger(field, space.measure(), kinetic=kinetic) + shift,
        modes=modes,
        network=network,
        exact=None,
        training=Training(steps=2000, batch=1024),
        energy=lambda v: shift - v,
        extent=(-reach, reach),
        space=where,
    )
