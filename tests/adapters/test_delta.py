"""The best adapter of a full fine-tune, and what it reports."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn

from schmidt.adapters import find_pairs, lora_ga, lowrank_delta, merge, merge_report

Build = Callable[..., nn.Module]


@pytest.fixture
def planted(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """W0, W1 and the singular values of their difference, 12 × 8."""
    U, V = (
        torch.linalg.qr(torch.randn(n, 8, generator=generator, dtype=torch.float64))[0]
        for n in (12, 8)
    )
    values = torch.tensor([8.0, 4, 2, 1, 0.5, 0.25, 0.125, 0.0625], dtype=torch.float64)
    W0 = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    return W0, W0 + U * values @ V.T, values


class Small(nn.Module):
    """A layer of each kind that a LoRA adapter of a plain model can change, and some that not."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.linear = nn.Linear(6, 7)
        self.dense = nn.Sequential(nn.Linear(7, 7), nn.LayerNorm(7))
        self.conv = transformers.pytorch_utils.Conv1D(5, 7)
        self.double()

    def forward(self, ids: Tensor) -> Tensor:
        return self.conv(self.dense(self.linear(self.embed(ids)).tanh()))


@pytest.fixture
def tuned() -> tuple[Small, Small]:
    before = Small()
    after = copy.deepcopy(before)
    with torch.no_grad():
        for p in (after.embed.weight, after.linear.weight, after.conv.weight, after.linear.bias):
            p.add_(torch.randn_like(p))
    return before, after


@pytest.mark.parametrize("svd", ["lapack", "projection"])
@pytest.mark.parametrize("rank", [1, 3, 8])
def test_eckart_young(planted: tuple[Tensor, ...], rank: int, svd: str) -> None:
    W0, W1, values = planted
    found = lowrank_delta(W0, W1, rank=rank, svd=svd)  # type: ignore[call-overload]
    assert found.B.shape == (12, rank)
    assert found.A.shape == (rank, 8)
    tail = float(values[rank:].square().sum().sqrt())
    assert float((W1 - W0 - found.B @ found.A).norm()) == pytest.approx(tail, abs=1e-9)
    assert found.error == pytest.approx(tail / float(values.norm()), abs=1e-7)
    torch.testing.assert_close(found.B.T @ found.B, found.A @ found.A.T)


@pytest.mark.parametrize(("energy", "rank"), [(0.5, 1), (0.78, 2), (0.93, 2), (0.95, 3), (1.0, 8)])
def test_by_energy(planted: tuple[Tensor, ...], energy: float, rank: int) -> None:
    W0, W1, values = planted
    share = values.square().cumsum(0) / values.square().sum()
    expected = int((share < energy - 1e-12).sum()) + 1
    assert expected == rank
    assert lowrank_delta(W0, W1, energy=energy).rank == rank


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to")
def test_a_model_becomes_an_adapter(tuned: tuple[Small, Small], tmp_path: Path) -> None:
    before, after = tuned
    ids = torch.arange(11)
    found = lowrank_delta(before, after, energy=1.0)
    assert {n: (d.kind, d.rank) for n, d in found.layers.items()} == {
        "embed": ("embedding", 6),
        "linear": ("linear", 6),
        "conv": ("transposed", 5),
    }
    assert list(found.left_out) == ["linear.bias"]
    assert found.error == pytest.approx(0, abs=1e-7)
    assert found.parameters == 6 * (11 + 6) + 6 * (6 + 7) + 5 * (7 + 5)
    found.save(tmp_path, base="small")
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(before), tmp_path)
    assert loaded.peft_config["default"].base_model_name_or_path == "small"
    with torch.no_grad():
        after.linear.bias.copy_(before.linear.bias)  # what was left out
    torch.testing.assert_close(loaded(ids), after(ids), atol=1e-5, rtol=1e-5)
    applied = found.apply(copy.deepcopy(before))
    torch.testing.assert_close(applied(ids), after(ids), atol=1e-5, rtol=1e-5)


def test_ranks_are_cut_and_errors_add_up(tuned: tuple[Small, Small]) -> None:
    before, after = tuned
    found = lowrank_delta(before, after.state_dict(), rank=2)
    squared, total = 0.0, 0.0
    for name, d in found.layers.items():
        change = after.get_submodule(name).weight - before.get_submodule(name).weight
        change = change if d.kind == "linear" else change.T
        squared += float((change - d.B @ d.A).square().sum().detach())
        total += float(change.square().sum().detach())
    assert found.error == pytest.approx((squared / total) ** 0.5)
    assert {d.rank for d in lowrank_delta(before, after, rank=50).layers.values()} == {5, 6}


