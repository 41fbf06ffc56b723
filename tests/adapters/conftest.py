"""Small adapted models, built from configurations: nothing is downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")


class Mixed(nn.Module):
    """One layer of each kind that PEFT adapts, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.conv = nn.Conv1d(6, 5, 3, padding=1)
        self.plane = nn.Conv2d(1, 4, (3, 2), padding=(1, 0))
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.linear = nn.Linear(4, 7)
        self.transposed = transformers.pytorch_utils.Conv1D(3, 7)
        self.norm = nn.LayerNorm(3)
        self.head = nn.Linear(3, 2)
        self.double()

    def forward(self, ids: Tensor) -> Tensor:
        x = self.conv(self.embed(ids).mT)[:, None]  # (b, 1, 5, length)
        x = self.grouped(self.plane(x).tanh()).mean((2, 3))
        return self.head(self.norm(self.transposed(self.linear(x).tanh())))


TARGETS = ["embed", "conv", "plane", "grouped", "linear", "transposed"]


@pytest.fixture
def mixed() -> Callable[..., nn.Module]:
    def build(**settings: Any) -> nn.Module:
        settings = {"r": 2, "lora_alpha": 3, "target_modules": TARGETS, **settings}
        with torch.random.fork_rng(), warnings.catch_warnings():
            # PEFT's remarks on grouped convolutions and on Conv1D beside Linear
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
            warnings.filterwarnings("ignore", "LoRA adapter added to ConvNd layer with groups")
            torch.manual_seed(3)
            return peft.get_peft_model(Mixed(), peft.LoraConfig(**settings)).double()

    return build


@pytest.fixture
def ids() -> Tensor:
    return torch.arange(24).reshape(4, 6) % 11


@pytest.fixture
def classifier() -> Callable[..., nn.Module]:
    """A random transformer with LoRA on its linear layers and a trainable head."""

    def build(dtype: torch.dtype = torch.float32, seed: int = 0, **settings: Any) -> nn.Module:
        config = transformers.BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=16,
            num_labels=3,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        settings = {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["query", "key", "value", "dense"],
            "exclude_modules": ["classifier", "bert.pooler.dense"],
            "task_type": "SEQ_CLS",
            **settings,
        }
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            base = transformers.BertForSequenceClassification(config)
            return peft.get_peft_model(base, peft.LoraConfig(**settings)).to(dtype)

    return build


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(1, 40, (8, 10), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 3}
