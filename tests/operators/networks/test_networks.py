"""Our own networks: the one-pass jets are those of forward mode and of reverse-mode autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import (
    Ansatz,
    BoundedInputs,
    BoxMask,
    DisjointMLP,
    Exact,
    ExponentialEnvelope,
    Factor,
    FiniteDifferences,
    FourierFeatures,
    GaussianEnvelope,
    Hutchinson,
    IndexTable,
    Jet,
    JetModule,
    PeriodicInputs,
    ScaledInputs,
    SharedMLP,
)
from schmidt.operators.derivatives import forward_mode
from schmidt.operators.networks.activation import ACTIVATIONS

Reference = Callable[[Callable[[Tensor], Tensor], Tensor], Jet]
MLPS = {"disjoint": DisjointMLP, "shared": SharedMLP}
MODES = 3


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
    "periodic": lambda d: PeriodicInputs(d, 3.0, 2),
    "fourier": lambda d: FourierFeatures(d, 5, (0.1, 0.3)),
    "fourier append": lambda d: FourierFeatures(d, 4, 0.2, append=True),
    "chained": lambda d: Chain(
        ScaledInputs(d, 2.0, centre=0.5), BoundedInputs(d, (1.0,), cusp=True)
    ),
    "chained periodic": lambda d: Chain(
        ScaledInputs(d, 2.0), PeriodicInputs(d, 4.0), BoundedInputs(2 * d, (1.0,), cusp=False)
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


@pytest.fixture(params=[1, 2, 3, 5])
def dim(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def points(dim: int, count: int = 8) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64)


def parts(kind: str, trunk: str, outputs: int | None, activation: str = "tanh") -> Ansatz:
    """Everything at once: inputs, trunk, a learned envelope, and the kind of factor asked for."""
    inputs = BoundedInputs(2, (1.0, 3.0), cusp=True)
    mlp = MLPS[trunk](
        inputs.features, MODES, (7, 6), outputs=outputs, activation=activation, gain=0.8
    )
    factors = [ExponentialEnvelope([0.3, 0.4, 0.5]), FACTORS[kind](2)]
    return Ansatz(mlp, *factors, inputs=inputs).double()


def check_jets(module: nn.Module, x: Tensor, double_backward: Reference) -> None:
    expected = double_backward(module, x)
    forward = forward_mode(module, x, 2)
    torch.testing.assert_close(forward.streams, expected.streams, rtol=1e-9, atol=1e-9)
    for order in (0, 1, 2):
        found = Exact()(module, x, order)
        assert found.order == order
        wanted = expected.lower(order).streams
        torch.testing.assert_close(found.streams, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MAPS)
def test_maps_and_factors(name: str, dim: int, double_backward: Reference) -> None:
    check_jets(MAPS[name](dim).double(), points(dim), double_backward)


@pytest.mark.parametrize("outputs", [None, 1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("trunk", MLPS)
def test_trunks(
    trunk: str, activation: str, outputs: int | None, dim: int, double_backward: Reference
) -> None:
    network = MLPS[trunk](dim, MODES, (7, 6), outputs=outputs, activation=activation).double()
    x = points(dim)
    assert network(x).shape == ((8, MODES) if outputs is None else (8, MODES, outputs))
    check_jets(network, x, double_backward)


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("trunk", MLPS)
@pytest.mark.parametrize("kind", FACTORS)
def test_ansatz(kind: str, trunk: str, outputs: int | None, double_backward: Reference) -> None:
    check_jets(parts(kind, trunk, outputs), points(2), double_backward)


@pytest.mark.parametrize("dim", [1, 4, 7, 10])
@pytest.mark.parametrize("trunk", MLPS)
def test_many_dimensions(trunk: str, dim: int, double_backward: Reference) -> None:
    network = Ansatz(
        MLPS[trunk](dim, 2, (6,)), GaussianEnvelope(0.2), inputs=ScaledInputs(dim, 1.5)
    )
    check_jets(network.double(), points(dim, 4), double_backward)


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("trunk", MLPS)
def test_parameter_gradients(trunk: str, activation: str, order: int, outputs: int | None) -> None:
    """A nonlinear loss of all streams: our backward pass against autograd of forward mode."""
    network, x = parts("gaussian", trunk, outputs, activation), points(2)

    def gradients(jet: Jet) -> tuple[Tensor, ...]:
        factor = torch.randn(
            jet.streams.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3)
        )
        loss = (factor * jet.streams).sum() + (factor * jet.streams.pow(2)).sum()
        return torch.autograd.grad(loss, list(network.parameters()))

    found = gradients(network.jet(x, order))
    expected = gradients(forward_mode(network, x, order))
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    assert all(bool(g.abs().max() > 0) for g in found)


def test_disjoint_functions_share_no_parameter() -> None:
    network, x = DisjointMLP(2, MODES, (5, 4)).double(), points(2)
    parameters = list(network.parameters())
    for mode in range(MODES):
        jet = network.jet(x, 2)
        for grad in torch.autograd.grad(jet.laplacian[:, mode].pow(2).sum(), parameters):
            others = [i for i in range(MODES) if i != mode]
            assert bool((grad[others] == 0).all())
            assert bool((grad[mode] != 0).any())


def test_a_disjoint_function_is_the_network_alone() -> None:
    network, x = DisjointMLP(2, MODES, (5, 4)).double(), points(2)
    alone = DisjointMLP(2, 1, (5, 4)).double()
    for mode in range(MODES):
        state = {k: v[mode : mode + 1] for k, v in network.state_dict().items()}
        alone.load_state_dict(state)
        torch.testing.assert_close(
            alone.jet(x, 2).streams[..., 0], network.jet(x, 2).streams[..., mode]
        )


def test_other_derivatives_of_our_networks() -> None:
    """The paper's stencil and Hutchinson's estimate take our modules too."""
    network, x = parts("gaussian", "disjoint", None), points(2)
    exact = network.jet(x, 2)
    stencil = FiniteDifferences(1e-4)(network, x, 2)
    torch.testing.assert_close(stencil.laplacian, exact.laplacian, rtol=1e-5, atol=1e-5)
    estimate = Hutchinson(4)(network, x, 2)
    torch.testing.assert_close(estimate.gradient, exact.gradient)


def test_a_box_mask_vanishes_on_its_boundary_and_peaks_at_one() -> None:
    mask = BoxMask(-1.0, 3.0)
    edge = torch.tensor([[-1.0, 0.3], [3.0, 2.0], [0.5, -1.0], [3.0, 3.0]])
    assert bool((mask(edge) == 0).all())
    assert float(mask(torch.ones(1, 2))) == pytest.approx(1)


def test_periodic_inputs_are_periodic_in_all_derivatives() -> None:
    inputs, x = PeriodicInputs(2, 1.7, 3), points(2)
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


def test_index_tables_look_up_rows() -> None:
    table = IndexTable(6, 2, outputs=3)
    index = torch.tensor([5, 0, 5])
    assert torch.equal(table(index), table.table[index])
    assert table.jet(index, 0).value.shape == (3, 2, 3)
    with pytest.raises(ValueError, match="index set have no derivatives"):
        table.jet(index, 1)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: DisjointMLP(0, 3), "positive sizes and at least one hidden layer"),
    (lambda: SharedMLP(2, 3, ()), r"at least one hidden layer, got .*hidden=\(\)"),
    (lambda: SharedMLP(2, 3, (4, 0)), "positive sizes"),
    (lambda: DisjointMLP(2, 3, outputs=0), "positive sizes .*outputs=0"),
    (lambda: DisjointMLP(2, 3, activation="relu"), "unknown activation 'relu'; known: .*tanh"),
    (lambda: ExponentialEnvelope([1.0, -1.0]), "decay rates must be positive"),
    (lambda: GaussianEnvelope([]), "decay rates must be positive"),
    (lambda: GaussianEnvelope(float("nan")), "decay rates must be positive"),
    (lambda: BoxMask(1.0, 1.0), "low < high, got 1.0 and 1.0"),
    (lambda: BoundedInputs(2, (), cusp=True), "length scales must be positive"),
    (lambda: BoundedInputs(2, (1.0, 0.0), cusp=True), "length scales must be positive"),
    (lambda: PeriodicInputs(2, 0.0), "period > 0 and harmonics ≥ 1"),
    (lambda: FourierFeatures(2, 4, -1.0), "size ≥ 1 and kappa > 0"),
    (lambda: ScaledInputs(2, 0.0), "scales must be positive"),
    (lambda: ScaledInputs(2, [1.0, 2.0, 3.0]), "scale must be a number or 2 of them, got 3"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
