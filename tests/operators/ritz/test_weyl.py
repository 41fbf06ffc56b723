"""Weyl's law against classical phase space, in shifted and squeezed frames and bad potentials."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt.operators.ritz.weyl import Region, region


def square(x: Tensor) -> Tensor:
    return x.pow(2).sum(1)


def coulomb(x: Tensor) -> Tensor:
    return -1 / x.norm(dim=1)


def oscillator_energy(dim: int, count: int) -> float:
    """N(E) = (E/2)^d/d!."""
    return 2 * (count * math.factorial(dim)) ** (1 / dim)


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 6])
def test_oscillators(dim: int, count: int) -> None:
    found, energy = region(square, dim, count), oscillator_energy(dim, count)
    assert found.energy == pytest.approx(energy, rel=1e-5 if dim < 4 else 1e-3)
    spread = energy / (2 * dim + 2)  # of position and of momentum, in a ball of radius √E
    eye = torch.eye(dim, dtype=torch.float64)
    torch.testing.assert_close(found.covariance, spread * eye, rtol=2e-2, atol=2e-2 * spread)
    assert found.momentum == pytest.approx(spread, rel=2e-2)
    torch.testing.assert_close(found.lengths, eye, rtol=2e-2, atol=2e-2)
    assert found.radius == pytest.approx(math.sqrt(energy), rel=0.05 if dim < 4 else 0.15)
    assert found.charge == 0


@pytest.mark.parametrize("kinetic", [0.25, 4.0])
def test_the_kinetic_factor_scales_energies(kinetic: float) -> None:
    """κ = a² is a change of length scale: E → √κ E."""
    found = region(square, 2, 8, kinetic=kinetic)
    assert found.energy == pytest.approx(8 * math.sqrt(kinetic), rel=1e-5)
    assert float(found.lengths[0, 0]) == pytest.approx(kinetic**0.25, rel=1e-2)


def test_hydrogen_in_the_plane_and_in_space() -> None:
    """E = −1/4N, and −(24N)^{−2/3}, within the resolution of the cusp."""
    flat, full = region(coulomb, 2, 16), region(coulomb, 3, 14)
    assert flat.energy == pytest.approx(-1 / 64, rel=0.02)
    assert full.energy == pytest.approx(-((24 * 14) ** (-2 / 3)), rel=0.02)
    assert flat.radius == pytest.approx(64, rel=0.05)


@pytest.mark.parametrize("shift", [5.0, 300.0, 3000.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_shifted_potentials(dim: int, shift: float) -> None:
    """Also where none of the first points hits the region."""
    found = region(lambda x: square(x - shift), dim, 5)
    assert found.energy == pytest.approx(oscillator_energy(dim, 5), rel=1e-3)
    torch.testing.assert_close(
        found.centre, torch.full((dim,), shift, dtype=torch.float64), rtol=0, atol=1e-2
    )


def test_an_added_constant_shifts_the_energy_only() -> None:
    plain, lifted = region(square, 2, 5), region(lambda x: square(x) - 1e4, 2, 5)
    assert lifted.energy + 1e4 == pytest.approx(plain.energy, rel=1e-5)
    torch.testing.assert_close(lifted.covariance, plain.covariance, rtol=1e-3, atol=1e-3)


def test_anisotropic_and_rotated_oscillators() -> None:
    """V = xᵀK x with K = Q diag(ω²) Qᵀ: N(E) = E²/(8ω₁ω₂), A = K^{−1/4}."""
    c, s = math.cos(0.5), math.sin(0.5)
    q = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    omega = torch.tensor([1.0, 30.0], dtype=torch.float64)
    k = (q * omega**2) @ q.T
    found = region(lambda x: ((x @ k.to(x)) * x).sum(1), 2, 6)
    assert found.energy == pytest.approx(math.sqrt(8 * 6 * 30), rel=1e-3)
    wanted = (q * omega.pow(-0.5)) @ q.T
    torch.testing.assert_close(found.lengths, wanted, rtol=2e-2, atol=1e-2)


CHARGES: list[tuple[Callable[[Tensor], Tensor], float]] = [
    (coulomb, 1.0),
    (lambda x: 1e-3 * coulomb(x), 1e-3),
    (lambda x: 50 * coulomb(x) + 3, 50.0),
    (lambda x: 2 * coulomb(x) + square(x), 2.0),
    (lambda x: square(x) - coulomb(x), -1.0),
    (lambda x: square(x) + 1e3, 0.0),
    (lambda x: square(x) + x.norm(dim=1).log(), 0.0),
    (lambda x: square(x) - x.norm(dim=1).pow(-0.5), 0.0),
    (lambda x: square(x) + coulomb(x - 1.0), 0.0),
    (lambda x: square(x) + coulomb(x) * (1 + x[:, 0] / x.norm(dim=1)), 0.0),
]


@pytest.mark.parametrize("index", range(len(CHARGES)))
@pytest.mark.parametrize("dim", [2, 3])
def test_a_charge_is_seen_at_the_origin_only(dim: int, index: int) -> None:
    potential, charge = CHARGES[index]
    assert region(potential, dim, 3).charge == pytest.approx(charge, rel=1e-4, abs=1e-9)


FREE: list[Callable[[Tensor], Tensor | float]] = [
    lambda x: 3.0,
    lambda x: 0 * x[:, 0],
    lambda x: -square(x),
    lambda x: x[:, 0],
    lambda x: -1e-3 * (-square(x)).exp(),
    lambda x: -10 * (-square(x)).exp(),
    lambda x: -10 / (1 + square(x)) ** 2,
]


@pytest.mark.parametrize("index", range(len(FREE)))
def test_too_few_bound_states_are_an_error(index: int) -> None:
    with pytest.raises(ValueError, match="fewer than 30 bound states"):
        region(FREE[index], 2, 30)  # type: ignore[arg-type]


def check(found: Region) -> None:
    assert math.isfinite(found.energy)
    assert math.isfinite(found.momentum)
    assert found.momentum > 0
    assert bool(found.centre.isfinite().all())
    assert bool((torch.linalg.eigvalsh(found.covariance) > 0).all())
    assert bool(found.lengths.isfinite().all())


WILD: dict[str, Callable[[Tensor], Tensor]] = {
    "overflow": lambda x: square(x).exp(),
    "overflow, deep": lambda x: (100 * square(x)).exp() - 1e3,
    "steep": lambda x: square(x).pow(20),
    "NaN at the centre": lambda x: torch.where(square(x) < 1e-4, math.nan, square(x)),
    "NaN far away": lambda x: torch.where(square(x) > 1e4, math.nan, square(x)),
    "infinite walls": lambda x: square(x) + torch.where(x.norm(dim=1) < 2, 0.0, math.inf),
    "an infinite box": lambda x: torch.where(x.norm(dim=1) < 2, 0.0, math.inf),
    "a hole": lambda x: square(x) - torch.where(square(x) < 1e-8, math.inf, 0.0),
    "a hard well": lambda x: torch.where(x.norm(dim=1) < 1, 0.0, 1e9),
    "in millions": lambda x: 1e6 * square(x),
    "in millionths": lambda x: 1e-6 * square(x),
}


@pytest.mark.parametrize("name", WILD)
@pytest.mark.parametrize("dim", [1, 3])
def test_wild_potentials_have_a_region(dim: int, name: str) -> None:
    check(region(WILD[name], dim, 4))


def test_nowhere_finite_potentials_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite anywhere"):
        region(lambda x: x[:, 0] * math.nan, 2, 1)


def test_an_extent_says_where_to_look() -> None:
    """A small well in a potential that rises at a thousand times its size."""
    found = region(square, 2, 3, extent=2.0)
    assert found.energy == pytest.approx(oscillator_energy(2, 3), rel=1e-4)
    with pytest.raises(ValueError, match="or say where they live with extent="):
        region(lambda x: square(x) / 1e6, 2, 3, extent=1.0)


@pytest.mark.parametrize(
    "bad", [{"count": 0}, {"count": 3, "kinetic": 0.0}, {"count": 3, "extent": -1.0}]
)
def test_bad_arguments_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least one state, a positive kinetic factor"):
        region(square, 2, **bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the potential must map"):
        region(lambda x: x, 2, 3)


def test_a_well_that_leaks() -> None:
    """x² + y² + xy²/10 has no lowest value, and a well at the origin."""
    found = region(lambda x: square(x) + 0.1 * x[:, 0] * x[:, 1] ** 2, 2, 10)
    assert found.leaks
    assert found.energy == pytest.approx(oscillator_energy(2, 10), rel=0.02)
    assert not region(square, 2, 10).leaks
    with pytest.raises(ValueError, match="falls without end"):
        region(lambda x: -square(x), 2, 1)
