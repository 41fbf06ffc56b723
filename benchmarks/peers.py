"""Classical solvers of T = ∇² − V on R^d, a box or a torus: error against time, to compare with.

- Finite differences on a tensor grid, a sparse Kronecker sum: LOBPCG of scipy, preconditioned by
  (scale − ∇²)⁻¹ through fast sine or Fourier transforms; LOBPCG of torch without preconditioner, as
  in Ryu et al. 2024, A.3; shift-invert Lanczos.
- Galerkin: Hermite functions up to a total degree, sines or plane waves up to a kinetic energy.
- Quartic finite elements in the plane, where scikit-fem is installed.

``sweep("hydrogen2d")`` runs growing grids for about a minute on one thread (names in CASES; start
with OMP_NUM_THREADS=1 all the same). The peers are told where the walls are, a typical energy, the
width of Hermite functions, the grading of elements and, for hydrogen, a shift in the spectral gap.
They do not use symmetry: most of these problems are sums of one-dimensional ones, or radial, and
fall in milliseconds to whoever uses that. In sines the box is diagonal, as the oscillator would be
in Hermite functions of width 1: such an error says nothing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from math import pi
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.sparse as sparse
import scipy.sparse.linalg as spla
import torch
from scipy.special import roots_hermite
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from schmidt.problems.box import waves
from schmidt.problems.separable import hermite_functions, kinetic
from schmidt.problems.solve import default_dimension, named

Array = np.ndarray
Solver = Callable[["Case", int], Array]  # case, size → energies
MEMORY = 8 * 2**30
CHUNK = 1 << 23
FINE = (14, 20, 26, 34, 44, 62, 80, 104, 134, 174, 224, 314, 404, 524, 674, 874, 1124)
COARSE = (2, 4, 6, 8, 10, 12, 14, 16, 40)  # many dimensions; all even: no node in the middle
DEGREES = (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 56)
ELEMENTS = (12, 16, 24, 32, 48, 64, 96)


@dataclass(frozen=True)
class Case:
    """−T = −∇² + V with the choices that a grid needs."""

    name: str
    dim: int
    potential: Callable[[Array], Array]  # points (N, dim) → (N,)
    energies: Array  # exact wanted eigenvalues of −T, ascending
    low: float  # walls, or one period, of every coordinate
    high: float
    scale: float  # a typical energy
    basis: str = ""  # for Galerkin: hermite, sine, or on a torus fourier
    width: float = 0.8  # of Hermite functions exp(−(x − centre)²/2 width²)
    centre: float = 0.0
    grading: float = 0.0  # of elements towards the middle; 0 for equal ones
    gap: float | None = None  # just above the wanted energies, for shift-invert; else min V is used


@dataclass(frozen=True)
class Row:
    """One line of the table. Where nothing was computed, numbers are None and the note says why."""

    problem: str
    method: str
    size: int  # nodes or elements per axis, or the largest degree
    unknowns: int
    bytes: float  # at the peak, an estimate
    seconds: float | None = None  # everything, from evaluating V on
    error: float | None = None  # |E − E_exact|/|E_exact|, mean over the modes
    worst: float | None = None  # and maximum
    values: Array | None = None  # eigenvalues of T, descending
    note: str = ""


def plan(case: Case, solver: Solver, size: int) -> tuple[int, float, float]:
    """Unknowns, bytes at the peak, work (time up to a factor); fill as measured for min. degree."""
    dim, modes, N = case.dim, len(case.energies), size**case.dim
    if solver is galerkin:
        nodes, _, _, cost = functions(case, size)
        N, points = len(products(cost, dim)), float(len(nodes)) ** dim
        return N, 32.0 * N * N + 24 * min(points * N, CHUNK), points * N * N + 10.0 * N**3
    if solver in (lobpcg, torch_lobpcg):
        work = float(N) ** (1 + (solver is torch_lobpcg) / dim)  # its steps grow with 1/h
        return N, N * (12.0 * (2 * dim + 1) + 128 * modes), work
    N = (4 * size - 1) ** 2 if solver is elements else N
    fill = {2: 4 * N * np.log2(N), 3: 13 * N ** (4 / 3)}.get(dim, 5 * N**1.6)
    return N, 12 * fill + 16 * N * (3 * modes + 176 * (solver is elements)), N ** (3 - 3 / dim)


def pieces(case: Case, axis: Array, size: int = CHUNK // 16) -> Iterator[tuple[list[Array], Array]]:
    """A tensor grid in pieces: (index along every axis, V there)."""
    shape = (len(axis),) * case.dim
    for flat in np.array_split(np.arange(np.prod(shape)), -(-np.prod(shape) // size)):
        where = list(np.unravel_index(flat, shape))
        yield where, case.potential(np.stack([axis[i] for i in where], 1))


def differences(case: Case, n: int) -> tuple[Any, Array, Array, Callable[[Array], Array]]:
    """On n^dim nodes: −∇² + V by central differences, V, a random block of vectors, and
    (scale − ∇²)⁻¹ on such blocks."""
    around = int(case.basis == "fourier")
    steps, total = np.arange(n) + 1 - around, n + 1 - around
    h = (case.high - case.low) / total
    V = np.concatenate([v for _, v in pieces(case, case.low + h * steps)])
    shift = np.eye(n, k=1)
    shift[-1, 0] = around
    line = sparse.csr_array((2 * np.eye(n) - shift - shift.T) / h**2)
    H = reduce(sparse.kronsum, [line] * case.dim) + sparse.diags_array(V)
    square = (2 - 2 * np.cos((1 + around) * pi * steps / total)) / h**2
    symbol = reduce(np.add.outer, [square] * case.dim) + case.scale
    axes = tuple(range(1, case.dim + 1))

    def inverse(x: Array) -> Array:
        y = x.T.reshape(-1, *symbol.shape)
        if around:
            half = scipy.fft.rfftn(y, axes=axes) / symbol[..., : n // 2 + 1]
            y = scipy.fft.irfftn(half, symbol.shape, axes=axes)
        else:
            y = scipy.fft.dstn(y, 1, axes=axes, norm="ortho") / symbol
            y = scipy.fft.dstn(y, 1, axes=axes, norm="ortho", overwrite_x=True)
        return np.ascontiguousarray(y.reshape(len(y), -1).T)

    block = np.random.default_rng(0).standard_normal((len(V), len(case.energies)))
    return H.tocsr(), V, block, inverse


def lobpcg(case: Case, n: int) -> Array:
    """scipy's LOBPCG behind the fast Poisson solver, from smoothed random vectors."""
    H, _, x, P = differences(case, n)
    return spla.lobpcg(H, P(x), M=P, tol=1e-3 * case.scale, maxiter=200, largest=False)[0]


