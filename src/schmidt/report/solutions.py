"""The tables that ``schmidt solve`` prints."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from schmidt.problems import Solution
from schmidt.report import console_table


def print_report(console: Console, solution: Solution) -> None:
    """Values beside the exact ones, and what they say in a few lines."""
    report = solution.report()
    certified = solution.certified
    table = _certified(report) if certified else _trained(report)
    console.print()
    console.print(table)
    console.print()
    for line in _ritz_summary(report) if certified else _summary(report):
        console.print(line)


def _certified(report: dict[str, Any]) -> Table:
    """Energies where there are any, else values of T; bounds are absolute."""
    energies = report["energies"]
    bounded = report["radius"][0] is not None
    known = report["exact"] is not None
    headings = ["mode", "energy" if energies else "value"]
    headings += ["certified", "estimated"] if bounded else ["residual", "condition"]
    headings += ["error"] if known else []
    table = console_table(headings, labels=False)
    found = energies or report["values"]
    for i, value in enumerate(found):
        size = report["radius"][i] if bounded else report["residual"][i]
        cells = [_digits(value, report["estimated_error"][i] or size)]
        if bounded:
            cells += [f"± {_error(size)}", f"± {_error(report['estimated_error'][i])}"]
        else:
            cells += [_error(size), f"{report['condition'][i]:.2f}"]
        if known:
            cells.append(_error(_absolute_error(report, i)))
        table.add_row(str(i + 1), *cells)
    return table


def _absolute_error(report: dict[str, Any], i: int) -> float:
    return abs(_number(report["values"][i]) - _number(report["exact"][i]))


def _number(v: Any) -> complex:
    return complex(*v) if isinstance(v, list) else complex(v)


def _digits(value: Any, error: float | None) -> str:
    """A value with the digits that its error leaves, and two more; at most twelve."""
    z = _number(value)
    size = max(abs(z), 1e-300)
    digits = 6 if not error else round(math.log10(size / error)) + 2 if error < size else 2
    digits = min(max(digits, 2), 12)
    places = max(0, digits - 1 - math.floor(math.log10(size))) if size > 1e-12 else 12
    places = min(places, 12)
    real = f"{z.real:.{places}f}"
    return real if not isinstance(value, list) else f"{real}{z.imag:+.{places}f}i"


def _ritz_summary(report: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if report["mean_relative_error"] is not None:
        lines.append(
            f"mean relative error [bold]{report['mean_relative_error']:.1e}[/] over "
            f"{report['judged_modes']} modes"
        )
    if report["subspace_distance"] is not None:
        angle = sum(report["angle_distance"]) / len(report["angle_distance"])
        lines.append(
            f"subspace distance {report['subspace_distance']:.1e} · angle {angle:.1e} · "
            f"orthogonality {report['orthogonality']:.1e}, on {report['held_out_points']} "
            "held-out points"
        )
    if report["radius"][0] is not None:
        lines.append(
            f"certified: the spectrum has a point in each interval (failure "
            f"{report['failure']:.0e}, {report['certificate_points']} fresh points); estimated: "
            "Temple–Kato, with the gaps seen"
        )
    lines += report["notes"]
    lines += [f"[yellow]{alarm}[/]" for alarm in report["alarms"]]
    last = report["trials"][-1] if report["trials"] else None
    most = max((t["features"] for t in report["trials"]), default=0)
    if last is not None:
        lines.append(
            f"{len(report['trials'])} trials of up to {most} features in {report['seconds']:.1f} s"
        )
    if report["interrupted"]:
        lines.append("interrupted: the best that was found until then")
    return lines


def _trained(report: dict[str, Any]) -> Table:
    energies, found = report["energies"], report["eigenvalues"]
    columns = ["norm", "rayleigh", "ritz"] + ["polished"] * ("polished" in found)
    titles = {"rayleigh": "Rayleigh", "ritz": "Ritz"}
    headings = ["mode", *(titles.get(c, c) for c in columns)]
    known = report["exact"] is not None
    table = console_table(
        headings + ["exact", "error"] * known + ["energy"] * bool(energies), labels=False
    )
    for i in range(report["modes"]):
        zero = i + 1 in report["vanished_modes"]
        beyond = zero and i >= report["judged_modes"]
        cells = ["–" if zero and c == "rayleigh" else _value(found[c][i]) for c in columns]
        if known:
            error = report["relative_error"][i]
            cells += [_value(report["exact"][i]), "zero function" if beyond else _error(error)]
        if energies:
            cells.append(_value(energies[i]))
        table.add_row(str(i + 1), *cells, style="dim" if beyond else "")
    return table


def _summary(report: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if report["mean_relative_error"] is not None:
        name = "polished" if report["best_estimate"] == "polished" else "Ritz"
        lines.append(
            f"mean relative error of the {name} values [bold]{report['mean_relative_error']:.1e}[/]"
            f" over {report['judged_modes']} modes, on {report['held_out_points']} held-out points"
        )
    if report["subspace_distance"] is not None:
        angle = sum(report["angle_distance"]) / len(report["angle_distance"])
        which = "" if report["functions"] == "learned" else f" (of the {_functions(report)})"
        lines.append(
            f"subspace distance {report['subspace_distance']:.1e} · angle {angle:.1e} · "
            f"orthogonality {report['orthogonality']:.1e}{which}"
        )
    known = report["exact"] is not None
    vanished = report["vanished_modes"]
    expected = report["modes"] - report["judged_modes"] if known else len(vanished)
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


def _functions(report: dict[str, Any]) -> str:
    return "polished functions" if report["functions"] == "polished" else "Ritz functions"


def _value(v: float | None) -> str:
    if v is None or math.isnan(v):
        return "–"
    return f"{v:.6g}"


def _error(v: float | None) -> str:
    return "–" if v is None else f"{v:.1e}"
