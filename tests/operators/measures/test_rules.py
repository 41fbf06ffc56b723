"""Fine rules are exact on known integrals; densities are normalised and those of their maps."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from schmidt.operators import Gaussian, Lebesgue, Mixture, Points, Radial, UniformBox
from schmidt.operators.measures import Proposal, SmoothBox


def integrate(points: Points, integrand: Callable[[Tensor], Tensor]) -> float:
    return float(points.weight @ integrand(points.x))


def monomial(x: Tensor, powers: tuple[int, ...]) -> Tensor:
    return torch.stack([x[:, i] ** p for i, p in enumerate(powers)]).prod(0)


def hermite_moment(power: int) -> float:
    """∫ zᵖ e^{−z²} dz."""
    return math.gamma((power + 1) / 2) if power % 2 == 0 else 0.0


POWERS = [(0, 0, 0), (7, 0, 1), (2, 4, 6), (7, 7, 7)]


@pytest.mark.parametrize("powers", POWERS)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_box_rules_are_exact_for_polynomials(dim: int, powers: tuple[int, ...]) -> None:
    """n points per axis: degree 2n − 1."""
    low, high = [-1.0, 0.5, 2.0][:dim], [2.0, 1.0, 3.5][:dim]
    points = Lebesgue(UniformBox(low, high, dim)).evaluation(4)
    sides = zip(low, high, powers, strict=False)
    exact = math.prod((b ** (p + 1) - a ** (p + 1)) / (p + 1) for a, b, p in sides)
    assert len(points) == 4**dim
    assert integrate(points, lambda x: monomial(x, powers[:dim])) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("powers", POWERS)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gaussian_rules_are_exact_for_hermite_functions(dim: int, powers: tuple[int, ...]) -> None:
    scale, centre = torch.tensor([0.5, 1.0, 3.0])[:dim].double(), torch.tensor([1.0, 0.0, -2.0])
    proposal = Gaussian(scale.tolist(), dim, centre[:dim].tolist())

    def integrand(x: Tensor) -> Tensor:
        z = (x - centre[:dim]) / scale
        return monomial(z, powers[:dim]) * (-z.pow(2).sum(1)).exp()

    exact = math.prod(hermite_moment(p) * float(s) for p, s in zip(powers, scale, strict=False))
    found = integrate(Lebesgue(proposal).evaluation(4), integrand)
    assert found == pytest.approx(exact, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kind", [UniformBox, SmoothBox, Gaussian])
def test_default_rules_are_fine(kind: type, dim: int) -> None:
    proposal = Gaussian(1.0, dim) if kind is Gaussian else kind(-6.0, 7.0, dim)
    points = Lebesgue(proposal).evaluation()
    found = integrate(points, lambda x: (-0.7 * (x - 0.3).pow(2).sum(1)).exp() * (1 + x[:, 0]))
    assert found == pytest.approx(1.3 * (math.pi / 0.7) ** (dim / 2), rel=1e-8)


@pytest.mark.parametrize(
    ("inner", "n", "tolerance"), [(1e-12, 320, 1e-9), (1e-9, 160, 1e-8), (None, None, 1e-6)]
)
@pytest.mark.parametrize("dim", [2, 3])
def test_radial_rules_are_exact(
    dim: int, inner: float | None, n: int | None, tolerance: float
) -> None:
    """Smooth, off-centre, with angular momentum, and with a 1/r singularity."""
    points = Lebesgue(Radial(dim, scale=0.5, outer=30.0, inner=inner)).evaluation(n)
    sphere = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)
    volume = (2 * math.pi) ** (dim / 2)

    def gaussian(x: Tensor) -> Tensor:
        return (-0.5 * x.pow(2).sum(1)).exp()

    def coulomb(x: Tensor) -> Tensor:
        return (-x.norm(dim=1)).exp() / x.norm(dim=1)

    known: list[tuple[Callable[[Tensor], Tensor], float]] = [
        (gaussian, volume),
        (lambda x: gaussian(x - 0.7), volume),
        (lambda x: gaussian(x) * x[:, 0] ** 4 * x[:, 1] ** 2, 3 * volume),
        (lambda x: gaussian(x) * x[:, 0] ** 3 * x[:, 1], 0.0),
        (coulomb, sphere * math.gamma(dim - 1)),
        (lambda x: coulomb(x) * x[:, -1] ** 2, sphere * math.gamma(dim + 1) / dim),
    ]
    for integrand, exact in known:
        assert integrate(points, integrand) == pytest.approx(exact, rel=tolerance, abs=tolerance)


DENSITIES: dict[str, Proposal] = {
    "gaussian 1d": Gaussian(0.7, 1, 0.5),
    "gaussian 2d": Gaussian((0.8, 1.5), 2),
    "gaussian 3d": Gaussian(1.2, 3),
    "mixture 1d": Mixture([Gaussian(0.7, 1), Gaussian(1.0, 1, -2.0)], [3, 1]),
    "mixture 2d": Mixture([Gaussian(0.9, 2), Gaussian(1.5, 2)], [3, 1]),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_are_normalised(name: str) -> None:
    proposal = DENSITIES[name]
    box = UniformBox(-12, 12, proposal.dim)
    points = Lebesgue(box).evaluation(200 if proposal.dim < 3 else 60)
    assert integrate(points, proposal.density) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_radial_density_is_normalised(dim: int) -> None:
    proposal = Radial(dim, scale=0.5, outer=20.0)
    direction = torch.nn.functional.normalize(torch.randn(1, dim, dtype=torch.float64))
    sphere = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)

    def shell(t: float) -> float:
        return sphere * math.exp(dim * t) * float(proposal.density(math.exp(t) * direction))

    mass, _ = quad(shell, math.log(5e-7), math.log(20.0), limit=200)
    assert mass == pytest.approx(1, abs=1e-8)
    assert float(proposal.density(30 * direction)) == 0


@pytest.mark.parametrize(
    "proposal",
    [
        Gaussian((0.7, 2.0), 2, 0.5),
        UniformBox((-1, 0, 1), (1, 3, 2), 3),
        SmoothBox((-1, 0), (1, 3), 2),
        Radial(2, scale=0.5, outer=9.0),
        Radial(3, scale=0.5, outer=9.0),
    ],
)
def test_densities_are_those_of_the_map(proposal: Proposal) -> None:
    """1/p(x(u)) = |det ∂x/∂u|: normalised, since the maps are one to one."""
    u = 0.02 + 0.96 * torch.rand(40, len(proposal.aspect), dtype=torch.float64)
    slopes = torch.func.vmap(torch.func.jacrev(lambda v: proposal.transform(v[None])[0]))(u)
    volume = torch.linalg.det(slopes).abs()
    x = proposal.transform(u)
    torch.testing.assert_close(proposal.weights(u, x), volume, rtol=1e-9, atol=0)
    torch.testing.assert_close(1 / proposal.density(x), volume, rtol=1e-6, atol=0)
