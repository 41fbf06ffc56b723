"""Counts from shapes are those of models and optimizers that exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import (
    adapter_parameters,
    create_lorapro_optimizer,
    decoder_shapes,
    find_pairs,
    linear_shapes,
    memory_table,
)

Build = Callable[..., nn.Module]
TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]


def test_parameters_are_those_that_peft_makes(classifier: Build) -> None:
    model = classifier(target_modules=TARGETS, exclude_modules=[])
    shapes = linear_shapes(model.unload(), TARGETS)
    found = sum(p.A.numel() + p.B.numel() for p in find_pairs(classifier()))
    assert len(shapes) == 12
    assert adapter_parameters(shapes, 4) == found


@pytest.mark.parametrize(
    "name",
    [
        "LoRA, AdamW",
        "LoRA-Pro, sgd",
        "LoRA-Pro, adamw-efficient",
        "LoRA-Pro, adamw-factored",
        "LoRA-Pro, adamw-full",
    ],
)
def test_states_are_as_large_as_the_table_says(
    classifier: Build, batch: dict[str, Tensor], name: str
) -> None:
    model = classifier()
    pairs = find_pairs(model)
    mode: Any = name.partition(", ")[2]
    optimizer = (
        torch.optim.AdamW([p for pair in pairs for p in (pair.A, pair.B)])
        if mode == "AdamW"
        else create_lorapro_optimizer(pairs, mode=mode)
    )
    model(**batch).loss.backward()
    optimizer.step()
    held = sum(
        v.numel() * v.element_size()
        for state in optimizer.state.values()
        for v in state.values()
        if isinstance(v, Tensor) and v.ndim
    )
    table = {m.method: m for m in memory_table([p.shape for p in pairs], 4)}
    assert table[name].state == held


def test_a_model_of_seven_billion_parameters() -> None:
    shapes = decoder_shapes(4096, 11008, layers=32)
    dense = sum(m * n for m, n in shapes.values())
    assert dense == 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    table = {m.method: m for m in memory_table(shapes, 8, base_bytes=4)}
    pair = adapter_parameters(shapes, 8)
    assert table["full, AdamW"].total == 4 * 4 * dense
    assert table["LoRA-Pro, adamw-full"].total == 4 * (3 * dense + 2 * pair)
    assert table["LoRA, AdamW"].total == 4 * (dense + 4 * pair)
    assert table["LoRA-Pro, adamw-factored"].state <= 2.5 * table["LoRA, AdamW"].state
    assert memory_table(shapes, 8, base_bytes=0.5)[1].weights == dense // 2 + 4 * pair


def test_grouped_queries_and_order_of_sizes() -> None:
    assert decoder_shapes(8, 12, layers=2, kv=4)["layers.1.k_proj"] == (4, 8)


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="between 1 and 3"):
        adapter_parameters([(3, 5)], 4)
    with pytest.raises(ValueError, match="no shapes"):
        memory_table([], 1)
    with pytest.raises(ValueError, match="no linear layer is named"):
        linear_shapes(nn.Linear(2, 2), ["query"])
