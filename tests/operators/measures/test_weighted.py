"""ρ μ is μ with its weights times ρ, on every kind of points."""

from __future__ import annotations

import math

import pytest
import torch

from schmidt.operators import Gaussian, Indices, Lebesgue, Mixture, UniformBox
from schmidt.operators.measures import Measure, Product, Weighted

LINE = Lebesgue(UniformBox(0, 1, 1))
MEASURES: dict[str, Measure] = {
    "rule": LINE,
    "no rule": Lebesgue(Mixture([Gaussian(1.0, 2), Gaussian(2.0, 2)])),
    "product": Product(LINE, Lebesgue(Gaussian(1.0, 1))),
    "indices": Indices(7),
}


@pytest.mark.parametrize("name", MEASURES)
def test_points_stay_and_weights_are_multiplied(name: str) -> None:
    plain = MEASURES[name]
    rho = lambda x: 1 + x.reshape(len(x), -1).double().pow(2).sum(1)  # noqa: E731
    heavy = Weighted(plain, rho)
    assert heavy.dim == plain.dim
    draws = [m.sample(50, torch.Generator().manual_seed(3)) for m in (plain, heavy)]
    for a, b in (draws, [plain.evaluation(), heavy.evaluation()]):
        assert torch.equal(a.x, b.x)
        torch.testing.assert_close(b.weight, a.weight * rho(a.x))


def test_densities_multiply() -> None:
    twice = Weighted(Weighted(LINE, lambda x: x[:, 0]), lambda x: 3.0)
    x = torch.rand(5, 1)
    torch.testing.assert_close(twice.density(x), 3 * x[:, 0])
    assert twice.base is LINE
    assert float(twice.evaluation().weight.sum()) == pytest.approx(1.5, rel=1e-12)


def test_a_product_of_weighted_measures_keeps_its_rule() -> None:
    """∫ x dx ∫ e^{−y²} dy."""
    bell = Weighted(Lebesgue(Gaussian(1.0, 1)), lambda y: (-(y[:, 0] ** 2)).exp())
    points = Product(Weighted(LINE, lambda x: x[:, 0]), bell).evaluation()
    assert float(points.weight.sum()) == pytest.approx(math.sqrt(math.pi) / 2, rel=1e-12)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bad_densities_are_refused(bad: float) -> None:
    measure = Weighted(LINE, lambda x: torch.where(x[:, 0] > 0.5, bad, 1.0))
    with pytest.raises(ValueError, match=r"finite and not negative: it is .* at x = \[0\."):
        measure.evaluation()
    with pytest.raises(ValueError, match="finite and not negative"):
        measure.sample(64, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"the density must map points \(B, d\)"):
        Weighted(LINE, lambda x: x).evaluation()
    with pytest.raises(ValueError, match="the density must be real"):
        Weighted(LINE, lambda x: x[:, 0] + 0j).evaluation()
