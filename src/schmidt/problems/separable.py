"""Sums over axes: levels Σ_i e_i(n_i) in order, products of functions, and Hermite functions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.linalg import eigh

Level = Callable[[int], float]
"""n → e(n), the levels of one axis, n = 0, 1, …, not decreasing; infinite where there are none."""

State = tuple[int, ...]
"""Quantum numbers (n_1, …, n_d), each from 0."""

MOST_DIMENSIONS = 32


def ascending(axes: Sequence[Level]) -> Iterator[tuple[float, State]]:
    """All (Σ_i e_i(n_i), n), lowest first; equal sums with the larger first numbers first.

    Every state but the lowest descends from exactly one other, which lies no higher: that with one
    quantum less in its last excited axis. So a heap of the children of what was given out holds the
    next one, and L states cost O(d L log L) time.
    """
    dim = len(axes)
    known: list[list[float]] = [[] for _ in axes]

    def total(state: State) -> float:
        parts = []
        for level, values, n in zip(axes, known, state, strict=True):
            while len(values) <= n:
                values.append(float(level(len(values))))
            parts.append(values[n])
        return math.fsum(parts)

    ground = (0,) * dim
    # states are kept with their signs changed: of equal sums the heap then gives the largest
    heap = [(total(ground), ground, 0)]
    while heap:
        value, negative, last = heapq.heappop(heap)
        state = tuple(-n for n in negative)
        if math.isinf(value):
            return
        yield value, state
        for axis in range(last, dim):
            child = (*state[:axis], state[axis] + 1, *state[axis + 1 :])
            heapq.heappush(heap, (total(child), tuple(-n for n in child), axis))


def lowest(axes: Sequence[Level], count: int) -> list[tuple[float, State]]:
    """The ``count`` lowest levels and their states."""
    found = [pair for pair, _ in zip(ascending(axes), range(count), strict=False)]
    if len(found) < count:
        raise ValueError(f"there are only {len(found)} states, {count} were asked for")
    return found


def energies(axes: Sequence[Level], count: int) -> np.ndarray:
    """The ``count`` lowest values of Σ_i e_i(n_i)."""
    return np.array([value for value, _ in lowest(axes, count)])


def states(axes: Sequence[Level], count: int) -> list[State]:
    """The states of the ``count`` lowest levels."""
    return [state for _, state in lowest(axes, count)]


def whole_levels(axes: Sequence[Level], most: int) -> tuple[int, float]:
    """A good number of modes, and the energy of the next level.

    As many complete levels as have at most ``most`` states, but two at least, and ending before a
    clear gap: half the mean spacing of the levels so far, or more.
    """
    ends: list[tuple[int, float]] = []
    gaps: list[float] = []
    before = ground = math.nan
    for i, (value, _) in enumerate(ascending(axes)):
        if i == 0:
            ground = value
        elif value - before > 1e-9 * max(1.0, abs(value)):
            if len(ends) >= 2 and i > most:
                break
            ends.append((i, value))
            gaps.append(value - before)
        before = value
    for level in range(len(ends) - 1, 1, -1):
        count, following = ends[level]
        if gaps[level] >= 0.5 * (following - ground) / (level + 1):
            return count, following
    return ends[1]


def products(tables: Sequence[np.ndarray], chosen: Sequence[State]) -> np.ndarray:
    """Π_i f_{n_i}(x_i) for the chosen states: d tables (N, n) of one-axis functions → (N, L)."""
    out = np.empty((len(tables[0]), len(chosen)), dtype=np.result_type(*tables))
    for column, state in enumerate(chosen):
        value = tables[0][:, state[0]]
        for table, n in zip(tables[1:], state[1:], strict=True):
            value = value * table[:, n]
        out[:, column] = value
    return out


def highest(chosen: Sequence[State]) -> list[int]:
    """The largest quantum number on every axis."""
    return [max(numbers) for numbers in zip(*chosen, strict=True)]


def checked_dimension(name: str, dim: int, least: int = 1) -> int:
    """``dim``, if it is one that the problem can be made in."""
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise ValueError(f"the dimension of {name} must be an integer, got {dim!r}")
    if not least <= dim <= MOST_DIMENSIONS:
        raise ValueError(
            f"the dimension of {name} must lie between {least} and {MOST_DIMENSIONS}, got {dim}"
        )
    return dim


def hermite_functions(t: np.ndarray, count: int) -> np.ndarray:
    """h_0 … h_{count−1}, normalised in L²(R): (N,) → (N, count).

    By h_{n+1} = √(2/(n+1)) t h_n − √(n/(n+1)) h_{n−1}, which neither overflows nor cancels.
    """
    out = np.empty((len(t), count))
    out[:, 0] = np.pi**-0.25 * np.exp(-t * t / 2)
    if count > 1:
        out[:, 1] = np.sqrt(2) * t * out[:, 0]
    for n in range(1, count - 1):
        out[:, n + 1] = np.sqrt(2 / (n + 1)) * t * out[:, n] - np.sqrt(n / (n + 1)) * out[:, n - 1]
    return out


def multiplication(coefficients: Sequence[float], size: int, scale: float = 1.0) -> np.ndarray:
    """⟨h_m|Σ_k c_k x^k|h_n⟩ for x = scale·t, exactly: (size, size)."""
    padded = size + len(coefficients)
    side = scale * np.sqrt(np.arange(1, padded) / 2)
    x = np.diag(side, 1) + np.diag(side, -1)
    total = np.zeros((padded, padded))
    for c in reversed(coefficients):
        total = total @ x + c * np.eye(padded)
    return total[:size, :size]


def kinetic(size: int, scale: float = 1.0) -> np.ndarray:
    """⟨h_m|−d²/dx²|h_n⟩ for x = scale·t, by −d²/dt² + t² = 2n + 1: (size, size)."""
    number = np.diag(2.0 * np.arange(size) + 1)
    return (number - multiplication((0.0, 0.0, 1.0), size)) / scale**2


def polynomial_well(
    coefficients: Sequence[float], size: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors of −d²/dx² + Σ_k c_k x^k in ``size`` Hermite
    functions of x/scale (Galerkin's method)."""
    values, vectors = eigh(kinetic(size, scale) + multiplication(coefficients, size, scale))
    return values, vectors
