"""``schmidt search``: find documents by meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schmidt import plotting
from schmidt.cli.texts import embedded_documents, exists, read_documents, snippets
from schmidt.parameters import SEED, Number
from schmidt.report.terminal import check_flags, claim, optional
from schmidt.storage import write_json

if TYPE_CHECKING:
    from schmidt.semantic import Hit, SemanticIndex

EXAMPLE = "faces of people"
LONGEST = 100


FLAGS = {
    "--rank": Number(1, whole=True),
    "--lexical": Number(0, 1),
    "--n": Number(1, whole=True),
    "--terms": Number(1, whole=True),
    "--seed": SEED,
}


@dataclass(frozen=True)
class SearchOptions:
    """What to search for, where, and where to put the results."""

    query: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        optional('[FILES ...] "QUERY"', f"scikit-learn's data sets, “{EXAMPLE}”"),
    ] = ()
    """Files or folders, and at the end the query. A single file is searched by paragraphs; without
    files the descriptions of scikit-learn's data sets are."""
    rank: Annotated[int | None, optional("INT", "several up to 400, averaged")] = None
    """Number of dimensions."""
    lexical: float = 0.5
    """Weight of the words themselves (BM25) beside their meaning; 0: meaning alone."""
    n: int = 10
    """Show so many documents at most."""
    stem: Annotated[str | None, optional("LANGUAGE", "none")] = None
    """Reduce words to stems: english, german, …; needs the package snowballstemmer."""
    stop_words: Literal["english", "none"] = "english"
    """Words to leave out."""
    weighting: Literal["bm25", "tfidf", "binary", "count"] = "bm25"
    """Weights of terms in documents."""
    strip_accents: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take é and e for the same letter."""
    mean_of_terms: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take the query as the mean of its terms, not as a document."""
    terms: int = 40
    """Draw at most so many terms on the map."""
    seed: int = 0
    """Seed of the decomposition."""
    out: Annotated[Path | None, optional("DIR", "schmidt-out/search")] = None
    """Directory for the index, the report and pictures."""
    json: Annotated[Path | None, optional("PATH", "none")] = None
    """Also write the hits to this file (they are always in DIR/report.json)."""


def search(options: Annotated[SearchOptions, tyro.conf.arg(name="")]) -> int:
    """Search texts by their words and by latent semantic analysis.

    Prints the best documents with their scores and a sentence, and draws documents, terms and
    the query as points of the plane. A score is the mean of BM25 and of the cosines in the first k
    dimensions, for several k, each divided by its largest value for the query.
    """
    check_flags(FLAGS, options)
    from schmidt.semantic import SemanticIndex

    console = Console()
    *paths, query = options.query or (EXAMPLE,)
    if not options.query:
        console.print(f'searching for "{EXAMPLE}"')
    if options.query and not paths and exists(Path(query)):
        raise ValueError(f"{query} is a file or folder: the query comes last, in quotes")
    out = claim(options.out or Path("schmidt-out") / "search", options.json)
    documents = read_documents([Path(p) for p in paths]) if paths else embedded_documents()
    index = SemanticIndex(
        options.rank,
        lexical=options.lexical,
        weighting=options.weighting,
        strip_accents=options.strip_accents,
        stemmer=options.stem,
        stop_words=None if options.stop_words == "none" else options.stop_words,
        query="mean-of-terms" if options.mean_of_terms else "fold-in",
        seed=options.seed,
        progress=True,
    ).fit(list(documents.values()), list(documents))
    hits = index.search(query, options.n)
    dimensions = ", ".join(map(str, index.ranks_))
    console.print(
        f"{len(documents)} documents, {len(index.terms_)} terms, {dimensions} dimensions",
        highlight=False,
    )
    best = [_best_sentence(index, query, documents[hit.name]) for hit in hits]
    report = _report(query, index, hits, best)
    write_json(out / "report.json", report)
    if options.json is not None:
        write_json(options.json, report)
    index.save(out / "index.safetensors")
    pictures = _draw(index, query, hits, options.terms, out)
    # printed last: whoever reads may stop reading
    _print(console, index, query, hits, best)
    console.print(
        f"\nresults in [bold]{escape(str(out))}[/]: report.json, index.safetensors"
        + "".join(f", {path.name}" for path in pictures)
    )
    return 0


def _best_sentence(index: SemanticIndex, query: str, text: str) -> str:
    """The sentence with most of the query's words, then the nearest to it, cut to one line."""
    parts = snippets(text)
    if not parts:
        return ""
    points, q = index.transform(parts), index.transform_queries([query])[0]
    lengths = np.linalg.norm(points, axis=1)
    cosines = (points @ q) / np.where(lengths > 0, lengths, 1) / max(np.linalg.norm(q), 1e-300)
    asked = _roots(query)
    scores = cosines + np.array([2 * len(asked & _roots(part)) for part in parts])
    found = parts[int(scores.argmax())]
    return _cut(found, LONGEST)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _roots(text: str) -> set[str]:
    """The first five letters of its longer words."""
    return {word[:5] for word in re.findall(r"\w{4,}", text.lower())}


def _print(
    console: Console, index: SemanticIndex, query: str, hits: list[Hit], best: list[str]
) -> None:
    known, unknown = index.words(query)
    if not hits:
        if known:
            reason = f"its words occur, but it is no point of the {index.rank_} dimensions"
        elif unknown:
            reason = "none of its words occurs in the documents"
        else:
            reason = "it has no words but stop words"
        console.print(f"nothing found for “{escape(query)}”: {reason}", highlight=False)
        return
    if unknown:
        console.print(f"not in the documents: {escape(', '.join(unknown))}", highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("document", no_wrap=True)
    table.add_column("sentence", no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
    for i, (hit, sentence) in enumerate(zip(hits, best, strict=True), 1):
        score = round(hit.score, 3) + 0.0  # never −0.000
        name = escape(_cut(str(hit.name), 30))
        table.add_row(str(i), f"{score:.3f}", name, escape(sentence))
    console.print(table)


def _report(query: str, index: SemanticIndex, hits: list[Hit], best: list[str]) -> dict[str, Any]:
    known, unknown = index.words(query)
    return {
        "query": query,
        "documents": len(index.names_),
        "terms": len(index.terms_),
        "hits": [
            {"document": h.name, "score": h.score, "sentence": s}
            for h, s in zip(hits, best, strict=True)
        ],
        "related_terms": index.related_terms(query, 10),
        "words": {"known": known, "unknown": unknown},
        "ranks": list(index.ranks_),
        "settings": index.get_params(),
    }


def _draw(index: SemanticIndex, query: str, hits: list[Hit], count: int, out: Path) -> list[Path]:
    figures: dict[str, plotting.Figure] = {}
    if index.rank_ >= 2:
        terms = index.term_vectors_[:, :2]
        near = [index.terms_.index(t) for t, _ in index.related_terms(query, count // 2)]
        far = np.argsort(-np.linalg.norm(terms, axis=1), kind="stable")[: count - len(near)]
        drawn = list(dict.fromkeys([*near, *far.tolist()]))
        point = index.transform_queries([query])[0, :2]
        figures["map.png"] = plotting.semantic_map(
            index.document_vectors_[:, :2],
            [str(name) for name in index.names_],
            terms[drawn],
            [index.terms_[i] for i in drawn],
            point if hits else None,
            [hit.position for hit in hits[:5]],
            f"documents, terms and “{query}”: 2 of {index.rank_} dimensions",
        )
    for file, figure in figures.items():
        plotting.finish(figure, out / file)
    return [out / file for file in figures]
