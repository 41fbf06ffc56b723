"""Bad input to the optimizer: what was given, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from schmidt.adapters import LoRAPro, Pair, create_lorapro_optimizer

Build = Callable[..., nn.Module]


def pair() -> Pair:
    return Pair("p", nn.Parameter(torch.randn(2, 5)), nn.Parameter(torch.randn(4, 2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be a number above 0, got 0.0: full"),
        ({"lr": -1e-3}, "lr must be a number above 0"),
        ({"lr": float("nan")}, "lr must be a number above 0"),
        ({"mode": "adam"}, "mode must be one of .*adamw-factored.* got 'adam'"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\)"),
        ({"gauge": "none"}, "gauge must be one of"),
        ({"decay": "weights"}, "decay must be one of product, factors"),
        ({"weight_decay": -1.0}, "weight_decay must be a number of at least 0"),
        ({"lr": 0.1, "weight_decay": 10.0}, "weight_decay must lie in"),
        ({"eps": -1.0}, "eps must be a number of at least 0"),
        ({"damping": -1.0}, "damping must be a number of at least 0"),
        ({"cap": 0.0}, "cap must be a number above 0 or None"),
        ({"clip_norm": 0.0}, "clip_norm must be a number above 0 or None"),
        ({"rest_lr": 0.0}, "rest_lr must be a number above 0 or None"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_lorapro_optimizer([pair()], **settings)


def test_a_model_without_adapters() -> None:
    with pytest.raises(ValueError, match="get_peft_model"):
        create_lorapro_optimizer(nn.Linear(3, 3))


def test_a_list_of_parameters() -> None:
    """What transformers.Trainer hands to an optimizer class without "model"."""
    with pytest.raises(ValueError, match="optimizer_cls_and_kwargs"):
        LoRAPro(nn.Linear(3, 3).parameters())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"got dict"):
        LoRAPro([{"params": []}])  # type: ignore[list-item]


def test_no_pairs() -> None:
    with pytest.raises(ValueError, match="no pairs were given"):
        create_lorapro_optimizer([])


def test_rest_beside_a_model(classifier: Build) -> None:
    with pytest.raises(ValueError, match="rest is for pairs given by hand"):
        create_lorapro_optimizer(classifier(), rest=[nn.Parameter(torch.ones(2))])


def test_pairs_on_different_devices() -> None:
    p = Pair("p", nn.Parameter(torch.ones(2, 5)), nn.Parameter(torch.ones(4, 2, device="meta")))
    with pytest.raises(ValueError, match="A is on cpu and B on meta"):
        create_lorapro_optimizer([p])


def test_a_partner_frozen_later() -> None:
    p = pair()
    optimizer = create_lorapro_optimizer([p])
    p.B.grad = torch.ones_like(p.B)
    with pytest.raises(RuntimeError, match="p: A has no gradient and its partner has one"):
        optimizer.step()


def test_factors_flattened_later() -> None:
    p = pair()
    optimizer = create_lorapro_optimizer([p])
    p.A.data = torch.zeros(10)
    with pytest.raises(RuntimeError, match=r"had shapes \[\[2, 5\], \[4, 2\]\]"):
        optimizer.step()


@pytest.mark.parametrize("mode", ["sgd", "adamw-factored"])
def test_diverged_factors_are_named(mode: Any) -> None:
    p, sound = pair(), pair()
    optimizer = create_lorapro_optimizer([Pair("sound", sound.A, sound.B), p], mode=mode)
    for factor in (p.A, p.B, sound.A, sound.B):
        factor.grad = torch.ones_like(factor)
    with torch.no_grad():
        p.A[0, 0] = float("nan")
    with pytest.raises(RuntimeError, match=r"factors of p hold NaN or Inf: training has diverged"):
        optimizer.step()
