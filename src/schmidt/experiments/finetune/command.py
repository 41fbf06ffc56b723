"""``schmidt finetune``: LoRA, LoRA-GA and LoRA-Pro beside full fine-tuning."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from schmidt.experiments.finetune import (
    METHODS,
    SEEDS,
    TuningResults,
    TuningRun,
    method,
    plan,
    report,
    run,
)
from schmidt.experiments.finetune.pictures import draw_finetuning
from schmidt.experiments.keeping import WHAT
from schmidt.parameters import Number
from schmidt.report import console_table
from schmidt.report.terminal import check_flags, claim, nothing_to_resume, optional
from schmidt.storage import plain

FLAGS = {
    "--seeds": Number(1, whole=True),
    "--rank": Number(1, whole=True),
    "--lr": Number(0, open="low"),
    "--steps": Number(1, whole=True),
    "--weight-decay": Number(0),
    "--checkpoint-every": Number(0),
}


@dataclass(frozen=True)
class FinetuneOptions:
    """What to fine-tune, how, and where to put the results."""

    task: tyro.conf.Positional[Literal["tweets", "code", "both"]] = "both"
    """tweets: two layers of MiniLM on the sentiment of tweets. code: a small language model,
    trained from scratch on Python, moved to C++."""
    tier: Literal["quick", "long"] = "quick"
    """quick: under five minutes. long: more data and steps, three seeds, learning rates tuned for
    more methods, accuracy by training-set size, weight decay on and off; hours."""
    methods: Annotated[tuple[str, ...], optional("NAME ...", "all")] = ()
    """Any of lora, rslora, lora-plus, dora, lora-ga, pro-sgd, pro-efficient, pro-factored,
    pro-full, ga-pro; full fine-tuning is always there."""
    seeds: Annotated[int | None, optional("INT", "1, long: 3")] = None
    """Seeds: each has a head, adapters and batches of its own, the same for all methods."""
    rank: Annotated[int | None, optional("INT", "tweets: 8, code: 2, long: 4")] = None
    """Rank of the adapters; alpha is twice the rank."""
    lr: Annotated[float | None, optional("FLOAT", "tweets: 1e-4, code: 1e-3")] = None
    """Learning rate of all methods but those that are tuned, and LoRA-Pro sgd."""
    steps: Annotated[int | None, optional("INT", "tweets: 60, code: 100; long: 240, 400")] = None
    """Training steps."""
    weight_decay: float = 0.0
    """Decoupled weight decay, for all methods."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on from what the output directory holds, to the same numbers; more methods and seeds may
    be asked for than before."""
    checkpoint_every: Annotated[float, optional("SECONDS", "60")] = 60.0
    """Seconds between checkpoints of the run at hand; finished runs are kept in any case."""
    out: Annotated[Path | None, optional("DIR", "schmidt-out/finetune-TASK")] = None
    """Directory for the report, pictures and runs."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the numbers as JSON instead of tables."""


def finetune(options: Annotated[FinetuneOptions, tyro.conf.arg(name="")]) -> int:
    """Fine-tune by many methods from the same seeds and batches, and compare each with full.

    Prints and draws losses, the share of the gradient that adapters cannot follow, how near the
    changed weights come to those of full fine-tuning, accuracy with intervals, path length, time
    and memory of the optimizer. LoRA and LoRA-Pro factored also get learning rates of their own.
    Needs the extras: pip install ".[adapters,examples]"
    """
    for name in options.methods:
        method(name)
    check_flags(FLAGS, options)
    console = Console(stderr=options.json)
    names = options.methods or tuple(METHODS)
    tasks = ("tweets", "code") if options.task == "both" else (options.task,)
    out = claim(options.out or Path("schmidt-out") / f"finetune-{options.task}")
    seeds = SEEDS[options.tier] if options.seeds is None else options.seeds
    plans = {name: _changed(plan(options.tier, name), options) for name in tasks}
    found: list[TuningResults] = []
    pictures: list[str] = []
    begin = time.perf_counter()
    for name, chosen in plans.items():
        console.print(f"[dim]making the task {name}[/]")
        task = chosen.make()
        folder = out / "runs" / name
        if options.resume and not (folder / WHAT).exists():
            console.print(nothing_to_resume(folder))
        results = run(
            task,
            chosen,
            names,
            seeds,
            lambda r: _said(console, r),
            folder=folder,
            resume=options.resume,
            checkpoint_seconds=options.checkpoint_every,
        )
        found.append(results)
        console.print(f"\n[bold]{report.sentence(results)}[/]\n", highlight=False)
        _show(console, report.headings(results), report.rows(results))
        for title, (head, body) in report.tables(results).items():
            console.print(f"\n[bold]{title}[/]", highlight=False)
            _show(console, head, body)
        console.print()
        for line in report.notes(results):
            console.print(line, highlight=False, markup=False)
        console.print()
        pictures += [path.name for path in draw_finetuning(results, out)]
        if results.interrupted:
            break
    for line in (report.LEGEND, *report.NOT_RUN):
        console.print(f"[dim]{line}[/]", highlight=False)
    page = report.page(found, pictures)
    page.write(out)
    if options.json:
        print(json.dumps(page.numbers, indent=2, allow_nan=False, default=plain))
    console.print(
        f"\nin [bold]{escape(str(out))}[/]: report.md, results.json, {', '.join(pictures)}  "
        f"({time.perf_counter() - begin:.0f} s)",
        highlight=False,
    )
    return 130 if any(r.interrupted for r in found) else 0


def _changed(chosen: Any, options: FinetuneOptions) -> Any:
    given: dict[str, Any] = {"weight_decay": options.weight_decay}
    if options.rank is not None:
        given |= {"rank": options.rank, "alpha": 2.0 * options.rank}
    given |= {k: v for k in ("lr", "steps") if (v := getattr(options, k)) is not None}
    return replace(chosen, settings=replace(chosen.settings, **given))


def _said(console: Console, r: TuningRun) -> None:
    what = "diverged" if r.diverged else f"test loss {r.test_loss:.3f}"
    rate = r.settings.sgd_lr if r.method.optimizer == "sgd" else r.settings.lr
    console.print(
        f"[dim]{r.method.title}, lr {rate:.0e}, seed {r.seed}: {what}[/]", highlight=False
    )


def _show(console: Console, headings: list[str], rows: list[list[str]]) -> None:
    """The table, in two where the terminal is too narrow for one."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    if sum(widths) + 2 * len(widths) <= console.width + 2 or len(headings) < 4:
        console.print(console_table(headings, rows))
        return
    half = len(headings) // 2
    for part in (slice(1, half), slice(half, None)):
        cut = [[row[0], *row[part]] for row in rows]
        console.print(console_table(["", *headings[part]], cut))
        console.print()
