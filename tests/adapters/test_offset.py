"""An adapter with a start: folded, saved, loaded and merged, it is the same function."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import find_pairs, fold, lora_ga, merge, orthogonal_start, save_adapter

Build = Callable[..., nn.Module]
OPTIONS = [
    {},
    {"use_rslora": True},
    {"use_rslora": True, "rank_pattern": {"query": 2}, "alpha_pattern": {"key": 3}},
]


def trained(model: nn.Module, batch: dict[str, Tensor]) -> nn.Module:
    """Started, and moved a little."""
    lora_ga(model, [batch])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("options", OPTIONS)
def test_saved_as_an_ordinary_adapter_of_rank_2r(
    classifier: Build, batch: dict[str, Tensor], tmp_path: Path, options: dict
) -> None:
    model = trained(classifier(torch.float64, **options), batch)
    expected = model(**batch).logits
    save_adapter(model, tmp_path / "a")
    torch.testing.assert_close(model(**batch).logits, expected, atol=0, rtol=0)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    base = classifier(torch.float64).unload()
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "a", autocast_adapter_dtype=False)
    assert loaded.peft_config["default"].r == 8
    torch.testing.assert_close(loaded(**batch).logits, expected)


@pytest.mark.parametrize("options", OPTIONS)
def test_folded_it_is_one_adapter(
    classifier: Build, batch: dict[str, Tensor], tmp_path: Path, options: dict
) -> None:
    model = trained(classifier(torch.float64, **options), batch)
    expected = model(**batch).logits
    assert fold(model) is model
    assert list(model.peft_config) == ["default"]
    torch.testing.assert_close(model(**batch).logits, expected)
    assert {p.rank for p in find_pairs(model)} == ({8, 4} if "rank_pattern" in options else {8})
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    base = classifier(torch.float64).unload()
    loaded = peft.PeftModel.from_pretrained(base, tmp_path, autocast_adapter_dtype=False)
    torch.testing.assert_close(loaded(**batch).logits, expected)
    assert fold(model) is model, "once more changes nothing"


def test_merged_into_the_base(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = trained(classifier(torch.float64, use_rslora=True), batch)
    expected = model(**batch).logits
    merged = merge(model)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(merged(**batch).logits, expected)


def test_peft_merges_and_switches_off_by_itself(
    classifier: Build, batch: dict[str, Tensor]
) -> None:
    model = classifier(torch.float64)
    pretrained = model(**batch).logits
    trained(model, batch)
    expected = model(**batch).logits
    with model.disable_adapter():
        torch.testing.assert_close(model(**batch).logits, pretrained)
    torch.testing.assert_close(model(**batch).logits, expected)
    model.merge_adapter()
    torch.testing.assert_close(model(**batch).logits, expected)
    with pytest.raises(ValueError, match="unmerge_adapter"):
        fold(model)
    model.unmerge_adapter()
    torch.testing.assert_close(model(**batch).logits, expected)
    assert all(p.adapter == "default" for p in find_pairs(model))


@pytest.mark.parametrize("start", [lora_ga, orthogonal_start])
def test_every_kind_of_layer_survives(
    mixed: Build, ids: Tensor, tmp_path: Path, start: Callable
) -> None:
    model = mixed()
    if start is lora_ga:
        lora_ga(model, [ids], lambda m, x: m(x).square().sum())
    else:
        orthogonal_start(model)
    with torch.no_grad():
        for pair in find_pairs(model):
            pair.A.add_(0.1 * torch.randn_like(pair.A))
            pair.B.add_(0.1 * torch.randn_like(pair.B))
    expected = model(ids)
    save_adapter(model, tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LoRA adapter added to ConvNd layer with groups")
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
        loaded = peft.PeftModel.from_pretrained(
            mixed().unload(), tmp_path, autocast_adapter_dtype=False
        )
    torch.testing.assert_close(loaded(ids), expected)
    torch.testing.assert_close(fold(model)(ids), expected)


def test_without_a_start_the_adapter_is_written_as_it_is(
    classifier: Build, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    model = classifier(torch.float64, init_lora_weights=False)
    save_adapter(model, tmp_path)
    base = classifier(torch.float64).unload()
    loaded = peft.PeftModel.from_pretrained(base, tmp_path, autocast_adapter_dtype=False)
    assert loaded.peft_config["default"].r == 4
    torch.testing.assert_close(loaded.eval()(**batch).logits, model.eval()(**batch).logits)


def test_a_run_can_be_kept_and_continued(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = trained(classifier(torch.float64), batch)
    again = classifier(torch.float64, seed=1)
    orthogonal_start(again)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(**batch).logits, model(**batch).logits)


def test_several_adapters_need_a_name(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = trained(classifier(torch.float64), batch)
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["query"]))
    with pytest.raises(ValueError, match="say which"):
        fold(model)
    expected = model(**batch).logits
    fold(model, "default")
    torch.testing.assert_close(model(**batch).logits, expected)
