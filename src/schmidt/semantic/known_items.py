"""How many dimensions: as many as finding a document by its own words needs. No relevance labels.

Each document loses a tenth of its words, drawn at random. The rest is decomposed, and the words
drawn are used as a query: known-item search, with queries simulated from the documents (Azzopardi,
de Rijke and Balog 2007). The measure is the logarithm of the rank at which the document comes. Too
few dimensions cannot tell documents apart, too many are the words themselves again, so
there is a best number; the smallest one within a standard error of it is taken, which is
the usual allowance for chance (Breiman et al. 1984).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from schmidt.semantic.decomposition import triplets
from schmidt.semantic.weighting import Weighting

PART, QUERIES, ASKED, MOST_SPLITS, GRID = 0.1, 2000, 800, 20, 32


@dataclass(frozen=True)
class Dimensions:
    """What was measured.

    Attributes:
        tried: (t,) numbers of dimensions.
        log_rank: (t,) mean of ln(rank of the document that the query was drawn from); 0 is perfect.
        chosen: the number taken.
        best: the number with the smallest mean.
        standard_error: of the difference of these two means.
        queries: how many were asked.
    """

    tried: np.ndarray
    log_rank: np.ndarray
    chosen: int
    best: int
    standard_error: float
    queries: int


def choose_dimensions(
    counts: sparse.csr_array,
    weighting: Weighting,
    most: int,
    *,
    seed: int = 0,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Dimensions:
    """Choose the number of dimensions for these documents.

    Args:
        counts: (documents, terms) counts.
        weighting: how counts become weights.
        most: at most so many dimensions.
        seed: of the words drawn.
        watch: called with the number of decompositions done, and of all.

    Returns:
        The choice; ``most``, untried, where fewer than two documents have words to spare.
        Cost: one decomposition of ``most`` dimensions per split; two splits, up to 20 where
        documents are few.
    """
    rng = np.random.default_rng(seed)
    most = min(most, *counts.shape)
    tried = np.unique(np.round(np.geomspace(1, most, GRID)).astype(int))
    splits = int(np.clip(np.ceil(ASKED / counts.shape[0]), 2, MOST_SPLITS))
    found = []
    for done in range(splits):
        watch(done, splits)
        found.append(_split(counts, weighting, tried, rng))
    logs = np.concatenate(found)
    if len(logs) < 2:
        return Dimensions(tried, np.full(len(tried), np.nan), most, most, np.nan, len(logs))
    mean = logs.mean(axis=0)
    best = int(mean.argmin())
    excess = logs - logs[:, [best]]
    error = excess.std(axis=0) / np.sqrt(len(logs))
    chosen = int(np.flatnonzero(excess.mean(axis=0) <= error)[0])
    return Dimensions(
        tried, mean, int(tried[chosen]), int(tried[best]), float(error[chosen]), len(logs)
    )


def _split(
    counts: sparse.csr_array, weighting: Weighting, tried: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(queries, tried) logarithms of ranks."""
    asked = counts.copy()
    asked.data = rng.binomial(counts.data, PART)
    rest = sparse.csr_array(counts - asked)
    usable = np.flatnonzero((asked.sum(axis=1) > 0) & (rest.sum(axis=1) > 0))
    if not len(usable):
        return np.zeros((0, len(tried)))
    if len(usable) > QUERIES:
        usable = np.sort(rng.choice(usable, QUERIES, replace=False))
    weights = weighting(rest)
    documents, values, terms = triplets(weights, int(tried[-1]))
    documents = documents * values
    queries = weighting(sparse.csr_array(asked[usable])) @ terms
    return _log_ranks(documents, queries, usable, tried)


def _log_ranks(
    documents: np.ndarray, queries: np.ndarray, own: np.ndarray, tried: np.ndarray
) -> np.ndarray:
    """By cosine in the first k dimensions; the products are summed up from one k to the next.

    A document that scores the same as others gets the middle of their ranks.
    """
    products = np.zeros((len(queries), len(documents)))
    squares = np.zeros(len(documents))
    out, before = [], 0
    for k in tried:
        part = slice(before, k)
        products += queries[:, part] @ documents[:, part].T
        squares += (documents[:, part] ** 2).sum(axis=1)
        cosine = products / np.sqrt(np.where(squares > 0, squares, 1))
        mine = cosine[np.arange(len(own)), own][:, None]
        slack = 1e-9 * np.abs(mine)
        above, level = (cosine > mine + slack).sum(1), (np.abs(cosine - mine) <= slack).sum(1)
        out.append(np.log(above + (level + 1) / 2))
        before = k
    return np.array(out).T
