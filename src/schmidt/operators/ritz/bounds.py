"""How far approximate eigenvalues of a self-adjoint operator can be from true ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bounds:
    """Error bounds per approximate eigenvalue μ, descending.

    Attributes:
        linear: ‖(T−μ)f‖/‖f‖: some point of the spectrum lies within this distance of μ.
        quadratic: Temple–Kato, ‖residuals of the group‖²/gap; never above ``linear``. Its gap is
            estimated from the computed values, not proven.
        gap: estimated distance from each value's group to the rest of the spectrum; NaN where it
            is not larger than the residual, so that ``linear`` is all that is known.
        groups: slices of values that the residuals cannot tell apart (degenerate levels).
    """

    linear: np.ndarray
    quadratic: np.ndarray
    gap: np.ndarray
    groups: list[slice]


def _reach(values: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far down the intervals up to each value reach, and how far up those from it on."""
    low = np.minimum.accumulate(values - radius)
    high = np.maximum.accumulate((values + radius)[::-1])[::-1]
    return low, high


def clusters(values: np.ndarray, radius: np.ndarray, modes: int) -> list[slice]:
    """Runs of values whose intervals [μ − r, μ + r] overlap, the first ``modes`` of them.

    A run that begins within the first ``modes`` and goes on beyond is kept whole.
    """
    out: list[slice] = []
    start = 0
    low, high = _reach(values, radius)
    for i in range(1, len(values) + 1):
        apart = i == len(values) or low[i - 1] > high[i]
        close = i < len(values) and values[i - 1] - values[i] < 1e-6 * max(
            abs(values[i - 1]), abs(values[i])
        )
        if apart and not close:
            out.append(slice(start, i))
            start = i
        if start >= modes:
            break
    return out


def bounds(values: np.ndarray, residual: np.ndarray, modes: int) -> Bounds:
    """Linear and quadratic bounds for the first ``modes`` of the given values.

    Args:
        values: μ, descending; a few more than ``modes``, for the gap behind the last one.
        residual: upper bounds of ‖(T−μ)f‖ for normalised, mutually orthogonal f.
        modes: L.

    For a group of Ritz values, separated by a gap δ from the rest of the spectrum, whose residuals
    together have norm ρ, eigenvalues and Ritz values pair up within ρ²/δ (Kato 1949; Parlett 1998,
    theorem 11.7.1).
    """
    linear = residual[:modes].copy()
    quadratic, gaps = linear.copy(), np.full(modes, np.nan)
    groups = clusters(values, residual, modes)
    low, high = _reach(values, residual)
    for group in groups:
        above, below = np.inf, 0.0  # nothing is known of what follows the last
        if group.start > 0:
            above = low[group.start - 1] - values[group.start]
        if group.stop < len(values):
            below = values[group.stop - 1] - high[group.stop]
        gap = min(above, below)
        together = float(np.sqrt((residual[group] ** 2).sum()))
        if np.isfinite(gap) and gap > together:
            inside = slice(group.start, min(group.stop, modes))
            gaps[inside] = gap
            quadratic[inside] = np.minimum(linear[inside], together**2 / gap)
    return Bounds(linear, quadratic, gaps, [slice(g.start, min(g.stop, modes)) for g in groups])
