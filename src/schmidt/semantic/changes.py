"""Documents that come, change or go, and those that resemble one."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse

from schmidt.parameters import Allowed, Number, check

PARAMETERS: dict[str, Allowed] = {"n": Number(1, whole=True)}


class Changes:
    """``add``, ``remove``, ``update`` and ``more_like`` of :class:`SemanticIndex`."""

    names_: list[Any]
    document_vectors_: np.ndarray
    lexical: float
    _postings: sparse.csr_array
    _words: Any
    _weighting: Any
    _best: Any
    _cosines: Any
    _lengths: np.ndarray
    _append: Any
    _measure: Any
    _points: Any
    _require_fitted: Any

    def add(self, documents: Sequence[str], names: Sequence[Hashable] | None = None) -> Self:
        """Fold new documents in: they can be found, but change neither terms nor dimensions.

        After many additions fit again; words that ``fit`` has not seen are ignored until then.
        """
        self._require_fitted()
        listed = texts(documents)
        more = chosen_names(names, len(listed), self.names_)
        counts = self._words.count(listed)
        self._append(counts, self._points(counts))
        self.names_ = [*self.names_, *more]
        return self

    def remove(self, names: Sequence[Hashable]) -> Self:
        """Take documents out: they are not found any more, and later ones move up.

        Terms, dimensions and weights, and U, σ, V with their certificate, are those of ``fit`` and
        have seen them until the next one.

        Raises:
            ValueError: names that are not in the index, or all of them. Nothing is changed.
        """
        gone = self._positions(names)
        kept = np.setdiff1d(np.arange(len(self.names_)), gone)
        if not len(kept):
            raise ValueError("an index needs a document: these are all of them")
        self._take(kept)
        self.names_ = [self.names_[i] for i in kept]
        return self

    def update(self, documents: Sequence[str], names: Sequence[Hashable]) -> Self:
        """Put new texts in the place of documents, folded in as by :meth:`add`."""
        listed, at = texts(documents), self._positions(names)
        if len(listed) != len(at):
            raise ValueError(f"{len(at)} names for {len(listed)} documents")
        order, before = np.arange(len(self.names_)), len(self.names_)
        counts = self._words.count(listed)
        self._append(counts, self._points(counts))
        order[at] = before + np.arange(len(at))
        self._take(order)
        return self

    def more_like(self, name: Hashable, n: int = 10, *, among: Any = None) -> list[Any]:
        """The documents that resemble one of the index, best first, without itself.

        As :meth:`search`, with the cosine of the BM25 weights in the place of BM25, and the
        document's own point as the query's.
        """
        check(PARAMETERS, n=n)
        (at,) = self._positions([name])
        weights = self._postings.T.tocsr()
        own = sparse.csr_array(weights[[at]])
        lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
        words = np.asarray((own @ self._postings).toarray())[0]
        words = words / np.where(lengths > 0, lengths, 1) / (lengths[at] or 1)
        near = np.maximum(self._cosines(self.document_vectors_[[at]])[0], 0)
        words[at] = near[at] = 0
        score = self.lexical * words / (words.max() or 1)
        score = score + (1 - self.lexical) * near / (near.max() or 1)
        allowed = score > 0
        if among is not None:
            allowed &= self._mask(among)
        return list(self._best(np.flatnonzero(allowed), score, words, n))

    def _take(self, order: np.ndarray) -> None:
        self._postings = sparse.csr_array(self._postings.tocsc()[:, order].tocsr())
        self.document_vectors_ = self.document_vectors_[order]
        self._measure()

    def _positions(self, names: Sequence[Hashable]) -> np.ndarray:
        self._require_fitted()
        if isinstance(names, str | bytes) or not hasattr(names, "__len__"):
            raise ValueError(f"names must come as a list, got {names!r}: write [{names!r}]")
        where = {name: i for i, name in enumerate(self.names_)}
        missing = [name for name in names if name not in where]
        if missing:
            raise ValueError(f"not in the index: {', '.join(map(repr, missing[:3]))}")
        found = np.array([where[name] for name in names], dtype=np.intp)
        if len(np.unique(found)) < len(found):
            raise ValueError("names must be different from each other")
        return found

    def _mask(self, among: Any) -> np.ndarray:
        array = among if isinstance(among, np.ndarray) else None
        if array is None and hasattr(among, "to_numpy"):
            array = among.to_numpy()
        if array is not None and array.dtype == bool:
            if array.shape != (len(self.names_),):
                shape = (len(self.names_),)
                raise ValueError(f"a mask must have shape {shape}, got {array.shape}")
            return array
        out = np.zeros(len(self.names_), dtype=bool)
        out[self._positions(list(among) if array is None else array.tolist())] = True
        return out


def texts(documents: Sequence[str]) -> list[str]:
    """A list of texts, or a clear error."""
    if isinstance(documents, str | bytes):
        raise ValueError("documents must be a list of texts, got one string")
    if isinstance(documents, Mapping):
        raise ValueError("got a mapping; pass list(documents.values()) and names=list(documents)")
    if isinstance(documents, set | frozenset):
        raise ValueError("documents need an order, got a set: make a list")
    if getattr(documents, "ndim", 1) != 1:
        raise ValueError("documents must be a list of texts; of a frame give the column of texts")
    listed = list(documents)
    wrong = next((i for i, text in enumerate(listed) if not isinstance(text, str)), None)
    if wrong is not None:
        kind = type(listed[wrong]).__name__
        raise ValueError(f"documents must be strings; number {wrong} is of type {kind}")
    return listed


def chosen_names(names: Sequence[Hashable] | None, count: int, before: list[Any]) -> list[Any]:
    """Names of new documents: those given, or numbers that are not in use."""
    used = set(before)
    free = (i for i in itertools.count(len(before)) if i not in used)
    chosen = list(itertools.islice(free, count)) if names is None else list(names)
    chosen = [name.item() if isinstance(name, np.generic) else name for name in chosen]
    if len(chosen) != count:
        raise ValueError(f"{len(chosen)} names for {count} documents")
    if len({*before, *chosen}) < len(before) + count:
        raise ValueError("names must be different from each other, and from those in the index")
    return chosen
