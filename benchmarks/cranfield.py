"""Search on the Cranfield collection: latent semantic analysis beside TF-IDF and BM25.

    python benchmarks/cranfield.py --data FOLDER

FOLDER holds cran.all (1400 abstracts), cran.qry (225 queries) and cranqrel (judgements). A
document is title and abstract. Measured is mean average precision over all queries, in two
readings of the judgements: codes 1–4 only, and those with code −1 besides: there is one per query,
undocumented, and they look as relevant as any.

All methods see the same terms: words of two letters or more, without scikit-learn's English stop
words, Snowball stems. The rows for its parts show what SemanticIndex would give without BM25, with
BM25 alone, and with one number of dimensions k. BM25 (k₁ = 1.2, b = 0.75; Robertson and Zaragoza
2009) is a version of our own, below. Times are CPU seconds for indexing and all queries, one
thread. The weighting of queries (as documents are weighted) was chosen
among eight ways with these judgements in sight, so their figure is not one on unseen data.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import tyro  # noqa: E402
from sklearn.feature_extraction.text import TfidfTransformer  # noqa: E402

from schmidt import SemanticIndex  # noqa: E402
from schmidt.semantic import WORD, Words  # noqa: E402

Array = np.ndarray
Judgements = list[dict[int, int]]
"""Per query: document number (from 1) → code."""
K1, B = 1.2, 0.75


@dataclass(frozen=True)
class Options:
    """Where the collection is, and what to try."""

    data: Path
    """Folder with cran.all, cran.qry and cranqrel."""
    ranks: tuple[int, ...] = (50, 100, 200, 400)
    """Single numbers of dimensions to show."""
    weights: tuple[float, ...] = (0.0, 0.3, 0.7, 1.0)
    """Weights of BM25 to show beside the default one half."""
    stemmer: str | None = "english"
    """Snowball algorithm; None: words as they are."""


def sections(path: Path) -> list[dict[str, str]]:
    """Records of the SMART format: .I starts one, .T .A .B .W its fields."""
    records: list[dict[str, list[str]]] = []
    name = ""
    for line in path.read_text().splitlines():
        if line.startswith(".I "):
            records.append({})
        elif line.strip() in (".T", ".A", ".B", ".W"):
            name = line[1]
        else:
            records[-1].setdefault(name, []).append(line.strip())
    return [{key: " ".join(lines) for key, lines in r.items()} for r in records]


def load(folder: Path) -> tuple[list[str], list[str], Judgements]:
    """Documents, queries, judgements. Judgements number queries 1, 2, …, whatever their .I says."""
    documents = [r.get("T", "") + " " + r.get("W", "") for r in sections(folder / "cran.all")]
    queries = [r["W"] for r in sections(folder / "cran.qry")]
    judged: Judgements = [{} for _ in queries]
    for line in (folder / "cranqrel").read_text().splitlines():
        query, document, code = (int(v) for v in line.split()[:3])
        judged[query - 1][document] = code
    return documents, queries, judged


def mean_average_precision(scores: Array, judged: Judgements, with_minus_one: bool) -> float:
    """Mean over queries of the mean precision at each relevant document."""
    values = []
    for row, codes in zip(scores, judged, strict=True):
        relevant = [d for d, code in codes.items() if 1 <= code <= 4 or with_minus_one]
        order = np.argsort(-row, kind="stable") + 1
        places = np.flatnonzero(np.isin(order, relevant)) + 1
        values.append(np.sum(np.arange(1, len(places) + 1) / places) / len(relevant))
    return float(np.mean(values))


def tfidf(words: Words, documents: list[str], queries: list[str]) -> Array:
    """Cosines of scikit-learn's TF-IDF vectors with log counts."""
    weights = TfidfTransformer(sublinear_tf=True)
    indexed = weights.fit_transform(words.count(documents))
    return np.asarray((weights.transform(words.count(queries)) @ indexed.T).toarray())


def bm25(words: Words, documents: list[str], queries: list[str]) -> Array:
    """Okapi BM25 with the idf ln(1 + (N − df + ½)/(df + ½))."""
    counts = words.count(documents).astype(float).tocoo()
    total, frequency = counts.shape[0], np.bincount(counts.col, minlength=counts.shape[1])
    length = np.bincount(counts.row, counts.data, total)
    idf = np.log1p((total - frequency + 0.5) / (frequency + 0.5))
    norm = K1 * (1 - B + B * length / length.mean())
    counts.data = idf[counts.col] * counts.data * (K1 + 1) / (counts.data + norm[counts.row])
    return np.asarray((words.count(queries).astype(float) @ counts.tocsr().T).toarray())


def main(options: Options) -> None:
    documents, queries, judged = load(options.data)
    words = Words(None, stemmer=options.stemmer, stop_words="english", pattern=WORD)
    words.learn(documents)

    def index(**settings: Any) -> Array:
        common: dict[str, Any] = {"stemmer": options.stemmer, "stop_words": "english"}
        return SemanticIndex(**common, **settings).fit(documents).scores(queries)

    def show(name: str, score: Callable[[], Array]) -> None:
        start = time.process_time()
        scores = score()
        seconds = time.process_time() - start
        strict, wide = (mean_average_precision(scores, judged, w) for w in (False, True))
        print(f"{name:40}  {strict:.4f}       {wide:.4f}          {seconds:.2f}")

    print(f"{len(documents)} documents, {len(queries)} queries, {len(words.terms)} terms")
    print(f"{'MAP':40}  codes 1–4    with code −1    CPU s")
    show("TF-IDF", lambda: tfidf(words, documents, queries))
    show("BM25", lambda: bm25(words, documents, queries))
    show("SemanticIndex", index)
    for weight in options.weights:
        show(f"SemanticIndex, w = {weight:g}", lambda weight=weight: index(lexical=weight))
    for rank in options.ranks:
        show(f"SemanticIndex, k = {rank}", lambda rank=rank: index(rank=rank))
    for rank in options.ranks:
        name = f"cosines alone, TF-IDF, k = {rank}"
        show(name, lambda rank=rank: index(rank=rank, lexical=0.0, weighting="tfidf"))


if __name__ == "__main__":
    main(tyro.cli(Options))
