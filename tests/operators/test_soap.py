"""SOAP against the algorithm of its paper, written out for one matrix; batches; resuming."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from schmidt.operators.soap import SOAP

DOUBLE = torch.float64


def gradients(shape: tuple[int, ...], steps: int, seed: int = 0) -> list[Tensor]:
    """With correlations that SOAP should find, drifting in time."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=DOUBLE)

    if len(shape) < 2:
        return [draw(*shape) for _ in range(steps)]
    left, right = draw(shape[-2], shape[-2]), draw(shape[-1], shape[-1])
    drift = draw(*shape)
    return [left @ draw(*shape) @ right + 0.1 * t * drift for t in range(steps)]


def run(start: Tensor, grads: list[Tensor], **settings: Any) -> list[Tensor]:
    parameter = torch.nn.Parameter(start.clone())
    optimizer = SOAP([parameter], **{"floor": 0.0, **settings})
    path = []
    for grad in grads:
        parameter.grad = grad.clone()
        optimizer.step()
        path.append(parameter.detach().clone())
    return path


def paper(
    start: Tensor,
    grads: list[Tensor],
    lr: float = 3e-3,
    betas: tuple[float, float] = (0.9, 0.95),
    decay: float = 0.95,
    eps: float = 1e-8,
    every: int = 10,
    sides: tuple[bool, bool] = (True, True),
) -> list[Tensor]:
    """Vyas et al. 2024, Algorithms 3 and 4, for one matrix W.

    With what the authors' code adds: Adam's bias correction, a first step that only makes the
    bases, and bases kept in descending order of their estimated eigenvalues.
    """
    w, (beta1, beta2) = start.clone(), betas
    rows, columns = w.shape
    averages = [grads[0] @ grads[0].T, grads[0].T @ grads[0]]
    bases = [torch.eye(rows, dtype=DOUBLE), torch.eye(columns, dtype=DOUBLE)]
    for side in range(2):
        if sides[side]:
            bases[side] = torch.linalg.eigh(averages[side])[1].flip(1)
    m, v, path = torch.zeros_like(w), torch.zeros_like(w), [w.clone()]
    for t, g in enumerate(grads[1:], 1):
        ql, qr = bases
        turned = ql.T @ g @ qr
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * turned**2
        mean = (ql.T @ m @ qr) / (1 - beta1**t)
        n = mean / ((v / (1 - beta2**t)).sqrt() + eps)
        w = w - lr * ql @ n @ qr.T
        path.append(w.clone())
        for side, outer in enumerate((g @ g.T, g.T @ g)):
            averages[side] = decay * averages[side] + (1 - decay) * outer
            if t % every == 0 and sides[side]:
                p, q = averages[side], bases[side]
                order = (q.T @ p @ q).diagonal().argsort(descending=True)
                v = v[order] if side == 0 else v[:, order]
                bases[side] = torch.linalg.qr(p @ q[:, order])[0]
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 0.1, "betas": (0.8, 0.99), "every": 1},
        {"every": 3, "decay": 0.5, "eps": 1e-3},
    ],
)
@pytest.mark.parametrize("size", [2, 5])
def test_follows_the_paper(size: int, settings: dict[str, Any]) -> None:
    start, grads = torch.randn(size, size, dtype=DOUBLE), gradients((size, size), 45)
    ours = {("precondition_decay" if k == "decay" else k): v for k, v in settings.items()}
    found, expected = run(start, grads, **ours), paper(start, grads, **settings)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("shape", "sides"), [((8, 3), (False, True)), ((3, 8), (True, False))])
def test_long_axes_keep_the_identity(shape: tuple[int, int], sides: tuple[bool, bool]) -> None:
    start, grads = torch.randn(shape, dtype=DOUBLE), gradients(shape, 30)
    found = run(start, grads, max_size=4, every=3)
    torch.testing.assert_close(found, paper(start, grads, every=3, sides=sides))


@pytest.mark.parametrize(
    ("shape", "max_size"), [((6,), 512), ((), 512), ((6, 8), 4), ((3, 5, 7), 4)]
)
def test_without_bases_it_is_adam(shape: tuple[int, ...], max_size: int) -> None:
    start, grads = torch.randn(shape, dtype=DOUBLE), gradients(shape, 20)
    parameter = torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([parameter], lr=0.02, betas=(0.9, 0.95))
    for grad in grads:
        parameter.grad = grad.clone()
        adam.step()
    found = run(start, grads, lr=0.02, max_size=max_size)[-1]
    torch.testing.assert_close(found, parameter.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(4, 5, 5), (2, 3, 4, 4)])
def test_a_batch_is_independent_matrices(shape: tuple[int, ...]) -> None:
    start = torch.randn(shape, dtype=DOUBLE)
    single = torch.Size(shape[-2:])
    count = start.flatten(0, -3).shape[0]
    each = [gradients(single, 35, seed) for seed in range(count)]
    grads = [torch.stack(g).reshape(shape) for g in zip(*each, strict=True)]
    together = run(start, grads, every=4)[-1].reshape(count, *single)
    for w, g, found in zip(start.reshape(count, *single), each, together, strict=True):
        torch.testing.assert_close(found, run(w, g, every=4)[-1], rtol=1e-9, atol=1e-9)


