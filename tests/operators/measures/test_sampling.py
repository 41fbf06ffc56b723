"""Every way to sample every proposal: unbiased integrals, and lattices of spectral accuracy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from schmidt.operators import Gaussian, Lebesgue, Mixture, Radial, UniformBox
from schmidt.operators.measures import Distribution, Proposal, SmoothBox
from schmidt.operators.measures.cube import SAMPLINGS, grid_shape

Integrand = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    proposal: Proposal
    integrand: Integrand
    exact: float


def sphere(dim: int) -> float:
    return 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)


def lump(x: Tensor) -> Tensor:
    """A Gaussian off the centre, times 1 + x₀: nothing in it is symmetric."""
    return (1 + x[:, 0]) * (-0.5 * (x - 0.2).pow(2).sum(1)).exp()


def lump_integral(dim: int) -> float:
    return 1.2 * (2 * math.pi) ** (dim / 2)


def coulomb(x: Tensor) -> Tensor:
    r = x.norm(dim=1)
    return (1 + x[:, 0] / r) * (-r).exp() / r


def coulomb_integral(dim: int) -> float:
    return sphere(dim) * math.gamma(dim - 1)


def waves(x: Tensor) -> Tensor:
    return (x.cumsum(1) / 2).exp().sum(1) + x[:, 0].cos()


def waves_integral(low: float, high: float, dim: int) -> float:
    side = high - low

    def slope(a: float) -> float:
        return (math.exp(a * high) - math.exp(a * low)) / a

    growth = sum(slope(0.5) ** k * side ** (dim - k) for k in range(1, dim + 1))
    return growth + (math.sin(high) - math.sin(low)) * side ** (dim - 1)


CASES: dict[str, Case] = {
    **{f"gaussian {d}d": Case(Gaussian(1.3, d), lump, lump_integral(d)) for d in (1, 2, 3, 5)},
    **{
        f"box {d}d": Case(UniformBox(-1.0, 2.0, d), waves, waves_integral(-1, 2, d))
        for d in (1, 2, 3, 4)
    },
    **{
        f"smooth box {d}d": Case(SmoothBox(-1.0, 2.0, d), waves, waves_integral(-1, 2, d))
        for d in (1, 2, 3)
    },
    **{
        f"radial {d}d": Case(Radial(d, scale=1.0, outer=14.0), lump, lump_integral(d))
        for d in (2, 3, 4)
    },
    **{
        f"coulomb {d}d": Case(
            Radial(d, scale=0.5, outer=30.0, inner=1e-9), coulomb, coulomb_integral(d)
        )
        for d in (2, 3, 4)
    },
    "mixture 1d": Case(
        Mixture([Gaussian(2.0, 1), UniformBox(-1, 1, 1), Gaussian(0.5, 1, 1.0)], [5, 1, 2]),
        lump,
        lump_integral(1),
    ),
    "mixture 2d": Case(
        Mixture([Gaussian((1.0, 2.0), 2, (0.5, 0.0)), Radial(2, scale=0.5, outer=14.0)]),
        lump,
        lump_integral(2),
    ),
    "mixture 3d": Case(
        Mixture([Gaussian(1.5, 3), Radial(3, scale=0.5, outer=14.0)]), lump, lump_integral(3)
    ),
    "mixture of one": Case(Mixture([Gaussian(1.5, 2)]), lump, lump_integral(2)),
}


def integrals(case: Case, sampling: str, n: int, draws: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    measure = Lebesgue(case.proposal, sampling)
    out = []
    for _ in range(draws):
        points = measure.sample(n, generator)
        out.append(points.weight @ case.integrand(points.x))
    return torch.stack(out)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", CASES)
def test_integrals_are_unbiased(name: str, sampling: str) -> None:
    case = CASES[name]
    found = integrals(case, sampling, 60, 250)
    error = float(found.std()) / math.sqrt(len(found))
    # 1e-8: the ball inside and the space outside, which a radial proposal leaves out
    assert abs(float(found.mean()) - case.exact) < 4 * error + 1e-8 * case.exact
    assert error < 0.05 * case.exact


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", CASES)
def test_a_distribution_gives_expectations(name: str, sampling: str) -> None:
    """E_p[h/p] = ∫ h dx, with the weights 1/N of the law p itself."""
    proposal = CASES[name].proposal
    generator = torch.Generator().manual_seed(4)
    points = Distribution(proposal, sampling).sample(200, generator)
    assert float(points.weight.sum()) == pytest.approx(1)
    weighted = Lebesgue(proposal, sampling).sample(200, torch.Generator().manual_seed(4))
    assert torch.equal(points.x, weighted.x)
    inside = torch.ones_like(points.weight, dtype=torch.bool)
    if isinstance(proposal, SmoothBox):
        # its density is singular at the walls, where rounding of x already changes it
        wall = torch.minimum(points.x - proposal.low, proposal.high - points.x).amin(1)
        inside = wall > 1e-6
    product = weighted.weight * proposal.density(points.x)
    torch.testing.assert_close(product[inside], points.weight[inside], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("sampling", "names"),
    [
        ("stratified", ["gaussian 2d", "radial 2d", "coulomb 2d", "box 3d"]),
        ("sobol", ["gaussian 2d", "radial 2d", "coulomb 2d", "box 3d"]),
        ("lattice", ["gaussian 2d", "radial 2d", "coulomb 2d", "smooth box 2d"]),
    ],
)
def test_spreading_points_beats_plain_sampling(sampling: str, names: list[str]) -> None:
    """A lattice only where integrands close up at the ends of the cube, as it says."""
    for name in names:
        spread, plain = (integrals(CASES[name], s, 256, 50).std() for s in (sampling, "plain"))
        assert spread < plain / 2


@pytest.mark.parametrize(
    ("name", "n", "tolerance"),
    [
        ("radial 2d", 1500, 1e-7),
        ("radial 2d", 6000, 1e-11),
        ("coulomb 2d", 1500, 1e-4),
        ("coulomb 2d", 6000, 1e-8),
    ],
)
def test_lattices_are_spectrally_accurate(name: str, n: int, tolerance: float) -> None:
    """Every single draw, for a smooth function and for a cusp with a 1/r singularity."""
    case = CASES[name]
    worst = (integrals(case, "lattice", n, 10) / case.exact - 1).abs().max()
    assert float(worst) < tolerance


def test_lattices_in_a_smooth_box_are_of_fifth_order() -> None:
    errors = [
        float((integrals(CASES["smooth box 1d"], "lattice", n, 200)).std()) for n in (16, 32, 64)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) > 4.7


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_points_are_repeated_by_the_seed_and_fresh_without(sampling: str) -> None:
    measure = Lebesgue(Gaussian(1.0, 2), sampling)
    generator = torch.Generator().manual_seed(0)
    first, second = measure.sample(50, generator), measure.sample(50, generator)
    again = measure.sample(50, torch.Generator().manual_seed(0))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, second.x)
    assert first.x.dtype == first.weight.dtype == torch.float64


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_every_point_is_in_the_cube_and_every_axis_uniform(dim: int, sampling: str) -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.cat([SAMPLINGS[sampling](60, (1.0,) * dim, generator) for _ in range(100)])
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    for power in (1, 2, 3):
        moment = u.pow(power).mean(0)
        error = u.pow(power).std(0) / math.sqrt(len(u))
        assert bool(((moment - 1 / (power + 1)).abs() < 4 * error).all())


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_stratified_points_fill_their_cells(dim: int) -> None:
    n = 4**dim if dim <= 3 else 50
    u = SAMPLINGS["stratified"](n, (1.0,) * dim, torch.Generator().manual_seed(0))
    if dim <= 3:
        cells = {tuple(c) for c in (u * 4).long().tolist()}
        assert len(cells) == n
    else:
        for axis in (u * n).long().T:
            assert sorted(axis.tolist()) == list(range(n))


@pytest.mark.parametrize("aspect", [(1.0, 1.0), (2.0, 1.0, 1.0), (1.0,), (1000.0, 1e-3), (1, 1e4)])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 100, 1001])
def test_grids_have_about_as_many_cells_as_asked_for(n: int, aspect: tuple[float, ...]) -> None:
    assert n / 2 <= math.prod(grid_shape(n, aspect)) <= n


def test_grids_follow_the_aspect() -> None:
    assert grid_shape(200, (2.0, 1.0)) == [20, 10]
    assert grid_shape(64, (1.0, 1.0, 1.0)) == [4, 4, 4]
