"""Wells that numbers or special functions solve: a curved double well, Morse's, a cosine.

The double well is V(x, y) = ½(x² − 3)² + (3/10)x + (5/2)(y − (3/10)x²)², which does not separate.
Its minima are near (±√3, 0.9), the left one deeper; the ground state lies below the saddle between
them, the next states about at it or above. There is no formula: the reference is Galerkin's method
among products of Hermite functions, whose matrix is exact for a polynomial, with as many of them as
leave eleven digits unchanged.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import eigsh
from scipy.special import eval_genlaguerre, mathieu_a, mathieu_b
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, UniformBox
from schmidt.operators.networks import Ansatz, BoundedInputs, GaussianEnvelope, ScaledInputs
from schmidt.operators.ritz import TorusSpace, confining
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.box import periodic_measure, torus_network, waves
from schmidt.problems.problem import ExactSpectrum, Problem, signed, trunk
from schmidt.problems.separable import hermite_functions, kinetic, multiplication

HOLLOW, TILT, BEND, STIFFNESS = 3.0, 0.3, 0.3, 2.5
DOUBLE_WELL_SHIFT = 15.5
SIZE = (60, 36)
SCALE = (0.6, 0.85)
LARGEST = 80


def curved_valley(x: Tensor) -> Tensor:
    a, b = x[:, 0], x[:, 1]
    wells = 0.5 * (a * a - HOLLOW).pow(2) + TILT * a
    return wells + STIFFNESS * (b - BEND * a * a).pow(2)


@lru_cache(maxsize=4)
def double_well_reference(size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
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


def double_well_functions(x: np.ndarray, count: int) -> np.ndarray:
    """The reference functions, normalised in L²(R²): (N, 2) → (N, count)."""
    _, coefficients = double_well_reference()
    chosen = coefficients[:, :, : _checked(count)]
    tables = [
        hermite_functions(t / s, n) / math.sqrt(s) for t, s, n in zip(x.T, SCALE, SIZE, strict=True)
    ]
    out = np.empty((len(x), count))
    for column in range(count):
        out[:, column] = ((tables[0] @ chosen[:, :, column]) * tables[1]).sum(1)
    return out


def double_well_network(kind: str, modes: int) -> nn.Module:
    inputs = BoundedInputs(2, (2.5,), cusp=False)
    body = trunk(kind, inputs.features, modes)
    envelope = GaussianEnvelope(torch.full((modes,), 0.7))
    return Ansatz(body, envelope, inputs=inputs, amplitude=math.sqrt(DOUBLE_WELL_SHIFT))


def double_well() -> Problem:
    """16 states of two wells joined by a curved valley, below c = 15.5; the 17th is at 15.52."""
    return Problem(
        name="double-well",
        summary="two wells joined by a curved valley, not separable, "
        f"T = ∇² − V + {DOUBLE_WELL_SHIFT:g}",
        form=Schrodinger(
            curved_valley, Lebesgue(UniformBox((-4.2, -3.6), (4.2, 5.6), 2), "lattice")
        )
        + DOUBLE_WELL_SHIFT,
        modes=16,
        network=double_well_network,
        exact=ExactSpectrum(
            lambda L: DOUBLE_WELL_SHIFT - double_well_reference()[0][: _checked(L)],
            double_well_functions,
        ),
        training=Training(steps=2400, batch=1400, lr=1e-2, extra_shift=DOUBLE_WELL_SHIFT),
        energy=lambda v: DOUBLE_WELL_SHIFT - v,
        extent=(-3.5, 3.5),
        max_modes=16,
        space=lambda count: confining(curved_valley, 2, count),
    )


DEPTH, RANGE = 64.0, 0.5
SPAN = math.sqrt(DEPTH) / RANGE
WINDOW = (-2.5, 7.0)
MOST_MORSE = 16


def morse_potential(x: Tensor) -> Tensor:
    return DEPTH * (1 - (-RANGE * x).exp()).pow(2).sum(1)


def morse_level(n: int) -> float:
    """2a√D (n+½) − a²(n+½)² for n < √D/a − ½ (Morse 1929); no bound states beyond."""
    if n >= SPAN - 0.5:
        return math.inf
    return 2 * RANGE * math.sqrt(DEPTH) * (n + 0.5) - (RANGE * (n + 0.5)) ** 2


def morse_functions(t: np.ndarray, count: int) -> np.ndarray:
    """N_n z^s e^{−z/2} L_n^{2s}(z), z = 2λe^{−ax}, s = λ − n − ½, λ = √D/a: (N,) → (N, count)."""
    log_z = math.log(2 * SPAN) - RANGE * t
    z = np.exp(log_z)
    out = np.empty((len(t), count))
    for n in range(count):
        s = SPAN - n - 0.5
        log_norm = math.log(2 * s * RANGE) + math.lgamma(n + 1) - math.lgamma(2 * SPAN - n)
        out[:, n] = np.exp(log_norm / 2 + s * log_z - z / 2) * eval_genlaguerre(n, 2 * s, z)
    return out


def morse_products(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Morse's functions, normalised in L²(R²): (N, 2) → (N, count)."""
    chosen = separable.states([morse_level] * 2, count)
    sizes = separable.highest(chosen)
    tables = [morse_functions(t, n + 1) for t, n in zip(x.T, sizes, strict=True)]
    return separable.products(tables, chosen)


