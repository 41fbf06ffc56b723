"""``schmidt problems``: what there is to solve."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from schmidt.problems import PROBLEMS, default_dimension


def problems() -> None:
    """List the problems with known answers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("problem", no_wrap=True)
    for heading in ("modes", "--dim", "what it is"):
        table.add_column(heading)
    for name, make in PROBLEMS.items():
        problem, dim = make(), default_dimension(name)
        table.add_row(name, str(problem.modes), "" if dim is None else str(dim), problem.summary)
    table.add_row("matrix", "≤ 8", "", "any .npy or .mtx file (--file), checked against numpy")
    Console().print(table)
    Console().print("\n--dim: the default dimension, where any other can be chosen")
