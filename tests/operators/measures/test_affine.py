"""Affine images of proposals, periodic cells, and Gauss–Hermite rules of any size."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt.operators import Gaussian, Lebesgue, Radial, UniformBox
from schmidt.operators.measures import Affine, Distribution, Periodic, Proposal, SmoothBox
from schmidt.operators.measures.cube import SAMPLINGS

LENGTHS = torch.tensor([[1.2, 0.4], [-0.3, 0.7]], dtype=torch.float64)
CENTRE = torch.tensor([0.5, -1.0], dtype=torch.float64)
BASES: dict[str, Proposal] = {
    "gaussian": Gaussian(1.6, 2),
    "box": UniformBox(-8.0, 8.0, 2),
    "smooth box": SmoothBox(-7.0, 7.0, 2),
    "radial": Radial(2, scale=0.7, outer=14.0, inner=1e-9),
}


def lump(x: Tensor) -> Tensor:
    """A Gaussian off the centre, times 1 + x₀: nothing in it is symmetric."""
    return (1 + x[:, 0]) * (-0.5 * (x - 0.2).pow(2).sum(1)).exp()


LUMP = 1.2 * 2 * math.pi


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", BASES)
def test_affine_images_are_unbiased(name: str, sampling: str) -> None:
    measure = Lebesgue(Affine(BASES[name], CENTRE, LENGTHS), sampling)
    generator = torch.Generator().manual_seed(4)
    draws = [measure.sample(100, generator) for _ in range(250)]
    found = torch.stack([p.weight @ lump(p.x) for p in draws])
    error = float(found.std()) / math.sqrt(len(found))
    assert abs(float(found.mean()) - LUMP) < 4 * error + 1e-7 * LUMP
    assert error < 0.1 * LUMP


@pytest.mark.parametrize("name", BASES)
def test_rules_of_affine_images_are_accurate(name: str) -> None:
    points = Lebesgue(Affine(BASES[name], CENTRE, LENGTHS)).evaluation(100)
    tolerance = 1e-4 if name == "smooth box" else 1e-6
    assert float(points.weight @ lump(points.x)) == pytest.approx(LUMP, rel=tolerance)


@pytest.mark.parametrize("name", ["gaussian", "box", "radial"])
def test_densities_are_those_of_the_map(name: str) -> None:
    """p(x) = p_z(z)/|det A|; weights are 1/p."""
    base = BASES[name]
    proposal = Affine(base, CENTRE, LENGTHS)
    u = torch.rand(50, 2, dtype=torch.float64)
    z, x = base.transform(u), proposal.transform(u)
    torch.testing.assert_close(x, CENTRE + z @ LENGTHS.T)
    density = base.density(z) / torch.linalg.det(LENGTHS).abs()
    torch.testing.assert_close(proposal.density(x), density)
    torch.testing.assert_close(proposal.weights(u, x), 1 / density)


def test_an_affine_gaussian_is_a_gaussian() -> None:
    law = Distribution(Affine(Gaussian(2.0, 2), CENTRE, LENGTHS)).evaluation()
    mean = law.weight @ law.x
    torch.testing.assert_close(mean, CENTRE, rtol=1e-6, atol=1e-6)
    spread = (law.x - mean).T @ (law.weight[:, None] * (law.x - mean))
    torch.testing.assert_close(spread, 4 * LENGTHS @ LENGTHS.T, rtol=1e-6, atol=1e-6)


def test_reflections_and_single_precision() -> None:
    mirror = torch.diag(torch.tensor([-1.0, 1.0]))
    proposal = Affine(UniformBox(0.0, 1.0, 2), torch.zeros(2), mirror)
    x = torch.tensor([[-0.5, 0.5], [0.5, 0.5]])
    assert proposal.density(x).tolist() == [1, 0]
    assert proposal.density(x).dtype == torch.float32
    assert proposal.volume == 1


@pytest.mark.parametrize(
    ("centre", "lengths", "message"),
    [
        (torch.zeros(3), torch.eye(2), r"a centre of shape \(2,\)"),
        (torch.zeros(2), torch.eye(3), r"lengths of shape \(2, 2\)"),
        (torch.zeros(2), torch.ones(2, 2), "must be invertible"),
    ],
)
def test_bad_maps_are_refused(centre: Tensor, lengths: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Affine(Gaussian(1.0, 2), centre, lengths)


def wave(period: float) -> Callable[[Tensor], Tensor]:
    k = 2 * math.pi / period
    return lambda x: (k * x).cos().sum(1).exp() + (3 * k * x[:, 0]).sin()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_periodic_rules_and_lattices_are_spectrally_accurate(dim: int) -> None:
    """∫ exp(Σ cos kx) over a cell: (period·I₀(1))^d, to rounding on 16 points per axis."""
    exact = (3.0 * float(torch.special.i0(torch.ones(1).double()))) ** dim
    measure, function = Lebesgue(Periodic(3.0, dim)), wave(3.0)
    for points in (measure.rule(20), measure.evaluation()):
        assert points is not None
        assert float(points.weight @ function(points.x)) == pytest.approx(exact, rel=1e-12)
        assert float(points.x.min()) >= 0
        assert float(points.x.max()) < 3
    draw = measure.sample(20**dim, torch.Generator().manual_seed(0))
    assert float(draw.weight @ function(draw.x)) == pytest.approx(exact, rel=1e-10)


def test_periodic_cells_of_many_dimensions_have_no_rule() -> None:
    measure = Lebesgue(Periodic(3.0, 4))
    assert measure.rule() is None
    points = measure.evaluation(4096)
    exact = (3.0 * float(torch.special.i0(torch.ones(1).double()))) ** 4
    assert float(points.weight @ wave(3.0)(points.x)) == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("n", [1, 2, 150, 151, 400, 2000])
def test_gauss_hermite_rules_of_any_size(n: int) -> None:
    """∫ x^p e^{−x²/2.42} dx; weights of 400 points and more underflow before e^{x²} lifts them."""
    points = Lebesgue(Gaussian(1.1, 1)).rule(n)
    assert points is not None
    assert bool((points.weight > 0).all())
    for power in (0, 1, 6):
        if power >= 2 * n:
            continue
        exact = 1.1 ** (power + 1) * math.gamma((power + 1) / 2) * (power % 2 == 0)
        found = points.weight @ (points.x[:, 0] ** power * (-((points.x[:, 0] / 1.1) ** 2)).exp())
        assert float(found) == pytest.approx(exact, rel=1e-11, abs=1e-11)
