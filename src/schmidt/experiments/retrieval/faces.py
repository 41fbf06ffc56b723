"""Characters of the TrueType faces that matplotlib ships, as pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

CANVAS, POINTS, BASELINE = 64, 38, 46
"""Pixels of a picture, size of the letters, and how far down they stand."""
LARGE, COMPARED = 120, 24
"""Shapes are drawn at the first size, at which rounding to pixels is small, and compared at the
second."""


def _path(face: str) -> str:
    from matplotlib import get_data_path

    path = Path(get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    if not path.exists():
        raise FileNotFoundError(f"matplotlib has no face {face}: {path} is missing")
    return str(path)


@cache
def _font(face: str, points: int = POINTS) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(_path(face), points)


@cache
def characters(face: str) -> frozenset[str]:
    """The characters that a face has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(_path(face)).get_charmap()))


def drawn(face: str, character: str) -> np.ndarray:
    """A character, white on black, in the middle of its line: (64, 64) bytes."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(picture)
    left, _, right, _ = pen.textbbox((0, 0), character, font=_font(face), anchor="ls")
    start = (CANVAS - left - right) / 2
    pen.text((start, BASELINE), character, fill=255, font=_font(face), anchor="ls")
    return np.asarray(picture)


def shape(face: str, character: str) -> np.ndarray:
    """What is drawn, cut out and brought to one size: a vector of length one, or zeros where
    nothing is drawn. The product of two says how alike they are."""
    from PIL import Image, ImageDraw

    font = _font(face, LARGE)
    left, top, right, bottom = (round(v) for v in font.getbbox(character, anchor="ls"))
    picture = Image.new("L", (max(1, right - left + 4), max(1, bottom - top + 4)))
    pen = ImageDraw.Draw(picture)
    pen.text((2 - left, 2 - top), character, fill=255, font=font, anchor="ls")
    ink = picture.getbbox()
    if ink is None:
        return np.zeros(COMPARED**2, np.float32)
    cut = picture.crop(ink)
    square = Image.new("L", (max(cut.size), max(cut.size)))
    square.paste(cut, ((square.width - cut.width) // 2, (square.height - cut.height) // 2))
    small = square.resize((COMPARED, COMPARED), Image.Resampling.BOX)
    vector = np.asarray(small, np.float32).ravel()
    return vector / np.linalg.norm(vector)
