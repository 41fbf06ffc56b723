"""Saving and loading the optimizer: bit for bit, dtypes kept, other models' states refused."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import LoRAPro, Pair, create_lorapro_optimizer
from schmidt.adapters.rules import RULES

Build = Callable[..., nn.Module]


def stored(state: Any) -> Any:
    """Through a file, as checkpoints go; read back as safely as torch can."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def train(model: nn.Module, optimizer: LoRAPro, batch: dict[str, Tensor], steps: int) -> None:
    for i in range(steps):
        optimizer.zero_grad()
        part = {k: v[i % 4 : i % 4 + 4] for k, v in batch.items()}
        model(**part).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", RULES)
def test_resumes_bit_for_bit(
    classifier: Build, batch: dict[str, Tensor], mode: Any, dtype: torch.dtype
) -> None:
    settings: dict[str, Any] = {"lr": 1e-2, "mode": mode, "weight_decay": 0.1, "clip_norm": 1.0}
    model = classifier(dtype)
    optimizer = create_lorapro_optimizer(model, **settings)
    train(model, optimizer, batch, 3)
    saved = stored({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    train(model, optimizer, batch, 3)

    other = classifier(dtype, seed=1)
    other.load_state_dict(saved["model"])
    resumed = create_lorapro_optimizer(other, **settings)
    resumed.load_state_dict(saved["optimizer"])
    train(other, resumed, batch, 3)

    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name
    ours, theirs = optimizer.state_dict()["state"], resumed.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for index, state in ours.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                assert value.dtype == theirs[index][key].dtype
                assert torch.equal(value, theirs[index][key])


def test_state_of_half_precision_factors_is_single(
    classifier: Build, batch: dict[str, Tensor]
) -> None:
    model = classifier(torch.bfloat16)
    optimizer = create_lorapro_optimizer(model, 1e-2)
    train(model, optimizer, batch, 1)
    optimizer.load_state_dict(stored(optimizer.state_dict()))
    A = optimizer.param_groups[0]["params"][0]
    assert A.dtype == torch.bfloat16
    assert optimizer.state[A]["first_A"].dtype == torch.float32


def test_loading_does_not_tie_the_state_to_what_was_loaded(
    classifier: Build, batch: dict[str, Tensor]
) -> None:
    model = classifier()
    optimizer = create_lorapro_optimizer(model, 1e-2)
    train(model, optimizer, batch, 1)
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    other = create_lorapro_optimizer(model, 1e-2)
    other.load_state_dict(saved)
    train(model, other, batch, 1)
    assert torch.equal(saved["state"][0]["first_A"], before["state"][0]["first_A"])


def test_names_of_wrappers_do_not_matter(classifier: Build) -> None:
    model = classifier()
    compiled: Any = torch.compile(model, backend="eager")
    create_lorapro_optimizer(model).load_state_dict(create_lorapro_optimizer(compiled).state_dict())


def test_the_scaling_is_the_models_and_not_the_checkpoints(classifier: Build) -> None:
    saved = create_lorapro_optimizer(classifier(lora_alpha=8)).state_dict()
    optimizer = create_lorapro_optimizer(classifier(lora_alpha=16))
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["pairs"][0]["scaling"] == 4.0


def other_rank(build: Build) -> Any:
    return create_lorapro_optimizer(build(r=2))


def other_layers(build: Build) -> Any:
    return create_lorapro_optimizer(build(target_modules=["query"]))


def other_mode(build: Build) -> Any:
    return create_lorapro_optimizer(build(), mode="sgd")


def other_rest(build: Build) -> Any:
    return create_lorapro_optimizer(build(bias="all"))


def adamw(build: Build) -> Any:
    return torch.optim.AdamW([p for p in build().parameters() if p.requires_grad])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_rank, "optimizer state is of another model"),
        (other_layers, "optimizer state is of another model"),
        (other_rest, "groups hold"),
        (other_mode, "saved with mode='sgd'"),
        (adamw, "not the state of a LoRA-Pro optimizer"),
    ],
)
def test_refuses_states_that_do_not_fit(
    classifier: Build, make: Callable[[Build], Any], message: str
) -> None:
    optimizer = create_lorapro_optimizer(classifier())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(make(classifier).state_dict())


def test_saved_settings_replace_others_with_a_word(
    classifier: Build, batch: dict[str, Tensor]
) -> None:
    saved = create_lorapro_optimizer(classifier(), 1e-3, weight_decay=0.1, clip_norm=1.0)
    other = create_lorapro_optimizer(classifier(), 2e-3, cap=None)
    with pytest.warns(UserWarning, match="settings of the saved state") as found:
        other.load_state_dict(stored(saved.state_dict()))
    message = str(found[0].message)
    for part in (
        "lr is 0.001 and not 0.002",
        "weight_decay is 0.1 and not 0.0",
        "cap is 0.5 and not None",
        "clip_norm is 1.0 and not None",
        "weight_decay of group 1 is 0.1 and not 0.0",
    ):
        assert part in message
    assert other.param_groups[0]["weight_decay"] == 0.1


def test_a_schedule_is_no_other_setting(classifier: Build, batch: dict[str, Tensor]) -> None:
    again = create_lorapro_optimizer(classifier(), 1e-2)
    torch.optim.lr_scheduler.ExponentialLR(again, 0.5)
    model = classifier()
    optimizer = create_lorapro_optimizer(model, 1e-2)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    train(model, optimizer, batch, 1)
    schedule.step()
    again.load_state_dict(stored(optimizer.state_dict()))  # pytest makes warnings errors
    assert again.param_groups[0]["lr"] == 5e-3


def test_copies_and_pickles(classifier: Build, batch: dict[str, Tensor]) -> None:
    p = Pair("p", nn.Parameter(torch.randn(2, 5)), nn.Parameter(torch.randn(4, 2)))
    optimizer = create_lorapro_optimizer([p], 0.1)
    p.A.grad, p.B.grad = torch.randn(2, 5), torch.randn(4, 2)
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    A = twin.param_groups[0]["params"][0]
    assert A is not p.A
    for q, original in zip(twin.param_groups[0]["params"], (p.A, p.B), strict=True):
        q.grad = original.grad
    optimizer.step()
    twin.step()
    assert torch.equal(A, p.A)
