"""``schmidt complete``: complete a matrix of ratings."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape

from schmidt import plotting
from schmidt.cli.ratings import Ratings, planted_ratings, read_ratings
from schmidt.parameters import SEED, Number
from schmidt.report import console_table
from schmidt.report.terminal import check_flags, claim, optional
from schmidt.storage import write_bytes, write_json
from schmidt.tables import TableOptions

if TYPE_CHECKING:
    from schmidt.completion import MatrixCompletion, PenaltyPath, Selection

NO_LOW_RANK = 1e12
LARGEST = 1000
NAMES = {
    "biases": "biases only",
    "variational": "variational Bayes",
    "soft-impute": "softImpute, first terms",
    "fixed-rank": "fixed rank",
}


FLAGS = {
    "--penalty": Number(0),
    "--rank": Number(1, whole=True),
    "--validation": Number(0, 1, open="both"),
    "--top": Number(1, whole=True),
    "--seed": SEED,
}


@dataclass(frozen=True)
class CompleteOptions:
    """Which ratings, how, and where to put the results."""

    ratings: Annotated[
        tyro.conf.Positional[Path | None], optional("RATINGS.csv", "a planted example")
    ] = None
    """A table with columns user, item, rating, in any order if their names say so; .csv, .tsv,
    .json, .parquet, also .gz, or - for standard input."""
    user: Annotated[str | None, optional("COLUMN", "by its name, or the first")] = None
    """The column of users: its name, or its number from 1."""
    item: Annotated[str | None, optional("COLUMN", "by its name, or the second")] = None
    """The column of items."""
    rating: Annotated[str | None, optional("COLUMN", "by its name, or the third")] = None
    """The column of ratings."""
    time: Annotated[str | None, optional("COLUMN", "by its name, or none")] = None
    """The column of times, which say what the last of several ratings is."""
    duplicates: Literal["raise", "last", "mean"] = "raise"
    """What to do with several ratings of one item by one user."""
    table: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)
    method: Literal["auto", "variational", "soft-impute"] = "auto"
    """auto: variational Bayes, and for small tables whichever is better on held-out ratings."""
    penalty: Annotated[float | None, optional("FLOAT", "chosen on held-out ratings")] = None
    """λ of the nuclear norm."""
    rank: Annotated[int | None, optional("INT", "chosen on held-out ratings")] = None
    """At most so many terms."""
    validation: float = 0.1
    """Part of the ratings held out to choose λ and the rank; afterwards all are used."""
    top: int = 10
    """Write so many unseen items for each user, best first."""
    every: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write predictions for all missing places instead."""
    show: Annotated[str | None, optional("USER", "the first one")] = None
    """Print the recommendations for this user."""
    seed: int = 0
    """Seed of the held-out part."""
    out: Annotated[Path | None, optional("DIR", "schmidt-out/complete-NAME")] = None
    """Directory for predictions, model, report and pictures."""
    json: Annotated[Path | None, optional("PATH", "none")] = None
    """Also write all numbers to this file (they are always in DIR/report.json)."""


def complete(options: Annotated[CompleteOptions, tyro.conf.arg(name="")]) -> int:
    """Predict the missing entries of a matrix of ratings.

    Mean and biases of users and items plus a low-rank matrix, by variational Bayes or softImpute;
    what is best on held-out ratings is taken. Prints the held-out error beside that of the biases
    alone, writes predictions, the factors and pictures.
    """
    check_flags(FLAGS, options)
    from schmidt.completion import MatrixCompletion

    console = Console()
    if options.out is not None:
        claim(options.out, options.json)
    if options.ratings:
        named = {role: getattr(options, role) for role in ("user", "item", "rating", "time")}
        data = read_ratings(options.ratings, named, options.table)
    else:
        data = planted_ratings(options.seed)
    errors = Console(stderr=True)
    for line in data.understood:
        errors.print(escape(line), highlight=False)
    if options.show is not None and options.show not in set(data.users):
        raise ValueError(f"--show {options.show}: there is no such user in {data.name}")
    out = claim(options.out or Path("schmidt-out") / f"complete-{data.name}", options.json)
    start = time.perf_counter()
    model = MatrixCompletion(
        method=options.method,
        penalty=options.penalty,
        rank=options.rank,
        validation=options.validation,
        duplicates=options.duplicates,
        seed=options.seed,
        progress=True,
    ).fit(data.users, data.items, data.values)
    report = _report(data, model, time.perf_counter() - start)
    write_bytes(out / "predictions.csv", _predictions(model, options.top, options.every))
    model.save(out / "model.safetensors")
    write_json(out / "report.json", report)
    if options.json is not None:
        write_json(options.json, report)
    pictures = [path.name for path in _draw(model, data, out)]
    # printed last: whoever reads may stop reading
    _print(console, data, model, report, options)
    console.print(
        f"\nresults in [bold]{escape(str(out))}[/]: predictions.csv, model.safetensors, report.json"
        + "".join(f", {name}" for name in pictures)
    )
    return 0


def _report(data: Ratings, model: MatrixCompletion, seconds: float) -> dict[str, Any]:
    m, n = len(model.row_ids_), len(model.column_ids_)
    report: dict[str, Any] = {
        "data": data.name,
        "ratings": len(data.values),
        "users": m,
        "items": n,
        "observed": len(data.values) / (m * n),
        "penalty": model.penalty_,
        "rank": model.rank_,
        "seconds": seconds,
        "settings": model.get_params(),
        "certificate": model.certificate_.as_dict(),
    }
    choice = model.choice_
    if choice is not None:
        report |= {
            "method": choice.method,
            "held_out": choice.held_out * choice.folds,
            "validation_rmse": choice.error,
            "bias_rmse": choice.bias_error,
            "variational_rmse": None if choice.variational is None else choice.variational.error,
            "path": [
                {
                    "penalty": step.penalty,
                    "rank": step.rank,
                    "rmse": step.error,
                    "best_rmse": float(step.errors.min()),
                    "best_rank": int(step.errors.argmin()),
                }
                for step in (() if choice.path is None else choice.path.steps)
            ],
            "fixed_rank": [] if choice.fit is None else list(choice.fit.tried),
        }
    if data.hidden is not None:
        report |= _against_truth(data, model)
    return report