def torch_lobpcg(case: Case, n: int) -> Array:
    """torch.lobpcg with its defaults: at most 1000 steps."""
    H, _, x, _ = differences(case, n)
    parts = [torch.from_numpy(part) for part in (H.indptr, H.indices, H.data)]
    A = torch.sparse_csr_tensor(parts[0], parts[1], parts[2], H.shape)
    return torch.lobpcg(A, X=torch.from_numpy(x), largest=False)[0].numpy()


def lowest(H: Any, M: Any, case: Case, floor: float) -> Array:
    """Lanczos for (H − σM)⁻¹M: σ below everything, or in the gap above what is wanted."""
    sigma, which = (floor, "LA") if case.gap is None else (case.gap, "SA")
    order = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0}
    lu = spla.splu((H - sigma * M).tocsc(), **order, options={"SymmetricMode": True})
    inverse = spla.LinearOperator(H.shape, lu.solve, dtype=np.float64)
    k = len(case.energies)  # for all copies of degenerate values: many vectors, full precision
    how = {"which": which, "ncv": 4 * k, "tol": 0, "maxiter": 300, "return_eigenvectors": False}
    return spla.eigsh(H, k, M=M, sigma=sigma, OPinv=inverse, **how)


def shift_invert(case: Case, n: int) -> Array:
    """Differences by shift-invert."""
    H, V, *_ = differences(case, n)
    return lowest(H, sparse.eye_array(H.shape[0], format="csr"), case, V.min())


