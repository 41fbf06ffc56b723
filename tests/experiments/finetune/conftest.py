"""Tiny tasks of the two kinds, from random transformers: nothing is downloaded."""

from __future__ import annotations

import pytest
import torch

from schmidt.experiments.finetune import (
    Classification,
    Language,
    Pretraining,
    TuningSettings,
    pretrained,
    top_of,
)

pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

# transformers renames its own arguments while PEFT still uses the old names
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
SMALL = TuningSettings(rank=2, alpha=4, steps=6, batch=6, lr=1e-2, measure_every=2, start_batches=2)


@pytest.fixture
def settings() -> TuningSettings:
    return SMALL


@pytest.fixture
def sentences() -> Classification:
    """Three classes by the first word, on two layers of a random encoder."""
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=8,
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    generator = torch.Generator().manual_seed(1)
    parts = {}
    for part, count in (("train", 48), ("validation", 12), ("test", 24)):
        ids = torch.randint(3, 30, (count, 6), generator=generator)
        mask = torch.ones_like(ids)
        mask[::2, 4:] = 0
        parts[part] = (ids, mask, ids[:, 0] % 3)
    return top_of(model, parts, layers=2, classes=3)


@pytest.fixture(scope="session")
def language() -> Language:
    """A tiny model of one periodic text, to be moved to another."""
    how = Pretraining(width=16, inner=24, layers=1, heads=2, length=16, steps=30, batch=8)
    counting = torch.arange(2000)
    model = pretrained((counting % 7 + 60).view(-1, 16), how)
    new = (counting * 3 % 11 + 80).view(-1, 16)
    return Language(model, new[:64], new[64:80], new[80:112])
