"""Two wells joined by a curved valley: a potential that does not separate.

V(x, y) = ½(x² − 3)² + (3/10)x + (5/2)(y − (3/10)x²)². Minima near (±√3, 0.9), the left one deeper;
the ground state lies below the saddle between them, the next states about at it or above. There is
no formula: the reference is Galerkin's method among products of Hermite functions, whose matrix is
exact for a polynomial, with as many of them as leave eleven digits unchanged.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, UniformBox
from schmidt.operators.networks import Ansatz, BoundedInputs, GaussianEnvelope
from schmidt.operators.ritz import confining
from schmidt.operators.training import Training
from schmidt.problems.hermite import hermite_functions, kinetic, multiplication
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.trunk import trunk

HOLLOW, TILT, BEND, STIFFNESS = 3.0, 0.3, 0.3, 2.5
SHIFT = 15.5
SIZE = (60, 36)
SCALE = (0.6, 0.85)
LARGEST = 80


def curved_valley(x: Tensor) -> Tensor:
    a, b = x[:, 0], x[:, 1]
    wells = 0.5 * (a * a - HOLLOW).pow(2) + TILT * a
    return wells + STIFFNESS * (b - BEND * a * a).pow(2)


@lru_cache(maxsize=4)
def reference(size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """The lowest 80 energies, and the functions' coefficients (n_x, n_y, 80).

    Args:
        size: Hermite functions of x and of y; with the default the energies of the first 16 states
            are converged to about 1e-13.
    """
    m, n = size
    quartic = 0.5 + STIFFNESS * BEND**2
    along_x = kinetic(m, SCALE[0]) + multiplication(
        (0.5 * HOLLOW**2, TILT, -HOLLOW, 0.0, quartic), m, SCALE[0]
    )
    along_y = kinetic(n, SCALE[1]) + multiplication((0.0, 0.0, STIFFNESS), n, SCALE[1])
    square = multiplication((0.0, 0.0, 1.0), m, SCALE[0])
    line = multiplication((0.0, -2 * STIFFNESS * BEND), n, SCALE[1])
    matrix = (
        sparse.kron(along_x, sparse.identity(n))
        + sparse.kron(sparse.identity(m), along_y)
        + sparse.kron(square, line)
    )
    # V ≥ −1, so nothing lies below −1
    energies, vectors = eigsh(matrix.tocsc(), k=LARGEST, sigma=-1.0, v0=np.ones(m * n))
    order = np.argsort(energies)
    return energies[order], vectors[:, order].reshape(m, n, LARGEST)


def _checked(count: int) -> int:
    if count > LARGEST:
        raise ValueError(f"the reference of double-well has {LARGEST} states, asked for {count}")
    return count


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """The reference functions, normalised in L²(R²): (N, 2) → (N, count)."""
    _, coefficients = reference()
    chosen = coefficients[:, :, : _checked(count)]
    tables = [
        hermite_functions(t / s, n) / math.sqrt(s) for t, s, n in zip(x.T, SCALE, SIZE, strict=True)
    ]
    out = np.empty((len(x), count))
    for column in range(count):
        out[:, column] = ((tables[0] @ chosen[:, :, column]) * tables[1]).sum(1)
    return out


def network(kind: str, modes: int) -> nn.Module:
    inputs = BoundedInputs(2, (2.5,), cusp=False)
    body = trunk(kind, inputs.features, modes)
    envelope = GaussianEnvelope(torch.full((modes,), 0.7))
    return Ansatz(body, envelope, inputs=inputs, amplitude=math.sqrt(SHIFT))


def double_well() -> Problem:
    """16 states of two wells joined by a curved valley, below c = 15.5; the 17th is at 15.52."""
    return Problem(
        name="double-well",
        summary=f"two wells joined by a curved valley, not separable, T = ∇² − V + {SHIFT:g}",
        form=Schrodinger(
            curved_valley, Lebesgue(UniformBox((-4.2, -3.6), (4.2, 5.6), 2), "lattice")
        )
        + SHIFT,
        modes=16,
        network=network,
        exact=Exact(lambda L: SHIFT - reference()[0][: _checked(L)], functions),
        training=Training(steps=2400, batch=1400, lr=1e-2, extra_shift=SHIFT),
        energy=lambda v: SHIFT - v,
        extent=(-3.5, 3.5),
        max_modes=16,
        space=lambda count: confining(curved_valley, 2, count),
    )
