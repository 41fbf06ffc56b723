"""The lecture's documents, and documents about two things."""

from __future__ import annotations

import pytest

LECTURE = [
    "Romeo and Juliet.",
    "Juliet: O happy dagger!",
    "Romeo died by dagger.",
    "“Live free or die”, that’s the New-Hampshire’s motto.",
    "Did you know, New-Hampshire is in New-England.",
]
VOCABULARY = ["romeo", "juliet", "happy", "dagger", "live", "die", "free", "new-hampshire"]


@pytest.fixture
def lecture():
    """Texts, and the settings that make the lecture's matrix of them."""
    settings = {
        "rank": 2,
        "lexical": 0,
        "weighting": "binary",
        "vocabulary": VOCABULARY,
        "token_pattern": r"\w+(?:-\w+)*",
        "query": "mean-of-terms",
    }
    return LECTURE, settings


@pytest.fixture
def two_topics(rng):
    """200 documents of 25 words, the first half about one thing; the topics share 5 of 40 words."""
    texts = []
    for i in range(200):
        first = 0 if i < 100 else 35
        texts.append(" ".join(f"w{first + int(w):02d}" for w in rng.integers(40, size=25)))
    return texts
