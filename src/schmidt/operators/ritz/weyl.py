"""Where the lowest states of −κ∇² + V live, by Weyl's law: no equation is solved.

To the count of states below E, N(E) = ω_d/(2π)^d ∫ ((E − V)₊/κ)^{d/2} dx, belongs the Thomas–Fermi
density ((E − V)₊)^{d/2} in space, and a ball of momenta of radius √((E − V)/κ) at each point.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from schmidt.operators.measures import cube
from schmidt.operators.measures.measure import Field, evaluate

DIRECTIONS = 512
RADII = 192
DECADES = 5.0
BALLS = 0.25
"""Decades from one ball to the next."""
POINTS = 2**14
ROUNDS = 12


@dataclass(frozen=True)
class Region:
    """The classically allowed region of the lowest ``count`` states.

    Attributes:
        energy: E with N(E) = count.
        centre: (d,) mean position.
        covariance: (d, d) of position.
        momentum: variance of one component of the momentum.
        radius: largest distance from the origin inside the region.
        charge: Z if V ≈ −Z/|x| near the origin, else 0.
        leaks: V falls below the energy again further out.
    """

    energy: float
    centre: Tensor
    covariance: Tensor
    momentum: float
    radius: float
    charge: float
    leaks: bool = False

    @property
    def lengths(self) -> Tensor:
        """(d, d) symmetric A: in z with x = centre + A z position and momentum spread alike."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return (vectors * (values.clamp_min(1e-300) / self.momentum).pow(0.25)) @ vectors.T


def region(
    potential: Field,
    dim: int,
    count: int,
    *,
    kinetic: float = 1.0,
    extent: float | None = None,
) -> Region:
    """Find the region by bisection for E, on points that are drawn towards it in a few rounds.

    Args:
        potential: V.
        dim: d.
        count: number of states.
        kinetic: κ.
        extent: about how far from the origin the states reach; default: all scales from 1e-5 to
            1e5 are looked at, and if V has room without end there, the largest ball in which the
            region ends: a well whose states leak out.

    Raises:
        ValueError: V has no room for so many bound states, by this estimate, or none at all.
    """
    if count < 1 or not kinetic > 0 or not (extent is None or extent > 0):
        raise ValueError(
            "need at least one state, a positive kinetic factor and a positive extent, got "
            f"{count}, {kinetic} and {extent}"
        )
    try:
        return _region(potential, dim, count, kinetic, extent)
    except EndlessError:
        if extent is not None:
            raise EndlessError(_few(potential, dim, count, kinetic, extent)) from None
    for within in 10.0 ** np.arange(DECADES, -DECADES, -BALLS):
        with contextlib.suppress(EndlessError):
            found = _region(potential, dim, count, kinetic, float(within))
            return replace(found, leaks=True)
    raise EndlessError(_few(potential, dim, count, kinetic, extent))


class EndlessError(ValueError):
    """The classical region does not end; the message says in which of five situations that is."""


def _few(potential: Field, dim: int, count: int, kinetic: float, extent: float | None) -> str:
    states = "1 bound state" if count == 1 else f"{count} bound states"
    if extent is not None:
        return (
            f"the potential seems to hold fewer than {states} within {extent:g} of the origin: "
            "leave extent out, or say where they live with extent="
        )
    why = _situation(potential, dim, count, kinetic)
    return f"the potential seems to hold fewer than {states}: {why}"


