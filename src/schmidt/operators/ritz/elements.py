"""A look at V everywhere on the line, and elements that fit it.

V is looked at on a million points of all scales; elements are split until V is smooth in each and
every wanted state is resolved, with break points where V jumps or has kinks. They end 50 decay
lengths beyond the turning points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Potential = Callable[[np.ndarray], np.ndarray]
"""V at points (N,) → (N,)."""

FAR = 1e8
WIDE = 2**18
"""Points on all scales, and again in the region of the states, and around it."""
DEPTH = 50.0
"""Decay lengths after which a state is taken to be zero: e⁻⁵⁰."""
WAVES = 2.0
"""Largest phase, and largest number of decay lengths, in one element."""
SMOOTH = 1e-10
LOCATE = 2.0**-6
"""An element that small, relative to the wave length, in which V is rough, is searched for the
point where V breaks."""
ROUNDED = 1e-14
"""κ·rounding of second derivatives in an element of size h is about this over h²."""
MOST_ELEMENTS = 6000


class LineError(ValueError):
    """Too few bound states on the line, or no finite potential."""


class FewStatesError(LineError):
    """Fewer bound states than were asked for.

    Attributes:
        bound: how many there are.
        edge: where the continuous spectrum begins.
    """

    def __init__(self, bound: int, modes: int, edge: float) -> None:
        self.bound, self.edge = bound, edge
        states = "1 bound state" if bound == 1 else f"{bound} bound states"
        super().__init__(
            f"the potential holds {states} below {edge:.6g}, where its continuous spectrum begins, "
            f"and fewer than {modes} bound states that can be told from it: ask for at most {bound}"
        )


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
        low, high: (n,) ends, ascending. Where low_i is above high_(i−1), a new piece of the line
            begins.
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


def ceiling(seen: Look, count: int, kinetic: float) -> tuple[float, float]:
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


def mesh(
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