def test_turns_with_its_coordinates() -> None:
    """Rotating rows and columns rotates the whole path; Adam does not have this symmetry."""
    start, grads = torch.randn(4, 4, dtype=DOUBLE), gradients((4, 4), 35)
    a, b = (torch.linalg.qr(torch.randn(4, 4, dtype=DOUBLE))[0] for _ in range(2))
    turned = run(a @ start @ b.T, [a @ g @ b.T for g in grads], every=5)[-1]
    torch.testing.assert_close(turned, a @ run(start, grads, every=5)[-1] @ b.T)


def test_scales_with_nothing() -> None:
    """The size of the gradient does not matter, only that of the step."""
    start, grads = torch.randn(4, 4, dtype=DOUBLE), gradients((4, 4), 25)
    big = run(start, [1e3 * g for g in grads], eps=0.0)[-1]
    torch.testing.assert_close(run(start, grads, eps=0.0)[-1], big)


def test_the_first_step_of_a_matrix_only_looks() -> None:
    start, grads = torch.randn(3, 3, dtype=DOUBLE), gradients((3, 3), 2)
    first, second = run(start, grads)
    assert torch.equal(first, start)
    assert not torch.equal(second, start)


def test_resumes_to_the_last_bit() -> None:
    shapes = [(3, 4, 4), (5, 5), (6,), (4, 1)]
    starts = [torch.randn(s) for s in shapes]
    grads = [[g.float() for g in gradients(s, 40, 7)] for s in shapes]

    def make() -> tuple[list[torch.nn.Parameter], SOAP]:
        parameters = [torch.nn.Parameter(s.clone()) for s in starts]
        return parameters, SOAP(parameters, lr=0.02, every=7)

    def go(parameters: list[torch.nn.Parameter], optimizer: SOAP, steps: range) -> None:
        for t in steps:
            for p, g in zip(parameters, grads, strict=True):
                p.grad = g[t].clone()
            optimizer.step()

    whole, optimizer = make()
    go(whole, optimizer, range(40))
    first, optimizer = make()
    go(first, optimizer, range(23))
    saved = copy.deepcopy(optimizer.state_dict())
    second, fresh = make()
    for p, q in zip(second, first, strict=True):
        p.data.copy_(q.data)
    fresh.load_state_dict(saved)
    go(second, fresh, range(23, 40))
    assert all(torch.equal(p, q) for p, q in zip(whole, second, strict=True))


def test_beats_adam_on_a_stiff_problem() -> None:
    """‖A W B − C‖² with condition numbers of 10⁴ in a rotated basis."""
    q = [torch.linalg.qr(torch.randn(6, 6, dtype=DOUBLE))[0] for _ in range(4)]
    stiff = torch.logspace(0, -2, 6, dtype=DOUBLE)
    a, b, c = (q[0] * stiff) @ q[1], (q[2] * stiff) @ q[3], torch.randn(6, 6, dtype=DOUBLE)

    def loss_after(make: Any) -> float:
        w = torch.nn.Parameter(torch.zeros(6, 6, dtype=DOUBLE))
        target = a @ c @ b
        optimizer = make([w])
        for step in range(600):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 600)
            optimizer.zero_grad()
            loss = (a @ w @ b - target).pow(2).sum()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    assert loss_after(SOAP) < 0.01 * loss_after(torch.optim.Adam)


def test_a_closure_and_missing_gradients() -> None:
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = SOAP([used, unused], lr=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = used.pow(2).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 2
    assert bool((used < 1).all())
    assert bool((unused == 1).all())


def test_zero_gradients_are_harmless() -> None:
    start = torch.randn(3, 3, dtype=DOUBLE)
    assert torch.equal(run(start, [torch.zeros(3, 3, dtype=DOUBLE)] * 25)[-1], start)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be a number above 0, got 0.0"),
        ({"lr": float("nan")}, "lr must be a number above 0, got nan"),
        ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ({"betas": (1.0, 0.9)}, "betas must be a number"),
        ({"precondition_decay": 1.5}, "precondition_decay must be a number"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SOAP([torch.nn.Parameter(torch.ones(2))], **settings)


def test_rounding_in_directions_without_gradient_makes_no_large_step() -> None:
    """Rank-one gradients leave all but one direction to rounding; steps stay of the order of lr."""
    for seed in range(40):
        draw = torch.Generator().manual_seed(seed)
        w = torch.nn.Parameter(torch.zeros(16, 24, 1))
        optimizer = SOAP([w], lr=1.0, eps=1e-15)
        direction = 1e4 * torch.randn(16, 24, 1, generator=draw)
        for scale in (1.0, 1.1, 0.9, 1.2):
            w.grad = scale * direction
            optimizer.step()
        assert float(w.detach().abs().max()) < 10


def test_a_floor_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="floor must be a number of at least 0 and below 1, got 1"):
        SOAP([torch.nn.Parameter(torch.ones(2))], floor=1.0)
