"""From counts of terms to weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

WEIGHTINGS = ("tfidf", "binary", "count")


class Weighting:
    """Weights of terms in documents.

    Args:
        name: "tfidf": (1 + ln count) · (1 + ln (1 + N)/(1 + df)), rows of unit length, which is
            scikit-learn's with ``sublinear_tf``; "binary": 1 where a term occurs; "count".
    """

    def __init__(self, name: str) -> None:
        if name not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}; got {name!r}")
        self.name = name
        self._tfidf = TfidfTransformer(sublinear_tf=True)

    @property
    def idf(self) -> np.ndarray:
        """(terms,) inverse document frequencies; ones where they are not used."""
        return np.asarray(self._tfidf.idf_)

    @idf.setter
    def idf(self, values: np.ndarray) -> None:
        self._tfidf.idf_ = values

    def fit(self, counts: sparse.csr_array) -> None:
        """Learn document frequencies from (documents, terms)."""
        self._tfidf.fit(counts)

    def __call__(self, counts: sparse.csr_array) -> sparse.csr_array:
        """(documents, terms) float64 weights."""
        counts = counts.copy()
        counts.eliminate_zeros()
        if self.name == "tfidf":
            weighted: Any = self._tfidf.transform(counts)
            return sparse.csr_array(weighted)
        weights = counts.astype(float)
        if self.name == "binary":
            weights.data[:] = 1.0
        return weights
