"""From texts to counts of terms, and from counts to weights."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import (
    ENGLISH_STOP_WORDS,
    CountVectorizer,
    TfidfTransformer,
)

Stemmer = str | Callable[[str], str] | None
WORD = r"(?u)\b\w\w+\b"
"""Two or more letters or digits, as in scikit-learn."""
WEIGHTINGS = ("bm25", "tfidf", "binary", "count")
K1, B = 1.2, 0.75
"""BM25: how soon counts saturate, and how much the length of a document matters."""


class Words:
    """Which words a text has, and in which form.

    Texts are taken in one Unicode form (NFKC, without case), so that a letter and its accent are
    one character, however they were typed.

    Args:
        vocabulary: the terms to count, in this order; they are stemmed like the words of texts.
            None: all that occur.
        stemmer: maps a lower-case word to its stem: a function, or the name of a Snowball
            algorithm such as "english" (package ``snowballstemmer``); None: words stay as they are.
        stop_words: words to leave out, before stemming; "english" is scikit-learn's list.
        pattern: regular expression of a word.
        strip_accents: é and e are the same.
    """

    def __init__(
        self,
        vocabulary: Sequence[str] | None,
        *,
        stemmer: Stemmer,
        stop_words: str | Iterable[str] | None,
        pattern: str,
        strip_accents: bool = False,
    ) -> None:
        self._stemmer, self._strip = stemmer, strip_accents
        self._stem = _stem(stemmer)
        self._pattern = _compiled(pattern)
        self._stop = frozenset(map(self._normal, _stop_words(stop_words)))
        self.terms: list[str] = []
        self._counter = CountVectorizer(analyzer=self.split)
        if vocabulary is not None:
            self.restore(list(vocabulary), [self._stem(self._normal(term)) for term in vocabulary])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_stem"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._stem = _stem(self._stemmer)

    def split(self, text: str) -> list[str]:
        """The stems of a text, in order."""
        return [self._stem(word) for word in self._words(text)]

    def sorted_out(self, text: str) -> tuple[list[str], list[str]]:
        """The words of a text, without stop words: those that are terms, and the others."""
        terms, found = self._counter.vocabulary_, dict.fromkeys(self._words(text))
        known = [word for word in found if self._stem(word) in terms]
        return known, [word for word in found if word not in set(known)]

    def _words(self, text: str) -> list[str]:
        return [w for w in self._pattern.findall(self._normal(text)) if w not in self._stop]

    def _normal(self, text: str) -> str:
        if text.isascii():
            return text.lower()
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        if not self._strip:
            return text
        letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        return unicodedata.normalize("NFKC", "".join(letters))

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


class Weighting:
    """Weights of terms in documents; a query is weighted as a document is.

    Args:
        name: "bm25": idf · count (k₁ + 1) / (count + k₁ (1 − b + b · length / mean length)) with
            idf = ln(1 + (N − df + ½)/(df + ½)), k₁ = 1.2, b = 0.75 (Robertson and Zaragoza 2009);
            "tfidf": (1 + ln count) · (1 + ln (1 + N)/(1 + df)), rows of unit length, which is
            scikit-learn's with ``sublinear_tf``; "binary": 1 where a term occurs; "count".
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tfidf = TfidfTransformer(sublinear_tf=True)
        self.idf: np.ndarray = np.zeros(0)
        self.length = 1.0

    def fit(self, counts: sparse.csr_array) -> None:
        """Learn document frequencies and the mean length from (documents, terms)."""
        self._tfidf.fit(counts)
        total = counts.shape[0]
        seen = np.bincount(counts.indices, counts.data > 0, counts.shape[1])
        self.idf = np.log1p((total - seen + 0.5) / (seen + 0.5))
        self.length = float(counts.sum()) / total

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What ``fit`` has learnt."""
        return {"idf": self.idf, "tfidf": self._tfidf.idf_, "length": np.array([self.length])}

    @state.setter
    def state(self, values: Mapping[str, np.ndarray]) -> None:
        self.idf, self.length = values["idf"], float(values["length"][0])
        self._tfidf.idf_ = values["tfidf"]

    def __call__(self, counts: sparse.csr_array) -> sparse.csr_array:
        """(documents, terms) float64 weights."""
        if self.name == "bm25":
            return self.bm25(counts)
        counts = counts.copy()
        counts.eliminate_zeros()
        if self.name == "tfidf":
            weighted: Any = self._tfidf.transform(counts)
            return sparse.csr_array(weighted)
        weights = counts.astype(float)
        if self.name == "binary":
            weights.data[:] = 1.0
        return weights

    def bm25(self, counts: sparse.csr_array) -> sparse.csr_array:
        """(documents, terms) what a term adds to the score of a document that has it."""
        weights = counts.astype(float)
        weights.eliminate_zeros()
        lengths = np.asarray(weights.sum(axis=1)).ravel() / self.length
        norm = np.repeat(K1 * (1 - B + B * lengths), np.diff(weights.indptr))
        weights.data *= self.idf[weights.indices] * (K1 + 1) / (weights.data + norm)
        return weights


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        found = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"token_pattern is no regular expression: {error}") from None
    if found.groups > 1:
        raise ValueError("token_pattern may have one group at most: write (?:…) for the others")
    return found


def _stem(stemmer: Stemmer) -> Callable[[str], str]:
    if stemmer is None:
        return str
    if callable(stemmer):
        return stemmer
    try:
        import snowballstemmer
    except ImportError as error:
        raise ValueError(
            "stemming by name needs the package snowballstemmer: pip install '.[search]' in the "
            "folder of schmidt; or pass a function"
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
