"""Hidden units: outputs are blocks times the readout, and the readout can be set."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    GaussianEnvelope,
    IndexTable,
    ScaledInputs,
    SharedMLP,
)
from schmidt.operators.networks import BoundedInputs, ExponentialEnvelope, Factor, Hidden

MODES = 3


def plain(bias: bool = True) -> nn.Sequential:
    layers = [nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, MODES, bias)]
    return nn.Sequential(*layers)


def ansatz(kind: type, envelopes: int, amplitude: float = 2.5) -> Ansatz:
    inputs = BoundedInputs(2, [1.0], cusp=False)
    decay = GaussianEnvelope([0.4 + 0.2 * m for m in range(envelopes)])
    wall = Factor(lambda x: torch.cos(x).prod(1, keepdim=True))
    trunk = kind(inputs.features, MODES, (6, 5))
    return Ansatz(trunk, decay, wall, inputs=inputs, amplitude=amplitude)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "disjoint": lambda: DisjointMLP(2, MODES, (6, 5)),
    "shared": lambda: SharedMLP(2, MODES, (6, 5)),
    "disjoint, one envelope": lambda: ansatz(DisjointMLP, 1),
    "disjoint, L envelopes": lambda: ansatz(DisjointMLP, MODES),
    "shared, one envelope": lambda: ansatz(SharedMLP, 1),
    "shared, L envelopes": lambda: ansatz(SharedMLP, MODES),
    "sequential": plain,
    "sequential without bias": lambda: plain(bias=False),
    "one layer": lambda: nn.Sequential(nn.Linear(2, MODES)),
    "sequential, L envelopes": lambda: Ansatz(
        plain(), ExponentialEnvelope([0.4, 0.5, 0.6]), amplitude=0.3
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return NETWORKS[request.param]().double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(7, 2, dtype=torch.float64)


def combine(hidden: Hidden, x: Tensor, coefficients: Tensor) -> Tensor:
    """Σ_i c_li unit_i of block l."""
    blocks = hidden.blocks(x, 0).value
    return torch.einsum("bli,li->bl", blocks.expand(-1, MODES, -1), coefficients)


def test_outputs_are_blocks_times_the_readout(network: nn.Module, x: Tensor) -> None:
    trunk = network.trunk if isinstance(network, Ansatz) else network
    if isinstance(trunk, nn.Sequential):
        last = trunk[-1]
        bias = [] if last.bias is None else [last.bias[:, None]]
        readout = torch.cat([last.weight, *bias], 1)
    else:
        readout = trunk.readout[..., 0] if isinstance(trunk, DisjointMLP) else trunk.readout.T
    amplitude = network.amplitude if isinstance(network, Ansatz) else 1.0
    found = combine(Hidden(network), x, amplitude * readout)
    torch.testing.assert_close(found, network(x), rtol=1e-12, atol=1e-12)


def test_set_readout_makes_what_it_says(network: nn.Module, x: Tensor) -> None:
    hidden = Hidden(network)
    units = hidden.blocks(x, 0).value.shape[2]
    coefficients = torch.randn(MODES, units, dtype=torch.float64)
    hidden.set_readout(coefficients)
    wanted = combine(hidden, x, coefficients)
    torch.testing.assert_close(network(x), wanted, rtol=1e-12, atol=1e-12)


def test_there_is_one_block_unless_trunks_or_envelopes_differ(x: Tensor) -> None:
    blocks = {k: Hidden(make().double()).blocks(x, 0).value.shape for k, make in NETWORKS.items()}
    for name, shape in blocks.items():
        one = name in ("shared", "shared, one envelope") or name.startswith("one layer")
        one = one or (name.startswith("sequential") and "envelopes" not in name)
        assert shape[:2] == (7, 1 if one else MODES), name
    assert blocks["sequential"][2] == 6
    assert blocks["sequential without bias"][2] == 5


def test_functions_are_block_major_with_exact_jets(
    network: nn.Module, x: Tensor, check_jets: Callable[[nn.Module, Tensor], None]
) -> None:
    hidden = Hidden(network)
    blocks = hidden.blocks(x, 2)
    assert torch.equal(hidden.jet(x, 2).streams, blocks.streams.flatten(2))
    # one product or several: the same numbers to the last bits
    torch.testing.assert_close(hidden(x), blocks.value.flatten(1), rtol=1e-13, atol=1e-15)
    check_jets(hidden, x)


BAD: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: nn.Linear(2, 3), "not for Linear"),
    (lambda: IndexTable(5, 2), "not for IndexTable"),
    (lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh()), "not for Sequential"),
    (lambda: DisjointMLP(2, 3, (4,), outputs=2), "scalar functions only"),
    (lambda: Ansatz(plain(), inputs=ScaledInputs(2)), "put the inputs into the nn.Sequential"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_other_networks_are_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hidden(make())
