"""Trunks: exact jets, the order of units × envelopes, mixing without forming, seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import FiniteDifferences, ScaledInputs
from schmidt.operators.networks import BoundedInputs, ExponentialEnvelope
from schmidt.operators.ritz import TrunkFeatures

Trunk = Callable[..., TrunkFeatures]


def points(dim: int, count: int = 6) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("dim", "envelopes"), [(1, 0), (2, 1), (3, 3)])
def test_jets_are_exact(
    trunk: Trunk,
    dim: int,
    envelopes: int,
    depth: int,
    check_jets: Callable[[nn.Module, Tensor], None],
) -> None:
    check_jets(trunk(dim, envelopes, depth=depth), points(dim))


def test_jets_agree_with_finite_differences(trunk: Trunk) -> None:
    """A reference that shares no code with automatic differentiation."""
    features, x = trunk(2, 2), points(2)
    wanted = FiniteDifferences(1e-4)(features, x, 2)
    torch.testing.assert_close(features.jet(x, 2).streams, wanted.streams, rtol=1e-6, atol=1e-6)


def test_jets_with_a_cusp_and_coulomb_envelopes(
    check_jets: Callable[[nn.Module, Tensor], None],
) -> None:
    inputs = BoundedInputs(3, [1.0, 4.0], cusp=True)
    check_jets(TrunkFeatures(inputs, ExponentialEnvelope([0.3, 1.0]), width=4), points(3))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("envelopes", [0, 1, 3])
def test_mixed_is_a_mix_of_the_jet(trunk: Trunk, envelopes: int, order: int) -> None:
    features, x = trunk(2, envelopes), points(2)
    whole = features.jet(x, order)
    mix = torch.randn(whole.value.shape[1], 4, dtype=torch.float64)
    found = features.mixed(x, order, mix)
    assert (found.order, found.dim) == (order, 2)
    torch.testing.assert_close(found.streams, whole.mix(mix).streams, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("envelopes", [0, 1, 3])
@pytest.mark.parametrize("depth", [1, 2])
def test_there_are_all_units_inputs_and_a_constant_times_every_envelope(
    trunk: Trunk, envelopes: int, depth: int
) -> None:
    """(units + inputs + 1)·M, unit-major: the last M are the envelopes, the first the inputs."""
    features, x = trunk(2, envelopes, 5, depth=depth), points(2)
    assert features.units == 2 + 5 * depth + 1
    values, count = features(x), max(envelopes, 1)
    assert values.shape == (6, features.units * count)
    decay = features.envelopes(x) if envelopes else torch.ones(6, 1, dtype=torch.float64)
    torch.testing.assert_close(values[:, -count:], decay)
    torch.testing.assert_close(values[:, :count], x[:, :1] / 1.5 * decay)
    first = torch.tanh(x / 1.5 @ features.weights[0] + features.biases[0])
    torch.testing.assert_close(values[:, 2 * count : 3 * count], first[:, :1] * decay)


def test_the_gain_is_the_length_of_the_weights(trunk: Trunk) -> None:
    first, second = trunk(3, 1, 7, gain=0.3).weights
    torch.testing.assert_close(first.norm(dim=0), torch.full((7,), 0.3, dtype=torch.float64))
    eye = torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(second.T @ second, 0.09 * eye, rtol=1e-12, atol=1e-12)


def test_weights_depend_on_the_seed_only(trunk: Trunk) -> None:
    x = points(2)
    first = trunk(seed=3)(x)
    torch.manual_seed(17)
    assert torch.equal(first, trunk(seed=3)(x))
    assert not torch.allclose(first, trunk(seed=4)(x))
    assert all(p.dtype == torch.float64 for p in trunk().parameters())


def test_weights_can_be_trained(trunk: Trunk) -> None:
    features = trunk()
    features.mixed(points(2), 2, torch.ones(26, 1, dtype=torch.float64)).laplacian.sum().backward()
    assert all(float(p.grad.norm()) > 0 for p in features.weights)


@pytest.mark.parametrize(
    "bad", [{"width": 0}, {"width": 4, "depth": 0}, {"width": 4, "gain": 0.0}, {"width": -1}]
)
def test_bad_sizes_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="width ≥ 1, depth ≥ 1 and gain > 0, got"):
        TrunkFeatures(ScaledInputs(1), None, **bad)  # type: ignore[arg-type]
