"""``schmidt svd``: the leading singular triplets of a matrix in a file, with their certificate."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schmidt import plotting
from schmidt.certificate import Certificate
from schmidt.cli.matrix_files import read_matrix
from schmidt.factorization import Factorization
from schmidt.matrices import svd
from schmidt.parameters import SEED, Number
from schmidt.report.terminal import check_flags, claim, optional
from schmidt.storage import write_bytes, write_json
from schmidt.tables import TableOptions

SHOWN = 12


FLAGS = {
    "--rank": Number(1, whole=True),
    "--tol": Number(0),
    "--energy": Number(0, 1, open="low"),
    "--mass": Number(0, 1, open="low"),
    "--accuracy": Number(0, 1, open="both"),
    "--seed": SEED,
}


@dataclass(frozen=True)
class SvdOptions:
    """Which matrix, how many terms, and where to put them."""

    file: tyro.conf.Positional[Path]
    """.npy, .npz (numpy or scipy.sparse), .mtx, or a table (.csv, .tsv, .parquet, .json, …);
    .gz of any of them; "-" reads standard input."""
    table: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)
    """How to read a table."""
    rank: Annotated[int | None, optional("INT", "10, unless --tol, --energy or --mass")] = None
    """Number of terms."""
    tol: Annotated[float | None, optional("FLOAT")] = None
    """As many terms as ‖A − A_k‖ ≤ tol ‖A‖ needs."""
    norm: Literal["fro", "spectral", "sigma"] = "fro"
    """The norm of --tol; sigma: all singular values above tol·σ₁."""
    energy: Annotated[float | None, optional("FLOAT")] = None
    """As many terms as this share of Σσ² needs."""
    mass: Annotated[float | None, optional("FLOAT")] = None
    """As many terms as this share of Σσ needs."""
    center: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Subtract the mean of every column; sparse matrices stay sparse."""
    scale: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Divide every column by its standard deviation."""
    solver: Literal["auto", "lapack", "krylov", "propack", "arpack", "lobpcg"] = "auto"
    """Which solver."""
    accuracy: Annotated[float | None, optional("FLOAT")] = None
    """Relative error of the singular values that must be proven; else 1e-6 is aimed at."""
    strict: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fail where the certificate does not prove what was asked for."""
    seed: int = 0
    """Seed of random columns."""
    out: Annotated[Path | None, optional("DIR", "schmidt-out/svd-FILE")] = None
    """Directory for factors.npz (U, s, Vh), report.json and spectrum.png."""
    json: Annotated[Path | None, optional("PATH")] = None
    """Also write the report to this file."""


def svd_command(options: Annotated[SvdOptions, tyro.conf.arg(name="")]) -> int:
    """Find the best low-rank approximation of a matrix, and say how good it is.

    Prints singular values with residuals, the exact Frobenius error where it is known, and bounds
    of the spectral error with the probability that they fail.
    """
    check_flags(FLAGS, options)
    name = "stdin" if str(options.file) == "-" else options.file.name
    out = claim(options.out or Path("schmidt-out") / f"svd-{Path(name).stem}", options.json)
    A, understood = read_matrix(options.file, options.table)
    print(understood, file=sys.stderr)
    rules = (options.rank, options.tol, options.energy, options.mass)
    found = svd(
        A,
        rank=_usual(A) if all(rule is None for rule in rules) else options.rank,
        tol=options.tol,
        energy=options.energy,
        mass=options.mass,
        norm=options.norm,
        center=options.center,
        scale=options.scale,
        solver=options.solver,
        accuracy=options.accuracy,
        seed=options.seed,
        strict=options.strict,
    )
    shape = found.left.shape[0], found.right.shape[0]
    _write(found, out, options.json, shape)
    # printed last: whoever reads may stop reading
    console = Console()
    console.print(
        f"[bold]{escape(name)}[/]: {shape[0]} × {shape[1]}, {found.left.dtype}, "
        f"solver {found.settings['solver']}",
        highlight=False,
    )
    console.print(_table(found))
    assert found.certificate is not None
    _print_certificate(console, found.certificate, found.rank)
    console.print(f"\nin [bold]{escape(str(out))}[/]: factors.npz, report.json, spectrum.png")
    return 0


def _usual(A: Any) -> int:
    """As many terms as fit on a screen; what is not a matrix is for ``svd`` to refuse."""
    return max(1, min(10, *A.shape)) if len(A.shape) == 2 else 10


def _table(found: Factorization) -> Table:
    table = Table()
    for heading in ("i", "σ", "share of Σσ²", "residual"):
        table.add_column(heading, justify="right")
    assert found.certificate is not None
    residuals, norm = found.certificate["residuals"].high, found.certificate["norm"]
    for i, (s, r) in enumerate(zip(found.values[:SHOWN], residuals, strict=False), 1):
        share = f"{100 * (float(s) / norm.high) ** 2:.2f} %" if norm.low > 0 else "–"
        table.add_row(str(i), f"{float(s):.8g}", share, f"{r:.1e}")
    if found.rank > SHOWN:
        table.add_row("…", f"{float(found.values[-1]):.8g}", "", f"{residuals.max():.1e}")
    return table


def _print_certificate(console: Console, c: Certificate, rank: int) -> None:
    lines = str(c).splitlines()
    first = lines[0] if lines[0].startswith(f"rank {rank}:") else f"rank {rank}; {lines[0]}"
    console.print(first, highlight=False, markup=False)
    for line in lines[1:]:
        console.print("  " + line, highlight=False, markup=False)


def _write(found: Factorization, out: Path, json_file: Path | None, shape: tuple[int, int]) -> None:
    known = found.certificate
    assert known is not None
    report = {
        "shape": list(shape),
        "rank": found.rank,
        "values": np.asarray(found.values, dtype=float).tolist(),
        "certificate": known.as_dict(),
        "settings": dict(found.settings),
    }
    u, s, vh = found
    buffer = io.BytesIO()
    np.savez(buffer, U=u, s=s, Vh=vh)
    tail = (known["spectral"].low, known["spectral"].high)
    figure = plotting.decay({"singular values": np.asarray(s, dtype=float)}, tail=tail)
    plotting.finish(figure, out / "spectrum.png")
    write_bytes(out / "factors.npz", buffer.getvalue())
    write_json(out / "report.json", report)
    if json_file is not None:
        write_json(json_file, report)
