"""Half-precision factors: no small step is lost, whoever made them so and whenever."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import LoRAPro, Pair, create_lorapro_optimizer
from schmidt.adapters.step import round_stochastically

Build = Callable[..., nn.Module]
HALVES = [torch.bfloat16, torch.float16]


def pairs(dtype: torch.dtype, generator: torch.Generator, start: int = 0) -> list[Pair]:
    """Three pairs of two shapes, at numbers that half precision has, too."""
    made = []
    for i, (m, n) in enumerate([(12, 8), (12, 8), (9, 10)]):
        A, B = (
            torch.randn(shape, generator=generator).to(torch.bfloat16).to(dtype)
            for shape in ((2 + start, n), (m, 2 + start))
        )
        made.append(Pair(f"p{i}", nn.Parameter(A), nn.Parameter(B), scaling=0.5, start=start))
    return made


def run(made: list[Pair], steps: int = 50, **settings: Any) -> list[Tensor]:
    """How far the products B·A went, under gradients that do not depend on them."""
    optimizer = create_lorapro_optimizer(made, **settings)
    before = [(p.B.detach().float() @ p.A.detach().float()) for p in made]
    generator = torch.Generator().manual_seed(0)
    G = [torch.randn(*p.shape, generator=generator) for p in made]
    for _ in range(steps):
        for p, g in zip(made, G, strict=True):
            A, B = p.A.detach().float(), p.B.detach().float()
            p.A.grad = (p.scaling * B.T @ g).to(p.A.dtype)
            p.B.grad = (p.scaling * g @ A.T).to(p.B.dtype)
        optimizer.step()
    factors = [[optimizer.state[x].get("master", x.detach()) for x in (p.A, p.B)] for p in made]
    after = [B.float() @ A.float() for A, B in factors]
    return [b - a for a, b in zip(before, after, strict=True)]


def relative(found: list[Tensor], expected: list[Tensor]) -> float:
    off = sum(float((a - b).square().sum()) for a, b in zip(found, expected, strict=True))
    return (off / sum(float(b.square().sum()) for b in expected)) ** 0.5


@pytest.mark.parametrize("mode", ["adamw-factored", "adamw-full", "adamw-efficient", "sgd"])
@pytest.mark.parametrize("dtype", HALVES)
def test_masters_go_the_way_of_single_precision(
    generator: torch.Generator, dtype: torch.dtype, mode: Any
) -> None:
    """lr 1e-5: a hundredth of the spacing of bfloat16 around 1 per step."""
    made = pairs(torch.float32, generator)
    halves = [Pair(p.name, *half(p, dtype), scaling=p.scaling) for p in made]
    expected = run(made, lr=1e-5, mode=mode)
    assert relative(run(halves, lr=1e-5, mode=mode), expected) < 0.02


def half(p: Pair, dtype: torch.dtype) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(p.A.detach().to(dtype)), nn.Parameter(p.B.detach().to(dtype))


def test_nearest_loses_the_way_and_stochastic_rounding_keeps_it(
    generator: torch.Generator,
) -> None:
    made = pairs(torch.float32, generator)
    expected = run([copy.deepcopy(p) for p in made], 200, lr=3e-5)
    shares = {}
    for rounding in ("nearest", "stochastic"):
        halves = [Pair(p.name, *half(p, torch.bfloat16), scaling=p.scaling) for p in made]
        found = run(halves, 200, lr=3e-5, rounding=rounding)
        inner = sum(float((a * b).sum()) for a, b in zip(found, expected, strict=True))
        shares[rounding] = inner / sum(float(b.square().sum()) for b in expected)
    assert shares["nearest"] < 0.6
    assert abs(shares["stochastic"] - 1) < 0.15


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
def test_stochastic_rounding_takes_a_neighbour_and_is_right_on_average(
    dtype: torch.dtype, scale: float
) -> None:
    x = scale * torch.randn(50, generator=torch.Generator().manual_seed(0))
    drawn = torch.stack([round_stochastically(x, dtype, seed).float() for seed in range(4000)])
    near = x.to(dtype).float()
    spacing = (drawn.max(0).values - drawn.min(0).values).clamp_min(1e-38)
    assert ((drawn == near).any(0)).all()
    assert max(len(row.unique()) for row in drawn.T) == 2
    assert ((drawn.mean(0) - x).abs() < 6 * spacing / 2 / 4000**0.5 + 1e-7 * x.abs()).all()
    exact = near.clone()
    assert torch.equal(round_stochastically(exact, dtype, 0).float(), exact)
    assert torch.equal(round_stochastically(x, dtype, 1), round_stochastically(x, dtype, 1))


def test_zeros_and_infinities_stay() -> None:
    x = torch.tensor([0.0, float("inf"), -float("inf"), float("nan")])
    found = round_stochastically(x, torch.bfloat16, 0).float()
    torch.testing.assert_close(found, x, equal_nan=True)


def test_a_cast_under_the_optimizer_is_noticed_and_nothing_is_lost(
    generator: torch.Generator,
) -> None:
    """TRL casts the factors of quantised models after the optimizer was made."""
    made = pairs(torch.float32, generator)
    optimizer = create_lorapro_optimizer(made, 1e-5)
    for p in made:
        for factor in (p.A, p.B):
            factor.data = factor.data.bfloat16()
            factor.grad = torch.ones_like(factor)
    with pytest.warns(UserWarning, match=r"3 of 3 pairs were cast under the optimizer, p0 from"):
        optimizer.step()
    assert optimizer.state[made[0].A]["master"].dtype == torch.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()


def test_masters_follow_weights_that_are_loaded(generator: torch.Generator) -> None:
    (p, *_) = pairs(torch.bfloat16, generator)
    optimizer = create_lorapro_optimizer([p], 1e-5)
    p.A.grad, p.B.grad = torch.ones_like(p.A), torch.ones_like(p.B)
    optimizer.step()
    with torch.no_grad():
        p.A[0] = 3.0
    optimizer.step()
    master = optimizer.state[p.A]["master"]
    assert torch.equal(master.bfloat16(), p.A)
    assert (master[0] - 3).abs().max() < 1e-3


def held_size(p: Pair) -> float:
    return float(p.B.detach()[:, 2:].float().norm() * p.A.detach()[2:].float().norm())


@pytest.mark.parametrize("rounding", ["master", "stochastic"])
def test_starts_in_half_precision_decay_with_their_adapter(
    generator: torch.Generator, rounding: Any
) -> None:
    """s(BA − B0A0) shrinks as a whole: with BA = B0A0 it stays zero."""
    (p, *_) = pairs(torch.bfloat16, generator, start=2)
    with torch.no_grad():
        p.A[2:], p.B[:, 2:] = p.A[:2], -p.B[:, :2]
    optimizer = create_lorapro_optimizer([p], 1e-2, weight_decay=0.02, rounding=rounding)
    size = held_size(p)
    p.A.grad, p.B.grad = torch.zeros_like(p.A), torch.zeros_like(p.B)
    for _ in range(200):
        optimizer.step()
    now = float((p.B.detach().float() @ p.A.detach().float()).norm())
    assert now < (0.01 if rounding == "master" else 0.05) * size
    assert held_size(p) / size == pytest.approx((1 - 2e-4) ** 200, abs=0.01)


@pytest.mark.parametrize("rounding", ["master", "stochastic"])
def test_the_rest_in_half_precision_moves_too(generator: torch.Generator, rounding: Any) -> None:
    (p, *_) = pairs(torch.float32, generator)
    single = nn.Parameter(torch.ones(64, 32))
    head = nn.Parameter(torch.ones(64, 32, dtype=torch.bfloat16))
    plain = torch.optim.AdamW([single], 1e-4, weight_decay=0.0)
    optimizer: LoRAPro = create_lorapro_optimizer([p], 1e-4, rest=[head], rounding=rounding)
    for _ in range(50):
        p.A.grad, p.B.grad = torch.ones_like(p.A), torch.ones_like(p.B)
        single.grad, head.grad = torch.ones_like(single), torch.ones_like(head)
        plain.step()
        optimizer.step()
    # an ulp below 1 is 2⁻⁸: fifty steps of 1e-4 are 1.3 of them
    way = float((1 - optimizer.state[head].get("master", head.detach().float()).float()).mean())
    assert way == pytest.approx(float((1 - single).mean().detach()), rel=0.1)


def test_sparse_gradients(classifier: Build, batch: dict[str, Tensor]) -> None:
    """Of embeddings in ``modules_to_save``."""
    results = []
    for sparse in (False, True):
        model: Any = classifier(torch.float64, modules_to_save=["word_embeddings"])
        layer = model.get_input_embeddings().modules_to_save.default
        layer.sparse, layer.padding_idx = sparse, None
        optimizer = create_lorapro_optimizer(model, 1e-2, clip_norm=1.0)
        for _ in range(2):
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
        results.append(model(**batch).logits.detach())
    torch.testing.assert_close(*results)


def test_a_switched_adapter_is_an_error(classifier: Build, batch: dict[str, Tensor]) -> None:
    import peft

    model: Any = classifier()
    optimizer = create_lorapro_optimizer(model)
    model.add_adapter("other", peft.LoraConfig(r=2, target_modules=["query"]))
    model.set_adapter("other")
    model(**batch).loss.backward()
    with pytest.raises(RuntimeError, match="none of the 12 pairs has a gradient"):
        optimizer.step()
