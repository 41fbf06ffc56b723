"""Weights travel with points; expectations, data, index sets and products are what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.operators import Data, Gaussian, Indices, Lebesgue, Mixture, Points, Radial, UniformBox
from schmidt.operators.measures import Distribution, Measure, Product, Proposal, SmoothBox, Weighted


def integrate(points: Points, integrand: Callable[[Tensor], Tensor]) -> float:
    return float(points.weight @ integrand(points.x))


@pytest.mark.parametrize(
    ("proposal", "second"),
    [
        (Gaussian(1.5, 1), 2.25),
        (Gaussian(1.5, 3, 1.0), 3.25),
        (UniformBox(-1, 1, 2), 1 / 3),
        (SmoothBox(-1, 1, 2), 0.6781068),
        (Gaussian(1.5, 5), 2.25),
        (Mixture([Gaussian(1.0, 1), Gaussian(1.0, 1, 2.0)]), 3.0),
    ],
)
def test_distributions_evaluate_to_expectations(proposal: Proposal, second: float) -> None:
    points = Distribution(proposal).evaluation()
    assert float(points.weight.sum()) == pytest.approx(1, abs=1e-6)
    assert integrate(points, lambda x: x[:, 0] ** 2) == pytest.approx(second, rel=1e-3)


@pytest.mark.parametrize(
    "proposal", [Gaussian(1.5, 5), Radial(4, scale=1.0, outer=9.0), Mixture([Gaussian(1.5, 2)])]
)
def test_evaluation_without_a_rule_is_large_fixed_and_accurate(proposal: Proposal) -> None:
    measure, dim = Lebesgue(proposal, "plain"), proposal.dim
    points = measure.evaluation()
    assert len(points) == 2**16
    assert torch.equal(points.x, measure.evaluation().x)
    assert len(measure.evaluation(1000)) == 1000
    found = integrate(points, lambda x: (-0.5 * x.pow(2).sum(1)).exp())
    assert found == pytest.approx((2 * math.pi) ** (dim / 2), rel=2e-3)


def test_weights_travel_with_their_points(generator: torch.Generator) -> None:
    proposal = Gaussian(1.0, 2)
    points = Lebesgue(proposal).sample(50, generator)
    torch.testing.assert_close(points.weight, 1 / (len(points) * proposal.density(points.x)))
    part = points.part(slice(3, 9))
    assert torch.equal(part.weight, points.weight[3:9])
    assert torch.equal(part.x, points.x[3:9])
    single = points.to(dtype=torch.float32)
    assert single.x.dtype == single.weight.dtype == torch.float32
    index = Indices(5).evaluation().to(dtype=torch.float32)
    assert index.x.dtype == torch.int64
    assert index.weight.dtype == torch.float32


@pytest.mark.parametrize("n", [3, 10, 11, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_data_are_drawn_without_replacement_and_unbiased(
    n: int, weighted: bool, generator: torch.Generator, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((11, 2))
    mass = rng.uniform(0.1, 1, 11) if weighted else np.full(11, 1 / 11)
    measure = Data(x, mass if weighted else None)
    sums = []
    for _ in range(300):
        points = measure.sample(n, generator)
        assert len(points) == min(n, 11) == len(points.x.unique(dim=0))
        sums.append(integrate(points, lambda q: q[:, 0].exp()))
    exact = float(mass @ np.exp(x[:, 0]))
    assert integrate(measure.evaluation(), lambda q: q[:, 0].exp()) == pytest.approx(exact)
    assert np.mean(sums) == pytest.approx(exact, abs=4 * np.std(sums) / 300**0.5 + 1e-12)


def test_indices_count(generator: torch.Generator) -> None:
    measure = Indices(20)
    sums = [integrate(measure.sample(6, generator), lambda i: i.double() ** 2) for _ in range(400)]
    assert np.mean(sums) == pytest.approx(2470, abs=4 * np.std(sums) / 20)
    assert integrate(measure.sample(20, generator), lambda i: i.double() ** 2) == 2470
    assert torch.equal(measure.evaluation().x, torch.arange(20))


LINE = Lebesgue(UniformBox(0, 1, 1))
DATA = Data(torch.tensor([[0.0], [1.0], [3.0]]).double())
FACTORS: dict[str, tuple[list[Measure], int]] = {
    "lines": ([Lebesgue(Gaussian(1.0, 1)), Lebesgue(UniformBox(0, 2, 1))], 2),
    "line and plane": (
        [Lebesgue(UniformBox(0, 2, 1)), Lebesgue(Radial(2, scale=1.0, outer=14.0))],
        3,
    ),
    "data": ([DATA, Lebesgue(Gaussian(1.5, 1))], 2),
    "three": ([DATA, Lebesgue(UniformBox(0, 1, 1)), Lebesgue(Gaussian(1.0, 1))], 3),
    "spread apart": ([Lebesgue(Gaussian(1.0, 2), "sobol"), Lebesgue(Gaussian(1.0, 1))], 3),
}


@pytest.mark.parametrize("name", FACTORS)
def test_products_are_unbiased_also_for_what_does_not_factor(
    name: str, generator: torch.Generator
) -> None:
    factors, dim = FACTORS[name]
    measure = Product(*factors)
    assert measure.dim == dim

    def coupled(x: Tensor) -> Tensor:
        return (-0.5 * x.pow(2).sum(1) + 0.5 * x[:, 0] * x[:, -1]).exp()

    exact = integrate(measure.evaluation(40), coupled)
    sums = [integrate(measure.sample(60, generator), coupled) for _ in range(400)]
    assert np.mean(sums) == pytest.approx(exact, abs=4 * np.std(sums) / 20)


def test_products_evaluate_on_all_pairs() -> None:
    measure = Product(Data(torch.randn(3, 2)), Data(torch.randn(4, 1)))
    points = measure.evaluation()
    assert len(points.x.unique(dim=0)) == 12
    torch.testing.assert_close(points.weight, torch.full((12,), 1 / 12).double())


def test_factors_without_a_rule_are_judged_on_many_points() -> None:
    """∫ e^{−r² + xz/2 − z²} over the plane and [0, 1]: π ∫ e^{z²/16 − z²} dz."""
    plane = Lebesgue(Mixture([Gaussian(1.0, 2), Gaussian(2.0, 2)]))
    half = math.sqrt(15 / 16)
    exact = math.pi * math.sqrt(math.pi) / (2 * half) * math.erf(half)
    for factors in ((plane, LINE), (Lebesgue(Gaussian(0.8, 2)), LINE)):
        points = Product(*factors).evaluation()
        assert len(points) <= 2**20
        found = integrate(
            points,
            lambda x: (-x[:, :2].pow(2).sum(1) + x[:, 0] * x[:, 2] / 2 - x[:, 2].pow(2)).exp(),
        )
        assert found == pytest.approx(exact, rel=1e-3)
    assert len(Product(plane, plane).evaluation(1000)) == 1000
    assert len(Product(plane, plane).evaluation()) == 2**16
    box = Lebesgue(UniformBox(0, 1, 2))
    found = integrate(Product(plane, box).evaluation(), lambda x: (-x[:, :2].pow(2).sum(1)).exp())
    assert found == pytest.approx(math.pi, rel=1e-2)


def test_a_label_is_a_coordinate_of_data() -> None:
    """What the refusal of Indices in products advises: the counting measure as Data."""
    spin = Data([[0.0], [1.0]], weight=[1.0, 1.0])
    points = Product(spin, LINE).evaluation()
    assert integrate(points, lambda x: x[:, 0] + x[:, 1] ** 2) == pytest.approx(1 + 2 / 3)


@pytest.mark.parametrize(
    "proposal",
    [
        Gaussian(1.5, 1),
        SmoothBox(-1, 1, 2),
        Radial(2, scale=0.5, outer=30.0),
        Radial(3, scale=1.0, outer=9.0),
    ],
)
def test_the_mass_of_a_distribution_is_one(proposal: Proposal) -> None:
    mass = float(Distribution(proposal).evaluation().weight.sum())
    assert mass == pytest.approx(1, abs=1e-12)


def test_three_lines_make_a_manageable_rule() -> None:
    line = Lebesgue(UniformBox(-6.0, 6.0, 1))
    points = Product(line, line, line).evaluation()
    assert len(points) < 10**6
    found = integrate(points, lambda x: (-x.pow(2).sum(1)).exp())
    assert found == pytest.approx(math.pi**1.5, rel=1e-8)


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: Points(torch.zeros(3, 2), torch.ones(2)), r"3 points need weights of shape \(3,\)"),
    (lambda: Lebesgue(Gaussian(1.0, 1), "grid"), "sampling must be one of plain, strat"),
    (lambda: Lebesgue(Gaussian(1.0, 1)).sample(0, torch.Generator()), "cannot sample 0 points"),
    (lambda: DATA.sample(0, torch.Generator()), "cannot sample 0 points"),
    (lambda: Gaussian(0.0, 1), "scale of a Gaussian must be positive"),
    (lambda: Gaussian([1.0, 2.0], 3), r"must be a number or have 3 entries, got \(2,\)"),
    (lambda: UniformBox(1.0, 1.0, 2), "low < high on every axis"),
    (lambda: UniformBox([0, 1], [1, 1], 2), "low < high on every axis"),
    (lambda: UniformBox(0, math.inf, 1), "low < high on every axis, both finite"),
    (lambda: Radial(1, scale=1.0, outer=5.0), "dim must be a whole number of at least 2, got 1"),
    (lambda: Radial(2, scale=5.0, outer=1.0), "0 < inner < scale < outer"),
    (lambda: Mixture([]), "components of one dimension"),
    (lambda: Mixture([Gaussian(1, 1), Gaussian(1, 2)]), "components of one dimension"),
    (lambda: Mixture([Gaussian(1, 1)], [1, 2]), "one positive weight per component"),
    (lambda: Mixture([Gaussian(1, 1)], [math.nan]), "one positive weight per component"),
    (lambda: Data(np.zeros((0, 2))), r"shape \(points, d\), got \(0, 2\)"),
    (lambda: Data(np.zeros(4)), r"shape \(points, d\), got \(4,\)"),
    (lambda: Data([[1.0], [math.nan]]), "NaN or Inf; remove those rows"),
    (lambda: Data([[1.0], [2.0]], [1.0]), r"2 points need weights of shape \(2,\), got \(1,\)"),
    (lambda: Data([[1.0], [2.0]], [1.0, -1.0]), "masses must be finite and not negative"),
    (lambda: Indices(0), "size must be a whole number of at least 1, got 0"),
    (lambda: Product(), "at least one factor"),
    (lambda: Product(Indices(2), LINE), "Indices cannot be a factor of a product"),
    (lambda: Product(LINE, Weighted(Indices(2), lambda i: 1.0)), "Use Data"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
