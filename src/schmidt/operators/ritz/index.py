"""How many levels lie below an energy: an upper bound that no search has any part in.

On every cell of the line V is replaced by a constant V_T ≤ V. With w = (V_T − E)/κ, cells of size h
and q = |w|(h/π)² < 1, put w_h = w/(1 + q) where w ≥ 0 and w/(1 − q) elsewhere. Then

    ∫ u′² + w u² ≥ ∫ (Pu)′² + w_h (Pu)²        (P: linear interpolation)

for every u of H¹ (by ‖u − Pu‖ ≤ (h/π)‖(u − Pu)′‖ on a cell and Young's inequality): at most as
many levels lie below E as the matrix of the right side has negative pivots; ends are free, and
beyond them V > E. With V_T from interval arithmetic that is a proof (Liu 2015; Carstensen and
Gedicke 2014 for the plane).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import lapack

Enclosure = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Ends of intervals (n,), (n,) → bounds of V on each (n,), (n,)."""

FARTHEST = 1e9
MOST_CELLS = 400_000
TAIL = 9.0
"""Decay lengths kept on either side of the region where V may be below E."""


def at_most_below(
    enclose: Enclosure, energy: float, slack: float, *, kinetic: float = 1.0
) -> int | None:
    """An upper bound for the number of eigenvalues of −κu″ + Vu on the line below an energy.

    Args:
        enclose: guaranteed bounds of V on intervals, which may reach to infinity.
        energy: E.
        slack: about how far the bound may move levels; the finer, the more cells.
        kinetic: κ.

    Returns:
        The bound, or None where V is too rough for it, or not above E at infinity.

    Cost: 10³–10⁵ cells, some milliseconds.
    """
    if not slack > 0:
        return None
    found = _cells(enclose, energy, slack, kinetic)
    if found is None:
        return None
    low, high, v = found
    inside = np.flatnonzero(v <= energy)
    if not len(inside):
        return 0
    decay = np.sqrt(np.maximum(v - energy, 0) / kinetic) * np.minimum(high - low, 1e12)
    first, last = inside[0], inside[-1]
    i = first - np.searchsorted(np.cumsum(decay[:first][::-1]), TAIL)
    j = last + 1 + np.searchsorted(np.cumsum(decay[last + 1 :]), TAIL)
    # Neumann ends where V > E beyond: no level is lost below E
    keep = slice(max(int(i), 1), min(int(j), len(v) - 1))
    low, high, v = low[keep], high[keep], v[keep]
    w = np.minimum(v - energy, 1e3 * max(1.0, slack)) / kinetic
    size = high - low
    fine = np.sqrt(np.maximum(np.abs(w), 1e-300) * kinetic / slack)
    count = np.ceil(size * np.sqrt(np.abs(w)) * np.maximum(fine, 1) / np.pi)
    count = np.clip(count, 1, 4000).astype(int)
    if count.sum() > 4 * MOST_CELLS:
        return None
    h, w = np.repeat(size / count, count), np.repeat(w, count)
    w = w - 1e-13 * np.abs(w) - 64 * np.finfo(float).eps / h**2  # rounding of the pivots below
    q = np.abs(w) * (h / np.pi) ** 2
    if (q[w < 0] >= 0.9).any():
        return None
    w = np.where(w < 0, w / (1 - np.where(w < 0, q, 0)), w / (1 + q))
    diagonal = np.zeros(len(h) + 1)
    both = 1 / h + w * h / 3
    diagonal[:-1] += both
    diagonal[1:] += both
    off = -1 / h + w * h / 6
    scale = 1 / np.sqrt(np.abs(diagonal).clip(1e-300))  # a congruence keeps the inertia
    diagonal, off = diagonal * scale * scale, off * scale[:-1] * scale[1:]
    below, *_ = lapack.dstebz(diagonal, off, 1, -1e6, 0.0, 0, 0, 1e6, "B")
    return int(below)


def _cells(
    enclose: Enclosure, energy: float, slack: float, kinetic: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Intervals that cover the line, with lower bounds of V: halved until V is above E or nearly
    constant."""
    edges = np.concatenate(
        [
            [-np.inf],
            -np.geomspace(FARTHEST, 1e-3, 90),
            np.geomspace(1e-3, FARTHEST, 90),
            [np.inf],
        ]
    )
    low, high = edges[:-1], edges[1:]
    keep: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(60):
        with np.errstate(all="ignore"):
            a, b = enclose(low, high)
            a = np.nan_to_num(np.broadcast_to(a, low.shape), nan=-np.inf, posinf=np.inf)
            b = np.nan_to_num(np.broadcast_to(b, low.shape), nan=np.inf, posinf=np.inf)
            a = np.where(np.isnan(a), -np.inf, a)
            h, width = high - low, b - a
            forbidden = (a > energy + 100 * max(1.0, slack)) | (
                (a > energy) & (width < 0.02 * (a - energy))
            )
            forbidden |= (a > energy) & ~np.isfinite(h)
            deep = np.maximum(energy - a, 0)
            fine = (width < np.maximum(slack, 1e-3 * deep)) & (h * np.sqrt(deep / kinetic) < 0.5)
            fine |= (h * width / kinetic < 1e-7 * np.maximum(1, 1 / h)) & (h < 0.01)
            done = forbidden | (fine & np.isfinite(a) & np.isfinite(h))
        keep.append((low[done], high[done], a[done]))
        low, high = low[~done], high[~done]
        if not len(low):
            break
        if len(low) > MOST_CELLS or np.isinf(low).any() or np.isinf(high).any():
            return None
        middle = (low + high) / 2
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    if len(low):
        return None
    low, high, a = (np.concatenate(part) for part in zip(*keep, strict=True))
    order = low.argsort()
    return low[order], high[order], np.minimum(a[order], 1e300)
