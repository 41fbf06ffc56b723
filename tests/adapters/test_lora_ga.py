"""LoRA-GA: the optimum it promises, and that nothing but the factors changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from schmidt.adapters import find_pairs, lora_ga, merge_report, orthogonal_start, save_adapter

Build = Callable[..., nn.Module]


def squares(model: nn.Module, ids: Tensor) -> Tensor:
    return model(ids).square().sum()


def layer_name(pair: Any) -> str:
    return pair.name.removesuffix(f".{pair.adapter}")


def true_gradient(pair: Any) -> Tensor:
    """∂L/∂W that autograd left on the base weight, in the orientation of B·A."""
    gradient = pair.module.get_base_layer().weight.grad
    return gradient.T if pair.transposed else gradient.flatten(1)


def with_gradients(model: nn.Module, ids: Tensor) -> None:
    for pair in find_pairs(model):
        pair.module.get_base_layer().weight.requires_grad_(True)
    squares(model, ids).backward()
    for pair in find_pairs(model):
        pair.module.get_base_layer().weight.requires_grad_(False)


@pytest.mark.parametrize(("gamma", "rslora"), [(16.0, True), (3.0, False), (None, True)])
def test_the_first_step_is_that_of_the_best_gradient_of_rank_2r(
    mixed: Build, ids: Tensor, gamma: float | None, rslora: bool
) -> None:
    model = mixed(use_rslora=rslora)
    with_gradients(model, ids)
    gradients = {layer_name(p): true_gradient(p).clone() for p in find_pairs(model)}
    start = lora_ga(model, [ids], squares, gamma=gamma)
    assert len(start.layers) == 4
    for pair in find_pairs(model):
        name = layer_name(pair)
        if name not in start.layers:
            continue
        G, A, B = gradients[name], pair.right(pair.A.detach())[0], pair.left(pair.B.detach())[0]
        step = B @ B.T @ G + G @ A.T @ A
        c = (step * G).sum() / step.square().sum()  # minimises ‖c·step − G‖
        tail = torch.linalg.svdvals(G)[2 * pair.rank :]
        torch.testing.assert_close((c * step - G).square().sum(), tail.square().sum())
        expected = pair.scaling**2 if gamma is None else gamma / pair.shape[0] ** 0.5
        assert float(c) == pytest.approx(expected)
        captured = 1 - float(tail.square().sum() / G.square().sum())
        assert start.layers[name].captured == pytest.approx(captured)


def test_gradients_of_every_kind_of_layer_are_those_of_autograd(mixed: Build, ids: Tensor) -> None:
    from schmidt.adapters.gradients import mean_gradients, unsupported

    model = mixed()
    with_gradients(model, ids)
    pairs = {layer_name(p): p for p in find_pairs(model) if not unsupported(p.module)}
    layers = {name: p.module for name, p in pairs.items()}
    found = dict(mean_gradients(model, layers, [ids, ids], squares, at_once=2))
    assert len(found) == 5
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, true_gradient(pairs[name]))


def test_the_function_and_the_base_weights_stay(mixed: Build, ids: Tensor) -> None:
    model = mixed(use_rslora=True)
    base = {n: p.clone() for n, p in model.named_parameters() if "lora_" not in n}
    before = model(ids)
    start = lora_ga(model, [ids], squares)
    torch.testing.assert_close(model(ids), before)
    assert all(torch.equal(dict(model.named_parameters())[n], p) for n, p in base.items())
    assert all(p.grad is None for p in model.parameters())
    assert {n.split(".")[-1] for n in start.skipped} == {"grouped", "transposed"}
    names = [p.adapter for p in find_pairs(model)]
    assert names == ["default"] * 6, "the frozen start is no trainable pair"


def test_a_base_in_bfloat16(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = classifier(torch.bfloat16)
    for pair in find_pairs(model):  # PEFT's own habit: adapters in float32 on such a base
        pair.A.data, pair.B.data = pair.A.data.float(), pair.B.data.float()
    base = {n: p.clone() for n, p in model.named_parameters() if "lora_" not in n}
    before = model(**batch).logits
    lora_ga(model, [batch])
    assert all(torch.equal(dict(model.named_parameters())[n], p) for n, p in base.items())
    torch.testing.assert_close(model(**batch).logits, before, atol=2e-2, rtol=0)
    assert all(p.A.dtype == p.B.dtype == torch.float32 for p in find_pairs(model))


class Int8Linear(nn.Linear):
    """A quantised base: integers and one scale, no gradient."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.size = self.weight.abs().max().item() / 127
        integers = (self.weight / self.size).round().to(torch.int8)
        self.weight = nn.Parameter(integers, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.size, self.bias)


