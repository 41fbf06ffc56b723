"""Our own networks: the one-pass jets are those of forward mode and of reverse-mode autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    FiniteDifferences,
    GaussianEnvelope,
    Hutchinson,
    IndexTable,
    Jet,
    ScaledInputs,
    SharedMLP,
)
from schmidt.operators.jet import JetModule, forward_mode
from schmidt.operators.networks import BoundedInputs, BoxMask, ExponentialEnvelope, Factor
from schmidt.operators.networks.mlp import ACTIVATIONS

Check = Callable[[nn.Module, Tensor], None]
MLPS = {"disjoint": DisjointMLP, "shared": SharedMLP}
MODES = 3
FACTORS: dict[str, Callable[[], JetModule]] = {
    "exponential": lambda: ExponentialEnvelope(0.7),
    "gaussian": lambda: GaussianEnvelope([0.5, 1.0, 2.0]),
    "box": lambda: BoxMask(-3.0, 4.0),
    "factor": lambda: Factor(lambda x: (1 / torch.cosh(x)).prod(1, keepdim=True)),
}


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
    factors = [ExponentialEnvelope([0.3, 0.4, 0.5]), FACTORS[kind]()]
    return Ansatz(mlp, *factors, inputs=inputs).double()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("trunk", MLPS)
def test_trunks_are_perceptrons(trunk: str, activation: str) -> None:
    """h(… h(x W + b) …) readout, with the plain torch activation."""
    network = MLPS[trunk](2, MODES, (7, 6), activation=activation)
    plain = {"tanh": torch.tanh, "softplus": nn.functional.softplus, "sin": torch.sin}[activation]
    h = x = torch.randn(5, 2)
    for weight, bias in zip(network.weights, network.biases, strict=True):
        h = plain(h @ weight + bias)
    y = h @ network.readout
    expected = y if trunk == "shared" else y[..., 0].T
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("outputs", [None, 1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("trunk", MLPS)
def test_trunks(
    trunk: str, activation: str, outputs: int | None, dim: int, check_jets: Check
) -> None:
    network = MLPS[trunk](dim, MODES, (7, 6), outputs=outputs, activation=activation).double()
    x = points(dim)
    assert network(x).shape == ((8, MODES) if outputs is None else (8, MODES, outputs))
    check_jets(network, x)


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("trunk", MLPS)
@pytest.mark.parametrize("kind", FACTORS)
def test_ansatz(kind: str, trunk: str, outputs: int | None, check_jets: Check) -> None:
    check_jets(parts(kind, trunk, outputs), points(2))


@pytest.mark.parametrize("dim", [1, 4, 7, 10])
@pytest.mark.parametrize("trunk", MLPS)
def test_many_dimensions(trunk: str, dim: int, check_jets: Check) -> None:
    network = Ansatz(
        MLPS[trunk](dim, 2, (6,)), GaussianEnvelope(0.2), inputs=ScaledInputs(dim, 1.5)
    )
    check_jets(network.double(), points(dim, 4))


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


PLAIN: dict[str, Callable[[int], nn.Module]] = {
    "sequential": lambda f: nn.Sequential(nn.Linear(f, 5), nn.Tanh(), nn.Linear(5, MODES)),
    "vector-valued": lambda f: nn.Sequential(nn.Linear(f, 6), nn.Tanh(), nn.Unflatten(1, (3, 2))),
    "ansatz": lambda f: Ansatz(DisjointMLP(f, MODES, (4,)), GaussianEnvelope(0.1)),
}


@pytest.mark.parametrize("with_inputs", [True, False])
@pytest.mark.parametrize("kind", PLAIN)
def test_any_module_is_a_trunk(kind: str, with_inputs: bool, check_jets: Check) -> None:
    inputs = BoundedInputs(2, (1.0,), cusp=False) if with_inputs else None
    trunk = PLAIN[kind](inputs.features if inputs else 2)
    network = Ansatz(trunk, GaussianEnvelope(0.4), inputs=inputs, amplitude=2.0).double()
    check_jets(network, points(2))
    loss = network.jet(points(2), 2).laplacian.pow(2).sum()
    assert any(bool(g.abs().max() > 0) for g in torch.autograd.grad(loss, trunk.parameters()))


def test_any_module_is_an_input(check_jets: Check) -> None:
    inputs = nn.Sequential(nn.Linear(2, 4), nn.Tanh())
    check_jets(Ansatz(SharedMLP(4, MODES, (5,)), inputs=inputs).double(), points(2))


def test_a_plain_trunk_has_the_jets_of_our_own() -> None:
    """The same perceptron, as a JetModule and hidden in a plain module."""
    own, x = DisjointMLP(3, MODES, (5, 4)), points(2)
    inputs = BoundedInputs(2, (1.0,), cusp=False)
    a = Ansatz(own, inputs=inputs).double()
    b = Ansatz(nn.Sequential(own), inputs=inputs).double()
    for order in (0, 1, 2):
        torch.testing.assert_close(a.jet(x, order).streams, b.jet(x, order).streams)


def test_the_amplitude_of_a_table_scales_it() -> None:
    table, index = IndexTable(6, 2, amplitude=3.0), torch.tensor([5, 0])
    torch.testing.assert_close(table(index), 3 * table.table[index])
    torch.testing.assert_close(table.jet(index, 0).value, table(index))


def test_index_tables_look_up_rows() -> None:
    table = IndexTable(6, 2, outputs=3)
    index = torch.tensor([5, 0, 5])
    assert torch.equal(table(index), table.table[index])
    assert table.jet(index, 0).value.shape == (3, 2, 3)
    with pytest.raises(ValueError, match="index set have no derivatives"):
        table.jet(index, 1)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: DisjointMLP(0, 3), "inputs must be a whole number of at least 1, got 0"),
    (lambda: SharedMLP(2, 3, ()), "widths of one or more layers"),
    (lambda: SharedMLP(2, 3, (4, 0)), "hidden must be a whole number of at least 1, got 0"),
    (lambda: DisjointMLP(2, 3, outputs=0), "outputs must be a whole .* or None, got 0"),
    (lambda: IndexTable(3, 2, amplitude=0.0), "amplitude must be a number above 0, got 0.0"),
    (lambda: DisjointMLP(2, 3, activation="relu"), "activation must be one of .*tanh, got 'relu'"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
