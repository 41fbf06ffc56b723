"""A started adapter is the same function in whatever is done to it, here and in other processes."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn

from schmidt.adapters import (
    create_lorapro_optimizer,
    find_pairs,
    hold_start,
    lora_ga,
    orthogonal_start,
    save_adapter,
)

Build = Callable[..., nn.Module]
Batch = dict[str, Tensor]
OPTIONS = [
    {},
    {"use_rslora": True},
    {"use_rslora": True, "rank_pattern": {"query": 2}, "alpha_pattern": {"key": 3}},
]


def off(found: Tensor, expected: Tensor) -> float:
    """The relative error of logits."""
    return float(((found - expected).norm() / expected.norm()).detach())


def steps(model: Any, batch: Batch, count: int = 3, pro: bool = False) -> nn.Module:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer: Any = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0)
    if pro:
        optimizer = create_lorapro_optimizer(model, 1e-2)
    model.train()
    for _ in range(count):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return model.eval()


def trained(model: nn.Module, batch: Batch) -> nn.Module:
    """Started, and moved a little."""
    lora_ga(model, [batch])
    return steps(model, batch)


def held(model: nn.Module) -> list[Tensor]:
    """A0 and −B0 of all layers."""
    return [
        x.detach().clone()
        for p in find_pairs(model)
        for x in (p.A.unflatten(0, (p.blocks, -1))[:, p.rank :], p.B[:, p.rank :])
    ]


@pytest.mark.parametrize("pro", [False, True])
def test_only_the_first_half_is_trained(classifier: Build, batch: Batch, pro: bool) -> None:
    model: Any = classifier(torch.float64)
    lora_ga(model, [batch])
    before, factors = held(model), [p.A.clone() for p in find_pairs(model)]
    steps(model, batch, pro=pro)
    assert all(torch.equal(a, b) for a, b in zip(before, held(model), strict=True))
    for pair, A in zip(find_pairs(model), factors, strict=True):
        assert pair.start == pair.rank == 4
        assert not torch.equal(pair.A, A)


def test_training_is_that_of_two_adapters_of_which_one_is_frozen(
    classifier: Build, batch: Batch
) -> None:
    """W0 + s·BA − s·B0A0 with a base that the start was subtracted from."""
    model: Any = classifier(torch.float64)
    lora_ga(model, [batch])
    twin: Any = classifier(torch.float64)
    for ours, theirs in zip(find_pairs(model), find_pairs(twin), strict=True):
        A, B = ours.right(ours.A)[0].detach(), ours.left(ours.B)[0].detach()
        theirs.A.data, theirs.B.data = A.clone(), B.clone()
        layer: Any = theirs.module
        layer.base_layer.weight.data -= theirs.scaling * B @ A
    for each in (model, twin):
        steps(each, batch, 5)
    assert off(model(**batch).logits, twin(**batch).logits) < 1e-10


@pytest.mark.parametrize("copied", ["deepcopy", "pickle", "torch.save"])
def test_copies_go_on_training_half(classifier: Build, batch: Batch, copied: str) -> None:
    model = trained(classifier(torch.float64), batch)
    buffer = io.BytesIO()
    if copied == "deepcopy":
        twin = copy.deepcopy(model)
    elif copied == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        torch.save(model, buffer)
        buffer.seek(0)
        twin = torch.load(buffer, weights_only=False)
    assert off(twin(**batch).logits, model(**batch).logits) < 1e-12
    before = held(twin)
    for each in (model, twin):
        steps(each, batch)
    assert all(torch.equal(a, b) for a, b in zip(before, held(twin), strict=True))
    assert off(twin(**batch).logits, model(**batch).logits) < 1e-12


@pytest.mark.parametrize("options", OPTIONS)
def test_saved_by_peft_or_by_us_it_is_an_ordinary_adapter(
    classifier: Build, batch: Batch, tmp_path: Path, options: dict
) -> None:
    model: Any = trained(classifier(torch.float64, **options), batch)
    expected = model(**batch).logits
    save_adapter(model, tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    model.save_pretrained(tmp_path / "b")
    assert torch.equal(model(**batch).logits, expected)
    for folder in ("a", "b"):
        base = classifier(torch.float64).unload()
        loaded = peft.PeftModel.from_pretrained(
            base, tmp_path / folder, autocast_adapter_dtype=False
        )
        assert loaded.peft_config["default"].r == 8
        assert off(loaded(**batch).logits, expected) < 1e-12


def test_another_process_reads_it_without_this_library(
    classifier: Build, batch: Batch, tmp_path: Path
) -> None:
    model: Any = trained(classifier(), batch)
    model.get_base_model().config._name_or_path = ""
    classifier().unload().save_pretrained(tmp_path / "base")
    model.save_pretrained(tmp_path / "adapter")
    torch.save({"batch": batch, "logits": model(**batch).logits.detach()}, tmp_path / "expected")
    program = f"""
