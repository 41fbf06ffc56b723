"""Spaces: boundary conditions, points that integrate, coordinates fitted to states, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from laws.spaces import SpaceLaws, choices
from schmidt.operators.jet import forward_mode
from schmidt.operators.ritz import (
    BoxSpace,
    CoulombSpace,
    EuclideanSpace,
    FeatureChoice,
    NormalSpace,
    Space,
    TorusSpace,
    confining,
)

SKEW = torch.tensor([[1.0, 0.3], [0.3, 0.6]], dtype=torch.float64)


def bell(x: Tensor) -> Tensor:
    return (1 + x[:, 0] ** 2) * (-x.pow(2).sum(1)).exp()


def bell_integral(dim: int) -> float:
    return 1.5 * math.pi ** (dim / 2)


def wave(x: Tensor) -> Tensor:
    return 1 + (2 * x[:, 0]).cos() * x[:, -1].sin() + x[:, 0].sin() ** 2


def square(x: Tensor) -> Tensor:
    return x[:, 0] ** 2


def slab(x: Tensor) -> Tensor:
    return x[:, 0].pow(2) * x[:, -1].cos()


def coulomb(x: Tensor) -> Tensor:
    r = x.norm(dim=1)
    return (-r).exp() / r


# space, integrand, ∫ integrand, tolerance of the rule
CASES: dict[str, tuple[Space, Callable[[Tensor], Tensor], float, float]] = {
    "line": (EuclideanSpace(1, reach=4), bell, bell_integral(1), 1e-12),
    "plane": (EuclideanSpace(2, lengths=SKEW, centre=0.2), bell, bell_integral(2), 1e-8),
    "room": (EuclideanSpace(3, lengths=(1.0, 0.8, 1.2)), bell, bell_integral(3), 1e-2),
    "four": (EuclideanSpace(4), bell, bell_integral(4), 3e-2),
    "coulomb plane": (CoulombSpace(2, 20.0), coulomb, 2 * math.pi, 1e-4),
    "coulomb room": (CoulombSpace(3, 20.0), coulomb, 4 * math.pi, 1e-2),
    "box": (BoxSpace(2, low=(-1, 0), high=(2, math.pi / 2)), slab, 3.0, 1e-12),
    "box of four": (BoxSpace(4, low=0, high=1), slab, math.sin(1) / 3, 1e-2),
    "torus": (TorusSpace(2), wave, 1.5 * (2 * math.pi) ** 2, 1e-12),
    "normal": (NormalSpace(1, mean=1.0, covariance=4.0), square, 5.0, 1e-10),
    "normal plane": (NormalSpace(2, covariance=SKEW), square, 1.0, 1e-8),
    "normal four": (NormalSpace(4, mean=[1.0, 0, 0, 0]), square, 2.0, 3e-2),
}


@pytest.fixture(params=list(CASES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestSpaces(SpaceLaws):
    """The laws of every space."""

    @pytest.fixture(autouse=True)
    def _of(self, name: str) -> None:
        self.case = CASES[name]
        self.tolerance = self.case[3]

    def space(self) -> Space:
        return self.case[0]

    def integrand(self, x: Tensor) -> Tensor:
        return self.case[1](x)

    def integral(self) -> float:
        return self.case[2]


@pytest.mark.parametrize("dim", [1, 2])
def test_grids_to_judge_on_integrate_decaying_functions(dim: int) -> None:
    """Every single draw, and out to the reach."""
    space = EuclideanSpace(dim, reach=4.0)
    for seed in range(3):
        points = space.independent(60**dim, torch.Generator().manual_seed(seed))
        assert float(points.weight @ bell(points.x)) == pytest.approx(bell_integral(dim), rel=1e-10)


@torch.no_grad()
def test_features_of_a_box_vanish_on_its_walls() -> None:
    space = BoxSpace(2, low=(-1.0, 2.0), high=(1.0, 5.0))
    t = torch.rand(8, 1, dtype=torch.float64)
    for wall in (-1.0, 1.0):
        x = torch.cat([torch.full_like(t, wall), 2 + 3 * t], 1)
        for choice in choices(space):
            assert float(space.features(choice)(x).abs().max()) < 1e-14
    inside = space.features(space.start(3))(torch.tensor([[0.0, 3.5]], dtype=torch.float64))
    assert float(inside.abs().max()) > 0.5


def test_features_of_a_torus_are_periodic() -> None:
    space = TorusSpace(2, period=3.0)
    x = 3 * torch.rand(8, 2, dtype=torch.float64)
    for choice in choices(space):
        features = space.features(choice)
        shifted = features.jet(x + torch.tensor([3.0, -6.0]).double(), 2)
        torch.testing.assert_close(
            shifted.streams, features.jet(x, 2).streams, rtol=1e-9, atol=1e-9
        )


@torch.no_grad()
@pytest.mark.parametrize("space", [EuclideanSpace(2, centre=3.0, lengths=SKEW), CoulombSpace(2, 9)])
def test_features_of_bound_states_decay(space: Space) -> None:
    direction = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    for choice in choices(space):
        features = space.features(choice)
        far = features(torch.cat([1e3 * direction, 1e4 * direction]))
        assert float(far.abs().max()) < 1e-6


def test_what_the_search_may_scale() -> None:
    choice = FeatureChoice(width=3, points=10, scale=2.0, seed=4)
    assert choice.scaled("scale", 1.5) == FeatureChoice(width=3, points=10, scale=3.0, seed=4)
    assert choice.scaled("width", 1.5).width == 4
    assert choice.scaled("width", 0.01).width == 1


def test_refocusing_finds_the_geometric_mean_of_position_and_inverse_momentum() -> None:
    """The ground state of ∇² − xᵀK x, e^{−xᵀ√K x/2}: A = K^{−1/4}, whatever the first guess."""
    q = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    omega = torch.tensor([0.5, 1.0, 2.0, 6.0], dtype=torch.float64)
    root, centre = (q * omega) @ q.T, torch.tensor([1.0, 0.0, -2.0, 0.5], dtype=torch.float64)

    def ground(x: Tensor) -> Tensor:
        z = x - centre
        return (-0.5 * ((z @ root) * z).sum(1, keepdim=True)).exp()

    first = EuclideanSpace(4, spread=1.5, centre=0.3)
    points = first.fresh(2**15, torch.Generator().manual_seed(0))
    found = first.refocused(points, forward_mode(ground, points.x, 1))
    assert isinstance(found, EuclideanSpace)
    wanted = (q * omega.pow(-0.5)) @ q.T
    torch.testing.assert_close(found.lengths, wanted, rtol=0.1, atol=0.05)
    torch.testing.assert_close(found.centre, centre, rtol=0, atol=0.1)
    assert found.spread == pytest.approx(math.sqrt(0.5), rel=0.05)


@pytest.mark.parametrize("space", [EuclideanSpace(2), CoulombSpace(2, 5.0), BoxSpace(4)])
def test_other_spaces_stay_as_they_are(space: Space) -> None:
    points = space.fresh(16, torch.Generator().manual_seed(0))
    jet = forward_mode(lambda x: x[:, :1] * (-x.pow(2).sum(1, keepdim=True)).exp(), points.x, 1)
    assert space.refocused(points, jet) is space


def test_confining_potentials_and_coulomb_centres_get_their_spaces() -> None:
    square = confining(lambda x: (x - 2).pow(2).sum(1) * 16, 2, 6)
    assert isinstance(square, EuclideanSpace)
    torch.testing.assert_close(square.centre, torch.full((2,), 2.0).double(), rtol=0, atol=1e-2)
    torch.testing.assert_close(square.lengths, 0.5 * torch.eye(2).double(), rtol=1e-2, atol=1e-2)
    atom = confining(lambda x: -6 / x.norm(dim=1), 3, 5, kinetic=2.0)
    assert isinstance(atom, CoulombSpace)
    assert atom.charge == pytest.approx(3.0)
    assert len(atom.singularities()) == 1
    assert len(square.singularities()) == 0


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: EuclideanSpace(0), "at least one dimension, got 0"),
    (lambda: EuclideanSpace(2, reach=0), "reach must be positive, got 0"),
    (lambda: EuclideanSpace(2, centre=[1.0, 2.0, 3.0]), "centre must be a number or have 2"),
    (lambda: EuclideanSpace(2, lengths=[1.0]), "lengths must be a number or have 2 entries"),
    (lambda: EuclideanSpace(2, lengths=torch.eye(3)), r"lengths must have shape \(2, 2\), got"),
    (lambda: EuclideanSpace(2, lengths=0.0).rule(9), "must be invertible"),
    (lambda: CoulombSpace(1, 2.0), "dim ≥ 2 and a positive radius, got 1"),
    (lambda: CoulombSpace(2, 0.0), "dim ≥ 2 and a positive radius"),
    (lambda: BoxSpace(2, low=1.0, high=1.0), "low < high on every axis"),
    (lambda: BoxSpace(2, low=[0.0, 0, 0], high=1.0), "low must be a number or have 2 entries"),
    (lambda: TorusSpace(2, period=0.0), "period must be positive, got 0"),
    (lambda: NormalSpace(2, covariance=-1.0), "covariance must be positive definite"),
    (lambda: NormalSpace(2, covariance=torch.eye(3)), r"covariance must have shape \(2, 2\)"),
    (lambda: NormalSpace(2, mean=[0.0]), "mean must be a number or have 2 entries"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_arguments_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
