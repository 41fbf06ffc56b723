"""``schmidt compress``: a picture from few singular triplets."""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schmidt import plotting
from schmidt.cli.matrix_files import read_picture
from schmidt.matrices.images import Compressed, compress
from schmidt.report.terminal import optional
from schmidt.storage import write_bytes, write_json

RANKS = (5, 20, 100)


@dataclass(frozen=True)
class CompressOptions:
    """Which picture, how many terms, and where to put the versions."""

    image: Annotated[
        tyro.conf.Positional[Path | None], optional("IMAGE", "a photograph of scikit-learn's")
    ] = None
    """A picture: .png, .jpg, …"""
    rank: Annotated[tuple[int, ...], optional("INT ...", "5 20 100, unless --energy")] = ()
    """Numbers of terms, one version each."""
    energy: Annotated[float | None, optional("FLOAT")] = None
    """Instead: as many terms as this share of Σσ² needs."""
    grey: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make a colour picture grey first; otherwise each of its channels is a matrix."""
    out: Annotated[Path | None, optional("DIR", "schmidt-out/compress-IMAGE")] = None
    """Directory for the versions, contact-sheet.png, spectrum.png and report.json."""
    json: Annotated[Path | None, optional("PATH")] = None
    """Also write the report to this file."""


def compress_command(options: Annotated[CompressOptions, tyro.conf.arg(name="")]) -> int:
    """Approximate a picture by matrices of low rank.

    A picture of m × n pixels takes mn numbers per channel, its approximation of rank k (m + n) k.
    Writes the versions, a contact sheet, and the singular values.
    """
    if options.rank and options.energy is not None:
        raise ValueError("give either --rank or --energy, not both")
    console = Console()
    name, image = read_picture(options.image)
    if options.grey and image.ndim == 3:
        image = _grey(image)
    ranks = None if options.energy is not None else (options.rank or _usual(image))
    versions, values = compress(image, ranks, energy=options.energy)
    m, n = image.shape[:2]
    channels = "grey" if image.ndim == 2 else f"{image.shape[2]} channels"
    console.print(f"[bold]{escape(name)}[/]: {n} × {m} pixels, {channels}", highlight=False)
    console.print(_table(versions))
    if any(v.stored >= v.pixels for v in versions):
        console.print(
            f"from rank {math.ceil(m * n / (m + n))} on, the terms take more than the picture"
        )
    out = options.out or Path("schmidt-out") / f"compress-{name}"
    names = _write(image, versions, values, out, options.json)
    console.print(f"\nin [bold]{escape(str(out))}[/]: " + ", ".join(names))
    return 0


def _usual(image: np.ndarray) -> tuple[int, ...]:
    most = min(image.shape[:2])
    return tuple(k for k in RANKS if k <= most) or (most,)


def _grey(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L"))


def _decibels(version: Compressed) -> str:
    return f"{version.psnr:.1f} dB" if math.isfinite(version.psnr) else "equal"


def _table(versions: list[Compressed]) -> Table:
    table = Table()
    headings = ("rank", "stored (m+n)k", "pixels mn", "ratio", "Σσ² kept", "Σσ kept", "PSNR")
    for heading in headings:
        table.add_column(heading, justify="right")
    for v in versions:
        table.add_row(
            str(v.rank),
            f"{v.stored:,}",
            f"{v.pixels:,}",
            f"{100 * v.stored / v.pixels:.1f} %",
            f"{100 * v.energy:.3f} %",
            f"≥ {100 * v.mass:.1f} %",
            _decibels(v),
        )
    return table


def _write(
    image: np.ndarray,
    versions: list[Compressed],
    values: list[np.ndarray],
    out: Path,
    json_file: Path | None,
) -> list[str]:
    from PIL import Image

    names = []
    for v in versions:
        buffer = io.BytesIO()
        Image.fromarray(v.image).save(buffer, format="PNG")
        names.append(f"rank-{v.rank}.png")
        write_bytes(out / names[-1], buffer.getvalue())
    captions = [
        f"rank {v.rank}: {100 * v.stored / v.pixels:.0f} % of the numbers, {_decibels(v)}"
        for v in versions
    ]
    sheet = plotting.contact_sheet(image, [v.image for v in versions], captions)
    plotting.finish(sheet, out / "contact-sheet.png")
    channels = ["grey"] if len(values) == 1 else ["red", "green", "blue"]
    spectra = dict(zip(channels, values, strict=True))
    marks = [v.rank for v in versions]
    plotting.finish(plotting.decay(spectra, marks=marks), out / "spectrum.png")
    report = {
        "shape": list(image.shape),
        "versions": [
            {k: a for k, a in asdict(v).items() if k != "image"}
            | {"psnr": v.psnr if math.isfinite(v.psnr) else None}
            for v in versions
        ],
        "values": {name: v.tolist() for name, v in spectra.items()},
    }
    write_json(out / "report.json", report)
    if json_file is not None:
        write_json(json_file, report)
    return [*names, "contact-sheet.png", "spectrum.png", "report.json"]