def _situation(potential: Field, dim: int, count: int, kinetic: float) -> str:
    """Why there are no, or not so many, states, by a look at V on all scales."""
    x, weight = all_scales(dim, None)
    v = evaluate(potential, x, "the potential").double()
    r = x.norm(dim=1)
    far = v[r > 0.5 * r.max()]
    finite = v[v.isfinite()]
    if not len(finite):
        return "it is not finite anywhere near the origin"
    low, edge = float(finite.min()), float(far.nan_to_num(math.inf).min()) + 0.0
    size = max(1.0, float(finite.abs().median()))
    middle = v[(r > 0.02 * r.max()) & (r < 0.1 * r.max())].nan_to_num(math.inf)
    if edge < float(middle.min()) - 1e-6 * size:
        return (
            "it falls without end, is unbounded below and has no bound states. "
            "States that leak out of a well can be had with extent="
        )
    if not low < edge - 1e-12 * size:
        return (
            "no well is seen below its value at infinity: the spectrum is continuous, "
            "or the well is narrow and far from the origin. Move the origin into it (x → x + c)"
        )
    room = float(_states(v, weight, dim, kinetic, edge))
    if room > 0.5:
        most = max(1, round(room))
        return (
            f"it has room for about {most} below {edge:.6g}, where its "
            f"continuous spectrum begins, by Weyl's law, and not for {count}: ask for fewer modes"
        )
    weak = (
        "has one state, exponentially near to it," if dim == 2 else "may have no bound state at all"
    )
    return (
        f"the well is weak: Weyl's law has room for {room:.2g} states below {edge:.6g}, where the "
        f"continuous spectrum begins; in {dim} dimensions such a well {weak} and what there is "
        "cannot be told from the continuum here"
    )


def _states(v: Tensor, weight: Tensor, dim: int, kinetic: float, energy: float) -> float:
    """N(E) by Weyl's law."""
    ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
    factor = ball / (2 * math.pi) ** dim / kinetic ** (dim / 2)
    return factor * float(weight @ _room(energy, v).pow(dim / 2))


def _region(potential: Field, dim: int, count: int, kinetic: float, extent: float | None) -> Region:
    x, weight = all_scales(dim, extent)
    found = None
    for round_ in range(ROUNDS):
        v = evaluate(potential, x, "the potential").double()
        if not bool(v.isfinite().any()):
            raise ValueError("the potential is not finite anywhere near the origin")
        energy = _energy(v, weight, dim, count, kinetic)
        room = _room(energy, v)
        density = weight * room.pow(dim / 2)
        density = density / density.sum()
        inside = density > 0
        reach = float((x.norm(dim=1) * inside).max())
        endless = round_ == 0 and reach > 0.5 * float(x.norm(dim=1).max())
        if not bool(inside.any()) or endless:
            raise EndlessError("the classical region does not end")
        centre = density @ x
        spread = (x - centre).T @ (density[:, None] * (x - centre))
        momentum = float(density @ room) / kinetic / (dim + 2)
        found = (energy, centre, spread, momentum, reach)
        if round_ >= 3 and int(inside.sum()) > POINTS // 50:
            break
        cell = float(weight[inside].mean()) ** (1 / dim)
        x, weight = _ellipsoid(x[inside], centre, spread, cell, seed=round_)
    assert found is not None
    return Region(*found, charge=_charge(potential, dim, found[4]))


def all_scales(dim: int, extent: float | None) -> tuple[Tensor, Tensor]:
    """Points and dx-weights on all scales: log-spaced radii times Sobol directions."""
    low, high = (
        (-DECADES, DECADES) if extent is None else (math.log10(extent) - 6, math.log10(3 * extent))
    )
    log_r = torch.linspace(low, high, RADII, dtype=torch.float64) * math.log(10)
    generator = torch.Generator().manual_seed(7)
    u = cube.sobol(DIRECTIONS, [1.0] * dim, generator)
    directions = F.normalize(torch.erfinv(2 * u - 1), dim=1)
    if dim == 1:
        directions = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    r = log_r.exp()
    sphere = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)
    shell = r.pow(dim) * float(log_r[1] - log_r[0]) * sphere / len(directions)
    x = (r[:, None, None] * directions).reshape(-1, dim)
    return x, shell.repeat_interleave(len(directions))