def _against_truth(data: Ratings, model: MatrixCompletion) -> dict[str, float]:
    """Root mean square errors at the places that were not shown."""
    from schmidt.completion import MatrixCompletion

    assert data.hidden is not None
    biases = MatrixCompletion(penalty=NO_LOW_RANK).fit(data.users, data.items, data.values)
    return {
        "true_rmse": -model.score(*data.hidden),
        "true_bias_rmse": -biases.score(*data.hidden),
    }


def _print(
    console: Console,
    data: Ratings,
    model: MatrixCompletion,
    report: dict[str, Any],
    options: CompleteOptions,
) -> None:
    console.print(
        f"[bold]{escape(data.name)}[/]: {report['ratings']} ratings of {report['items']} items by "
        f"{report['users']} users, {report['observed']:.1%} of the matrix",
        highlight=False,
    )
    table = console_table(["", "held out"] + ["all missing"] * (data.hidden is not None), wrap=True)
    if "method" in report:
        name = NAMES[report["method"]]
        lines = [("biases only", "bias_rmse", "true_bias_rmse")]
        if report["method"] != "biases":
            penalty = "" if model.penalty_ is None else f", λ = {model.penalty_:.3g}"
            lines.append((f"{name}, rank {model.rank_}{penalty}", "validation_rmse", "true_rmse"))
        for label, held, true in lines:
            table.add_row(label, *(f"{report[key]:.4f}" for key in (held, true) if key in report))
        console.print("\nroot mean square error")
        console.print(table)
        console.print(
            f"{report['held_out']} ratings were held out to choose the method, so their error is "
            "slightly too good; the model is fitted to all ratings. "
            f"{report['seconds']:.1f} s",
            highlight=False,
        )
        if report["method"] == "biases":
            console.print("no low-rank part was better than the biases by more than chance")
    else:
        console.print(
            f"λ = {model.penalty_:.3g} as given, rank {model.rank_}, {report['seconds']:.1f} s",
            highlight=False,
        )
    user = options.show or data.users[0]
    console.print(f"\nbest unseen items for [bold]{escape(user)}[/]", highlight=False)
    table = console_table(["item", "prediction"], wrap=True)
    for item, score in model.recommend(user, 5):
        table.add_row(escape(str(item)), f"{score:.2f}")
    console.print(table)


def _predictions(model: MatrixCompletion, top: int, every: bool) -> bytes:
    """A table user, item, prediction."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["user", "item", "prediction"])
    count = len(model.column_ids_) if every else top
    for user in model.row_ids_.labels:
        writer.writerows((user, i, f"{s:.4f}") for i, s in model.recommend(user, count))
    return buffer.getvalue().encode()


def _draw(model: MatrixCompletion, data: Ratings, out: Path) -> list[Path]:
    """The λ path, and the matrix before and after where it is small enough to be seen."""
    figures: dict[str, plotting.Figure] = {}
    choice = model.choice_
    if choice is not None and choice.path is not None:
        figures["path.png"] = _path(choice, choice.path)
    if max(len(model.row_ids_), len(model.column_ids_)) <= LARGEST:
        figures["matrix.png"] = _matrix(model, data)
    for file, figure in figures.items():
        plotting.finish(figure, out / file)
    return [out / file for file in figures]


def _path(choice: Selection, path: PenaltyPath) -> plotting.Figure:
    fit = choice.fit
    if path.penalty is None:
        label, best = "biases only", (path.steps[0].penalty, path.bias_error)
    elif fit is None:
        label, best = f"best of the path, rank {path.rank}", (path.penalty, path.error)
    else:
        label, best = f"best fixed rank, {path.rank}", (fit.penalty, fit.error)
    if choice.method != "variational":
        label += ", chosen"
    figure = plotting.penalty_path(
        [step.penalty for step in path.steps],
        [step.error for step in path.steps],
        [float(step.errors.min()) for step in path.steps],
        [step.rank for step in path.steps],
        path.bias_error,
        (label, *best),
        () if fit is None else fit.tried,
        None if choice.variational is None else choice.variational.error,
        variational_chosen=choice.method == "variational",
    )
    return figure


def _matrix(model: MatrixCompletion, data: Ratings) -> plotting.Figure:
    """Rows and columns in the order of their mean prediction, which shows what they share."""
    full = model.reconstruct()
    rows, columns = np.argsort(-full.mean(1)), np.argsort(-full.mean(0))

    def filled(*triples: tuple[list[str], list[str], np.ndarray]) -> np.ndarray:
        matrix = np.full(full.shape, np.nan)
        for users, items, values in triples:
            r, c = model.row_ids_.find(users), model.column_ids_.find(items)
            known = (r >= 0) & (c >= 0)
            matrix[r[known], c[known]] = values[known]
        return matrix[np.ix_(rows, columns)]

    shown = (data.users, data.items, data.values)
    panels = {"observed": filled(shown), "completed": full[np.ix_(rows, columns)]}
    if data.hidden is not None:
        panels["truth"] = filled(shown, data.hidden)
    return plotting.completed(panels, (float(data.values.min()), float(data.values.max())))
