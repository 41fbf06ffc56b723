"""−κu″ + Vu on the whole line: a look at V everywhere, elements that fit it, their lowest states.

In one dimension nothing need be left to chance: V is looked at everywhere, and elements are made
for the wanted states (``elements``). States are polynomials of degree 12 that are C¹ and vanish,
with their slopes, 50 decay lengths beyond the turning points. They are functions of H² on the line,
so that their residuals are known completely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from schmidt.operators.jet import Jet, JetModule
from schmidt.operators.ritz.elements import (
    WIDE,
    Elements,
    EndlessLineError,
    FewStatesError,
    LineError,
    Look,
    Potential,
    ceiling,
    look,
    mesh,
    values,
)

DEGREE = 12
"""Of the polynomials."""
THRESHOLD = 1e-12
"""A level that is nearer to the edge, relative to the depth of V, is no bound state."""


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
    found = np.stack(rows) * w @ vander * (np.arange(DEGREE + 1) + 0.5)
    # rounding here is large in second derivatives on small elements: zeros are zeros
    return np.where(np.abs(found) > 1e-13, found, 0.0)


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
    top, count = ceiling(seen, modes + extra, kinetic)
    allowed = seen.x[seen.v < top]
    if len(allowed):
        a, b = float(allowed[0]), float(allowed[-1])
        side = max(b - a, 1e-12 * max(abs(a), abs(b)))
        if b - a < 1e4 * max(1.0, count) and (a, b) != (seen.x[0], seen.x[-1]):
            seen = seen.with_points(potential, a - 10 * side, b + 10 * side, WIDE)
        seen = seen.with_points(potential, a - side, b + side, WIDE)
        top, _ = ceiling(seen, modes + extra, kinetic)
    if not float(seen.v.min()) < edge:
        raise _none(seen)
    rough = mesh(potential, seen, top, top, kinetic, [], coarse=True)[0]
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
    elements, breaks = mesh(potential, seen, top, reach, kinetic, [])
    if len(bound) < modes:
        raise FewStatesError(len(bound), modes, edge)
    asked = min(modes + extra, len(bound))
    first, width = float(bound[0]), float(bound[asked - 1] - bound[0])
    after = float(energies[asked]) if asked < len(energies) else edge
    if width == 0 and math.isfinite(after):
        width = 0.5 * (min(after, edge) - first)
    found, functions = _solve(potential, elements, asked, kinetic, first, width)
    keep = int((found < edge).sum())
    if keep < modes:
        raise FewStatesError(keep, modes, edge)
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
    floor = float(v.min())  # no level of the elements lies below
    energies, vectors = _pencil(big_k.tocsc(), big_m.tocsc(), modes, first, width, floor)
    vectors = scale[:, None] * vectors
    local = np.where(dof[..., None] >= 0, vectors[np.maximum(dof, 0)], 0.0) * factor[..., None]
    return energies, np.einsum("nim,ij->njm", local, basis)


def _pencil(
    k: scipy.sparse.csc_matrix,
    m: scipy.sparse.csc_matrix,
    modes: int,
    first: float,
    width: float,
    floor: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest ``modes`` pairs, with a count of pivots that says none was missed."""
    if k.shape[0] < 300:
        found, vectors = scipy.linalg.eigh(k.toarray(), m.toarray())
        return found[:modes], vectors[:, :modes]
    step = 0.2 * max(width, 1e-6 * abs(first))
    lowest = floor - 1e-3 * abs(first - floor) - 1e-9 * abs(floor)
    shift = max(first - step, lowest)
    while shift > lowest and below(k, m, shift):
        step *= 4
        shift = max(shift - step, lowest)
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
    matrix = k - energy * m
    # a congruence keeps the inertia, and pivots of one size
    scale = scipy.sparse.diags(1 / np.sqrt(np.abs(matrix.diagonal()).clip(1e-300)))
    factors = scipy.sparse.linalg.splu(
        (scale @ matrix @ scale).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return int((factors.U.diagonal() < 0).sum())
