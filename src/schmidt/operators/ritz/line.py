"""−κu″ + Vu on the whole line: a look at V everywhere, elements that fit it, their lowest states.

In one dimension nothing need be left to chance. V is looked at on a million points of all scales;
elements are split until V is smooth in each and every wanted state is resolved, with break points
where V jumps or has kinks; states are polynomials of degree 12 that are C¹ and vanish, with their
slopes, 50 decay lengths beyond the turning points. They are functions of H² on the line, so
that their residuals are known completely.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from schmidt.operators.jet import Jet, JetModule

Potential = Callable[[np.ndarray], np.ndarray]
"""V at points (N,) → (N,)."""

FAR = 1e8
WIDE = 2**18
"""Points on all scales, and again in the region of the states, and around it."""
DEPTH = 50.0
"""Decay lengths after which a state is taken to be zero: e⁻⁵⁰."""
DEGREE = 12
WAVES = 2.0
"""Largest phase, and largest number of decay lengths, in one element."""
SMOOTH = 1e-10
LOCATE = 2.0**-6
"""An element that small, relative to the wave length, in which V is rough, is searched for the
point where V breaks."""
THRESHOLD = 1e-12
ROUNDED = 1e-14
"""κ·rounding of second derivatives in an element of size h is about this over h²."""
MOST_ELEMENTS = 6000


class LineError(ValueError):
    """Too few bound states on the line, or no finite potential."""


class EndlessLineError(LineError):
    """V has no lowest value: it falls without end."""


@dataclass(frozen=True)
class Look:
    """V at many points of the line.

    Attributes:
        x, v: (N,) ascending points and values there; +∞ is a wall.
        low, high: the ends of the line, or of the part that was asked for.
        edge: (left, right): the smallest values of V near both ends: above the smaller one there
            are no bound states.
    """

    x: np.ndarray
    v: np.ndarray
    low: float
    high: float
    edge: tuple[float, float]

    def weyl(self, energy: float, kinetic: float) -> float:
        """The number of states below an energy, by Weyl's law."""
        room = np.sqrt(np.maximum(energy - self.v, 0) / kinetic)
        room[~np.isfinite(room)] = 0
        return float(np.sum((room[1:] + room[:-1]) / 2 * np.diff(self.x)) / math.pi)

    def spacing(self, low: float, high: float) -> float:
        """The largest distance of neighbouring points within an interval."""
        inside = self.x[(self.x >= low) & (self.x <= high)]
        return float(np.diff(inside).max()) if len(inside) > 1 else high - low

    def with_points(self, potential: Potential, low: float, high: float, count: int) -> Look:
        """The same with equidistant points in an interval."""
        low, high = max(low, self.low), min(high, self.high)
        more = np.linspace(low, high, count)
        x = np.concatenate([self.x, more])
        v = np.concatenate([self.v, values(potential, more)])
        x, first = np.unique(x, return_index=True)
        return Look(x, v[first], self.low, self.high, self.edge)


def values(potential: Potential, x: np.ndarray) -> np.ndarray:
    """V at points; NaN is refused, −∞ and +∞ are what they are."""
    with np.errstate(all="ignore"):
        v = np.asarray(potential(x), dtype=float)
        for sign in (1, -1):  # a point where V is ∞ − ∞ has neighbours
            bad = np.isnan(v)
            if bad.any():
                step = sign * (1e-7 * np.abs(x[bad]) + 1e-9)
                v[bad] = np.asarray(potential(x[bad] + step), dtype=float)
    bad = np.isnan(v)
    if bad.any():
        share, where = bad.mean(), x[bad][np.abs(x[bad]).argmin()]
        raise LineError(
            f"the potential is NaN at x = {where:.6g} and on {share:.0%} of the points looked at: "
            "it must be a number, or +inf behind walls, on the whole line (log and sqrt of "
            "negative numbers are not: write abs(x), or max(x, 0))"
        )
    return v