def test_wrong_input(planted: tuple[Tensor, ...], tuned: tuple[Small, Small]) -> None:
    W0, W1, _ = planted
    with pytest.raises(ValueError, match="exactly one of"):
        lowrank_delta(W0, W1)
    with pytest.raises(ValueError, match="exactly one of"):
        lowrank_delta(W0, W1, rank=2, energy=0.5)
    with pytest.raises(ValueError, match=r"one shape, got \(12, 8\) and \(8, 12\)"):
        lowrank_delta(W0, W1.T, rank=2)
    with pytest.raises(ValueError, match="not finite"):
        lowrank_delta(W0, W1 * float("inf"), rank=2)
    with pytest.raises(TypeError, match="two tensors or two models"):
        lowrank_delta(W0, tuned[1], rank=2)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="no weight matrix changed"):
        lowrank_delta(tuned[0], copy.deepcopy(tuned[0]), rank=2)
    with pytest.raises(ValueError, match=r"has no embed\.weight"):
        lowrank_delta(tuned[0], nn.Linear(2, 2), rank=2)


def test_report_of_adapters_is_the_spectrum_of_what_peft_adds(mixed: Build, ids: Tensor) -> None:
    model = mixed(use_rslora=True)
    lora_ga(model, [ids], lambda m, x: m(x).square().sum())
    with torch.no_grad():
        for pair in find_pairs(model):
            pair.A.add_(0.1 * torch.randn_like(pair.A))
            pair.B.add_(0.1 * torch.randn_like(pair.B))
    report = merge_report(model)
    groups = {"grouped[0]", "grouped[1]"}
    assert set(report.layers) == {"embed", "conv", "plane", "linear", "transposed"} | groups
    for name, change in report.layers.items():
        if name in groups:
            continue
        layer = model.get_base_model().get_submodule(name)
        delta = sum(
            layer.get_delta_weight(a) for a in layer.active_adapters if a in layer.scaling
        ).flatten(1)
        exact = torch.linalg.svdvals(delta)[: len(change.values)].detach()
        torch.testing.assert_close(torch.as_tensor(change.values)[: len(exact)], exact)
        W0 = layer.get_base_layer().weight
        assert change.relative == pytest.approx(float((delta.norm() / W0.norm()).detach()))


def test_report_of_a_transformer(classifier: Build, batch: dict[str, Tensor]) -> None:
    model = classifier()
    lora_ga(model, [batch])
    assert all(c.norm == pytest.approx(0, abs=1e-5) for c in merge_report(model).layers.values())
    with torch.no_grad():
        for pair in find_pairs(model):
            pair.B.add_(0.1)  # of rank one
    report = merge_report(model)
    assert len(report.layers) == 12
    assert report.rank_for(0.999) == 1


def test_report_of_a_full_fine_tune(tuned: tuple[Small, Small]) -> None:
    before, after = tuned
    report = merge_report(after, before)
    assert set(report.layers) == {"embed", "linear", "conv"}
    for rank in (1, 2, 4):
        lost = lowrank_delta(before, after, rank=rank).error ** 2
        assert 1 - report.energy(rank) == pytest.approx(lost)
    for share in (0.3, 0.9, 0.99, 1.0):
        r = report.rank_for(share)
        assert report.energy(r) >= share - 1e-12
        assert report.energy(r - 1) < share
    for change in report.layers.values():
        r = change.rank_for(0.9)
        assert change.energy(r) >= 0.9 > change.energy(r - 1)
    lines = str(report).splitlines()
    assert len(lines) == 6
    assert f"90% needs rank {report.rank_for(0.9)}" in lines[-2]
    assert lines[-1].endswith("not in the table: linear.bias")


def test_reports_that_cannot_be_made(mixed: Build, tuned: tuple[Small, Small]) -> None:
    with pytest.raises(ValueError, match=r"pass base="):
        merge_report(tuned[1])
    with pytest.raises(ValueError, match="no weight matrix changed"):
        merge_report(tuned[0], copy.deepcopy(tuned[0]))
    model = mixed(target_modules=["linear"])
    model.merge_adapter()
    with pytest.raises(ValueError, match="unmerge_adapter"):
        merge_report(model)
    with pytest.raises(ValueError, match="share"):
        merge_report(tuned[1], tuned[0]).rank_for(1.5)