def functions(case: Case, p: int) -> tuple[Array, Array, Array, Array]:
    """Orthonormal functions of one variable up to degree p: quadrature nodes, √weight · values, the
    matrix of −d²/dx², and the cost of each, by which products of them are cut off."""
    if case.basis == "hermite":
        t, w = roots_hermite(p + (9 if case.dim <= 3 else 2))
        table = np.sqrt(w * np.exp(t * t))[:, None] * hermite_functions(t, p + 1)
        return case.centre + case.width * t, table, kinetic(p + 1, case.width), np.arange(p + 1)
    t, period = pi / (2 * p + 1) * np.arange(4 * p + 2), case.high - case.low
    table, k = np.sqrt(t[1]) * waves(t, 2 * p + 1), (np.arange(2 * p + 1) + 1) // 2
    if case.basis == "sine":  # odd functions on twice the box, of which one half is enough
        half = slice(2 * p + 1)
        t, table, k, period = t[half], np.sqrt(2) * table[half, 2::2], k[2::2], 2 * period
    squares = (2 * pi * k / period) ** 2
    return case.low + period * t / (2 * pi), table, np.diag(squares), squares - squares[0]


def products(cost: Array, dim: int) -> Array:
    """Index sets (N, dim) with a total cost no larger than the largest on one axis."""
    index, total = np.zeros((1, 0), dtype=int), np.zeros(1)
    for _ in range(dim):
        sums = np.add.outer(total, cost)
        old, new = np.nonzero(sums <= cost[-1] * (1 + 1e-12))
        index, total = np.column_stack([index[old], new]), sums[old, new]
    return index


