"""Learning canonical dependence, the points it is judged on, and pairs that are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import Dependence, Jet, NotSelfAdjointError, Training, fit
from schmidt.operators.dependence import PairSampler

SHORT = Training(steps=40, batch=256, log_every=10)
ROW = torch.arange(6.0, dtype=torch.float64)[:, None]


def curve(modes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, modes))


def table(modes: int) -> nn.Sequential:
    """Functions on {0, 1, 2, 3}."""
    return nn.Sequential(nn.Embedding(4, 8), nn.Tanh(), nn.Linear(8, modes))


@pytest.mark.parametrize("start", ["ritz", "random"])
def test_learning_on_an_index_set(start: str, noisy_bits: tuple[Tensor, Tensor]) -> None:
    """Judged on all given pairs; a start from the closed form is nearly the answer."""
    training = SHORT if start == "ritz" else Training(steps=250, batch=512)
    found = fit(
        Dependence(noisy_bits), table(3), table(3), training=training, start=start, progress=False
    )
    tolerance = 0.003 if start == "ritz" else 0.04
    np.testing.assert_allclose(found.factorization.values, [1 / 2, 1 / 4, 1 / 8], atol=tolerance)
    np.testing.assert_allclose(found.learned.values, [1 / 2, 1 / 4, 1 / 8], atol=0.1)
    points = np.arange(4)
    f, g = found.factorization.right(points), found.factorization.left(points)
    # the leading functions are the standardised numbers of ones
    standard = (points - 1.5) / math.sqrt(0.75)
    for leading in (f[:, 0], g[:, 0]):
        np.testing.assert_allclose(np.abs(leading), np.abs(standard), atol=0.15)
    np.testing.assert_allclose(f[:, 0], g[:, 0], atol=0.15)


@pytest.mark.parametrize("polish", [None, "ritz"])
def test_learning_normal_pairs(
    polish: str | None, normal_pairs: Callable[[float], PairSampler]
) -> None:
    form = Dependence(normal_pairs(0.8))
    found = fit(
        form, curve(2), curve(2), training=SHORT, start="ritz", polish=polish, progress=False
    )
    np.testing.assert_allclose(found.factorization.values, [0.8, 0.64], atol=0.05)


def test_one_network_is_not_enough(noisy_bits: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(NotSelfAdjointError, match="Give a second network"):
        fit(Dependence(noisy_bits), table(2), training=SHORT, progress=False)


def test_the_points_to_judge_on() -> None:
    """Held-out pairs, else the given ones in their order, else drawn ones, always the same."""
    given, other = (ROW, ROW + 0.5), (-ROW, ROW * 2)

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randn(n, 1, generator=generator, dtype=torch.float64)
        return x, x.abs()

    for form, (x, y) in (
        (Dependence(given), given),
        (Dependence(given, held_out=other), other),
        (Dependence(draw, held_out=other), other),
    ):
        at = form.evaluation()
        assert torch.equal(at.x.x, x)
        assert torch.equal(at.y.x, y)
        assert float(at.x.weight.sum()) == pytest.approx(1)
        assert torch.equal(at.x.weight, at.y.weight)
    first, again = (Dependence(draw).evaluation(500) for _ in range(2))
    assert len(first.x) == 500
    assert torch.equal(first.x.x, again.x.x)
    assert torch.equal(first.y.x, first.x.x.abs())


def test_samples_keep_pairs_together(generator: torch.Generator) -> None:
    at = Dependence((ROW.numpy(), (10 * ROW).tolist())).sample(50, generator)
    assert torch.equal(at.y.x.double(), 10 * at.x.x)
    assert set(at.x.x[:, 0].tolist()) == set(range(6))


def test_components_of_vector_valued_functions_add_up(generator: torch.Generator) -> None:
    form = Dependence((ROW, ROW))
    at = form.evaluation()
    g, f = torch.randn(2, 6, 3, 2, generator=generator, dtype=torch.float64)
    found = form.matrix(Jet(g[None], 1, 0), Jet(f[None], 1, 0), at)
    parts = [
        form.matrix(Jet(g[None, ..., i], 1, 0), Jet(f[None, ..., i], 1, 0), at) for i in range(2)
    ]
    torch.testing.assert_close(found, parts[0] + parts[1])


def test_the_identity_cannot_be_added(noisy_bits: tuple[Tensor, Tensor]) -> None:
    form = Dependence(noisy_bits) + 1.0
    one = Jet(torch.ones(1, 512, 2, dtype=torch.float64), 1, 0)
    with pytest.raises(ValueError, match="cannot add a multiple of the identity"):
        form.matrix(one, one, form.evaluation())


def spoiled(value: float) -> Tensor:
    out = ROW.clone()
    out[3] = value
    return out


BAD: dict[str, tuple[tuple[Any, Any], str]] = {
    "lengths": ((ROW, ROW[:5]), "as many x as y, .* got 6 and 5"),
    "one": ((ROW[:1], ROW[:1]), "got 1 and 1"),
    "none": (([], []), "got 0 and 0"),
    "NaN": ((spoiled(math.nan), ROW), "the x of the pairs contain NaN or Inf"),
    "infinite": ((ROW, spoiled(-math.inf).numpy()), "the y of the pairs contain NaN or Inf"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pairs_are_refused_given_or_drawn(name: str) -> None:
    pairs, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        Dependence(pairs)
    with pytest.raises(ValueError, match=message):
        Dependence((ROW, ROW), held_out=pairs)
    with pytest.raises(ValueError, match=message):
        Dependence(lambda n, generator: pairs).sample(2, torch.Generator())
