"""``SemanticIndex``: search documents by words and by meaning."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from schmidt.certificate import Certificate
from schmidt.factorization import Factorization
from schmidt.parameters import FLAG, SEED, Allowed, Choice, Kind, Number, check
from schmidt.progress import progress_bar
from schmidt.semantic.changes import Changes, chosen_names, texts
from schmidt.semantic.decomposition import triplets
from schmidt.semantic.words import WEIGHTINGS, WORD, Stemmer, Weighting, Words
from schmidt.storage import DamagedFileError, plain, read_tensors, write_tensors

PARAMETERS: dict[str, Allowed] = {
    "lexical": Number(0, 1),
    "weighting": Choice(*WEIGHTINGS),
    "strip_accents": FLAG,
    "query": Choice("fold-in", "mean-of-terms"),
    "max_rank": Number(1, whole=True),
    "seed": SEED,
    "progress": FLAG,
    "n": Number(1, whole=True),
    "text": Kind((str,), "a text (several of them: scores())"),
}
KIND = "schmidt.SemanticIndex"
HALVINGS, ROUNDING, DIGITS = 5, 1e-8, 9


@dataclass(frozen=True)
class Hit:
    """A document that was found: its name, its score, its position in the index."""

    name: Any
    score: float
    position: int


class SemanticIndex(Changes, BaseEstimator):
    """Search by words (BM25) and by meaning (latent semantic analysis, Deerwester et al. 1990).

    The weighted matrix of terms × documents is approximated by A ≈ U diag(σ) Vᵀ. Terms are the rows
    of U diag(σ), documents those of V diag(σ); documents that use related words are near each
    other, whether or not they share any. The score of a document for a query is

        w · BM25 / largest BM25 + (1 − w) · C / largest C,   C = max(mean over k of cos_k, 0)   (1)

    where cos_k is the cosine in the first k dimensions, and the largest is that over all documents.
    No single k has to be right, and a document that alone has the word asked for comes first.

    Args:
        rank: the numbers k of dimensions: one, several, or None: K/16, K/8, K/4, K/2 and K, where K
            is ``max_rank`` or, if that is less, the number of documents or terms.
        lexical: w. 0: the mean cosine alone, as in the classical method; 1: BM25 alone.
        weighting: of the matrix: "bm25", "tfidf" (log counts, inverse document frequency, unit
            length), "binary", "count".
        vocabulary: the terms to use, in this order; None: all.
        stemmer: a function from word to stem, or the name of a Snowball algorithm ("english").
        stop_words: words to leave out: "english", a list, or None.
        token_pattern: regular expression of a word.
        strip_accents: é and e are the same. In any case the two ways to write é are.
        query: how a query becomes a point: "fold-in", like a document, qᵀU; or "mean-of-terms", the
            mean of the rows of U diag(σ) of its words.
        max_rank: the largest k of those that None stands for.
        seed: of the decomposition's start.
        progress: show a bar on a terminal.

    Attributes:
        factorization_: U, σ, V of the terms × documents matrix of ``fit``, with its certificate.
        term_vectors_: (T, k) rows of U diag(σ).
        document_vectors_: (N, k) rows of V diag(σ), then documents that were added.
        terms_: (T,) terms; names_: (N,) names of documents.
        ranks_: the numbers k in use; rank_: the largest.

    Cost: a truncated SVD of rank K. A search costs O(NK).

    Example:
        >>> from schmidt import SemanticIndex
        >>> index = SemanticIndex().fit(["ships at sea", "goats on a hill", "a hill by the sea"])
        >>> [hit.position for hit in index.search("ships")][0]
        0
    """

    def __init__(
        self,
        rank: int | Sequence[int] | None = None,
        *,
        lexical: float = 0.5,
        weighting: str = "bm25",
        vocabulary: Sequence[str] | None = None,
        stemmer: Stemmer = None,
        stop_words: str | Iterable[str] | None = None,
        token_pattern: str = WORD,
        strip_accents: bool = False,
        query: str = "fold-in",
        max_rank: int = 400,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self.rank = rank
        self.lexical = lexical
        self.weighting = weighting
        self.vocabulary = vocabulary
        self.stemmer = stemmer
        self.stop_words = stop_words
        self.token_pattern = token_pattern
        self.strip_accents = strip_accents
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
        check(PARAMETERS, **{k: v for k, v in self.get_params().items() if k in PARAMETERS})
        listed = texts(documents)
        if len(listed) < 2:
            raise ValueError(f"an index needs at least two documents, got {len(listed)}")
        chosen = chosen_names(names, len(listed), [])
        words, weighting = self._new_words(), Weighting(self.weighting)
        words.learn(listed)
        counts = words.count(listed)
        if not counts.nnz:
            raise ValueError("no document contains a word of the vocabulary")
        weighting.fit(counts)
        ranks = self._ranks(min(counts.shape))
        with progress_bar(1, "decomposition", enabled=self.progress) as bar:
            found = triplets(weighting(counts), ranks[-1], self.seed)
            bar.update(1, f"{found.rank} dimensions")
        self._words, self._weighting, self.names_, self.factorization_ = (
            words,
            weighting,
            chosen,
            found,
        )
        self.ranks_ = tuple(sorted({min(k, found.rank) for k in ranks}))
        self.document_vectors_ = np.zeros((0, found.rank))
        self._postings = sparse.csr_array((counts.shape[1], 0))
        self._append(counts, np.asarray(found.right * found.values))
        return self

    def _new_words(self) -> Words:
        return Words(
            self.vocabulary,
            stemmer=self.stemmer,
            stop_words=self.stop_words,
            pattern=self.token_pattern,
            strip_accents=self.strip_accents,
        )

    def _ranks(self, most: int) -> list[int]:
        if self.rank is None:
            top = min(self.max_rank, most)
            return sorted({max(round(top / 2**i), min(2, top)) for i in range(HALVINGS)})
        given = list(self.rank) if isinstance(self.rank, Sequence | np.ndarray) else [self.rank]
        if not given:
            raise ValueError("rank must name at least one number of dimensions")
        for k in given:
            check({"rank": Number(1, most, whole=True)}, rank=k)
        return sorted({int(k) for k in given})

    def _append(self, counts: sparse.csr_array, points: np.ndarray) -> None:
        """Documents by their counts and their points."""
        weights = self._weighting(counts)
        points = _without_rounding(points, weights)
        self.document_vectors_ = np.vstack([self.document_vectors_, points])
        more = self._weighting.bm25(counts).T.tocsr()
        self._postings = sparse.csr_array(sparse.hstack([self._postings, more], format="csr"))
        self._measure()

    def _measure(self) -> None:
        """(N, k's) lengths of the documents in the first k dimensions."""
        squares = np.cumsum(self.document_vectors_**2, axis=1)
        self._lengths = np.sqrt(squares[:, [k - 1 for k in self.ranks_]])

    @property
    def rank_(self) -> int:
        """The largest number of dimensions in use."""
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

    def transform(self, documents: Sequence[str]) -> np.ndarray:
        """Texts as points (n, k) by fold-in: xᵀU, which gives V diag(σ) for indexed documents."""
        self._require_fitted()
        return self._points(self._words.count(texts(documents)))

    def _points(self, counts: sparse.csr_array) -> np.ndarray:
        weights = self._weighting(counts)
        return _without_rounding(np.asarray(weights @ self.factorization_.left), weights)

    def transform_queries(self, queries: Sequence[str]) -> np.ndarray:
        """Queries as points (n, k), in the way that ``query`` says; zero without known words."""
        self._require_fitted()
        return self._asked(self._words.count(texts(queries)))

    def _asked(self, counts: sparse.csr_array) -> np.ndarray:
        if self.query == "fold-in":
            return self._points(counts)
        words = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
        return np.asarray(counts.astype(float) @ self.term_vectors_) / np.maximum(words, 1)

    def scores(self, queries: Sequence[str]) -> np.ndarray:
        """Scores (queries, documents) by (1), or mean cosines where ``lexical`` is 0.

        0 where one of the two has no known words.
        """
        self._require_fitted()
        counts = self._words.count(texts(queries))
        return self._parts(counts)[0]

    def _parts(self, counts: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
        """(queries, documents) scores, and BM25."""
        words = np.asarray((counts.astype(float) @ self._postings).toarray())
        if self.lexical == 0:
            return self._cosines(self._asked(counts)), words
        score = self.lexical * _by_largest(words)
        if self.lexical < 1:
            near = self._cosines(self._asked(counts))
            near = np.where(near > ROUNDING, near, 0.0)
            score += (1 - self.lexical) * _by_largest(near)
        return score, words

    def _cosines(self, points: np.ndarray) -> np.ndarray:
        """(n, N) means over the k's of the cosines, 0 where one of the two vanishes."""
        products = np.zeros((len(points), len(self.document_vectors_)))
        total, before = np.zeros_like(products), 0
        squares = np.zeros((len(points), 1))
        for k, lengths in zip(self.ranks_, self._lengths.T, strict=True):
            own = points[:, before:k]
            products += own @ self.document_vectors_[:, before:k].T
            squares += (own**2).sum(axis=1, keepdims=True)
            both = np.sqrt(squares) * lengths
            total += products / np.where(both > 0, both, 1)
            before = k
        return np.asarray(total / len(self.ranks_))

    def search(self, query: str, n: int = 10, *, among: Any = None) -> list[Hit]:
        """The documents with the largest scores, best first; none if no word of it is known.

        Args:
            query: a text.
            n: how many at most. Documents of score 0 are none; where ``lexical`` is 0, only those
                are left out that are no point of the space.
            among: find only these: a (N,) mask of booleans, for example from metadata, or names.
                Scores stay what they are among all documents.
        """
        self._require_fitted()
        check(PARAMETERS, n=n, text=query)
        score, words = (a[0] for a in self._parts(self._words.count([query])))
        if self.lexical == 0:
            allowed = np.flatnonzero((self._lengths[:, -1] > 0) & score.any())
        else:
            allowed = np.flatnonzero(score > 0)
        if among is not None:
            allowed = allowed[self._mask(among)[allowed]]
        return self._best(allowed, score, words, n)

    def _best(self, allowed: np.ndarray, score: np.ndarray, words: np.ndarray, n: int) -> list[Hit]:
        """The n largest scores, equal ones by their words, then as they stand."""
        if len(allowed) > n:  # all that could be among the n best, ties included
            least = np.partition(score[allowed], -n)[-n] - 10.0**-DIGITS
            allowed = allowed[score[allowed] >= least]
        ties = (allowed, -words[allowed], -np.round(score[allowed], DIGITS))
        best = allowed[np.lexsort(ties)[:n]]
        return [Hit(self.names_[i], float(score[i]), int(i)) for i in best]

    def words(self, text: str) -> tuple[list[str], list[str]]:
        """The words of a text, stop words aside: those that some document had in ``fit``, and the
        others."""
        self._require_fitted()
        check(PARAMETERS, text=text)
        return self._words.sorted_out(text)

    def related_terms(self, text: str, n: int = 10) -> list[tuple[str, float]]:
        """The terms nearest to a word or a text, with their cosines."""
        check(PARAMETERS, n=n, text=text)
        point = self.transform_queries([text])[0]
        if not point.any():
            return []
        terms = self.term_vectors_
        lengths = np.linalg.norm(terms, axis=1)
        scores = terms @ point / np.where(lengths > 0, lengths, 1) / np.linalg.norm(point)
        return [(self.terms_[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:n]]

    def concepts(self, n: int = 5) -> list[list[tuple[str, float]]]:
        """For each dimension the n terms with the largest entries of U, by magnitude."""
        self._require_fitted()
        check(PARAMETERS, n=n)
        out = []
        for column in self.factorization_.left.T:
            best = np.argsort(-np.abs(column), kind="stable")[:n]
            out.append([(self.terms_[i], float(column[i])) for i in best])
        return out

    def save(self, path: str | Path) -> Path:
        """Write to one ``.safetensors`` file, atomically: vectors, postings, and in its header
        words, names, settings and the certificate. The texts themselves are not stored.

        Raises:
            TypeError: a stemmer that is a function, or names that are neither strings nor numbers.
        """
        self._require_fitted()
        settings = self.get_params()
        if callable(settings["stemmer"]):
            raise TypeError("cannot save a stemmer that is a function: use the name of one")
        wrong = next((v for v in self.names_ if not isinstance(v, str | int | float)), None)
        if wrong is not None:
            raise TypeError(f"cannot save names like {wrong!r}: only strings and numbers")
        for name in ("vocabulary", "stop_words"):
            if settings[name] is not None and not isinstance(settings[name], str):
                settings[name] = list(settings[name])
        f, postings = self.factorization_, self._postings
        arrays = {
            "left": f.left,
            "values": f.values,
            "right": f.right,
            "documents": self.document_vectors_,
            "postings.data": postings.data,
            "postings.indices": postings.indices.astype(np.int64),
            "postings.starts": postings.indptr.astype(np.int64),
        } | {f"weighting.{name}": value for name, value in self._weighting.state.items()}
        certificate = {} if f.certificate is None else f.certificate.as_dict()
        contents = {
            "settings": settings,
            "words": {"terms": self._words.terms, "stems": self._words.stems},
            "names": self.names_,
            "ranks": self.ranks_,
            "certificate": certificate,
        }
        header = {name: json.dumps(content, default=plain) for name, content in contents.items()}
        tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}
        return write_tensors(Path(path), tensors, {"kind": KIND} | header)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        tensors, header = read_tensors(Path(path), KIND)
        try:
            settings, words, names, ranks, known = (
                json.loads(header[name])
                for name in ("settings", "words", "names", "ranks", "certificate")
            )
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            index = cls(**settings)
            index._words = index._new_words()
            index._words.restore(words["terms"], words["stems"])
            index._weighting = Weighting(settings["weighting"])
            index._weighting.state = {
                n: arrays[f"weighting.{n}"] for n in ("idf", "tfidf", "length")
            }
            left, values, right = (arrays[name] for name in ("left", "values", "right"))
            parts = (arrays[f"postings.{name}"] for name in ("data", "indices", "starts"))
            index.document_vectors_ = arrays["documents"]
        except (KeyError, json.JSONDecodeError) as error:
            raise DamagedFileError(f"{path} is damaged ({error}): it cannot be read") from error
        index.names_, index.ranks_ = names, tuple(ranks)
        index._postings = sparse.csr_array(tuple(parts), shape=(len(left), len(names)))
        index.factorization_ = Factorization(
            left,
            values,
            right,
            certificate=Certificate.from_dict(known) if known else None,
            settings={"rank": len(values), "seed": index.seed},
        )
        index._measure()
        return index

    def _require_fitted(self) -> None:
        if not hasattr(self, "document_vectors_"):
            raise NotFittedError("this SemanticIndex is not fitted: call fit first")


def _by_largest(part: np.ndarray) -> np.ndarray:
    """Each row divided by its largest entry; rows of zeros stay so."""
    largest = part.max(axis=1, keepdims=True)
    return np.asarray(part / np.where(largest > 0, largest, 1))


def _without_rounding(points: np.ndarray, weights: sparse.csr_array) -> np.ndarray:
    """Points that are nothing but the rounding of their weights are zero: their directions mean
    nothing."""
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    nothing = np.linalg.norm(points, axis=1) <= ROUNDING * lengths
    return np.where(nothing[:, None], 0.0, points)
