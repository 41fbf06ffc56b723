"""``schmidt problems``: what there is to solve."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from schmidt.problems import PROBLEMS


def problems() -> None:
    """List the problems with known answers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("problem", "modes", "what it is"):
        table.add_column(heading)
    for name, make in PROBLEMS.items():
        problem = make()
        table.add_row(name, str(problem.modes), problem.summary)
    table.add_row("matrix", "≤ 8", "any .npy or .mtx file (--file), checked against numpy")
    Console().print(table)
