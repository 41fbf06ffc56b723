"""From texts to counts of terms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

Stemmer = str | Callable[[str], str] | None
WORD = r"(?u)\b\w\w+\b"
"""Two or more letters or digits, as in scikit-learn."""


class Words:
    """Which words a text has, and in which form.

    Args:
        vocabulary: the terms to count, in this order; they are stemmed like the words of texts.
            None: all that occur.
        stemmer: maps a lower-case word to its stem: a function, or the name of a Snowball
            algorithm such as "english" (package ``snowballstemmer``); None: words stay as they are.
        stop_words: words to leave out, before stemming; "english" is scikit-learn's list.
        pattern: regular expression of a word.
    """

    def __init__(
        self,
        vocabulary: Sequence[str] | None,
        stemmer: Stemmer,
        stop_words: str | Iterable[str] | None,
        pattern: str,
    ) -> None:
        self._stem = _stem(stemmer)
        self._find = re.compile(pattern).findall
        self._stop = _stop_words(stop_words)
        self.terms: list[str] = []
        self._counter = CountVectorizer(analyzer=self.split)
        if vocabulary is not None:
            self.restore(list(vocabulary), [self._stem(term.lower()) for term in vocabulary])

    def split(self, text: str) -> list[str]:
        """The stems of a text, in order."""
        return [self._stem(word) for word in self._words(text)]

    def _words(self, text: str) -> list[str]:
        return [word for word in self._find(text.lower()) if word not in self._stop]

    @property
    def stems(self) -> list[str]:
        """What is counted, in order; ``terms`` are the names of these."""
        return list(self._counter.vocabulary_) if self.terms else []

    def restore(self, terms: list[str], stems: list[str]) -> None:
        """Count these from now on."""
        doubled = len(stems) - len(set(stems))
        if doubled:
            raise ValueError(f"{doubled} terms of the vocabulary have the same stem as another one")
        if not stems:
            raise ValueError("the vocabulary is empty")
        self.terms = terms
        self._counter = CountVectorizer(analyzer=self.split, vocabulary=stems)
        self._counter.vocabulary_ = {stem: i for i, stem in enumerate(stems)}

    def learn(self, texts: Sequence[str]) -> None:
        """Take the terms from texts, in alphabetical order, unless the vocabulary was given.

        A term is named by the most frequent word with its stem.
        """
        if self.terms:
            return
        words = Counter(word for text in texts for word in self._words(text))
        forms: dict[str, str] = {}
        for word, _ in words.most_common():
            forms.setdefault(self._stem(word), word)
        if not forms:
            raise ValueError("the documents contain no words (after stop words)")
        stems = sorted(forms)
        self.restore([forms[stem] for stem in stems], stems)

    def count(self, texts: Sequence[str]) -> sparse.csr_array:
        """(texts, terms) how often each term occurs."""
        counts = sparse.csr_array(self._counter.transform(texts))
        return counts.astype(np.int64)


def _stem(stemmer: Stemmer) -> Callable[[str], str]:
    if stemmer is None:
        return str
    if callable(stemmer):
        return stemmer
    try:
        import snowballstemmer
    except ImportError as error:
        raise ValueError(
            "stemming by name needs the package snowballstemmer: pip install 'schmidt[search]'; or "
            "pass a function"
        ) from error
    if stemmer not in snowballstemmer.algorithms():
        known = ", ".join(sorted(snowballstemmer.algorithms()))
        raise ValueError(f"unknown stemmer {stemmer!r}; known: {known}")
    return lru_cache(maxsize=1 << 18)(snowballstemmer.stemmer(stemmer).stemWord)


def _stop_words(given: str | Iterable[str] | None) -> frozenset[str]:
    if given is None:
        return frozenset()
    if isinstance(given, str):
        if given != "english":
            raise ValueError(
                f"stop_words must be 'english', a list of words or None; got {given!r}"
            )
        return frozenset(ENGLISH_STOP_WORDS)
    return frozenset(given)