def test_a_quantised_base(tmp_path: Path) -> None:
    """Its start is that of the plain layer with the same weights."""
    quantised, plain = Int8Linear(9, 8), nn.Linear(9, 8)
    with torch.no_grad():
        plain.weight.copy_(quantised.weight * quantised.size)
        plain.bias.copy_(quantised.bias)
    x = torch.randn(20, 9)
    config = {"r": 2, "target_modules": ["0"], "use_rslora": True}
    models = [
        peft.get_peft_model(nn.Sequential(layer), peft.LoraConfig(**config))  # type: ignore[arg-type]
        for layer in (quantised, plain)
    ]
    before, integers = models[0](x), quantised.weight.clone()
    for model in models:
        lora_ga(model, [x], squares)
    torch.testing.assert_close(models[0](x), before)
    assert torch.equal(quantised.weight, integers)
    (a,), (b,) = (find_pairs(m) for m in models)
    torch.testing.assert_close(a.A, b.A)
    torch.testing.assert_close(a.B, b.B)
    with torch.no_grad():
        a.B.mul_(1.5)
    assert merge_report(models[0]).layers["0"].relative is None
    save_adapter(models[0], tmp_path)
    loaded = peft.PeftModel.from_pretrained(nn.Sequential(quantised), tmp_path)
    torch.testing.assert_close(loaded(x), models[0](x))


def test_the_scale_of_the_loss_does_not_matter(classifier: Build, batch: dict[str, Tensor]) -> None:
    starts = []
    for scale in (1.0, 2.0**-20):
        model = classifier(torch.float64)
        lora_ga(model, [batch], lambda m, b, s=scale: s * m(**b).loss)
        starts.append([(p.A, p.B) for p in find_pairs(model)])
    for (A, B), (A_, B_) in zip(*starts, strict=True):
        torch.testing.assert_close(A, A_)
        torch.testing.assert_close(B, B_)


def test_batches_few_at_a_time_give_the_same_start(
    classifier: Build, batch: dict[str, Tensor]
) -> None:
    halves = [{k: v[i : i + 4] for k, v in batch.items()} for i in (0, 4)]
    models = [classifier(torch.float64) for _ in range(3)]
    lora_ga(models[0], [batch])
    lora_ga(models[1], iter(halves))
    lora_ga(models[2], halves, at_once=3)
    for pairs in zip(*(find_pairs(m) for m in models), strict=True):
        for other in pairs[1:]:
            torch.testing.assert_close(other.A, pairs[0].A)
            torch.testing.assert_close(other.B, pairs[0].B)


def test_gradient_checkpointing_and_modes(classifier: Build, batch: dict[str, Tensor]) -> None:
    plain, saving = classifier(torch.float64), classifier(torch.float64)
    saving.enable_input_require_grads()
    saving.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    saving.train()
    saving.bert.encoder.layer[0].eval()
    modes = [m.training for m in saving.modules()]
    lora_ga(plain, [batch])
    start = lora_ga(saving, [batch], training=True)
    now = [m.training for m in saving.modules() if not hasattr(m, "in_features")]
    assert saving.training
    assert not saving.bert.encoder.layer[0].training
    assert len(modes) > len(now)
    for a, b in zip(find_pairs(plain), find_pairs(saving), strict=True):
        torch.testing.assert_close(a.A, b.A)
    assert len(start.layers) == 12


