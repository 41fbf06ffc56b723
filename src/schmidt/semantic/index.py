"""``SemanticIndex``: search documents by meaning."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from schmidt.factorization import Factorization
from schmidt.progress import progress_bar
from schmidt.semantic.decomposition import triplets
from schmidt.semantic.files import SavedIndex
from schmidt.semantic.known_items import Dimensions, choose_dimensions
from schmidt.semantic.weighting import Weighting
from schmidt.semantic.words import WORD, Stemmer, Words

QUERIES = ("fold-in", "mean-of-terms")


@dataclass(frozen=True)
class Hit:
    """A document that was found: its name, its cosine with the query, its position in the index."""

    name: Any
    score: float
    position: int


class SemanticIndex(SavedIndex, BaseEstimator):
    """Latent semantic analysis (Deerwester et al. 1990): search by the leading singular vectors.

    The weighted matrix of terms × documents is approximated by A ≈ U diag(σ) Vᵀ. Terms are the rows
    of U diag(σ), documents those of V diag(σ); documents that use related words are near each
    other, whether or not they share any.

    Args:
        rank: the number k of dimensions. None: chosen by known-item search, without relevance
            labels, see :mod:`schmidt.semantic.known_items`.
        weighting: "tfidf" (log counts, inverse document frequency, unit length), "binary", "count".
        vocabulary: the terms to use, in this order; None: all.
        stemmer: a function from word to stem, or the name of a Snowball algorithm ("english").
        stop_words: words to leave out: "english", a list, or None.
        token_pattern: regular expression of a word.
        query: how a query becomes a point: "fold-in", like a document, qᵀU; or "mean-of-terms", the
            mean of the rows of U diag(σ) of its words.
        max_rank: at most so many dimensions are considered.
        seed: of the choice of k.
        progress: show a bar on a terminal.

    Attributes:
        factorization_: U, σ, V of the terms × documents matrix of ``fit``.
        term_vectors_: (T, k) rows of U diag(σ).
        document_vectors_: (N, k) rows of V diag(σ), then documents that were added.
        terms_: (T,) terms; names_: (N,) names of documents.
        rank_: k.
        dimensions_: how k was chosen, or None.

    Cost: a truncated SVD of rank k; two of rank ``max_rank`` if k is to be chosen. A search costs
    O(Nk).
    """

    def __init__(
        self,
        rank: int | None = None,
        *,
        weighting: str = "tfidf",
        vocabulary: Sequence[str] | None = None,
        stemmer: Stemmer = None,
        stop_words: str | Iterable[str] | None = None,
        token_pattern: str = WORD,
        query: str = "fold-in",
        max_rank: int = 500,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self.rank = rank
        self.weighting = weighting
        self.vocabulary = vocabulary
        self.stemmer = stemmer
        self.stop_words = stop_words
        self.token_pattern = token_pattern
        self.query = query
        self.max_rank = max_rank
        self.seed = seed
        self.progress = progress

    def fit(self, documents: Sequence[str], names: Sequence[Hashable] | None = None) -> Self:
        """Index documents.

        Args:
            documents: texts, at least two. One without any known word is kept, and never found.
            names: one per document, each once; by default 0, 1, ….

        Raises:
            ValueError: no texts, no words, a rank above min(terms, documents), double names.
        """
        texts = _texts(documents)
        if self.query not in QUERIES:
            raise ValueError(f"query must be one of {', '.join(QUERIES)}; got {self.query!r}")
        if len(texts) < 2:
            raise ValueError(f"an index needs at least two documents, got {len(texts)}")
        self._words = Words(self.vocabulary, self.stemmer, self.stop_words, self.token_pattern)
        self._weighting = Weighting(self.weighting)
        self.names_ = _names(names, len(texts), [])
        self._words.learn(texts)
        counts = self._words.count(texts)
        if not counts.nnz:
            raise ValueError("no document contains a word of the vocabulary")
        self._weighting.fit(counts)
        most = min(counts.shape)
        if self.rank is not None and not 1 <= self.rank <= most:
            raise ValueError(f"rank must lie between 1 and {most}, got {self.rank}")
        self.dimensions_ = None if self.rank is not None else self._choose(counts)
        rank = self.rank if self.dimensions_ is None else self.dimensions_.chosen
        right, values, left = triplets(self._weighting(counts), int(rank or 1), self.seed)
        left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
        self.factorization_ = Factorization(left, values, right, settings={"rank": rank})
        self.document_vectors_ = right * values
        return self

    def _choose(self, counts: Any) -> Dimensions:
        with progress_bar(2, "dimensions", enabled=self.progress) as bar:
            watch: Callable[[int, int], None] = lambda done, total: bar.update(  # noqa: E731
                2 * done // total, f"decomposition {done + 1} of {total}"
            )
            return choose_dimensions(
                counts, self._weighting, self.max_rank, seed=self.seed, watch=watch
            )

    @property
    def rank_(self) -> int:
        """The number of dimensions."""
        self._require_fitted()
        return self.factorization_.rank

    @property
    def terms_(self) -> list[str]:
        """The terms, in the order of ``term_vectors_``."""
        self._require_fitted()
        return self._words.terms

    @property
    def term_vectors_(self) -> np.ndarray:
        """(T, k) rows of U diag(σ)."""
        self._require_fitted()
        return np.asarray(self.factorization_.left * self.factorization_.values)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Texts as points (n, k) by fold-in: xᵀU, which gives V diag(σ) for indexed documents."""
        self._require_fitted()
        counts = self._words.count(_texts(texts))
        return np.asarray(self._weighting(counts) @ self.factorization_.left)

    def transform_queries(self, queries: Sequence[str]) -> np.ndarray:
        """Queries as points (n, k), in the way that ``query`` says; zero without known words."""
        self._require_fitted()
        if self.query == "fold-in":
            return self.transform(queries)
        counts = self._words.count(_texts(queries)).astype(float)
        words = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
        return np.asarray(counts @ self.term_vectors_) / np.maximum(words, 1)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """Cosines (queries, documents); 0 where one of the two has no known words."""
        return _cosines(self.transform_queries(queries), self.document_vectors_)

    def search(self, query: str, n: int = 10) -> list[Hit]:
        """The documents nearest to a query by cosine, best first; none if no word of it is known.

        Args:
            query: a text.
            n: how many at most.
        """
        self._require_fitted()
        if not isinstance(query, str):
            raise ValueError(f"a query is a string, got {type(query).__name__}; see also scores()")
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        point = self.transform_queries([query])
        if not point.any():
            return []
        scores = _cosines(point, self.document_vectors_)[0]
        best = np.argsort(-scores, kind="stable")
        found = [i for i in best if self.document_vectors_[i].any()][:n]
        return [Hit(self.names_[i], float(scores[i]), int(i)) for i in found]

    def related_terms(self, text: str, n: int = 10) -> list[tuple[str, float]]:
        """The terms nearest to a word or a text, with their cosines."""
        point = self.transform_queries([text])
        if not point.any():
            return []
        scores = _cosines(point, self.term_vectors_)[0]
        return [(self.terms_[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:n]]

    def concepts(self, n: int = 5) -> list[list[tuple[str, float]]]:
        """For each dimension the n terms with the largest entries of U, by magnitude."""
        self._require_fitted()
        out = []
        for column in self.factorization_.left.T:
            best = np.argsort(-np.abs(column), kind="stable")[:n]
            out.append([(self.terms_[i], float(column[i])) for i in best])
        return out

    def add(self, documents: Sequence[str], names: Sequence[Hashable] | None = None) -> Self:
        """Fold new documents in: they can be found, but change neither terms nor dimensions.

        After many additions fit again; words that ``fit`` has not seen are ignored until then.
        """
        points = self.transform(documents)
        self.names_ = [*self.names_, *_names(names, len(points), self.names_)]
        self.document_vectors_ = np.vstack([self.document_vectors_, points])
        return self

    def _require_fitted(self) -> None:
        if not hasattr(self, "document_vectors_"):
            raise NotFittedError("this SemanticIndex is not fitted: call fit first")


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    def unit(x: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return np.asarray(x / np.where(length > 0, length, 1))

    return np.asarray(unit(a) @ unit(b).T)


def _texts(documents: Sequence[str]) -> list[str]:
    if isinstance(documents, str):
        raise ValueError("documents must be a list of texts, got one string")
    if isinstance(documents, Mapping):
        raise ValueError("got a mapping; pass list(documents.values()) and names=list(documents)")
    texts = list(documents)
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        kind = type(texts[wrong]).__name__
        raise ValueError(f"documents must be strings; number {wrong} is of type {kind}")
    return texts


def _names(names: Sequence[Hashable] | None, count: int, before: list[Any]) -> list[Any]:
    chosen = list(range(len(before), len(before) + count)) if names is None else list(names)
    if len(chosen) != count:
        raise ValueError(f"{len(chosen)} names for {count} documents")
    if len({*before, *chosen}) < len(before) + count:
        raise ValueError("names must be different from each other, and from those in the index")
    return chosen
