"""TRL's trainers, where TRL is installed: the reference is the started model."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from schmidt.adapters import create_lorapro_optimizer, find_pairs, lora_ga

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def tokenizer() -> Any:
    vocabulary = {w: i for i, w in enumerate(["<pad>", "<s>", "</s>", *WORDS])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<pad>"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


@pytest.fixture
def build(tokenizer: Any) -> Callable[[], Any]:
    def make() -> Any:
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        torch.manual_seed(0)
        base = transformers.LlamaForCausalLM(config)
        targets = ["q_proj", "v_proj", "up_proj"]
        settings = peft.LoraConfig(r=4, use_rslora=True, target_modules=targets)
        return peft.get_peft_model(base, settings)

    return make


def started(build: Callable[[], Any]) -> tuple[Any, dict[str, Tensor]]:
    model = build()
    ids = torch.arange(3, 13).repeat(2, 1)
    lora_ga(model, [{"input_ids": ids, "labels": ids}])
    return model, {"input_ids": ids}


def settings(kind: Any, folder: Path, **more: Any) -> Any:
    return kind(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        max_steps=2,
        save_steps=1,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        max_grad_norm=0.0,
        **more,
    )


def check_saved(model: Any, build: Callable[[], Any], inputs: Any, folder: Path) -> None:
    expected = model.eval()(**inputs).logits.float()
    loaded = peft.PeftModel.from_pretrained(build().unload(), folder).eval()
    found = loaded(**inputs).logits
    assert float((found - expected).norm() / expected.norm()) <= 1e-6
    assert {(p.rank, p.start) for p in find_pairs(model)} == {(4, 4)}


@pytest.mark.parametrize("pro", [False, True])
def test_dpo_begins_at_ln_2(
    build: Callable[[], Any], tokenizer: Any, tmp_path: Path, pro: bool
) -> None:
    model, inputs = started(build)
    data = datasets.Dataset.from_dict(
        {
            "prompt": ["one two", "three four"] * 2,
            "chosen": [" five six", " seven"] * 2,
            "rejected": [" eight", " nine ten"] * 2,
        }
    )
    optimizers = (create_lorapro_optimizer(model, 1e-3), None) if pro else (None, None)
    trainer = trl.DPOTrainer(
        model=model,
        args=settings(trl.DPOConfig, tmp_path, learning_rate=1e-3),
        train_dataset=data,
        processing_class=tokenizer,
        optimizers=optimizers,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    trainer.save_model(str(tmp_path / "saved"))
    check_saved(trainer.model, build, inputs, tmp_path / "saved")


@pytest.mark.parametrize("pro", [False, True])
def test_sft(build: Callable[[], Any], tokenizer: Any, tmp_path: Path, pro: bool) -> None:
    model, inputs = started(build)
    data = datasets.Dataset.from_dict({"text": ["one two three four", "five six seven"] * 4})
    optimizers = (create_lorapro_optimizer(model, 1e-3), None) if pro else (None, None)
    trainer = trl.SFTTrainer(
        model=model,
        args=settings(trl.SFTConfig, tmp_path, learning_rate=1e-3),
        train_dataset=data,
        processing_class=tokenizer,
        optimizers=optimizers,
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    check_saved(trainer.model, build, inputs, tmp_path / "saved")


def test_grpo_begins_at_its_reference(
    build: Callable[[], Any], tokenizer: Any, tmp_path: Path
) -> None:
    model, inputs = started(build)
    data = datasets.Dataset.from_dict({"prompt": ["one two", "three four"] * 4})
    trainer = trl.GRPOTrainer(
        model=model,
        args=settings(
            trl.GRPOConfig,
            tmp_path,
            learning_rate=1e-3,
            beta=0.1,
            num_generations=2,
            max_completion_length=4,
        ),
        reward_funcs=lambda completions, **_: [float(len(c)) for c in completions],
        train_dataset=data,
        processing_class=tokenizer,
    )
    trainer.train()
    divergence = [entry["kl"] for entry in trainer.state.log_history if "kl" in entry]
    assert divergence[0] == pytest.approx(0, abs=1e-6)
    trainer.save_model(str(tmp_path / "saved"))
    check_saved(trainer.model, build, inputs, tmp_path / "saved")
