"""The optimizer against dense reference implementations, and the laws of its steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from schmidt.adapters import LoRAPro, Pair, create_lorapro_optimizer
from schmidt.adapters.rules import RULES
from schmidt.adapters.tangent import frames, minimisers, project

MODES = tuple(RULES)
ADAM = tuple(mode for mode in MODES if mode != "sgd")
M, N, R = 10, 8, 3


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def pair(name: str = "p", scaling: float = 1.7, zero: bool = False) -> Pair:
    B = torch.zeros(M, R, dtype=torch.float64) if zero else draw(M, R)
    return Pair(name, nn.Parameter(draw(R, N)), nn.Parameter(B), scaling=scaling)


def product(p: Pair) -> Tensor:
    return (p.scaling * p.left(p.B) @ p.right(p.A)).detach()


def backward(p: Pair, G: Tensor) -> None:
    """The gradients of the factors when G is that of the weight."""
    p.A.grad = p.as_A(p.scaling * p.left(p.B.detach()).mT @ G)
    p.B.grad = p.as_B(p.scaling * G @ p.right(p.A.detach()).mT)


def take(optimizer: LoRAPro, pairs: list[Pair], gradients: list[Tensor]) -> None:
    for p, G in zip(pairs, gradients, strict=True):
        backward(p, G)
    optimizer.step()


def follow(p: Pair, gradients: list[Tensor], **settings: Any) -> list[Tensor]:
    """s·B·A after each step."""
    optimizer = create_lorapro_optimizer([p], **settings)
    path = []
    for G in gradients:
        take(optimizer, [p], [G])
        path.append(product(p))
    return path


def reference(
    p: Pair,
    gradients: list[Tensor],
    lr: float,
    second: Callable[[Tensor, int], Tensor],
    carry: bool,
) -> list[Tensor]:
    """Adam on Ĝ with dense moments: ``second(Ĝ², t)`` gives V̂; ``carry`` projects the momentum."""
    A, B, s = p.A.detach().clone(), p.B.detach().clone(), p.scaling
    first, path = torch.zeros(M, N, dtype=torch.float64), []
    for t, G in enumerate(gradients, 1):
        f = frames(A, B)
        G_hat = project(f, G)
        first = 0.9 * first + 0.1 * G_hat
        U = first / (1 - 0.9**t) / (second(G_hat.square(), t).sqrt() + 1e-8)
        H = minimisers(A, B, s * B.T @ U, s * U @ A.T, s, "symmetric")
        A, B = A - lr * H.A, B - lr * H.B
        if carry:
            first = project(frames(A, B), first)
        path.append(s * B @ A)
    return path


def entrywise() -> Callable[[Tensor, int], Tensor]:
    average = torch.zeros(M, N, dtype=torch.float64)

    def second(squares: Tensor, t: int) -> Tensor:
        nonlocal average
        average = 0.999 * average + 0.001 * squares
        return average / (1 - 0.999**t)

    return second


def factored() -> Callable[[Tensor, int], Tensor]:
    whole = entrywise()

    def second(squares: Tensor, t: int) -> Tensor:
        V = whole(squares, t)
        return V.mean(1, keepdim=True) * V.mean(0) / V.mean()

    return second


EXACT = {"lr": 0.02, "damping": 0.0, "cap": float("inf")}


@pytest.mark.parametrize("zero", [False, True])
def test_full_mode_is_adam_on_the_projected_gradient(zero: bool) -> None:
    p, gradients = pair(zero=zero), [draw(M, N) for _ in range(6)]
    expected = reference(p, gradients, 0.02, entrywise(), carry=False)
    found = follow(p, gradients, mode="adamw-full", **EXACT)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a[0], b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("zero", [False, True])
def test_factored_mode_is_adam_with_moments_of_rows_and_columns(zero: bool) -> None:
    p, gradients = pair(zero=zero), [draw(M, N) for _ in range(6)]
    expected = reference(p, gradients, 0.02, factored(), carry=True)
    found = follow(p, gradients, **EXACT)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a[0], b, rtol=1e-6, atol=1e-8)


def test_efficient_mode_is_adam_on_the_directions() -> None:
    p, gradients = pair(), [draw(M, N) for _ in range(6)]
    copies = [nn.Parameter(x.detach().clone()) for x in (p.A, p.B)]
    adam = torch.optim.Adam(copies, lr=0.02)
    found = follow(p, gradients, mode="adamw-efficient", **EXACT)
    for G, expected in zip(gradients, found, strict=True):
        A, B = (x.detach() for x in copies)
        H = minimisers(A, B, p.scaling * B.T @ G, p.scaling * G @ A.T, p.scaling)
        copies[0].grad, copies[1].grad = H
        adam.step()
        torch.testing.assert_close(p.scaling * copies[1] @ copies[0], expected[0])


def deficient(kind: str) -> Pair:
    p = pair()
    with torch.no_grad():
        if "A" in kind:
            p.A[-1] = p.A[0]
        if "B" in kind:
            p.B[:, -1] = p.B[:, 0]
    return p


@pytest.mark.parametrize("damping", [0.0, 1e-8])
@pytest.mark.parametrize("kind", ["A", "B", "AB"])
def test_efficient_mode_from_factors_of_deficient_rank(kind: str, damping: float) -> None:
    """Their small singular values grow from zero, and the inverses are damped as they should be."""
    p, lr, s = deficient(kind), 1e-3, 1.7
    A, B = p.A.detach().clone(), p.B.detach().clone()
    gradients = [draw(M, N) for _ in range(8)]
    found = follow(p, gradients, mode="adamw-efficient", lr=lr, damping=damping, cap=None)
    moments = [torch.zeros_like(x) for x in (A, A, B, B)]
    start = s * B @ A

    def inverses(F: Tensor) -> tuple[Tensor, Tensor]:
        """(FᵀF + damping·σ₁²)⁻¹ on the span of F, and the projector on it."""
        values, V = torch.linalg.eigh(F.mT @ F)
        kept = values > 1e-13 * values[-1]
        V, values = V[:, kept], values[kept]
        span = F @ V / values.sqrt()
        return V / (values + damping * values[-1]) @ V.mT, span @ span.mT

    for t, (G, path) in enumerate(zip(gradients, found, strict=True), 1):
        (in_B, _), (in_A, P_A) = inverses(B), inverses(A.mT)
        H_A, H_B = in_B @ B.mT @ G @ (torch.eye(N).to(G) - P_A) / s, G @ A.mT @ in_A / s
        C = in_B @ B.mT @ H_B / 2
        new = []
        for i, (F, H) in enumerate(((A, H_A + C @ A), (B, H_B - B @ C))):
            first, second = moments[2 * i], moments[2 * i + 1]
            first.lerp_(H, 0.1)
            second.lerp_(H.square(), 0.001)
            quotient = first / (1 - 0.9**t) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
            new.append(F - lr * quotient)
        A, B = new
        moved = (s * B @ A - start).norm()
        assert float((path[0] - s * B @ A).norm() / moved) < 1e-6


def test_sgd_at_full_rank_is_full_fine_tuning() -> None:
    """r = min(m, n): to first order in lr the weight moves by −lr·G."""
    A, B = nn.Parameter(draw(N, N)), nn.Parameter(draw(M, N))
    p, G, lr = Pair("p", A, B, scaling=0.7), draw(M, N), 1e-6
    before = product(p)
    take(create_lorapro_optimizer([p], lr, mode="sgd", damping=0.0), [p], [G])
    torch.testing.assert_close((before - product(p))[0] / lr, G, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_descends_from_the_zero_start(mode: Any) -> None:
    """‖W0 + s·BA − target‖² falls to less than a tenth when the target is in reach."""
    p, target = pair(zero=True), draw(M, R) @ draw(R, N)
    optimizer = create_lorapro_optimizer([p], 0.3 if mode == "sgd" else 0.05, mode=mode)
    start = target.square().sum()
    for _ in range(120):
        take(optimizer, [p], [product(p)[0] - target])
    assert (product(p)[0] - target).square().sum() < 0.1 * start


@pytest.mark.parametrize("mode", [m for m in MODES if m != "adamw-efficient"])
def test_steps_do_not_depend_on_the_factorisation_nor_the_scaling(mode: Any) -> None:
    """(s, B, A) and (s', B Q, Q⁻¹ A s/s') stay one weight; efficient mode makes no such claim."""
    p, Q, gradients = pair(), draw(R, R), [draw(M, N) for _ in range(5)]
    other = Pair(
        "p",
        nn.Parameter(torch.linalg.inv(Q) @ p.A.detach() * p.scaling / 0.6),
        nn.Parameter(p.B.detach() @ Q),
        scaling=0.6,
    )
    settings: dict[str, Any] = {**EXACT, "mode": mode}
    for a, b in zip(
        follow(p, gradients, **settings), follow(other, gradients, **settings), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_stacked_pairs_move_as_pairs_alone(mode: Any) -> None:
    pairs = [pair(name, s) for name, s in (("a", 0.5), ("b", -2.0), ("c", 1.0))]
    alone = copy.deepcopy(pairs)
    together = create_lorapro_optimizer(pairs, 0.02, mode=mode)
    singly = [create_lorapro_optimizer([p], 0.02, mode=mode) for p in alone]
    for _ in range(3):
        gradients = [draw(M, N) for _ in pairs]
        take(together, pairs, gradients)
        for optimizer, p, G in zip(singly, alone, gradients, strict=True):
            take(optimizer, [p], [G])
    for p, q in zip(pairs, alone, strict=True):
        torch.testing.assert_close(p.A, q.A)
        torch.testing.assert_close(p.B, q.B)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["manual", "experts"])
def test_blocks_of_a_pair_move_as_pairs(mode: Any, kind: Any) -> None:
    A, B = draw(2, R, N), draw(2, M, R)
    flat = B.permute(1, 2, 0).reshape(M, -1) if kind == "experts" else B.flatten(0, 1)
    both = Pair(
        "both", nn.Parameter(A.flatten(0, 1)), nn.Parameter(flat), scaling=1.3, kind=kind, blocks=2
    )
    both = copy.deepcopy(both)  # memory of its own
    alone = [
        Pair(n, nn.Parameter(A[i]), nn.Parameter(B[i]), scaling=1.3) for i, n in enumerate("ab")
    ]
    optimizers = [create_lorapro_optimizer(ps, 0.02, mode=mode) for ps in ([both], alone)]
    for _ in range(3):
        G = draw(2, M, N)
        take(optimizers[0], [both], [G])
        take(optimizers[1], alone, list(G))
    torch.testing.assert_close(product(both), torch.cat([product(p) for p in alone]))


class Largest(TorchDispatchMode):
    """The largest tensor that any operation makes."""

    size = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self.size = max(self.size, x.numel())
        return out


def test_factored_mode_keeps_and_forms_nothing_large() -> None:
    m, n, r = 300, 200, 2
    p = Pair("p", nn.Parameter(torch.randn(r, n)), nn.Parameter(torch.randn(m, r)))
    optimizer = create_lorapro_optimizer([p])
    p.A.grad, p.B.grad = torch.randn(r, n), torch.randn(m, r)
    with Largest() as largest:
        optimizer.step()
        optimizer.step()
    assert largest.size <= 2 * r * (m + n)
    state = [x for s in optimizer.state.values() for x in s.values() if isinstance(x, Tensor)]
    counters = 2
    assert sum(x.numel() for x in state) == r * (m + n) + m + n + counters


@pytest.mark.parametrize("mode", ["sgd", "adamw-full", "adamw-factored"])
@pytest.mark.parametrize("cap", [0.02, 0.1])
def test_second_order_terms_are_capped(mode: Any, cap: float) -> None:
    """s·ΔB·ΔA of every step is at most cap × s(B·ΔA + ΔB·A), which bites right after B = 0."""
    p, bites = pair(zero=True), 0
    optimizer = create_lorapro_optimizer([p], 0.05, mode=mode, cap=cap)
    for _ in range(6):
        A, B = p.A.detach().clone(), p.B.detach().clone()
        take(optimizer, [p], [draw(M, N)])
        dA, dB = p.A.detach() - A, p.B.detach() - B
        ratio = (dB @ dA).norm() / (B @ dA + dB @ A).norm()
        assert ratio <= cap * (1 + 1e-9)
        bites += int(ratio > cap * (1 - 1e-9))
    assert bites > 0


@pytest.mark.parametrize(("decay", "power"), [("product", 1), ("factors", 2)])
def test_weight_decay_is_decoupled(decay: Any, power: int) -> None:
    p = pair()
    optimizer = create_lorapro_optimizer([p], 0.1, weight_decay=0.5, decay=decay)
    before = product(p)
    take(optimizer, [p], [torch.zeros(M, N, dtype=torch.float64)])
    torch.testing.assert_close(product(p), 0.95**power * before)


def test_clipping_uses_the_norm_of_the_projected_gradient() -> None:
    """With the rest counted; a clipped step is that of the shorter gradient."""
    p, extra, G = pair(), nn.Parameter(draw(4)), draw(M, N)
    extra.grad = draw(4)
    square = project(frames(p.A.detach(), p.B.detach()), G).square().sum()
    norm = (square + extra.grad.square().sum()).sqrt()
    other = copy.deepcopy(p)
    clipped = create_lorapro_optimizer([p], 0.1, mode="sgd", clip_norm=0.5, rest=[extra])
    take(clipped, [p], [G])
    assert clipped.gradient_norm is not None
    torch.testing.assert_close(clipped.gradient_norm, norm, rtol=1e-6, atol=0)
    take(create_lorapro_optimizer([other], 0.1, mode="sgd"), [other], [G * 0.5 / norm])
    torch.testing.assert_close(p.B, other.B, rtol=1e-5, atol=1e-7)
    wide = create_lorapro_optimizer([p], 0.1, mode="sgd", clip_norm=1e9)
    before = p.A.detach().clone()
    take(wide, [p], [G])
    assert not torch.equal(before, p.A)


def test_the_rest_is_trained_by_adamw() -> None:
    p, weight, bias = pair(), nn.Parameter(draw(4, 3)), nn.Parameter(draw(4))
    copies = [nn.Parameter(x.detach().clone()) for x in (weight, bias)]
    ours = create_lorapro_optimizer([p], 0.1, weight_decay=0.2, rest=[weight, bias], rest_lr=0.03)
    theirs = torch.optim.AdamW(
        [{"params": copies[:1], "weight_decay": 0.2}, {"params": copies[1:], "weight_decay": 0.0}],
        lr=0.03,
    )
    for _ in range(3):
        for a, b in zip((weight, bias), copies, strict=True):
            a.grad = draw(*a.shape)
            b.grad = a.grad.clone()
        take(ours, [p], [draw(M, N)])
        theirs.step()
    torch.testing.assert_close([weight, bias], copies)


def test_groups_added_later_are_rest() -> None:
    p, late = pair(), nn.Parameter(draw(3))
    optimizer = create_lorapro_optimizer([p], 0.1)
    optimizer.add_param_group({"params": [late]})
    late.grad, before = draw(3), late.detach().clone()
    take(optimizer, [p], [draw(M, N)])
    torch.testing.assert_close((before - late).abs(), torch.full((3,), 0.1).double())


def test_closures_are_evaluated_once_and_with_gradients() -> None:
    p, calls = pair(), 0
    optimizer = create_lorapro_optimizer([p], 0.01)
    target, before = draw(M, N), product(p)

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = (p.scaling * p.B @ p.A - target).square().sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert calls == 1
    torch.testing.assert_close(loss.detach(), (before - target).square().sum())
    assert not torch.equal(product(p), before)


def test_pairs_without_gradients_rest() -> None:
    pairs = [pair("a"), pair("b")]
    optimizer = create_lorapro_optimizer(pairs, 0.1)
    before = product(pairs[1])
    take(optimizer, pairs[:1], [draw(M, N)])
    assert torch.equal(product(pairs[1]), before)
    take(optimizer, pairs, [draw(M, N), draw(M, N)])  # now at different steps
    assert [optimizer.state[p.A]["step"] for p in pairs] == [2, 1]
    optimizer.zero_grad()
    with pytest.raises(RuntimeError, match="none of the 2 pairs has a gradient"):
        optimizer.step()
    assert [optimizer.state[p.A]["step"] for p in pairs] == [2, 1]


def test_says_what_it_trains() -> None:
    optimizer = create_lorapro_optimizer([pair()], 1e-3, rest=[nn.Parameter(draw(2))])
    assert repr(optimizer) == "LoRAPro('adamw-factored', lr=0.001, 1 pairs, 1 other parameters)"


def test_half_precision_moments_are_smaller_and_close() -> None:
    p, gradients = pair(), [draw(M, N) for _ in range(4)]
    other = copy.deepcopy(p)
    exact = follow(p, gradients, mode="adamw-full", lr=0.02)
    optimizer = create_lorapro_optimizer(
        [other], 0.02, mode="adamw-full", moments_dtype=torch.bfloat16
    )
    for G in gradients:
        take(optimizer, [other], [G])
    state = optimizer.state[other.A]
    assert (state["first"].dtype, state["second"].dtype) == (torch.bfloat16, torch.float64)
    torch.testing.assert_close(product(other), exact[-1], rtol=0.05, atol=0.05)