def morse_network(kind: str, modes: int, largest: float) -> nn.Module:
    inputs = ScaledInputs(2, scale=1.0, centre=0.7)
    body = trunk(kind, inputs.features, modes)
    envelope = GaussianEnvelope(torch.full((modes,), 1.5))
    return Ansatz(body, envelope, inputs=inputs, amplitude=math.sqrt(largest))


def morse() -> Problem:
    """Energies Σ_i 2a√D (n_i+½) − a²(n_i+½)², D = 64, a = ½: 16 bound levels on every axis.

    The modes are the complete levels with at most 16 states in all; the next level is at T = 0.
    """
    axes = [morse_level] * 2
    modes, shift = separable.whole_levels(axes, MOST_MORSE)
    # where one axis may break up, the continuum begins
    bound = sum(e < morse_level(0) + DEPTH for e in separable.energies(axes, 100))
    return Problem(
        name="morse",
        summary=f"two Morse oscillators, T = ∇² − Σ 64(1 − e^(−x_i/2))² {signed(shift)}",
        form=Schrodinger(morse_potential, Lebesgue(UniformBox(*WINDOW, 2), "lattice")) + shift,
        modes=modes,
        network=lambda kind, count: morse_network(kind, count, shift),
        exact=ExactSpectrum(lambda L: shift - separable.energies(axes, L), morse_products),
        training=Training(steps=2400, batch=1600, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(-2.0, 4.0),
        max_modes=bound,
        space=lambda count: confining(morse_potential, 2, count),
    )


MOST_COSINE = 16


def cosines(x: Tensor) -> Tensor:
    return x.cos().sum(1)


def mathieu_level(n: int) -> float:
    """−f″ + cos(x) f = λ f with period 2π: λ_n = a_n(2)/4 for even n, b_{n+1}(2)/4 for odd n.

    With x = 2z it is Mathieu's equation y″ + (4λ − 4 cos 2z) y = 0, so q = 2; the characteristic
    values of even order belong to functions of period π in z (DLMF 28.2).
    """
    return float(mathieu_b(n + 1, 2.0) if n % 2 else mathieu_a(n, 2.0)) / 4


def galerkin(odd: bool, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and vectors of −d² + cos among ``size`` normalised cosines, or sines if ``odd``."""
    k = np.arange(size) + odd
    side = np.full(size - 1, 0.5)
    if not odd:
        side[0] = math.sqrt(0.5)
    values, vectors = eigh_tridiagonal(k.astype(float) ** 2, side)
    return values, vectors


def mathieu_functions(t: np.ndarray, count: int) -> np.ndarray:
    """The functions of the lowest levels, normalised in L²([0, 2π]): (N,) → (N, count)."""
    size = count // 2 + 24
    basis = waves(t, 2 * size)
    out = np.empty((len(t), count))
    # waves alternate: 1, cos t, sin t, cos 2t, sin 2t, …
    cosine_waves = basis[:, [0, *range(1, 2 * size, 2)]]
    sine_waves = basis[:, 2::2]
    for odd, wave in ((False, cosine_waves), (True, sine_waves)):
        _, vectors = galerkin(odd, wave.shape[1])
        kept = (count + (not odd)) // 2
        out[:, odd::2] = wave @ vectors[:, :kept]
    return out


def mathieu_products(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Mathieu functions, normalised in L²([0, 2π]^d): (N, d) → (N, count)."""
    chosen = separable.states([mathieu_level] * x.shape[1], count)
    sizes = separable.highest(chosen)
    tables = [mathieu_functions(t, n + 1) for t, n in zip(x.T, sizes, strict=True)]
    return separable.products(tables, chosen)


def cosine(dim: int = 2) -> Problem:
    """−T = −∇² + Σ cos x_i − c on [0, 2π]^d, periodic: sums of Mathieu's characteristic values.

    The modes are the complete levels with at most 16 states in all; the next level is at T = 0.

    Args:
        dim: d.
    """
    dim = separable.checked_dimension("cosine", dim)
    axes = [mathieu_level] * dim
    modes, shift = separable.whole_levels(axes, MOST_COSINE)
    ground = dim * mathieu_level(0)
    return Problem(
        name="cosine",
        summary=f"cosine potential on the torus, d = {dim}, T = ∇² − Σcos x_i {signed(shift)}",
        form=Schrodinger(cosines, periodic_measure(dim)) + shift,
        modes=modes,
        network=lambda kind, count: torus_network(kind, count, dim, shift - ground),
        exact=ExactSpectrum(lambda L: shift - separable.energies(axes, L), mathieu_products),
        training=Training(
            steps=2000, batch=800 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift - ground
        ),
        energy=lambda v: shift - v,
        extent=(0.0, 2 * math.pi),
        whole=True,
        space=lambda count: TorusSpace(dim),
    )
