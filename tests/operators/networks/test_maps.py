"""Maps of coordinates and envelopes: their formulas, and their jets to all orders."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import FourierFeatures, GaussianEnvelope, Jet, ScaledInputs
from schmidt.operators.jet import JetModule
from schmidt.operators.networks import (
    BoundedInputs,
    BoxMask,
    ExponentialEnvelope,
    Factor,
    PeriodicInputs,
)

Check = Callable[[nn.Module, Tensor], None]


class Chain(JetModule):
    """Maps of coordinates one after the other."""

    def __init__(self, *maps: JetModule) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def propagate(self, u: Jet) -> Jet:
        for each in self.maps:
            u = each.propagate(u)
        return u


def bump(x: Tensor) -> Tensor:
    return (1 / torch.cosh(x)).prod(1, keepdim=True)


INPUTS: dict[str, Callable[[int], JetModule]] = {
    "scaled": lambda d: ScaledInputs(d, 2.0, centre=0.3),
    "scaled axes": lambda d: ScaledInputs(d, [1.0 + i for i in range(d)]),
    "bounded cusp": lambda d: BoundedInputs(d, (0.5, 2.0), cusp=True),
    "bounded smooth": lambda d: BoundedInputs(d, (0.5, 2.0), cusp=False),
    "periodic": lambda d: PeriodicInputs(d, period=3.0, harmonics=2),
    "fourier": lambda d: FourierFeatures(d, 5, (0.1, 0.3)),
    "fourier append": lambda d: FourierFeatures(d, 4, 0.2, append=True),
    "chained": lambda d: Chain(
        ScaledInputs(d, 2.0, centre=0.5), BoundedInputs(d, (1.0,), cusp=True)
    ),
    "chained periodic": lambda d: Chain(
        ScaledInputs(d, 2.0),
        PeriodicInputs(d, period=4.0),
        BoundedInputs(2 * d, (1.0,), cusp=False),
    ),
}
FACTORS: dict[str, Callable[[int], JetModule]] = {
    "exponential": lambda d: ExponentialEnvelope([0.5, 1.0, 2.0]),
    "exponential scalar": lambda d: ExponentialEnvelope(0.7),
    "gaussian": lambda d: GaussianEnvelope([0.5, 1.0, 2.0]),
    "box": lambda d: BoxMask(-3.0, 4.0),
    "factor": lambda d: Factor(bump),
}
MAPS = INPUTS | FACTORS


def joined(*features: Tensor) -> Tensor:
    return torch.cat(features, 1)


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "scaled": lambda x, r: (x - 0.3) / 2,
    "scaled axes": lambda x, r: x / torch.tensor([1.0, 2.0]),
    "bounded cusp": lambda x, r: joined(
        2 * x / (0.5 + r), 2 * r / (0.5 + r), 2 * x / (2 + r), 2 * r / (2 + r)
    ),
    "bounded smooth": lambda x, r: joined(
        2 * x / (0.25 + r**2).sqrt(),
        2 * r**2 / (0.25 + r**2),
        2 * x / (4 + r**2).sqrt(),
        2 * r**2 / (4 + r**2),
    ),
    "periodic": lambda x, r: joined(
        *[wave(2 * torch.pi * k * x / 3) for k in (1, 2) for wave in (torch.cos, torch.sin)]
    ),
    "exponential": lambda x, r: (-r * torch.tensor([0.5, 1.0, 2.0])).exp(),
    "exponential scalar": lambda x, r: (-0.7 * r).exp(),
    "gaussian": lambda x, r: (-(r**2) / 2 * torch.tensor([0.5, 1.0, 2.0])).exp(),
    "box": lambda x, r: (4 * (x + 3) * (4 - x) / 49).prod(1, keepdim=True),
}


@pytest.fixture(params=[1, 2, 3, 5])
def dim(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def points(dim: int, count: int = 8) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64)


@pytest.mark.parametrize("name", MAPS)
def test_maps_and_factors(name: str, dim: int, check_jets: Check) -> None:
    check_jets(MAPS[name](dim).double(), points(dim))


@pytest.mark.parametrize("name", FORMULAS)
def test_maps_are_their_formulas(name: str) -> None:
    x = points(2).float()
    expected = FORMULAS[name](x, x.norm(dim=1, keepdim=True))
    torch.testing.assert_close(MAPS[name](2)(x), expected, rtol=1e-5, atol=1e-5)


def test_fourier_features_are_waves_of_their_frequencies() -> None:
    features, x = FourierFeatures(2, 5, 0.2, append=True), torch.randn(4, 2)
    phase = x @ features.frequencies
    torch.testing.assert_close(features(x), joined(phase.cos(), phase.sin(), x))


def test_a_box_mask_vanishes_on_its_boundary_and_peaks_at_one() -> None:
    mask = BoxMask(-1.0, 3.0)
    edge = torch.tensor([[-1.0, 0.3], [3.0, 2.0], [0.5, -1.0], [3.0, 3.0]])
    assert bool((mask(edge) == 0).all())
    assert float(mask(torch.ones(1, 2))) == pytest.approx(1)


def test_a_box_may_be_rectangular(check_jets: Check) -> None:
    mask = BoxMask([-1.0, 0.1], [3.0, 0.7]).double()
    sides = [[-1.0, 0.3], [3.0, 0.2], [0.5, 0.1], [0.0, 0.7]]
    edge = torch.tensor(sides, dtype=torch.float64)
    assert bool((mask(edge) == 0).all())
    assert float(mask(torch.tensor([[1.0, 0.4]]).double())) == pytest.approx(1)
    check_jets(mask, points(2))
    for one in (BoxMask(0.0, [2.0, 2.0]), BoxMask([0.0, 0.0], 2.0)):
        x = torch.rand(5, 2)
        torch.testing.assert_close(one(x), BoxMask(0.0, 2.0)(x))
    with pytest.raises(ValueError, match="a box of 2 sides got points of 3"):
        mask(torch.rand(4, 3))


def test_periodic_inputs_are_periodic_in_all_derivatives() -> None:
    inputs, x = PeriodicInputs(2, period=1.7, harmonics=3), points(2)
    here, there = inputs.jet(x, 2).streams, inputs.jet(x + 1.7, 2).streams
    torch.testing.assert_close(here, there, rtol=1e-9, atol=1e-9)
    assert here.shape[2] == inputs.features == 12


@pytest.mark.parametrize("cusp", [False, True])
def test_bounded_inputs_are_bounded_and_stay_distinct(cusp: bool) -> None:
    inputs = BoundedInputs(2, (0.5, 20.0), cusp=cusp)
    direction = torch.tensor([[0.6, 0.8]])
    values = inputs(torch.tensor([[0.0], [1e-3], [1.0], [1e2], [1e4]]) * direction)
    assert float(values.abs().max()) <= 2
    assert values.shape[1] == inputs.features
    assert bool((values.diff(dim=0).abs().max(1).values > 1e-4).all())


@pytest.mark.parametrize("name", MAPS)
def test_features_are_counted(name: str) -> None:
    module = MAPS[name](2)
    if hasattr(module, "features"):
        assert module(torch.randn(3, 2)).shape == (3, module.features)


@pytest.mark.parametrize("kappa", [0.5, (0.5, 4.0)])
def test_fourier_frequencies_have_the_scale_of_their_group(kappa: float | tuple) -> None:
    frequencies = FourierFeatures(3, 4000, kappa).frequencies
    scales = [kappa] if isinstance(kappa, float) else kappa
    for group, scale in zip(frequencies.chunk(len(scales), dim=1), scales, strict=True):
        assert float(group.std()) == pytest.approx(2 * torch.pi * scale, rel=0.03)


@pytest.mark.parametrize("name", [name for name in MAPS if name != "factor"])
def test_states_travel_to_a_fresh_module(name: str) -> None:
    """Checkpoints load into modules made anew."""
    first, second = MAPS[name](2), MAPS[name](2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    x = torch.randn(4, 2)
    assert torch.equal(first(x), second(x))


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: ExponentialEnvelope([1.0, -1.0]), "decay rates must be positive"),
    (lambda: GaussianEnvelope([]), "decay rates must be positive"),
    (lambda: GaussianEnvelope(float("nan")), "decay rates must be positive"),
    (lambda: BoxMask(1.0, 1.0), "low < high, got 1.0 and 1.0"),
    (lambda: BoxMask([0.0, 1.0], [1.0, 1.0]), "low < high"),
    (lambda: BoxMask([0.0, 1.0], [1.0, 2.0, 3.0]), "numbers or one per axis"),
    (lambda: BoundedInputs(2, (), cusp=True), "scales must be a list of positive lengths"),
    (lambda: BoundedInputs(2, (1.0, 0.0), cusp=True), "scales must be a list of positive lengths"),
    (lambda: PeriodicInputs(2, period=0.0), "period must be a number above 0"),
    (lambda: FourierFeatures(2, 4, -1.0), "kappa must be positive"),
    (lambda: ScaledInputs(2, 0.0), "scales must be positive"),
    (lambda: ScaledInputs(2, [1.0, 2.0, 3.0]), "scale must be a number or 2 of them, got 3"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
