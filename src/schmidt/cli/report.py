"""The table that ``schmidt solve`` prints."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from schmidt.problems import Solution


def print_report(console: Console, solution: Solution) -> None:
    """Values by every estimate beside the exact ones, and what they say in a few lines."""
    report = solution.report()
    energies = report["energies"]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    headings = ["mode", "norm", "Rayleigh", "Ritz", "exact", "error"] + ["energy"] * bool(energies)
    for heading in headings:
        table.add_column(heading, justify="right")
    found = report["eigenvalues"]
    rows = zip(
        found["norm"],
        found["rayleigh"],
        found["ritz"],
        report["exact"],
        report["relative_error"],
        strict=True,
    )
    for index, (norm, rayleigh, ritz, exact, error) in enumerate(rows):
        zero = index + 1 in report["vanished_modes"]
        beyond = zero and index >= report["judged_modes"]
        shown = "zero function" if beyond else _error(error)
        cells = [
            _value(norm),
            "–" if zero else _value(rayleigh),
            _value(ritz),
            _value(exact),
            shown,
        ]
        if energies:
            cells.append(_value(energies[index]))
        table.add_row(str(index + 1), *cells, style="dim" if beyond else "")
    console.print()
    console.print(table)
    console.print()
    for line in _summary(report):
        console.print(line)


def _summary(report: dict[str, Any]) -> list[str]:
    lines = [
        f"mean relative error of the Ritz values [bold]{report['mean_relative_error']:.1e}[/] "
        f"over {report['judged_modes']} modes, on {report['held_out_points']} held-out points"
    ]
    if report["subspace_distance"] is not None:
        angle = sum(report["angle_distance"]) / len(report["angle_distance"])
        ritz = " (of the Ritz functions)" if report["functions"] == "ritz" else ""
        lines.append(
            f"subspace distance {report['subspace_distance']:.1e} · angle {angle:.1e} · "
            f"orthogonality {report['orthogonality']:.1e}{ritz}"
        )
    vanished, expected = report["vanished_modes"], report["modes"] - report["judged_modes"]
    if len(vanished) > expected:
        shown = ", ".join(str(mode) for mode in vanished)
        lines.append(
            f"modes {shown} are almost zero functions although the operator has positive values "
            "for them: training has not converged; try more --steps or a larger --extra-shift"
        )
    elif vanished:
        lines.append(
            f"{len(vanished)} modes became zero functions: the operator has no positive values "
            "left for them"
        )
    lines.append(f"{report['steps']} steps in {report['seconds']:.1f} s")
    if report["interrupted"]:
        lines.append("interrupted: this is what there is; --resume goes on")
    return lines


def _value(v: float | None) -> str:
    if v is None or math.isnan(v):
        return "–"
    return f"{v:.6g}"


def _error(v: float | None) -> str:
    return "–" if v is None else f"{v:.1e}"