def galerkin(case: Case, p: int) -> Array:
    """The dense matrix of −∇² + V among products of functions of one variable."""
    nodes, table, square, cost = functions(case, p)
    index = products(cost, case.dim)
    H = np.zeros((len(index), len(index)))
    for axis, here in enumerate(index.T):
        others = np.delete(index, axis, 1) @ len(cost) ** np.arange(case.dim - 1)
        H += np.equal.outer(others, others) * square[np.ix_(here, here)]
    for where, v in pieces(case, nodes, max(1, CHUNK // len(index))):
        axes = zip(where, index.T, strict=True)
        phi = reduce(np.multiply, [table[np.ix_(i, n)] for i, n in axes])
        H += (phi * v[:, None]).T @ phi
    return scipy.linalg.eigvalsh(H, subset_by_index=(0, len(case.energies) - 1))


def elements(case: Case, n: int) -> Array:
    """Quartic elements on n × n squares, zero at the walls, by shift-invert Lanczos."""
    import skfem  # type: ignore[import-not-found]

    t = np.linspace(-1, 1, n + 1)
    if case.grading:  # far walls cost little then
        t = 1.6 * np.sinh(case.grading * t) / np.sinh(case.grading)
    line = case.low + (case.high - case.low) * (t + 1) / 2
    mesh = skfem.MeshQuad.init_tensor(line, line)
    basis = skfem.Basis(mesh, skfem.ElementQuadP(4), intorder=10)
    x = np.asarray(basis.global_coordinates())
    V = case.potential(x.reshape(2, -1).T.copy()).reshape(x.shape[1:])
    energy = skfem.BilinearForm(lambda f, g, w: (f.grad * g.grad).sum(0) + w.V * f * g)
    inside = basis.complement_dofs(basis.get_dofs())
    H = energy.assemble(basis, V=V)[inside][:, inside]
    M = skfem.BilinearForm(lambda f, g, w: f * g).assemble(basis)[inside][:, inside]
    return lowest(H, M, case, V.min())


def case(name: str, dim: int, walls: tuple[float, float], scale: float, **choices: Any) -> Case:
    """A problem of the library, with the choices that a grid needs."""
    problem: Any = named(name, dim if default_dimension(name) else None)
    form = problem.form.unshifted
    exact = problem.form.offset - problem.exact.values(problem.modes)

    def V(x: Array) -> Array:
        return form.potential(torch.from_numpy(x)).numpy()

    return Case(f"{name}, d = {dim}", dim, V, exact, *walls, scale, **choices)


# Walls stand far enough out for errors of 1e-5 where d ≤ 3, nearer where no grid is fine anyway.
# Hermite functions are somewhat too narrow or too wide on purpose.
CASES: dict[str, Callable[[], Case]] = {
    "hydrogen2d": partial(case, "hydrogen2d", 2, (-70, 70), 0.03, grading=11, gap=-0.016),
    "oscillator2d": partial(case, "oscillator2d", 2, (-7, 7), 8, basis="hermite"),
    "hydrogen3d": partial(case, "hydrogen3d", 3, (-45, 45), 0.03, gap=-0.021),
    "oscillator5d": partial(case, "oscillator", 5, (-4.5, 4.5), 7, basis="hermite"),
    "oscillator10d": partial(case, "oscillator", 10, (-4, 4), 12, basis="hermite"),
    "double-well": partial(case, "double-well", 2, (-4.3, 5.6), 8, basis="hermite", centre=0.5),
    "morse": partial(case, "morse", 2, (-2.5, 7), 25, basis="hermite", width=0.55, centre=0.4),
    "cosine": partial(case, "cosine", 2, (0, 2 * pi), 2, basis="fourier"),
    "box5d": partial(case, "box", 5, (0, 1), 80, basis="sine"),
}


def climb(case: Case, solver: Solver, sizes: Sequence[int], budget: float) -> Iterator[Row]:
    """Growing sizes within ``budget`` seconds; the first that would overrun, and the first that
    does not fit into MEMORY, are named and not run."""
    rate, late = 0.0, False
    for size in sizes:
        unknowns, peak, work = plan(case, solver, size)
        row = Row(case.name, solver.__name__, size, unknowns, peak)
        if peak > MEMORY:
            yield replace(row, note=f"does not fit: needs {peak / 2**30:.3g} GiB")
            return
        if late or unknowns < 4 * len(case.energies):
            continue
        if rate * work > budget:
            yield replace(row, note=f"not run: about {rate * work:.0f} s")
            late = True
            continue
        began = time.perf_counter()
        try:
            values = -np.sort(solver(case, size))
        except (ModuleNotFoundError, spla.ArpackError) as error:
            yield replace(row, note=f"not measured: {error}")
            late = isinstance(error, ModuleNotFoundError)
            continue
        seconds, off = time.perf_counter() - began, np.abs(values / case.energies + 1)
        yield replace(row, seconds=seconds, error=off.mean(), worst=off.max(), values=values)
        budget, rate = budget - seconds, seconds / work


@threadpool_limits.wrap(limits=1)
def sweep(problem_name: str, budget: float = 60.0) -> list[Row]:
    """Every method that applies, each for its share of what is left of ``budget`` seconds."""
    case = CASES[problem_name]()
    nodes = COARSE if case.dim > 3 else FINE[:: 2 if case.dim == 2 else 1]
    able: list[tuple[Solver, Sequence[int]]] = [(shift_invert, nodes)]
    if case.basis:
        able.append((galerkin, DEGREES))
    if case.dim == 2 and case.basis != "fourier":
        able.append((elements, ELEMENTS))
    able += [(lobpcg, nodes), (torch_lobpcg, nodes)]
    rows: list[Row] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # late convergence shows in the errors
        for left, (solver, sizes) in zip(range(len(able), 0, -1), able, strict=True):
            spent = sum(row.seconds or 0.0 for row in rows)
            rows += climb(case, solver, sizes, (budget - spent) / left)
    return rows