def look(potential: Potential, *, centre: float = 0.0, extent: float | None = None) -> Look:
    """V on all scales around a centre, up to 10⁸ or to three times an extent."""
    far = FAR if extent is None else 3 * extent
    r = np.geomspace(far * 1e-16, far, WIDE)
    x = np.concatenate([-r[::-1], r]) + centre
    v = values(potential, x)
    tenth = np.searchsorted(r, far / 3)
    left, right = float(v[: WIDE - tenth].min()), float(v[WIDE + tenth :].min())
    return Look(x, v, centre - far, centre + far, (left, right))


@dataclass(frozen=True)
class Elements:
    """C¹ polynomials on intervals [low_i, high_i], which may leave gaps where states are zero.

    Attributes:
        low, high: (n,) ends, ascending.
        start: (n,) whether an element begins a new piece of the line.
    """

    low: np.ndarray
    high: np.ndarray

    @property
    def size(self) -> np.ndarray:
        return self.high - self.low

    def __len__(self) -> int:
        return len(self.low)

    def rule(self, nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Gauss–Legendre points and weights, (n, nodes) each."""
        t, w = np.polynomial.legendre.leggauss(nodes)
        half = self.size[:, None] / 2
        return self.low[:, None] + half * (1 + t), half * w


@cache
def _basis() -> np.ndarray:
    """Legendre coefficients (DEGREE + 1, DEGREE + 1), a row per function on [−1, 1].

    The first four are Hermite's cubics: value left, slope left, value right, slope right; the rest
    are (1 − t²)² P_k^{(4,4)}(t), normalised, which vanish with their slopes at both ends.
    """
    from numpy.polynomial import legendre
    from scipy.special import eval_jacobi

    t, w = legendre.leggauss(DEGREE + 8)
    rows = [
        (2 - 3 * t + t**3) / 4,
        (1 - t - t**2 + t**3) / 4,
        (2 + 3 * t - t**3) / 4,
        (-1 - t + t**2 + t**3) / 4,
    ]
    for k in range(DEGREE - 3):
        bubble = (1 - t**2) ** 2 * eval_jacobi(k, 4, 4, t)
        rows.append(bubble / math.sqrt(w @ bubble**2))
    vander = legendre.legvander(t, DEGREE)
    return np.stack(rows) * w @ vander * (np.arange(DEGREE + 1) + 0.5)


@cache
def _derivative() -> np.ndarray:
    """(DEGREE + 1, DEGREE + 1): Legendre coefficients c → c @ D of the derivative."""
    d = np.zeros((DEGREE + 1, DEGREE + 1))
    for k in range(DEGREE + 1):
        unit = np.zeros(DEGREE + 1)
        unit[k] = 1
        d[k, :DEGREE] = np.polynomial.legendre.legder(unit)
    return d


class Piecewise(JetModule):
    """L functions on the line: polynomials on elements, zero elsewhere.

    Args:
        elements: where.
        coefficients: (n, DEGREE + 1, L) of Legendre polynomials.
    """

    low: Tensor
    high: Tensor
    coefficients: Tensor
    derivative: Tensor

    def __init__(self, elements: Elements, coefficients: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("low", torch.from_numpy(elements.low))
        self.register_buffer("high", torch.from_numpy(elements.high))
        self.register_buffer("coefficients", torch.from_numpy(coefficients))
        self.register_buffer("derivative", torch.from_numpy(_derivative()))

    def forward(self, x: Tensor) -> Tensor:
        return self.jet(x, 0).value

    def jet(self, x: Tensor, order: int) -> Jet:
        z = x[:, 0].to(self.low)
        at = (torch.searchsorted(self.low, z.contiguous(), right=True) - 1).clamp_min(0)
        size = self.high[at] - self.low[at]
        inside = ((z >= self.low[at]) & (z <= self.high[at])).to(z)
        t = (2 * (z - self.low[at]) / size - 1).clamp(-1, 1)
        p = [torch.ones_like(t), t]
        for k in range(1, DEGREE):
            p.append(((2 * k + 1) * t * p[k] - k * p[k - 1]) / (k + 1))
        row = torch.stack(p, 1) * inside[:, None]
        streams = []
        for k in range(order + 1):
            here = torch.bmm(row[:, None, :], self.coefficients[at])[:, 0]
            streams.append(here * ((2 / size) ** k)[:, None])
            row = row @ self.derivative.T
        return Jet(torch.stack(streams), 1, order)


@dataclass(frozen=True)
class States:
    """The lowest bound states.

    Attributes:
        energies: (m,) ascending: Ritz values in the span of the elements.
        functions: their functions.
        elements: where these are not zero.
        bound: how many bound states there are below the edge, if these are all; else None.
        edge: the energy above which nothing is bound.
        look: V at the points looked at.
        breaks: points where V was found to break.
    """

    energies: np.ndarray
    functions: Piecewise
    elements: Elements
    bound: int | None
    edge: float
    look: Look
    breaks: list[float] = field(default_factory=list)


def lowest(
    potential: Potential,
    modes: int,
    *,
    kinetic: float = 1.0,
    extent: float | None = None,
    extra: int = 4,
) -> States:
    """The lowest ``modes`` bound states of −κu″ + Vu on the line, and a few more if there are.

    Raises:
        LineError: there are fewer, or V has no lowest value; the message says which.
    """
    seen = look(potential, extent=extent)
    edge = min(seen.edge)
    top, count = _ceiling(seen, modes + extra, kinetic)
    allowed = seen.x[seen.v < top]
    if len(allowed):
        a, b = float(allowed[0]), float(allowed[-1])
        side = max(b - a, 1e-12 * max(abs(a), abs(b)))
        if b - a < 1e4 * max(1.0, count) and (a, b) != (seen.x[0], seen.x[-1]):
            seen = seen.with_points(potential, a - 10 * side, b + 10 * side, WIDE)
        seen = seen.with_points(potential, a - side, b + side, WIDE)
        top, _ = _ceiling(seen, modes + extra, kinetic)
    if not float(seen.v.min()) < edge:
        raise _none(seen)
    rough = _mesh(potential, seen, top, top, kinetic, [], coarse=True)[0]
    energies = _coarse(potential, rough, min(modes + extra, 4 * len(rough)), kinetic)
    # what is as near to the edge as rounding and the size of the line is no state
    bound = energies[energies < edge - THRESHOLD * (edge - seen.v.min())]
    if len(bound) == 0:
        raise _none(seen)
    # states decay the slower the nearer they are to the edge
    last = float(bound[min(len(bound), modes) - 1])
    reach = last + 0.25 * (edge - last) if math.isfinite(edge) else top
    reach = min(reach, max(top, last))
    top = max(top, last) if not math.isfinite(edge) else min(max(top, last), edge)
    elements, breaks = _mesh(potential, seen, top, reach, kinetic, [])
    if len(bound) < modes:
        raise LineError(_few(len(bound), modes, edge))
    asked = min(modes + extra, len(bound))
    first, width = float(bound[0]), float(bound[asked - 1] - bound[0])
    after = float(energies[asked]) if asked < len(energies) else edge
    if width == 0 and math.isfinite(after):
        width = 0.5 * (min(after, edge) - first)
    found, functions = _solve(potential, elements, asked, kinetic, first, width)
    keep = int((found < edge).sum())
    if keep < modes:
        raise LineError(_few(keep, modes, edge))
    every = keep if keep < modes + extra else None
    return States(
        found[:keep],
        Piecewise(elements, functions[:, :, :keep]),
        elements,
        every,
        edge,
        seen,
        breaks,
    )


def _none(seen: Look) -> LineError:
    left, right = seen.edge
    finite = seen.v[np.isfinite(seen.v)]
    if not len(finite):
        return LineError("the potential is not finite anywhere")
    falls = [name for name, e in (("left", left), ("right", right)) if not e > finite.min()]
    far = np.abs(seen.x) > 0.01 * np.abs(seen.x).max()
    if falls and np.ptp(finite[far[np.isfinite(seen.v)]]) > 1e-6 * max(1.0, np.ptp(finite)):
        return EndlessLineError(
            f"the potential falls without end on the {' and on the '.join(falls)}: it is unbounded "
            "below there and has no bound states. States that leak out of a well can be had with "
            "extent="
        )
    return LineError(
        "the potential has no well below its value at infinity: its spectrum is continuous and it "
        "has no bound states"
    )


def _few(bound: int, modes: int, edge: float) -> str:
    states = "1 bound state" if bound == 1 else f"{bound} bound states"
    return (
        f"the potential holds {states} below {edge:.6g}, where its continuous spectrum begins, and "
        f"fewer than {modes} bound states that can be told from it: ask for at most {bound}"
    )


def _ceiling(seen: Look, count: int, kinetic: float) -> tuple[float, float]:
    """The energy of so many states by Weyl's law, but not above the edge; the number there."""
    edge = min(seen.edge)
    if math.isfinite(edge) and seen.weyl(edge, kinetic) <= count:
        return edge, seen.weyl(edge, kinetic)
    # first among the values that occur: potentials may span hundreds of decades
    levels = np.sort(seen.v[np.isfinite(seen.v) & (seen.v <= edge)])
    i, j = 0, len(levels) - 1
    while j - i > 1:
        k = (i + j) // 2
        i, j = (k, j) if seen.weyl(float(levels[k]), kinetic) < count else (i, k)
    low, high = float(levels[i]), float(levels[j])
    step = max(1.0, abs(high))
    while seen.weyl(high, kinetic) < count and math.isfinite(high + 2 * step):  # between walls
        low, high, step = high, high + step, 2 * step
    for _ in range(12):
        middle = low + (high - low) / 2
        low, high = (middle, high) if seen.weyl(middle, kinetic) < count else (low, middle)
    return high, float(count)


def _depth(x: np.ndarray, v: np.ndarray, energy: float, kinetic: float) -> np.ndarray:
    """(N,) decay lengths between a point and the classical region below an energy."""
    with np.errstate(over="ignore", invalid="ignore"):
        rate = np.sqrt(np.maximum(np.minimum(v, 1e200) - energy, 0) / kinetic)
    step = np.minimum(rate[1:], rate[:-1]) * np.diff(x)
    inside = v < energy
    total = np.concatenate([[0], np.cumsum(np.minimum(step, 1e6))])
    last = np.maximum.accumulate(np.where(inside, total, -np.inf))
    following = np.minimum.accumulate(np.where(inside, total, np.inf)[::-1])[::-1]
    return np.minimum(total - last, following - total)


def _ladder(seen: Look, reach: float, kinetic: float) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """(energy, points, depth there) for energies between the lowest V and ``reach``: every state
    must be resolved as far as it reaches."""
    block = 8
    n = len(seen.x) // block * block
    x = seen.x[:n].reshape(-1, block)
    v = seen.v[:n].reshape(-1, block).min(1)
    at = (x[:, 0] + x[:, -1]) / 2
    low = float(v[np.isfinite(v)].min())
    out = []
    for share in (0.98, 0.9, 0.6, 0.3, 0.1, 0.03, 0.01, 0.0):
        energy = reach - share * (reach - low)
        out.append((energy, at, _depth(at, v, energy, kinetic)))
    return out


def _mesh(
    potential: Potential,
    seen: Look,
    top: float,
    reach: float,
    kinetic: float,
    breaks: list[float],
    *,
    coarse: bool = False,
) -> tuple[Elements, list[float]]:
    """Elements for states up to the energy ``top`` that decay as at the energy ``reach``."""
    depth = _depth(seen.x, seen.v, reach, kinetic)
    near = depth < DEPTH
    if not near.any():
        raise LineError("the potential has no classical region")
    # pieces of the line where states may live
    change = np.flatnonzero(np.diff(near.astype(int)))
    first, last = [0] if near[0] else [], [len(near) - 1] if near[-1] else []
    ends = np.concatenate([first, change + 0.5, last])
    pieces = [
        (seen.x[math.floor(a)], seen.x[math.ceil(b)])
        for a, b in zip(ends[::2], ends[1::2], strict=True)
    ]
    scale = 1 / math.sqrt(max(top - float(seen.v[np.isfinite(seen.v)].min()), 1e-300) / kinetic)
    low = np.array([a for a, _ in pieces])
    high = np.array([b for _, b in pieces])
    t, _ = np.polynomial.legendre.leggauss(16)
    fit = np.polynomial.legendre.legvander(t, 15)
    fit = (fit * np.polynomial.legendre.leggauss(16)[1][:, None]).T * (np.arange(16)[:, None] + 0.5)
    ladder = _ladder(seen, reach, kinetic)
    done: list[tuple[np.ndarray, np.ndarray]] = []
    known: set[float] = set()
    size0 = np.full(len(low), np.inf)
    total = 0
    for _ in range(200):
        if not len(low):
            break
        h = high - low
        x = low[:, None] + h[:, None] / 2 * (1 + t)
        v = values(potential, x.ravel()).reshape(x.shape)
        excess = np.where(np.isfinite(v), v, 1e300) - top
        rate = np.sqrt(np.minimum(np.abs(excess), 1e200) / kinetic)
        phase = h * np.where(excess < 0, rate, 0).max(1)
        d = _between(seen.x, depth, low, high)
        wide = phase > WAVES
        for energy, at, deep in ladder:
            excess = np.maximum(np.where(np.isfinite(v), v, 1e200) - energy, 0)
            rate = np.sqrt(np.minimum(excess, 1e200) / kinetic)
            here = _between(at, deep, low, high)
            wide |= (h * rate.mean(1) > 2 * WAVES) & (here < DEPTH - 5)
        wide &= h > 1e-12 * np.maximum(np.abs(low), np.abs(high))
        size0 = np.where(wide, np.inf, np.where(np.isinf(size0), h, size0))
        # is V smooth: Legendre coefficients that fall, and no surprise among the points seen
        finite = np.where(np.isfinite(v), v, np.abs(top) * 1e6 + 1e6)
        finite = np.minimum(finite, top + 1e6 * max(1.0, abs(top)))
        c = finite @ fit.T
        tail = np.abs(c[:, 12:]).max(1)
        weight = np.exp(-2 * np.minimum(d, 30.0))
        spread = np.maximum(np.abs(finite - top).max(1), 1.0 / scale**2 * kinetic)
        lo_seen, hi_seen = _range(seen, low, high)
        inner = np.ptp(finite, axis=1)
        above = np.minimum(hi_seen, top + 1e6) - finite.max(1)
        surprise = np.maximum(finite.min(1) - lo_seen, above)
        tol = (1e-3 if coarse else SMOOTH) * spread
        rough = tail * weight > tol
        rough |= (surprise - 0.3 * inner) * weight > np.maximum(tol, 1e-6 * spread)
        # what a rough element can do at most
        worst = np.maximum(tail, surprise) * weight
        rough &= worst * h > (1e-3 if coarse else 1e-13) * spread * scale
        # and where rounding of second derivatives outweighs it
        rough &= worst * h * h > ROUNDED * kinetic
        rough &= h > 4e-15 * np.maximum(np.abs(low), np.abs(high))
        split = wide | rough
        # look for the point where V breaks
        search = rough & ~wide & (h < LOCATE * size0) & (not coarse)
        found = []
        for i in np.flatnonzero(search):
            if low[i] in known or high[i] in known:
                continue
            broken = _break(potential, float(low[i]), float(high[i]))
            least = 1e-3 * h[i]
            if low[i] + least < broken < high[i] - least:
                known.add(broken)
                found.append((i, broken))
        done.append((low[~split], high[~split]))
        total += int((~split).sum())
        middle = (low + high) / 2
        for i, broken in found:
            middle[i] = broken
        low, middle, high, size0 = (q[split] for q in (low, middle, high, size0))
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        size0 = np.concatenate([size0, size0])
        order = np.argsort(low)
        low, high, size0 = low[order], high[order], size0[order]
        if total + len(low) > MOST_ELEMENTS:
            done.append((low, high))
            break
    low = np.concatenate([a for a, _ in done])
    high = np.concatenate([b for _, b in done])
    order = np.argsort(low)
    return Elements(low[order], high[order]), sorted(known)


def _between(x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The smallest y at the points within every interval, its ends interpolated."""
    out = np.minimum(np.interp(low, x, y), np.interp(high, x, y))
    i, j = np.searchsorted(x, low), np.searchsorted(x, high)
    has = j > i
    if has.any():
        least = np.minimum.reduceat(np.append(y, np.inf), np.stack([i[has], j[has]], 1).ravel())[
            ::2
        ]
        out[has] = np.minimum(out[has], least)
    return out


def _range(seen: Look, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest V seen within every interval."""
    i, j = np.searchsorted(seen.x, low), np.searchsorted(seen.x, high)
    has = j > i
    least, most = np.full(len(low), np.inf), np.full(len(low), -np.inf)
    if has.any():
        at = np.stack([i[has], j[has]], 1).ravel()
        least[has] = np.minimum.reduceat(np.append(seen.v, np.inf), at)[::2]
        most[has] = np.maximum.reduceat(np.append(seen.v, -np.inf), at)[::2]
    return least, most


def _break(potential: Potential, low: float, high: float) -> float:
    """The point between where V is least like a straight line, to rounding, by bisection."""
    for _ in range(60):
        x = np.linspace(low, high, 17)
        v = np.nan_to_num(values(potential, x), posinf=1e300, neginf=-1e300)
        bend = np.abs(v[2:] - 2 * v[1:-1] + v[:-2])
        k = int(bend.argmax()) + 1
        if not bend[k - 1] > 1e-15 * np.abs(v).max():
            break
        new = (float(x[max(k - 1, 0)]), float(x[min(k + 1, 16)]))
        if not new[1] - new[0] > 4 * np.spacing(max(abs(low), abs(high))):
            low, high = new
            break
        low, high = new
    if low <= 0 <= high:
        return 0.0
    middle = (low + high) / 2
    nearby = round(middle, 12)  # a point that somebody typed
    return nearby if low <= nearby <= high else middle


def _coarse(potential: Potential, elements: Elements, modes: int, kinetic: float) -> np.ndarray:
    """The lowest levels, roughly: linear elements with lumped masses, 16 to an element."""
    parts = 16
    cells = elements.low[:, None] + elements.size[:, None] * (np.arange(parts) / parts)
    joined = np.concatenate([elements.low[1:] == elements.high[:-1], [False]])
    x, gap = [], []
    for i in range(len(elements)):
        x += cells[i].tolist()
        gap += [True] * parts
        if not joined[i]:
            x.append(float(elements.high[i]))
            gap.append(False)
    nodes, together = np.array(x), np.array(gap)
    h = np.diff(nodes)
    link = np.where(together[:-1], 1 / h, 0.0) * kinetic
    length = np.where(together[:-1], h, 0.0) / 2
    mass = np.concatenate([length, [0]]) + np.concatenate([[0], length])
    stiff = np.concatenate([link, [0]]) + np.concatenate([[0], link])
    v = values(potential, (nodes[1:] + nodes[:-1]) / 2)
    v = np.where(together[:-1], np.clip(v, -1e30, 1e30), 0.0) * length
    v = (np.concatenate([v, [0]]) + np.concatenate([[0], v])) / mass
    diagonal = stiff / mass + v
    off = -link / np.sqrt(mass[:-1] * mass[1:])
    count = min(modes, len(diagonal)) - 1
    return eigh_tridiagonal(diagonal, off, eigvals_only=True, select="i", select_range=(0, count))


def _solve(
    potential: Potential,
    elements: Elements,
    modes: int,
    kinetic: float,
    first: float,
    width: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (m,) and Legendre coefficients (n, DEGREE + 1, m) by Galerkin's method."""
    n, p = len(elements), DEGREE + 1
    basis, slopes = _basis(), _basis() @ _derivative()
    t, w = np.polynomial.legendre.leggauss(2 * DEGREE)
    vander = np.polynomial.legendre.legvander(t, DEGREE)
    b, db = basis @ vander.T, slopes @ vander.T
    x, _ = elements.rule(2 * DEGREE)
    v = values(potential, x.ravel()).reshape(n, -1)
    v = np.clip(v, -1e200, 1e200)
    half = elements.size / 2
    mass = np.einsum("iq,jq,q->ij", b, b, w)
    stiff = np.einsum("iq,jq,q->ij", db, db, w)
    k = (
        kinetic * stiff / half[:, None, None]
        + np.einsum("iq,jq,nq->nij", b, b, v * w) * (half[:, None, None])
    )
    m = mass * half[:, None, None]
    # unknowns: value and slope at every node between joined elements, then bubbles
    joined = np.concatenate([[False], elements.low[1:] == elements.high[:-1]])
    node = np.cumsum(joined)  # node at the left end of an element, from 1, where joined
    dof = np.full((n, p), -1)
    number = int(joined.sum())
    length = np.ones(number)
    for i in np.flatnonzero(joined):
        at = node[i] - 1
        length[at] = min(half[i - 1], half[i])
        dof[i, 0], dof[i, 1] = 2 * at, 2 * at + 1
        dof[i - 1, 2], dof[i - 1, 3] = 2 * at, 2 * at + 1
    dof[:, 4:] = 2 * number + np.arange(n * (p - 4)).reshape(n, p - 4)
    factor = np.ones((n, p))
    for i in np.flatnonzero(joined):
        factor[i, 1] = half[i] / length[node[i] - 1]
        factor[i - 1, 3] = half[i - 1] / length[node[i] - 1]
    size = 2 * number + n * (p - 4)
    outer = factor[:, :, None] * factor[:, None, :]
    rows = np.broadcast_to(dof[:, :, None], k.shape)
    columns = np.broadcast_to(dof[:, None, :], k.shape)
    use = (rows >= 0) & (columns >= 0)

    def assembled(local: np.ndarray) -> scipy.sparse.csc_matrix:
        data = (local * outer)[use]
        return scipy.sparse.coo_matrix((data, (rows[use], columns[use])), (size, size)).tocsc()

    big_k, big_m = assembled(k), assembled(m)
    scale = 1 / np.sqrt(big_m.diagonal())
    root = scipy.sparse.diags(scale)
    big_k, big_m = (root @ a @ root for a in (big_k, big_m))
    modes = min(modes, size - 2)
    energies, vectors = _pencil(big_k.tocsc(), big_m.tocsc(), modes, first, width)
    vectors = scale[:, None] * vectors
    local = np.where(dof[..., None] >= 0, vectors[np.maximum(dof, 0)], 0.0) * factor[..., None]
    return energies, np.einsum("nim,ij->njm", local, basis)


def _pencil(
    k: scipy.sparse.csc_matrix,
    m: scipy.sparse.csc_matrix,
    modes: int,
    first: float,
    width: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest ``modes`` pairs, with a count of pivots that says none was missed."""
    if k.shape[0] < 300:
        found, vectors = scipy.linalg.eigh(k.toarray(), m.toarray())
        return found[:modes], vectors[:, :modes]
    step = 0.2 * max(width, 1e-6 * abs(first))
    shift = first - step
    while below(k, m, shift):
        step *= 4
        shift -= step
    count = modes
    start = np.random.default_rng(0).standard_normal(k.shape[0])
    for _ in range(4):
        size = min(k.shape[0], max(3 * count, 40))
        try:
            found, vectors = scipy.sparse.linalg.eigsh(
                k, count, m, sigma=shift, v0=start, ncv=size, maxiter=200
            )
        except scipy.sparse.linalg.ArpackNoConvergence:
            raise LineError(
                "the levels are too dense to be told apart: ask for fewer modes"
            ) from None
        order = found.argsort()
        found, vectors = found[order], vectors[:, order]
        last = found[modes - 1]
        above = last + 1e-9 * max(abs(last), abs(found[0]))
        missing = below(k, m, above) - int((found <= above).sum())
        if missing <= 0:
            return found[:modes], vectors[:, :modes]
        count = min(count + missing + 4, k.shape[0] - 1)
    return found[:modes], vectors[:, :modes]


def below(k: scipy.sparse.csc_matrix, m: scipy.sparse.csc_matrix, energy: float) -> int:
    """The number of eigenvalues of the pencil below an energy, by Sylvester's law of inertia."""
    factors = scipy.sparse.linalg.splu(
        (k - energy * m).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return int((factors.U.diagonal() < 0).sum())