class Cases:
    """Language models whose output layer is the embedding."""

    @staticmethod
    def build(kind: str, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if kind == "llama":
                config = transformers.LlamaConfig(
                    vocab_size=20,
                    hidden_size=16,
                    intermediate_size=32,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    tie_word_embeddings=True,
                )
                return transformers.LlamaForCausalLM(config).double().eval()
            config = transformers.GPT2Config(
                vocab_size=20,
                n_embd=16,
                n_layer=1,
                n_head=2,
                tie_word_embeddings=True,
                bos_token_id=1,
                eos_token_id=1,
            )
            return transformers.GPT2LMHeadModel(config).double().eval()


def off(model: nn.Module, other: nn.Module) -> float:
    ids = torch.arange(12)[None]
    a, b = (m.eval()(ids).logits.detach() for m in (model, other))
    return float((a - b).norm() / b.norm())


@pytest.mark.filterwarnings("ignore:Model with:UserWarning")
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to")
@pytest.mark.filterwarnings("ignore:.*tied.*:UserWarning")
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("of_file", [False, True])
def test_tied_weights_are_cut_once_and_merged_once(
    kind: str, of_file: bool, tmp_path: Path
) -> None:
    base, tuned = Cases.build(kind), Cases.build(kind)
    embedding = tuned.get_input_embeddings().weight
    with torch.no_grad():
        embedding.add_(0.1 * torch.randn_like(embedding))
    state = dict(tuned.state_dict())
    if of_file:
        del state["lm_head.weight"]  # as safetensors files are
    found = lowrank_delta(base, state, energy=1.0)
    ((name, layer),) = found.layers.items()
    assert list(layer.tied) == ["lm_head"]
    assert found.parameters == layer.rank * (20 + 16)
    assert found.error < 1e-6
    assert not found.left_out
    report = merge_report(tuned, base)
    assert list(report.layers) == [name]

    found.save(tmp_path)
    loaded = peft.PeftModel.from_pretrained(
        Cases.build(kind), tmp_path, autocast_adapter_dtype=False
    )
    assert off(loaded, tuned) < 1e-6
    merged = merge(loaded)
    assert off(merged, tuned) < 1e-6
    assert merged.get_input_embeddings().weight is merged.get_output_embeddings().weight
    applied = found.apply(base)
    assert off(applied, tuned) < 1e-6
    assert off(applied.merge_and_unload(), tuned) < 1e-6


@pytest.mark.filterwarnings("ignore:.*tied.*:UserWarning")
@pytest.mark.parametrize("targets", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]])
def test_merging_adapters_of_either_end_of_tied_weights(targets: list[str]) -> None:
    settings = {"r": 2, "target_modules": targets, "init_lora_weights": False}
    model = peft.get_peft_model(Cases.build("llama"), peft.LoraConfig(**settings))
    twin = copy.deepcopy(model)
    merged = merge(twin)
    assert off(merged, model) < 1e-5
    assert merged.config.tie_word_embeddings is False


def test_errors_are_measured_where_they_are_small() -> None:
    """‖ΔW‖² − Σσ² cancels; the tail itself does not."""
    generator = torch.Generator().manual_seed(0)
    U, V = (torch.linalg.qr(torch.randn(60, 60, generator=generator).double())[0] for _ in "UV")
    values = torch.cat([torch.full((8,), 1.0), torch.full((52,), 1e-6 / 52**0.5)]).double()
    delta = ((U * values) @ V.T).float()
    W0 = torch.zeros(60, 60)
    for svd in ("auto", "lapack", "projection"):
        found = lowrank_delta(W0, delta, rank=8, svd=svd)
        exact = float((delta.double() - found.B.double() @ found.A.double()).norm())
        assert found.error == pytest.approx(exact / float(delta.double().norm()), rel=1e-6)
        assert found.error < 1e-6
        bound = found.factorization.error
        s = found.factorization
        truth = float(
            (delta.double() - (s.left.double() * s.values.double()) @ s.right.double().T).norm()
        )
        assert bound.low <= truth <= bound.high
        assert bound.high < 1e-5
        assert found.known.met == (svd != "projection")


def test_all_that_changed_is_in_the_adapter_or_named(tuned: tuple[Small, Small]) -> None:
    before, after = tuned
    before.register_buffer("mean", torch.zeros(3))
    after.register_buffer("mean", torch.ones(3))
    after.extra = nn.Parameter(torch.ones(2))  # type: ignore[assignment]
    found = lowrank_delta(before, after, rank=2)
    assert set(found.left_out) == {"linear.bias", "mean", "extra"}
    assert found.left_out["extra"] == float("inf")
    assert not found.certificate.met
    assert len(found.certificate.notes) == 3
    total = found.certificate["norm"].high
    assert found.certificate["frobenius"].high == pytest.approx(found.error * total, rel=1e-6)


def test_quantised_weights_have_no_difference() -> None:
    before, after = nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3))
    for (layer,) in (before, after):
        layer.weight = nn.Parameter((10 * layer.weight).to(torch.int8), requires_grad=False)
    for ask in (lambda: lowrank_delta(before, after, rank=1), lambda: merge_report(after, before)):
        with pytest.raises(ValueError, match="dequantise"):
            ask()
