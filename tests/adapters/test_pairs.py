"""What is found in a model, that it is W = W0 + s·B·A, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import Pair, find_pairs, split_parameters

Build = Callable[..., nn.Module]


def randomise(model: nn.Module) -> None:
    """No factor is zero, as one of each pair would be at the start."""
    for pair in find_pairs(model):
        nn.init.normal_(pair.A)
        nn.init.normal_(pair.B)


def test_every_kind_of_layer_is_found(mixed: Build) -> None:
    pairs = {p.name.split(".")[-2]: p for p in find_pairs(mixed())}
    assert {k: p.kind for k, p in pairs.items()} == {
        "embed": "embedding",
        "conv": "convolution",
        "plane": "convolution",
        "grouped": "convolution",
        "linear": "linear",
        "transposed": "linear",
    }
    assert [k for k, p in pairs.items() if p.transposed] == ["embed", "transposed"]
    assert pairs["grouped"].blocks == 2
    assert {k: (*p.shape, p.rank) for k, p in pairs.items()} == {
        "embed": (6, 11, 2),
        "conv": (5, 18, 2),
        "plane": (4, 6, 2),
        "grouped": (2, 4, 1),
        "linear": (7, 4, 2),
        "transposed": (3, 7, 2),
    }


def test_products_are_the_changes_that_peft_reports(mixed: Build) -> None:
    model = mixed(rank_pattern={"linear": 3}, alpha_pattern={"conv": 7}, use_rslora=True)
    randomise(model)
    for pair in find_pairs(model):
        if pair.blocks > 1:
            continue
        delta = pair.scaling * (pair.left(pair.B) @ pair.right(pair.A))[0]
        reported: Tensor = pair.module.get_delta_weight("default")  # type: ignore[operator, union-attr]
        reported = reported.T if pair.transposed else reported.flatten(1)
        torch.testing.assert_close(delta, reported)


def test_gradients_of_the_factors_are_those_of_the_weight(mixed: Build, ids: Tensor) -> None:
    """G_A = s BᵀG and G_B = s GAᵀ, G the gradient of the base weight."""
    model = mixed()
    randomise(model)
    pairs = [p for p in find_pairs(model) if p.blocks == 1]
    for pair in pairs:
        pair.module.get_base_layer().weight.requires_grad_(True)  # type: ignore[operator, union-attr]
    model(ids).square().sum().backward()
    for pair in pairs:
        G = pair.module.get_base_layer().weight.grad  # type: ignore[operator, union-attr]
        G = G.T if pair.transposed else G.flatten(1)
        B, A = pair.left(pair.B)[0], pair.right(pair.A)[0]
        torch.testing.assert_close(pair.right(pair.A.grad)[0], pair.scaling * B.T @ G)
        torch.testing.assert_close(pair.left(pair.B.grad)[0], pair.scaling * G @ A.T)


def test_grouped_convolutions_are_blocks(mixed: Build) -> None:
    """The output of a grouped adapter is the blocks' products, one below the other."""
    model = mixed()
    randomise(model)
    pair = next(p for p in find_pairs(model) if p.blocks == 2)
    x = torch.randn(3, 4, 5, 2, dtype=torch.float64)
    layer: Any = pair.module
    seen = layer.lora_B["default"](layer.lora_A["default"](x))
    products = (pair.left(pair.B) @ pair.right(pair.A)).flatten(0, 1)
    torch.testing.assert_close(seen, torch.einsum("oi,bihw->bohw", products, x))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Parameter(torch.randn(3, 5, 4, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("eoi,bi->beo", self.stack, x)


def test_stacks_of_experts_are_blocks() -> None:
    base = nn.ModuleDict({"mlp": Experts()})
    base.forward = lambda x: base["mlp"](x)  # type: ignore[method-assign]
    config = peft.LoraConfig(r=2, target_modules=[], target_parameters=["mlp.stack"])
    model = peft.get_peft_model(base, config)  # type: ignore[arg-type]
    randomise(model)
    (pair,) = find_pairs(model)
    assert (pair.kind, pair.blocks, pair.rank, pair.shape) == ("experts", 3, 2, (5, 4))
    delta = pair.scaling * pair.left(pair.B) @ pair.right(pair.A)
    reported = pair.module.get_delta_weight("default")  # type: ignore[operator, union-attr]
    torch.testing.assert_close(delta, reported)


def test_matrices_and_back(mixed: Build) -> None:
    for pair in find_pairs(mixed()):
        assert torch.equal(pair.as_A(pair.right(pair.A)), pair.A)
        assert torch.equal(pair.as_B(pair.left(pair.B)), pair.B)


def test_scaling_follows_patterns_and_rslora(mixed: Build) -> None:
    model = mixed(rank_pattern={"linear": 4}, alpha_pattern={"linear": 6})
    scaling = {p.name.split(".")[-2]: p.scaling for p in find_pairs(model)}
    assert scaling["linear"] == 6 / 4
    assert scaling["conv"] == 3 / 2
    stable = {p.name.split(".")[-2]: p.scaling for p in find_pairs(mixed(use_rslora=True))}
    assert stable["linear"] == pytest.approx(3 / 2**0.5)


def test_only_active_adapters(mixed: Build) -> None:
    model: Any = mixed()
    model.add_adapter("other", peft.LoraConfig(r=3, target_modules=["linear"]))
    assert {p.adapter for p in find_pairs(model)} == {"default"}
    model.set_adapter("other")
    (pair,) = find_pairs(model)
    assert (pair.adapter, pair.rank) == ("other", 3)


def test_the_rest_is_what_is_trainable_and_in_no_pair(mixed: Build) -> None:
    model: Any = mixed(
        target_modules=["linear"], use_dora=True, modules_to_save=["head"], bias="all"
    )
    model.add_adapter("other", peft.LoraConfig(r=3, target_modules=["linear"]))
    model.set_adapter("default")
    for name, p in model.named_parameters():
        if "other" in name:
            p.requires_grad_(True)
    rest = {name for name, _ in split_parameters(model).rest}
    assert any("lora_magnitude_vector" in name for name in rest)
    assert any("head.modules_to_save.default.weight" in name for name in rest)
    assert any(name.endswith("conv.bias") for name in rest)
    assert not any("lora_A" in name or "lora_B" in name for name in rest)


def test_biases_of_adapters_are_rest(mixed: Build) -> None:
    rest = [n for n, _ in split_parameters(mixed(target_modules=["linear"], lora_bias=True)).rest]
    assert len(rest) == 1
    assert rest[0].endswith("lora_B.default.bias")


def test_works_through_wrappers(mixed: Build) -> None:
    model = mixed()
    wrapped = torch.compile(nn.Sequential(model), backend="eager")
    assert [id(p.A) for p in find_pairs(wrapped)] == [id(p.A) for p in find_pairs(model)]  # type: ignore[arg-type]


def test_refuses_a_model_without_adapters() -> None:
    with pytest.raises(ValueError, match="get_peft_model"):
        find_pairs(nn.Linear(3, 3))


def test_refuses_a_model_with_nothing_to_train(mixed: Build) -> None:
    with pytest.raises(ValueError, match="no trainable pair"):
        find_pairs(mixed(inference_mode=True))


def test_refuses_a_frozen_partner(mixed: Build) -> None:
    model = mixed()
    find_pairs(model)[2].A.requires_grad_(False)
    with pytest.raises(ValueError, match="A is frozen and its partner B is not"):
        find_pairs(model)


def test_refuses_a_merged_adapter(mixed: Build) -> None:
    model: Any = mixed(target_modules=["linear"])
    model.merge_adapter()
    with pytest.raises(ValueError, match="unmerge_adapter"):
        find_pairs(model)
    model.unmerge_adapter()
    assert find_pairs(model)


def test_refuses_what_is_not_a_product(mixed: Build) -> None:
    """AdaLoRA has a diagonal between its factors; QA-LoRA pools its inputs."""
    ada = peft.get_peft_model(
        nn.Sequential(nn.Linear(4, 4)),  # type: ignore[arg-type]
        peft.AdaLoraConfig(target_modules=["0"], total_step=10),
    )
    with pytest.raises(ValueError, match="AdaLoRA trains"):
        find_pairs(ada)
    model: Any = mixed(target_modules=["linear"])
    layer: Any = find_pairs(model)[0].module
    layer.lora_variant["default"] = type("QALoraLinearVariant", (), {})()
    with pytest.raises(ValueError, match="QALoraLinearVariant changes how the factors act"):
        find_pairs(model)


def factor(*shape: int, device: str = "cpu") -> nn.Parameter:
    return nn.Parameter(torch.ones(shape, device=device))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (Pair("p", factor(2, 5), factor(4, 2, device="meta")), "move both to one device"),
        (Pair("p", factor(2, 5), factor(4, 3)), r"A must be \(r, n\) and B \(m, r\)"),
        (Pair("p", factor(5), factor(4, 3)), r"A must be \(r, n\) and B \(m, r\)"),
        (Pair("p", factor(2, 5), factor(4, 2), scaling=0.0), "set lora_alpha"),
        (
            Pair("p", factor(2, 5).requires_grad_(False), factor(4, 2).requires_grad_(False)),
            "both factors are frozen",
        ),
    ],
)
def test_refuses_pairs_given_by_hand(pair: Pair, message: str) -> None:
    from schmidt.adapters.pairs import check_pairs

    with pytest.raises(ValueError, match=message):
        check_pairs([pair])


def test_refuses_shared_factors() -> None:
    from schmidt.adapters.pairs import check_pairs

    A = factor(2, 5)
    pairs = [Pair("one", A, factor(4, 2)), Pair("two", nn.Parameter(A), factor(3, 2))]
    with pytest.raises(ValueError, match="two shares a parameter with one"):
        check_pairs(pairs)
    with pytest.raises(ValueError, match="no pairs"):
        check_pairs([])


def test_importing_the_room_imports_neither_peft_nor_transformers() -> None:
    code = (
        "import sys, schmidt.adapters; "
        "print([m for m in ('peft', 'transformers', 'accelerate', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