import sys, torch, peft, transformers
folder = {str(tmp_path)!r}
base = transformers.BertForSequenceClassification.from_pretrained(folder + "/base")
model = peft.PeftModel.from_pretrained(base, folder + "/adapter").eval()
there = torch.load(folder + "/expected")
logits = model(**there["batch"]).logits
print(float((logits - there["logits"]).norm() / there["logits"].norm()), "schmidt" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    error, ours = done.stdout.split()[-2:]
    assert float(error) < 1e-6
    assert ours == "False"


def test_switching_merging_and_disabling(classifier: Build, batch: Batch) -> None:
    model: Any = classifier(torch.float64)
    pretrained = model(**batch).logits
    trained(model, batch)
    expected = model(**batch).logits
    with model.disable_adapter():
        head = model.classifier.modules_to_save.default  # PEFT switches the new head off, too
        assert off(model(**batch).logits, pretrained) < 1e-12 or head is not None
    assert off(model(**batch).logits, expected) < 1e-12
    for switch in (model.set_adapter, model.base_model.set_adapter):
        switch("default")
        assert off(model(**batch).logits, expected) < 1e-12
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["query"]))
    model.set_adapter("second")
    model.set_adapter("default")
    model.delete_adapter("second")
    assert off(model(**batch).logits, expected) < 1e-12
    model.merge_adapter()
    assert off(model(**batch).logits, expected) < 1e-12
    model.unmerge_adapter()
    assert off(model(**batch).logits, expected) < 1e-12
    before = held(model)
    steps(model, batch)
    assert all(torch.equal(a, b) for a, b in zip(before, held(model), strict=True))
    expected = model(**batch).logits
    merged = model.merge_and_unload()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert off(merged(**batch).logits, expected) < 1e-12


def test_a_new_adapter_of_the_same_name_is_trained_whole(classifier: Build, batch: Batch) -> None:
    model: Any = trained(classifier(torch.float64), batch)
    config = model.peft_config["default"]
    model.add_adapter("other", config)
    model.set_adapter("other")
    model.delete_adapter("default")
    model.add_adapter("default", config)
    model.set_adapter("default")
    assert {(p.rank, p.start) for p in find_pairs(model)} == {(8, 0)}


