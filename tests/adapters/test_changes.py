"""The report is about the change that the model really makes, whatever the adapter is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import find_pairs, merge_report

Build = Callable[..., nn.Module]


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / 3)


def check(model: Any, names: dict[str, Callable[[nn.Module], Tensor]]) -> None:
    """Norms and values against the difference of merged and plain weights."""
    plain = copy.deepcopy(model).double().unload()
    merged = copy.deepcopy(model).double().merge_and_unload()
    report = merge_report(model)
    assert set(report.layers) == set(names)
    for name, weight in names.items():
        W0, W1 = (weight(m).detach().double() for m in (plain, merged))
        found, values = report.layers[name], torch.linalg.svdvals((W1 - W0).flatten(1))
        assert found.norm == pytest.approx(float((W1 - W0).norm()), rel=1e-9)
        kept = min(len(found.values), len(values))
        expected = values[:kept]
        torch.testing.assert_close(torch.tensor(found.values[:kept]), expected, atol=1e-7, rtol=0)
        assert found.relative == pytest.approx(float((W1 - W0).norm() / W0.norm()), rel=1e-9)


def of_layer(name: str) -> Callable[[nn.Module], Tensor]:
    return lambda model: model.get_submodule(name).weight


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dora(mixed: Build, dtype: torch.dtype) -> None:
    layers = ["linear", "transposed", "conv", "plane", "embed"]
    model = mixed(use_dora=True, target_modules=layers)
    randomise(model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "magnitude" in name:
                p.mul_(1.5)
    check(model.to(dtype), {n: of_layer(n) for n in layers})


def test_adalora() -> None:
    config = peft.AdaLoraConfig(init_r=4, target_modules=["0"], total_step=10)
    model = peft.get_peft_model(nn.Sequential(nn.Linear(9, 7)), config)
    randomise(model)
    check(model, {"0": of_layer("0")})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_groups_are_matrices_of_their_own(mixed: Build) -> None:
    model = mixed(target_modules=["grouped"])
    randomise(model)
    (pair,) = find_pairs(model)
    report = merge_report(model)
    assert list(report.layers) == ["grouped[0]", "grouped[1]"]
    deltas = (pair.scaling * pair.left(pair.B) @ pair.right(pair.A)).detach()
    for i, delta in enumerate(deltas):
        found = report.layers[f"grouped[{i}]"]
        values = torch.linalg.svdvals(delta)[: len(found.values)]
        torch.testing.assert_close(torch.tensor(found.values), values)
        W0 = model.get_base_model().grouped.base_layer.weight[2 * i : 2 * i + 2]  # type: ignore[operator]
        assert found.relative == pytest.approx(float((delta.norm() / W0.norm()).detach()))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bi,eio->beo", x, self.weight).sum(1)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_experts() -> None:
    base = nn.Sequential(Experts())
    config = peft.LoraConfig(r=2, target_modules=[], target_parameters=["0.weight"])
    model = peft.get_peft_model(base, config)  # type: ignore[arg-type]
    randomise(model)
    check(model, {f"0[{e}]": lambda m, e=e: m[0].weight[e] for e in range(3)})  # type: ignore[misc,index]


def test_several_adapters_and_disabled_ones(mixed: Build) -> None:
    model: Any = mixed(target_modules=["linear"])
    model.add_adapter("more", peft.LoraConfig(r=1, target_modules=["linear"]))
    randomise(model)
    model.base_model.set_adapter(["default", "more"])
    check(model, {"linear": of_layer("linear")})
    with model.disable_adapter(), pytest.raises(ValueError, match="no active adapters"):
        merge_report(model)


@pytest.mark.parametrize("kind", ["LoHaConfig", "LoKrConfig", "OFTConfig"])
def test_other_adapters_that_peft_merges(kind: str) -> None:
    settings: dict[str, Any] = {"r": 2} if kind != "OFTConfig" else {"r": 0, "oft_block_size": 2}
    config = getattr(peft, kind)(target_modules=["0"], **settings)
    model = peft.get_peft_model(nn.Sequential(nn.Linear(8, 6)), config)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.copy_(torch.randn_like(p) / 3)
    check(model, {"0": of_layer("0")})


class NoNumbers(torch.Tensor):
    """As the weights of some quantisation libraries: neither a norm nor another dtype."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("double", "norm", "to", "linalg_matrix_norm"):
            raise NotImplementedError(func)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_bases_whose_size_cannot_be_read() -> None:
    base = nn.Sequential(nn.Linear(8, 6))
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["0"]))  # type: ignore[arg-type]
    randomise(model)
    expected = merge_report(model).layers["0"]
    base[0].base_layer.weight = nn.Parameter(  # type: ignore[union-attr]
        base[0].base_layer.weight.detach().as_subclass(NoNumbers)  # type: ignore[union-attr]
    )
    found = merge_report(model).layers["0"]
    assert found.relative is None
    assert found.norm == pytest.approx(expected.norm)


def test_what_is_no_matrix_is_named(classifier: Build) -> None:
    report = merge_report(classifier(init_lora_weights=False))
    assert report.left_out == ("classifier",)
    assert "changed, and not in the table: classifier" in str(report)
    before, after = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)
    with pytest.raises(ValueError, match="left out: weight, bias"):
        merge_report(after, before)
