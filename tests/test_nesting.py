"""Masks define the gradients of the paper, and their stationary points come out in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt import nesting
from schmidt.nesting import Masks

MODES = 5


def overlap(f: Tensor, g: Tensor) -> Tensor:
    """⟨f_i|f_l⟩⟨g_i|g_l⟩."""
    return (f.T @ f) * (g.T @ g)


def truncated(a: Tensor, f: Tensor, g: Tensor, k: int) -> Tensor:
    """Eq. (3) for the first k terms: ‖A − Σ g fᵀ‖² − ‖A‖²."""
    return (a - g[:, :k] @ f[:, :k].T).pow(2).sum() - a.pow(2).sum()


def field(masks: Masks, a: Tensor, f: Tensor, g: Tensor) -> Tensor:
    """Eq. (8) in f, up to its factor 2: −m_l Aᵀg_l + Σ_i M_il f_i⟨g_i|g_l⟩."""
    masks = masks.to(f)
    return -masks.vector * (a.T @ g) + f @ (masks.matrix * (g.T @ g))


def planted(values: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix of these singular values with its scaled singular vectors f, g."""
    u = torch.linalg.qr(torch.randn(9, len(values), dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(7, len(values), dtype=torch.float64))[0]
    s = torch.tensor(values, dtype=torch.float64)
    return (u * s) @ v.T, (v * s.sqrt())[:, :MODES], (u * s.sqrt())[:, :MODES]


ALL = {
    "sequential": nesting.sequential(MODES),
    "sequential-2": nesting.sequential(MODES, 2),
    "joint": nesting.joint(MODES),
    "joint-weights": nesting.joint(MODES, [5.0, 0.1, 2.0, 1.0, 3.0]),
    "joint-2": nesting.joint(MODES, step=2),
    "none": nesting.none(MODES),
}


@pytest.mark.parametrize("weights", [None, [5.0, 0.1, 2.0, 1.0, 3.0]])
@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_joint_masks_are_the_weighted_sum_of_truncated_objectives(
    weights: list[float] | None, step: int
) -> None:
    a, f, g = (torch.randn(*s, dtype=torch.float64) for s in ((9, 7), (7, MODES), (9, MODES)))
    masks = nesting.joint(MODES, weights, step)
    value = -2 * masks.vector @ ((a @ f) * g).sum(0) + (masks.matrix * overlap(f, g)).sum()
    w = weights or [1 / MODES] * MODES
    kept = [k for k in range(1, MODES + 1) if k % step == 0 or k == MODES]
    expected = sum(w[k - 1] * truncated(a, f, g, k) for k in kept)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_sequential_gradient_of_a_mode_is_that_of_the_objective_ending_with_its_group(
    step: int,
) -> None:
    a, f, g = (torch.randn(*s, dtype=torch.float64) for s in ((9, 7), (7, MODES), (9, MODES)))
    f.requires_grad_()
    found = field(nesting.sequential(MODES, step), a, f.detach(), g)
    for mode in range(MODES):
        end = min(MODES, (mode // step + 1) * step)
        (grad,) = torch.autograd.grad(truncated(a, f, g, end), f)
        torch.testing.assert_close(2 * found[:, mode], grad[:, mode], rtol=1e-12, atol=1e-12)


def test_no_nesting_is_the_gradient_of_the_plain_objective() -> None:
    a, f, g = (torch.randn(*s, dtype=torch.float64) for s in ((9, 7), (7, MODES), (9, MODES)))
    f.requires_grad_()
    (grad,) = torch.autograd.grad(truncated(a, f, g, MODES), f)
    found = field(nesting.none(MODES), a, f.detach(), g)
    torch.testing.assert_close(2 * found, grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_scaled_singular_vectors_are_stationary(name: str) -> None:
    a, f, g = planted([7.0, 5.0, 4.0, 2.0, 1.0, 0.5])
    assert field(ALL[name], a, f, g).abs().max() < 1e-12
    assert field(ALL[name], a.T, g, f).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("none", [(0, 1), (1, 2), (0, 4)]),
        ("sequential", []),
        ("joint", []),
        ("joint-weights", []),
        ("sequential-2", [(0, 1), (2, 3)]),
        ("joint-2", [(0, 1), (2, 3)]),
    ],
)
def test_only_rotations_inside_a_group_stay_stationary(
    name: str, free: list[tuple[int, int]]
) -> None:
    a, f, g = planted([7.0, 5.0, 4.0, 2.0, 1.0, 0.5])
    c, s = 0.8, 0.6
    for i, j in [(0, 1), (1, 2), (2, 3), (0, 4)]:
        turn = torch.eye(MODES, dtype=torch.float64)
        turn[[i, i, j, j], [i, j, i, j]] = torch.tensor([c, -s, s, c], dtype=torch.float64)
        residual = max(
            float(field(ALL[name], a, f @ turn, g @ turn).abs().max()),
            float(field(ALL[name], a.T, g @ turn, f @ turn).abs().max()),
        )
        if (i, j) in free:
            assert residual < 1e-12
        elif name != "none":
            assert residual > 1e-3


@pytest.mark.parametrize("name", ["sequential", "joint"])
def test_another_order_is_not_a_minimum(name: str) -> None:
    """Swapped modes are stationary too, but a small turn towards the order goes downhill."""
    a, f, g = planted([7.0, 5.0, 4.0, 2.0, 1.0, 0.5])
    swap = [1, 0, 2, 3, 4]
    f, g = f[:, swap], g[:, swap]
    turn = torch.eye(MODES, dtype=torch.float64)
    turn[0, 0] = turn[1, 1] = 0.9999**0.5
    turn[0, 1], turn[1, 0] = -0.01, 0.01
    moved = (f @ turn)[:, 0] - f[:, 0]
    assert field(ALL[name], a, f @ turn, g @ turn)[:, 0] @ moved < 0


@pytest.mark.parametrize("name", ALL)
def test_masks_move_to_another_dtype(name: str) -> None:
    moved = ALL[name].to(torch.zeros(1, dtype=torch.float64))
    assert moved.modes == MODES
    assert moved.vector.dtype == moved.matrix.dtype == torch.float64
    torch.testing.assert_close(moved.matrix, ALL[name].matrix.double(), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["joint", "joint-weights", "joint-2", "none"])
def test_masks_of_one_objective_are_symmetric(name: str) -> None:
    assert torch.equal(ALL[name].matrix, ALL[name].matrix.T)
    assert not torch.equal(ALL["sequential"].matrix, ALL["sequential"].matrix.T)


def test_equal_weights_are_the_default() -> None:
    given = nesting.joint(MODES, torch.full((MODES,), 1 / MODES))
    torch.testing.assert_close(nesting.joint(MODES).matrix, given.matrix, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nesting.sequential(0), "modes must be a whole number of at least 1, got 0"),
        (lambda: nesting.none(-1), "modes must be a whole number of at least 1, got -1"),
        (lambda: nesting.sequential(4, 0), "step must be a whole number between 1 and 4, got 0"),
        (lambda: nesting.joint(4, step=5), "step must be a whole number between"),
        (lambda: nesting.joint(4, [1.0, 2.0]), r"needs 4 weights, got shape \(2,\)"),
        (lambda: nesting.joint(2, [1.0, 0.0]), "positive, finite weights"),
        (lambda: nesting.joint(2, [1.0, -1.0]), "positive, finite weights"),
        (lambda: nesting.joint(2, [1.0, float("nan")]), "positive, finite weights"),
        (lambda: nesting.joint(2, [1.0, float("inf")]), "positive, finite weights"),
    ],
)
def test_bad_input_is_refused(make: Callable[[], Masks], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