def test_a_copied_adapter_is_the_same_function(classifier: Build, batch: Batch) -> None:
    """What TRL does for the reference of DPO and GRPO."""
    model: Any = trained(classifier(), batch)
    expected = model(**batch).logits
    model.add_adapter("ref", model.peft_config["default"])
    for name, parameter in model.named_parameters():
        if ".default." in name:
            model.get_parameter(name.replace(".default.", ".ref.")).data.copy_(parameter.data)
    model.set_adapter("ref")
    assert off(model(**batch).logits, expected) == 0
    model.set_adapter("default")
    assert off(model(**batch).logits, expected) == 0


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`")
def test_resized_embeddings_are_saved(batch: Batch, tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        vocab_size=36,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=False,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "base")

    def resized() -> Any:
        model = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base")
        model.resize_token_embeddings(40)  # new rows are random
        return model

    model: Any = peft.get_peft_model(resized(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    inputs = {"input_ids": batch["input_ids"], "labels": batch["input_ids"]}
    lora_ga(model, [inputs])
    steps(model, inputs)
    save_adapter(model, tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(resized(), tmp_path / "adapter")
    assert off(loaded(**inputs).logits, model(**inputs).logits) <= 1e-6


@pytest.mark.parametrize("start", [lora_ga, orthogonal_start])
def test_every_kind_of_layer_survives(
    mixed: Build, ids: Tensor, tmp_path: Path, start: Callable
) -> None:
    model: Any = mixed()
    if start is lora_ga:
        lora_ga(model, [ids], lambda m, x: m(x).square().sum())
    else:
        orthogonal_start(model)
    before = held(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    for _ in range(2):
        optimizer.zero_grad()
        model(ids).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, held(model), strict=True))
    expected = model(ids)
    save_adapter(model, tmp_path, embeddings=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LoRA adapter added to ConvNd layer with groups")
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
        loaded = peft.PeftModel.from_pretrained(
            mixed().unload(), tmp_path, autocast_adapter_dtype=False
        )
    assert off(loaded(ids), expected) < 1e-12


def test_a_base_in_bfloat16_is_rounded_once_by_merging(classifier: Build, batch: Batch) -> None:
    model: Any = classifier()
    model.get_base_model().to(torch.bfloat16)
    for pair in find_pairs(model):
        pair.A.data, pair.B.data = pair.A.data.float(), pair.B.data.float()
    lora_ga(model, [batch])
    W0 = {n: m.base_layer.weight.clone() for n, m in model.named_modules() if hasattr(m, "lora_A")}
    model.merge_adapter()  # BA = B0A0: nothing may change
    for name, W in W0.items():
        assert torch.equal(model.get_submodule(name).base_layer.weight, W)


def test_an_adapter_that_was_read_goes_on_with_half(
    classifier: Build, batch: Batch, tmp_path: Path
) -> None:
    model: Any = trained(classifier(torch.float64), batch)
    model.save_pretrained(tmp_path)
    base = classifier(torch.float64).unload()
    again: Any = peft.PeftModel.from_pretrained(
        base, tmp_path, is_trainable=True, autocast_adapter_dtype=False
    )
    assert {p.rank for p in find_pairs(again)} == {8}
    with pytest.raises(ValueError, match="hold_start"):
        create_lorapro_optimizer(again).load_state_dict(
            create_lorapro_optimizer(model).state_dict()
        )
    hold_start(again)
    assert {p.rank for p in find_pairs(again)} == {4}
    for each in (model, again):
        steps(each, batch)
    assert off(again(**batch).logits, model(**batch).logits) < 1e-12
    with pytest.raises(ValueError, match="rank 3"):
        hold_start(classifier(r=3))


def test_weight_decay_shrinks_the_change_of_the_weight(classifier: Build, batch: Batch) -> None:
    """ΔW = s(BA − B0A0), and not s·BA, by 1 − lr·λ."""
    model: Any = trained(classifier(torch.float64), batch)
    layer = find_pairs(model)[0].module
    before = layer.get_delta_weight("default").detach()  # type: ignore[union-attr,operator]
    optimizer = create_lorapro_optimizer(model, 0.1, weight_decay=1.0)
    for p in model.parameters():
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    optimizer.step()
    after = layer.get_delta_weight("default")  # type: ignore[union-attr,operator]
    torch.testing.assert_close(after, 0.9 * before)


def test_compiled_models_train_half() -> None:
    base = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    config = peft.LoraConfig(r=2, target_modules=["0", "2"])
    model: Any = peft.get_peft_model(base, config)  # type: ignore[arg-type]
    x = torch.randn(6, 8)
    lora_ga(model, [x], lambda m, b: m(b).square().sum())
    before, factors = held(model), [p.A.clone() for p in find_pairs(model)]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    compiled = torch.compile(model, backend="aot_eager")
    for _ in range(2):
        optimizer.zero_grad()
        compiled(x).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, held(model), strict=True))
    assert not any(torch.equal(p.A, A) for p, A in zip(find_pairs(model), factors, strict=True))


def test_several_adapters_need_a_name(classifier: Build, batch: Batch) -> None:
    model: Any = trained(classifier(torch.float64), batch)
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["query"]))
    with pytest.raises(ValueError, match="say which"):
        save_adapter(model, Path("nowhere"))