def test_other_gradients_are_left_alone(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = classifier()
    model(**batch).loss.backward()
    head = model.classifier.modules_to_save.default.weight
    before, there = head.grad.clone(), head.grad
    lora_ga(model, [batch])
    assert head.grad is there
    assert torch.equal(there, before)


def test_layers_without_a_gradient_are_skipped(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = classifier(exclude_modules=["classifier"])  # now the pooler too, which logits do need
    start = lora_ga(model, [batch], lambda m, b: m.bert(b["input_ids"])[0].square().mean())
    pooler = [n for n in start.skipped if "pooler" in n]
    assert [start.skipped[n] for n in pooler] == ["no gradient reached it"]


def test_random_projections_find_the_same_subspaces() -> None:
    from schmidt.linalg import leading

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 90, generator=generator))[0] for n in (120, 90))
    matrix = left * 0.8 ** torch.arange(90) @ right.T
    state = torch.random.get_rng_state()
    exact, random = (leading(matrix, 8, method=m) for m in ("lapack", "projection"))
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b in zip(exact, random, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("gamma", [16.0, None])
def test_orthogonal_start(mixed: Build, ids: Tensor, gamma: float | None) -> None:
    model = mixed()
    before = model(ids)
    start = orthogonal_start(model, gamma=gamma, seed=5)
    torch.testing.assert_close(model(ids), before)
    for pair in find_pairs(model):
        if layer_name(pair) not in start.layers:
            continue
        A, B, c = (
            pair.right(pair.A.detach())[0],
            pair.left(pair.B.detach())[0],
            start.layers[layer_name(pair)].scale,
        )
        eye = c**2 * torch.eye(pair.rank, dtype=A.dtype)
        torch.testing.assert_close(B.T @ B, eye)
        torch.testing.assert_close(A @ A.T, eye)
    assert set(start.skipped) == {"base_model.model.grouped"}


def test_per_layer_ranks_and_scalings(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = classifier(torch.float64, rank_pattern={"query": 2}, alpha_pattern={"key": 3})
    before = model(**batch).logits
    start = lora_ga(model, [batch])
    torch.testing.assert_close(model(**batch).logits, before)
    assert {s.rank for n, s in start.layers.items() if "query" in n} == {2}


def test_wrong_input(classifier: Build, batch: dict[str, Tensor]) -> None:
    with pytest.raises(TypeError, match=r"peft\.get_peft_model.*got Linear"):
        lora_ga(nn.Linear(2, 2), [batch])
    with pytest.raises(ValueError, match="batches is empty"):
        lora_ga(classifier(), [])
    with pytest.raises(ValueError, match=r"pass \[batch\]"):
        lora_ga(classifier(), batch)
    with pytest.raises(ValueError, match="gamma must be a number above 0"):
        lora_ga(classifier(), [batch], gamma=0.0)
    with pytest.raises(ValueError, match="scalar tensor, got \\(8, 3\\)"):
        lora_ga(classifier(), [batch], lambda m, b: m(**b).logits)
    with pytest.raises(ValueError, match="does not depend on the adapters"):
        lora_ga(classifier(), [batch], lambda m, b: m(**b).loss.detach())
    with pytest.raises(ValueError, match="the loss is nan"):
        lora_ga(classifier(), [batch], lambda m, b: m(**b).loss * float("nan"))
    with pytest.raises(ValueError, match="svd must be one of auto"):
        lora_ga(classifier(), [batch], svd="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no adapter 'other'"):
        lora_ga(classifier(), [batch], adapter="other")
    with pytest.raises(ValueError, match="put labels into the batches"):
        lora_ga(classifier(), [{"input_ids": batch["input_ids"]}])


def test_models_that_are_refused_stay_as_they_were(
    classifier: Build, batch: dict[str, Tensor]
) -> None:
    with pytest.raises(ValueError, match="use_dora=False"):
        lora_ga(classifier(use_dora=True), [batch])
    with pytest.raises(ValueError, match="is not fresh"):
        lora_ga(classifier(init_lora_weights=False), [batch])
    model = classifier()
    lora_ga(model, [batch])
    with pytest.raises(ValueError, match="has a start already"):
        lora_ga(model, [batch])
    merged = classifier()
    merged.merge_adapter()
    with pytest.raises(ValueError, match="unmerge_adapter"):
        lora_ga(merged, [batch])
    small = classifier(r=12)
    with pytest.raises(ValueError, match="no layer could be started"):
        lora_ga(small, [batch])
    assert list(small.peft_config) == ["default"]


def test_adalora_is_refused(batch: dict[str, Tensor]) -> None:
    config = peft.AdaLoraConfig(init_r=2, target_modules=["0"], total_step=10)
    model = peft.get_peft_model(nn.Sequential(nn.Linear(6, 6)), config)
    with pytest.raises(ValueError, match=r"ADALORA.*rank masks"):
        lora_ga(model, [batch])


def test_endless_loaders_and_batches_in_any_container(
    classifier: Build, batch: dict[str, Tensor]
) -> None:
    """Of anything but lists the first eight are taken, and more where one asks for more."""
    import itertools

    taken = []

    def endless() -> Any:
        for i in itertools.count():
            taken.append(i)
            yield batch

    lora_ga(classifier(), endless())
    assert len(taken) == 8
    lora_ga(classifier(), endless(), n_batches=3)
    assert len(taken) == 11
    counted = []

    def loss(model: nn.Module, inputs: Any) -> Tensor:
        counted.append(type(inputs).__name__)
        part = inputs if isinstance(inputs, dict) else dict(inputs[0])
        return model(**part).loss

    lora_ga(classifier(), [batch] * 10, loss)
    lora_ga(classifier(), ((batch, "text", 3),), loss)
    assert counted == ["dict"] * 10 + ["tuple"]
    with pytest.raises(ValueError, match="n_batches must be a whole number of at least 1"):
        lora_ga(classifier(), [batch], n_batches=0)


def test_batches_go_to_the_device_of_the_model() -> None:
    from collections import namedtuple

    from schmidt.adapters.gradients import moved

    Both = namedtuple("Both", "x y")
    there = torch.device("meta")
    given = {"a": torch.ones(2), "b": [torch.ones(1), "text"], "c": Both(torch.ones(1), None)}
    found = moved(given, there)
    assert found["a"].device == found["b"][0].device == found["c"].x.device == there
    assert found["b"][1] == "text"
    assert given["a"].device.type == "cpu"


def test_attention_as_one_module_is_left_out() -> None:
    attention = nn.Sequential()
    attention.add_module("attention", nn.MultiheadAttention(8, 2, batch_first=True))
    attention.add_module("linear", nn.Linear(8, 8))

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = attention

        def forward(self, x: Tensor) -> Tensor:
            return self.parts.linear(self.parts.attention(x, x, x)[0])

    config = peft.LoraConfig(r=2, target_modules=["attention", "linear"])
    model = peft.get_peft_model(Both(), config)  # type: ignore[arg-type]
    x = torch.randn(3, 5, 8)
    before = model(x)
    start = lora_ga(model, [x], squares)
    assert any("attention" in why for why in start.skipped.values())
    torch.testing.assert_close(model(x), before)
