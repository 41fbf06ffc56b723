"""``schmidt compress``: a picture from few singular triplets."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schmidt import plotting
from schmidt.matrices.images import Compressed, compress
from schmidt.parameters import Number
from schmidt.report.terminal import check_flags, claim, optional
from schmidt.storage import write_bytes, write_json
from schmidt.tables import refuse_bomb

RANKS = (5, 20, 100)
ORIENTATION = 0x0112
"""The EXIF tag."""


FLAGS = {
    "--rank": Number(1, whole=True),
    "--energy": Number(0, 1, open="low"),
}


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
    check_flags(FLAGS, options)
    if options.rank and options.energy is not None:
        raise ValueError("give either --rank or --energy, not both")
    picture = read_picture(options.image)
    name, image = picture.name, picture.pixels
    if options.grey and image.ndim == 3:
        image = _grey(image)
    out = claim(options.out or Path("schmidt-out") / f"compress-{name}", options.json)
    ranks = None if options.energy is not None else (options.rank or _usual(image))
    versions, values = compress(image, ranks, energy=options.energy)
    names = _write(image, versions, values, out, options.json, picture.alpha)
    # printed last: whoever reads may stop reading
    console = Console()
    m, n = image.shape[:2]
    channels = "grey" if image.ndim == 2 else f"{image.shape[2]} channels"
    console.print(f"[bold]{escape(name)}[/]: {n} × {m} pixels, {channels}", highlight=False)
    for note in picture.notes:
        console.print(f"  {note}", highlight=False)
    console.print(_table(versions))
    if any(v.stored >= v.pixels for v in versions):
        console.print(
            f"from rank {math.ceil(m * n / (m + n))} on, the terms take more than the picture"
        )
    console.print(f"\nin [bold]{escape(str(out))}[/]: " + ", ".join(names))
    return 0


@dataclass(frozen=True)
class Picture:
    """A picture as bytes.

    Attributes:
        name: of the file, without its ending.
        pixels: (m, n) grey or (m, n, 3), uint8, upright.
        alpha: (m, n) its opacity, where it has one that is not full everywhere.
        notes: what was done to it.
    """

    name: str
    pixels: np.ndarray
    alpha: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_picture(path: Path | None) -> Picture:
    """A picture from a file; without a path a photograph that scikit-learn ships.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no picture, a damaged one, or one that claims far more pixels than its file
            can hold.
    """
    if path is None:
        from sklearn.datasets import load_sample_image

        return Picture("china", np.asarray(load_sample_image("china.jpg")))
    from PIL import Image, UnidentifiedImageError

    if path.is_dir():
        raise ValueError(f"{path} is a folder, and not a picture")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # of damaged metadata
            with Image.open(path) as image:
                pixels = math.prod(image.size) * len(image.getbands())
                refuse_bomb(path.name, pixels, path.stat().st_size)
                image.load()
                return _upright(path.stem, image)
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that can be read") from None
    except PermissionError:
        raise
    except (
        OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError,
        struct.error, zlib.error, Image.DecompressionBombError,
    ) as error:  # fmt: skip
        words = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is a damaged picture: {words}") from None


def _upright(name: str, image: Any) -> Picture:
    """As the camera was held, as bytes, its opacity apart."""
    from PIL import ImageOps

    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"the first of {image.n_frames} frames")
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or image.getexif().get(ORIENTATION, 1) in range(2, 9):
        notes.append("turned as its camera was held")
    image = turned
    if image.mode.startswith("I") or image.mode == "F":
        return Picture(name, _eight_bits(np.asarray(image, dtype=float)), None, tuple(notes))
    clear = image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = np.asarray(image.convert("RGBA"))[:, :, 3] if clear else None
    pixels = np.asarray((image.convert("RGBA") if clear else image).convert("L" if grey else "RGB"))
    if alpha is not None and alpha.min() == 255:
        alpha = None
    if alpha is not None:
        notes.append("its transparency is kept as it is and not counted")
    return Picture(name, pixels, alpha, tuple(notes))


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """Pixels of 16 bits, or of any other range, as 0 … 255."""
    if not np.isfinite(grey).all():
        raise ValueError("the picture holds NaN or Inf")
    low, high = min(0.0, float(grey.min())), float(grey.max())
    if low == 0 and 255 < high <= 65535:
        high = 65535.0
    elif low == 0 and high <= 255:
        high = 255.0 if high > 1 else 1.0
    return np.round((grey - low) * (255 / max(high - low, 1e-300))).astype(np.uint8)


def _usual(image: np.ndarray) -> tuple[int, ...]:
    most = min(image.shape[:2])
    return tuple(k for k in RANKS if k <= most) or (most,)


def _grey(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L"))


def _with_alpha(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    if alpha is None:
        return pixels
    colours = np.stack([pixels] * 3, -1) if pixels.ndim == 2 else pixels
    return np.dstack([colours, alpha])


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
    alpha: np.ndarray | None,
) -> list[str]:
    from PIL import Image

    names = []
    shown = [_with_alpha(v.image, alpha) for v in versions]
    for v, pixels in zip(versions, shown, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        names.append(f"rank-{v.rank}.png")
        write_bytes(out / names[-1], buffer.getvalue())
    captions = [
        f"rank {v.rank}: {100 * v.stored / v.pixels:.0f} % of the numbers, {_decibels(v)}"
        for v in versions
    ]
    sheet = plotting.contact_sheet(_with_alpha(image, alpha), shown, captions)
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
