"""Derivatives of any function: closed forms, reverse-mode Hessians, the stencil, estimates."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import FiniteDifferences, Hutchinson, Jet
from schmidt.operators.jet import Derivatives, Exact, forward_mode
from schmidt.operators.spectrum import Functions

Reference = Callable[[Callable[[Tensor], Tensor], Tensor], Jet]
DIMENSIONS = range(1, 11)


def points(dim: int, count: int = 9) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64)


def user_network(dim: int, outputs: int = 3) -> nn.Module:
    """Not one of ours: no jet of its own."""
    layers = [nn.Linear(dim, 8), nn.Tanh(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, outputs)]
    return nn.Sequential(*layers).double()


def gaussian(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f = (-0.5 * x.pow(2).sum(1)).exp()
    return f, -x * f[:, None], (x.pow(2).sum(1) - x.shape[1]) * f


def cusp(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r = x.norm(dim=1)
    f = (-r).exp()
    return f, -x / r[:, None] * f[:, None], (1 - (x.shape[1] - 1) / r) * f


def wave(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    k = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
    return (x @ k).sin(), (x @ k).cos()[:, None] * k, -(k @ k) * (x @ k).sin()


def quartic(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r2 = x.pow(2).sum(1)
    return r2**2, 4 * r2[:, None] * x, (8 + 4 * x.shape[1]) * r2


CLOSED = [gaussian, cusp, wave, quartic]


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("dim", DIMENSIONS)
def test_exact_derivatives_of_closed_forms(closed: Callable, dim: int) -> None:
    x = points(dim)
    value, gradient, laplacian = closed(x)
    jet = Exact()(lambda z: closed(z)[0][:, None], x, 2)
    for found, expected in [(jet.value, value), (jet.laplacian, laplacian)]:
        torch.testing.assert_close(found[:, 0], expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(jet.gradient[:, 0], gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_forward_mode_equals_reverse_mode(dim: int, double_backward: Reference) -> None:
    network, x = user_network(dim), points(dim)
    expected = double_backward(network, x)
    for order in (0, 1, 2):
        found = Exact()(network, x, order)
        assert found.order == order
        wanted = expected.lower(order).streams
        torch.testing.assert_close(found.streams, wanted, rtol=1e-12, atol=1e-12)


def test_vector_valued_functions(double_backward: Reference) -> None:
    network, x = user_network(2, 6), points(2)

    def function(z: Tensor) -> Tensor:
        return network(z).unflatten(1, (3, 2))

    found, expected = forward_mode(function, x, 2), double_backward(function, x)
    assert found.gradient.shape == (9, 3, 2, 2)
    torch.testing.assert_close(found.streams, expected.streams, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_parameters_learn_through_forward_mode(order: int) -> None:
    """d/dθ of ∫ |Δf|² and the like for foreign modules, against nested reverse mode."""
    network, x = user_network(2, 1), points(2).requires_grad_()
    loss = forward_mode(network, x.detach(), order).streams[-1].pow(2).sum()
    found = torch.autograd.grad(loss, network[0].weight)
    part = network(x)
    for _ in range(order):
        part = torch.autograd.grad(part.sum(), x, create_graph=True)[0]
    if order == 2:
        slope = torch.autograd.grad(network(x).sum(), x, create_graph=True)[0]
        part = sum(
            torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2)
        )
    elif order == 1:
        part = part[:, -1]
    expected = torch.autograd.grad(part.pow(2).sum(), network[0].weight)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("closed", [gaussian, wave, quartic])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_stencil_error_is_second_order(closed: Callable, dim: int) -> None:
    x = 0.5 * points(dim)
    _, gradient, laplacian = closed(x)

    def error(epsilon: float) -> tuple[float, float]:
        jet = FiniteDifferences(epsilon)(lambda z: closed(z)[0][:, None], x, 2)
        return (
            float((jet.gradient[:, 0] - gradient).norm()),
            float((jet.laplacian[:, 0] - laplacian).norm()),
        )

    for coarse, fine in zip(error(0.02), error(0.01), strict=True):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.01)
        assert fine < 0.05


@pytest.mark.parametrize("method", [FiniteDifferences(), Hutchinson(), Exact()])
def test_value_is_the_function_at_every_order(method: Derivatives) -> None:
    network, x = user_network(3), points(3)
    for order in (0, 1, 2):
        jet = method(network, x, order)
        assert jet.order == order
        torch.testing.assert_close(jet.value, network(x), rtol=1e-13, atol=1e-13)


def test_stencil_in_vector_valued_functions() -> None:
    network, x = user_network(2, 6), points(2)

    def function(z: Tensor) -> Tensor:
        return network(z).unflatten(1, (3, 2))

    found = FiniteDifferences(1e-3)(function, x, 2)
    expected = forward_mode(function, x, 2)
    torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.laplacian, expected.laplacian, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("probes", [1, 4])
def test_hutchinson_is_unbiased(probes: int) -> None:
    network, x = user_network(6), points(6, 4)
    exact = Exact()(network, x, 2)
    estimate = Hutchinson(probes, torch.Generator().manual_seed(0))
    draws = torch.stack([estimate(network, x, 2).laplacian.detach() for _ in range(400)])
    error = draws.std(0) / math.sqrt(len(draws))
    assert bool((error > 0).all())
    assert bool(((draws.mean(0) - exact.laplacian).abs() < 4 * error).all())


def test_hutchinson_variance_falls_with_probes() -> None:
    network, x = user_network(6), points(6, 4)

    def variance(probes: int) -> float:
        estimate = Hutchinson(probes, torch.Generator().manual_seed(0))
        return float(
            torch.stack([estimate(network, x, 2).laplacian.detach() for _ in range(200)])
            .var(0)
            .mean()
        )

    assert variance(1) / variance(8) == pytest.approx(8, rel=0.3)


def test_hutchinson_has_no_variance_without_mixed_derivatives() -> None:
    """vᵀHv = tr H for signs v and a diagonal H."""
    x = points(5)
    jet = Hutchinson(1)(lambda z: (z**3).sum(1, keepdim=True), x, 2)
    torch.testing.assert_close(jet.laplacian, 6 * x.sum(1, keepdim=True))
    torch.testing.assert_close(jet.gradient[:, 0], 3 * x**2)


def test_hutchinson_repeats_with_its_generator() -> None:
    network, x = user_network(4), points(4)
    first, second = (
        Hutchinson(2, torch.Generator().manual_seed(5))(network, x, 2).streams for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("own", [False, True])
def test_functions_differentiate_like_their_network(own: bool, double_backward: Reference) -> None:
    from schmidt.operators import DisjointMLP

    network = DisjointMLP(2, 3, (6,)).double() if own else user_network(2)
    functions = Functions(network, torch.randn(3, 2, dtype=torch.float64))
    x = points(2)
    expected = double_backward(functions, x)
    torch.testing.assert_close(functions.jet(x, 2).streams, expected.streams)
    torch.testing.assert_close(functions.truncate(1).jet(x, 2).laplacian, expected.laplacian[:, :1])


def test_functions_answer_in_the_kind_they_are_asked() -> None:
    functions = Functions(user_network(2).float(), torch.eye(3))
    x = points(2)
    assert functions(x).dtype == torch.float64
    assert functions(x.float()).dtype == torch.float32
    assert functions(x.numpy()).dtype == "float64"
    torch.testing.assert_close(torch.from_numpy(functions(x.numpy())), functions(x).detach())


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_a_stencil_needs_a_positive_step(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon must be a number above 0"):
        FiniteDifferences(epsilon)


def test_hutchinson_needs_a_probe() -> None:
    with pytest.raises(ValueError, match="probes must be a whole number of at least 1, got 0"):
        Hutchinson(0)
