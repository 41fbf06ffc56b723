"""``schmidt retrieve``: find items of one domain by items of another, of classes never seen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape

from schmidt.experiments.keeping import WHAT
from schmidt.experiments.retrieval import QUICK, TITLES, Outcome, ZeroShot, report, run, source
from schmidt.experiments.retrieval.pictures import draw_retrieval
from schmidt.parameters import SEED, Number
from schmidt.report import console_table
from schmidt.report.terminal import check_flags, claim, nothing_to_resume, optional
from schmidt.storage import write_bytes

FLAGS = {
    "--modes": Number(1, whole=True),
    "--steps": Number(1, whole=True),
    "--seed": SEED,
    "--checkpoint-every": Number(0),
}


@dataclass(frozen=True)
class RetrieveOptions:
    """What to search in, by which methods, and where to put the results."""

    data: Annotated[Path | None, optional("PATH", "glyphs, made in memory")] = None
    """A folder with two folders of pictures by class (DOMAIN/CLASS/*.png), an .npz file with
    features and classes of two domains (X, cx, Y, cy), or a folder with Sketchy Extended."""
    methods: Annotated[
        tuple[Literal["raw", "linear", "tied", "joint", "sequential", "none"], ...],
        optional("{raw,linear,tied,joint,sequential,none} ...", "all"),
    ] = ()
    """raw: features as they are; linear: the closed form among linear functions; tied: the same
    with one map for both domains; joint, sequential: NeuralSVD; none: not nested."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Joint nesting and the baselines only, in less than two minutes."""
    query: Annotated[str | None, optional("DOMAIN", "the first by name")] = None
    """Folders of pictures: the folder that queries come from."""
    split: Literal[1, 2] = 1
    """Sketchy Extended: which of its splits."""
    modes: Annotated[int | None, optional("INT", "64, or what the data allow")] = None
    """Number of functions."""
    steps: Annotated[int | None, optional("INT", "by the data")] = None
    """Training steps."""
    seed: int = 0
    """Seed of the split of the classes, of networks and batches."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on from what the output directory holds, to the same numbers; only the methods may
    differ."""
    checkpoint_every: Annotated[float, optional("SECONDS", "60")] = 60.0
    """Seconds between checkpoints of the training at hand."""
    out: Annotated[Path | None, optional("DIR", "schmidt-out/retrieve-DATA")] = None
    """Directory for the report, pictures, embeddings and runs."""


def retrieve(options: Annotated[RetrieveOptions, tyro.conf.arg(name="")]) -> int:
    """Learn ordered embeddings of two domains, and retrieve across them, zero-shot.

    Queries and gallery are of classes that training has never seen. Prints precision at k and mean
    average precision by cosine and by inner product, and writes pictures of queries with their
    first hits, of what fewer modes are worth, of singular values and of orthogonality. Without
    --data it runs on letters, from serif to sans-serif faces.
    """
    console = Console()
    if options.quick and options.methods:
        raise ValueError("give either --quick or --methods, not both")
    check_flags(FLAGS, options)
    methods: Sequence[str] = options.methods or (QUICK if options.quick else list(TITLES))
    if options.out is not None:
        claim(options.out)
    data, settings = source(
        options.data, seed=options.seed, query=options.query, sketchy_split=options.split
    )
    if options.modes is not None:
        settings = replace(settings, modes=options.modes)
    if options.steps is not None:
        settings = replace(settings, steps=options.steps, epochs=None)
    out = claim(options.out or Path("schmidt-out") / f"retrieve-{_slug(data)}")
    console.print(f"[bold]{escape(data.name)}[/]: {report.sizes(data)}", highlight=False)

    def watch(outcome: Outcome) -> None:
        e = outcome.embedding
        console.print(f"{e.title}: {e.seconds:.1f} s", highlight=False)

    folder = out / "runs"
    if options.resume and not (folder / WHAT).exists():
        console.print(nothing_to_resume(folder))
    results = run(
        data,
        methods,
        settings,
        seed=options.seed,
        watch=watch,
        folder=folder,
        resume=options.resume,
        checkpoint_seconds=options.checkpoint_every,
    )
    pictures = [path.name for path in draw_retrieval(results, out)]
    page = report.page(results)
    for name in pictures:
        page.picture(name)
    page.write(out, "report.json")
    _save(out / "embeddings.npz", results.embeddings())
    # printed last: whoever reads may stop reading
    console.print()
    console.print(console_table(report.headings(data.k), report.rows(results)))
    for line in report.notes(results):
        console.print(line, highlight=False)
    console.print(
        f"\nresults in [bold]{escape(str(out))}[/]: report.md, report.json, embeddings.npz"
    )
    console.print("pictures: " + ", ".join(pictures))
    return 130 if results.interrupted else 0


def _slug(data: ZeroShot) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in data.name.lower()).split())


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())
