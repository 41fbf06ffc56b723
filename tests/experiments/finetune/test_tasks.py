"""Tasks: the cached lower layers are the model, text is cut into disjoint parts."""

from __future__ import annotations

import pytest
import torch

from schmidt.experiments.finetune import Classification, Language, top_of
from schmidt.experiments.finetune import language as corpus
from schmidt.experiments.finetune.task import shuffled

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")


def test_top_layers_on_cached_states_are_the_whole_encoder() -> None:
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=8,
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    ids = torch.randint(0, 30, (70, 6))
    mask = torch.ones_like(ids)
    mask[:, 4:] = 0
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask)[0]
        task = top_of(model, {"train": (ids, mask, ids[:, 0])}, layers=2, classes=30)
        found = task.top(task.parts["train"].hidden, mask)
    torch.testing.assert_close(found[:, :4], whole[:, :4])
    with pytest.raises(ValueError, match="encoder has 1 layers, 2 were asked for"):
        top_of(model, {}, layers=2, classes=3)


def test_batches_visit_everything_before_they_repeat() -> None:
    found = list(shuffled(10, 0, 7, 3))
    assert sorted(torch.cat(found[:3]).unique().tolist()) == sorted(torch.cat(found[:3]).tolist())
    assert len(torch.cat(found[3:6]).unique()) == 9
    assert [b.tolist() for b in found] == [b.tolist() for b in shuffled(10, 0, 7, 3)]


def test_networks_are_new_and_heads_are_seeded(sentences: Classification) -> None:
    one, same, other = sentences.network(0), sentences.network(0), sentences.network(1)
    assert one.head
    assert same.head
    assert other.head
    assert torch.equal(one.head.weight, same.head.weight)  # type: ignore[arg-type]
    assert not torch.equal(one.head.weight, other.head.weight)  # type: ignore[arg-type]
    for p in one.body.parameters():
        p.data.zero_()
    assert all(p.any() for n, p in same.body.named_parameters() if "weight" in n)


def test_smaller_training_sets_keep_the_test_set(
    sentences: Classification, language: Language
) -> None:
    for task in (sentences, language):
        small = task.sized(12)
        assert small.examples == 12
        assert small.judge(small.network(0), "test").loss == pytest.approx(
            task.judge(task.network(0), "test").loss
        )


def test_a_language_model_is_judged_by_the_next_character(language: Language) -> None:
    network = language.network(0)
    judged = language.judge(network, "test")
    logits = network.body(input_ids=language.test).logits[:, :-1]
    right = (logits.argmax(-1) == language.test[:, 1:]).double().mean(1)
    torch.testing.assert_close(judged.scores, right)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), language.test[:, 1:].flatten())
    assert judged.loss == pytest.approx(float(loss.detach()), rel=1e-5)


def test_text_of_packages() -> None:
    python, cpp = corpus.python(3000), corpus.cpp(3000)
    assert len(python) == len(cpp) == 3000
    assert b"import" in python
    assert b"#include" in cpp
    with pytest.raises(FileNotFoundError, match=r"bytes of \*\.nothing"):
        corpus.text("torch", "", "*.nothing", 10)


def test_windows_and_parts() -> None:
    found = corpus.windows("abcé".encode() * 8, 8)
    assert found.shape == (5, 8)
    assert found[0].tolist() == [97, 98, 99, 127, 127, 97, 98, 99]
    pieces = corpus.parts(torch.arange(640).view(-1, 1), (100, 30, 64), block=16)
    assert [len(p) for p in pieces] == [100, 30, 64]
    assert len(torch.cat(pieces).unique()) == 194
    with pytest.raises(ValueError, match="too few for parts"):
        corpus.parts(torch.zeros(64, 1), (100,))
