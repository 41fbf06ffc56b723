"""The algebra of jets is that of calculus: every rule against nested reverse-mode autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt.operators import Jet
from schmidt.operators.jet import radius

Reference = Callable[[Callable[[Tensor], Tensor], Tensor], Jet]

FACTOR = torch.tensor([1.5, -0.5, 2.0], dtype=torch.float64)
MIX = torch.arange(6.0, dtype=torch.float64).reshape(3, 2) - 2


def shifted(x: Tensor) -> Tensor:
    return x * x + x.roll(1, -1)


def shifted_jet(u: Jet) -> Jet:
    """Features with a gradient and a Laplacian of their own, and mixed derivatives."""
    rolled = Jet(u.streams.roll(1, -1), u.dim, u.order)
    return u * u + rolled


RULES: dict[str, tuple[Callable[[Jet], Jet], Callable[[Tensor], Tensor]]] = {
    "identity": (lambda u: u, lambda x: x),
    "sum": (lambda u: u + u * u, lambda x: x + x * x),
    "difference": (lambda u: u - u * u, lambda x: x - x * x),
    "negation": (lambda u: -u, lambda x: -x),
    "plus number": (lambda u: u + 3.0, lambda x: x + 3),
    "number plus": (lambda u: 3.0 + u, lambda x: x + 3),
    "minus number": (lambda u: u - 3.0, lambda x: x - 3),
    "plus tensor": (lambda u: u + FACTOR, lambda x: x + FACTOR),
    "minus tensor": (lambda u: u - FACTOR, lambda x: x - FACTOR),
    "times number": (lambda u: u * -2.0, lambda x: -2 * x),
    "number times": (lambda u: -2.0 * u, lambda x: -2 * x),
    "times tensor": (lambda u: u * FACTOR, lambda x: x * FACTOR),
    "tensor times": (lambda u: FACTOR * u, lambda x: x * FACTOR),
    "product": (lambda u: u * u * u, lambda x: x**3),
    "wide product": (lambda u: u * u.sum(), lambda x: x * x.sum(1, keepdim=True)),
    "exp": (lambda u: u.exp(), torch.exp),
    "reciprocal": (lambda u: (u + 4.0).reciprocal(), lambda x: 1 / (x + 4)),
    "sqrt": (lambda u: (u + 4.0).sqrt(), lambda x: (x + 4).sqrt()),
    "sum of functions": (lambda u: u.sum(), lambda x: x.sum(1, keepdim=True)),
    "product of functions": (lambda u: u.prod(), lambda x: x.prod(1, keepdim=True)),
    "cat": (lambda u: Jet.cat([u, u * u]), lambda x: torch.cat([x, x * x], 1)),
    "mix": (lambda u: u.mix(MIX), lambda x: x @ MIX),
    "radius": (radius, lambda x: x.norm(dim=1, keepdim=True)),
    "chain": (
        lambda u: u.chain(u.value.sin(), u.value.cos(), -u.value.sin()),
        torch.sin,
    ),
}


@pytest.fixture
def x() -> Tensor:
    return torch.randn(11, 3, dtype=torch.float64)


@pytest.mark.parametrize("inside", ["coordinates", "features"])
@pytest.mark.parametrize("rule", RULES)
def test_rules_of_calculus(rule: str, inside: str, x: Tensor, double_backward: Reference) -> None:
    """Of the coordinates, and of functions of them: rules must compose."""
    of_jet, of_tensor = RULES[rule]
    if inside == "features":
        expected = double_backward(lambda z: of_tensor(shifted(z)) * 1.0, x)
    else:
        expected = double_backward(lambda z: of_tensor(z) * 1.0, x)
    for order in (0, 1, 2):
        u = Jet.coordinates(x, order)
        found = of_jet(shifted_jet(u) if inside == "features" else u)
        assert found.order == order
        wanted = expected.lower(order).streams
        torch.testing.assert_close(found.streams, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dim", range(1, 11))
@pytest.mark.parametrize("order", [0, 1, 2])
def test_parts_and_their_shapes(dim: int, order: int) -> None:
    x = torch.randn(5, dim, dtype=torch.float64)
    jet = Jet.coordinates(x, order)
    assert torch.equal(jet.value, x)
    if order >= 1:
        eye = torch.eye(dim, dtype=x.dtype).expand(5, dim, dim)
        assert torch.equal(jet.gradient, eye)
    if order == 2:
        assert torch.equal(jet.laplacian, torch.zeros_like(x))


def test_vector_valued_functions_keep_their_axes() -> None:
    jet = Jet(torch.randn(4, 7, 3, 2), 2, 2)
    assert jet.value.shape == jet.laplacian.shape == (7, 3, 2)
    assert jet.gradient.shape == (7, 3, 2, 2)
    assert jet.mix(torch.randn(3, 5)).value.shape == (7, 5, 2)


@pytest.mark.parametrize("dim", range(1, 11))
def test_radius_solves_its_equations(dim: int) -> None:
    """|∇r| = 1 and Δr = (d − 1)/r."""
    x = torch.randn(20, dim, dtype=torch.float64)
    r = radius(Jet.coordinates(x, 2))
    torch.testing.assert_close(r.gradient.norm(dim=-1), torch.ones_like(r.value))
    torch.testing.assert_close(r.laplacian, (dim - 1) / r.value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-8, 1e8])
def test_radius_is_finite_everywhere(size: float, dtype: torch.dtype) -> None:
    x = torch.full((1, 2), size, dtype=dtype)
    r = radius(Jet.coordinates(x, 2))
    assert bool(r.streams.isfinite().all())
    if size in (1e-8, 1e8):
        torch.testing.assert_close(r.gradient, torch.full((1, 1, 2), 0.5**0.5, dtype=dtype))


def test_lower_and_split_are_parts(x: Tensor) -> None:
    jet = shifted_jet(Jet.coordinates(x, 2))
    for order in (0, 1, 2):
        low = jet.lower(order)
        assert low.order == order
        assert torch.equal(low.streams, shifted_jet(Jet.coordinates(x, order)).streams)
    first, second = jet.split([4, 7])
    assert torch.equal(first.laplacian, jet.laplacian[:4])
    assert torch.equal(second.value, jet.value[4:])


def test_detach(x: Tensor) -> None:
    jet = Jet.coordinates(x.requires_grad_(), 1)
    assert jet.value.requires_grad
    assert not jet.detach().value.requires_grad


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("orders", [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)])
@pytest.mark.parametrize(
    "combine",
    [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: Jet.cat([a, b])],
    ids=["sum", "difference", "product", "cat"],
)
def test_jets_of_different_order_do_not_mix(
    combine: Callable[[Jet, Jet], Jet], orders: tuple[int, int], dim: int
) -> None:
    """Broadcasting would silently take a value for a derivative."""
    x = torch.randn(4, dim)
    first, second = (Jet.coordinates(x, order) for order in orders)
    with pytest.raises(ValueError, match=r"jets of order \d and \d: lower one"):
        combine(first, second)


def test_jets_in_different_dimensions_do_not_mix() -> None:
    with pytest.raises(ValueError, match="jets in 1 and 2 dimensions"):
        Jet(torch.zeros(2, 4, 1), 1, 1) + Jet(torch.zeros(3, 4, 1), 2, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jet(torch.zeros(2, 3, 1), 2, 3), "order 0, 1 or 2, got 3"),
        (lambda: Jet(torch.zeros(2, 3, 1), 2, 1), "has 3 streams, got 2"),
        (lambda: Jet(torch.zeros(1, 3, 1), 2, 0).gradient, "no gradient: ask for order=1"),
        (lambda: Jet(torch.zeros(3, 3, 1), 2, 1).laplacian, "no Laplacian: ask for order=2"),
        (lambda: Jet(torch.zeros(3, 3, 1), 2, 1).lower(2), "no derivatives of order 2"),
        (lambda: Jet.coordinates(torch.zeros(3), 1), r"shape \(B, d\), got \(3,\)"),
    ],
)
def test_bad_input_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