def _ellipsoid(
    inside: Tensor, centre: Tensor, spread: Tensor, cell: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Uniform points in an ellipsoid shaped like ``spread`` that holds the region and a margin.

    ``cell`` is the distance of points so far.
    """
    dim = len(centre)
    # a floor keeps directions open that few points have seen
    mean = float(spread.diagonal().mean())
    few = len(inside) <= 4 * dim
    floor = 4 * cell**2 if few else max(1e-6 * mean, min(4 * cell**2, 0.05 * mean))
    spread = spread + floor * torch.eye(dim, dtype=spread.dtype)
    root = torch.linalg.cholesky(spread)
    z = torch.linalg.solve_triangular(root, (inside - centre).T, upper=False)
    radius = max(2.0, 1.15 * float(z.norm(dim=0).max()))
    u = cube.sobol(POINTS, [1.0] * (dim + 1), torch.Generator().manual_seed(seed))
    direction = F.normalize(torch.erfinv(2 * u[:, 1:] - 1), dim=1)
    x = centre + radius * u[:, :1].pow(1 / dim) * direction @ root.T
    ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
    volume = ball * radius**dim * float(root.diagonal().prod())
    return x, torch.full((POINTS,), volume / POINTS, dtype=torch.float64)


def _room(energy: float, v: Tensor) -> Tensor:
    """(E − V)₊; points where V is NaN or −∞ are left out."""
    return (energy - v).clamp_min(0).nan_to_num(0.0, posinf=0.0)


def _energy(v: Tensor, weight: Tensor, dim: int, count: int, kinetic: float) -> float:
    """E with N(E) = count."""

    def states(energy: float) -> float:
        return _states(v, weight, dim, kinetic, energy)

    # first among the values that occur: potentials may span hundreds of decades
    levels = v[v.isfinite()].sort().values
    below, above = 0, len(levels) - 1
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if states(float(levels[middle])) < count else (below, middle)
    low, high = float(levels[below]), float(levels[above])
    step = max(abs(high), 1e-30)
    while states(high) < count and math.isfinite(high + 2 * step):  # between infinite walls
        low, high, step = high, high + step, 2 * step
    for _ in range(60):
        energy = low + (high - low) / 2
        low, high = (energy, high) if states(energy) < count else (low, energy)
    return high


def _charge(potential: Field, dim: int, radius: float) -> float:
    """Z if |x| V(x) → −Z ≠ 0 at the origin, alike in all directions; else 0."""
    u = cube.sobol(16, [1.0] * dim, torch.Generator().manual_seed(3))
    directions = F.normalize(torch.erfinv(2 * u - 1), dim=1)
    products = []
    for small in (1e-7, 1e-8):
        x = small * radius * directions
        products.append(small * radius * evaluate(potential, x, "the potential").double())
    near, nearer = (float(p.mean()) for p in products)
    spread = max(float((p - p.mean()).abs().max()) for p in products)
    alike = spread < 1e-3 * abs(nearer) and abs(near - nearer) < 1e-3 * abs(nearer)
    return -nearer if alike else 0.0


@dataclass(frozen=True)
class Survey:
    """V on a million points, beside what a solver's points saw.

    Attributes:
        points: how many were looked at.
        spacing: their distance where the states are.
        beyond: Weyl's count of states outside the ball that the solver's points fill.
        dip: how much lower V is inside than on the solver's points, in units of their depth.
    """

    points: int
    spacing: float
    beyond: float
    dip: float


def survey(
    potential: Field, solver: Tensor, energy: float, *, kinetic: float = 1.0, n: int = 2**19
) -> Survey:
    """Look for room for states below an energy that a solver's points (N, d) did not see.

    Half of the 2n points fill the ball around the solver's points, half lie on all scales beyond
    it, up to 10⁴ times as far.
    """
    dim = solver.shape[1]
    centre = solver.mean(0)
    distance = (solver - centre).norm(dim=1)
    radius = float(distance.max())
    generator = torch.Generator().manual_seed(9)
    direction = F.normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=1)
    u = torch.rand(n, generator=generator, dtype=torch.float64)
    inside = centre + radius * u.pow(1 / dim)[:, None] * direction
    r = radius * 10 ** (4 * u)
    ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
    weight = dim * ball * r**dim * math.log(1e4) / n
    count = ball / (2 * math.pi) ** dim / kinetic ** (dim / 2)

    def values(x: Tensor) -> Tensor:
        parts = [evaluate(potential, p, "the potential").double() for p in x.split(2**16)]
        return torch.cat(parts).nan_to_num(math.inf, posinf=math.inf)

    far = values(centre + r[:, None] * direction)
    beyond = count * float(weight @ _room(energy, far).pow(dim / 2))
    known = values(solver)
    low = float(known[known.isfinite()].min())
    lowest = float(values(inside).min())
    dip = (low - lowest) / max(energy - low, 1e-300)
    spacing = (ball * radius**dim / n) ** (1 / dim)
    return Survey(2 * n, spacing, beyond, dip)
