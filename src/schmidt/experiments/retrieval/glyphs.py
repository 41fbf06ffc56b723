"""A zero-shot data set that needs no download: letters in the faces that matplotlib ships.

A class is a character; X are serif faces, Y sans-serif and monospaced ones; every item is moved a
little at random. Test characters are never seen in training, in either domain: what must be learned
is what makes two shapes the same letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from schmidt.domains import DomainPair, Items, ZeroShot, split_classes

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


BLOCK = 256


@dataclass(frozen=True)
class Jitter:
    """Ranges of uniformly random rotation, shear, scale and shift.

    Attributes:
        rotation: largest angle, degrees.
        shear: largest shear, as a share of the height.
        scale: largest logarithm of the two scales.
        shift: largest shift, pixels of the result.
    """

    rotation: float = 15.0
    shear: float = 0.2
    scale: float = 0.15
    shift: float = 2.0

    def maps(self, n: int, side: int, rng: np.random.Generator) -> Tensor:
        """n matrices (2, 3), in units of half the side, that take places of the result to places
        of the original."""
        angle = rng.uniform(-1, 1, n) * np.deg2rad(self.rotation)
        shear = rng.uniform(-1, 1, n) * self.shear
        wide, high = np.exp(rng.uniform(-1, 1, (2, n)) * self.scale)
        shift = rng.uniform(-1, 1, (n, 2)) * self.shift * 2 / side
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
        slant = np.zeros((n, 2, 2))
        slant[:, 0, 0], slant[:, 1, 1], slant[:, 0, 1] = 1 / wide, 1 / high, shear
        linear = slant @ turn
        return torch.from_numpy(np.concatenate([linear, shift[:, :, None]], 2)).float()


def jittered(
    pictures: np.ndarray, copies: int, side: int, jitter: Jitter, rng: np.random.Generator
) -> np.ndarray:
    """Each picture so many times, every copy moved at random and sampled down.

    Args:
        pictures: (n, N, N) bytes.
        side: of the results, at most N.

    Returns:
        (n · copies, side, side) bytes; copies of a picture follow one another.
    """
    n, size = pictures.shape[:2]
    maps = jitter.maps(n * copies, side, rng)
    # a mean over what one pixel of the result covers, at every place
    width = max(1, size // side)
    margin = ((width - 1) // 2, width // 2) * 2
    parts = []
    for block, some in zip(
        torch.from_numpy(pictures).split(BLOCK), maps.split(BLOCK * copies), strict=True
    ):
        smooth = F.avg_pool2d(F.pad(block.float()[:, None], margin), width, 1)
        grid = F.affine_grid(some, [len(some), 1, side, side], align_corners=False)
        moved = F.grid_sample(smooth.repeat_interleave(copies, 0), grid, align_corners=False)
        parts.append(moved[:, 0].round().clamp(0, 255).byte())
    return torch.cat(parts).numpy()


SERIF = (
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
SANS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
)
OPTIONAL = "STIX"
"""Faces that need not have every character."""
LETTERS = ("Lu", "Ll", "Lt", "Lo")
ALIKE, SAME = 0.975, 0.97
"""Two characters look alike where their shapes correlate above the first in both domains; one is
too easy where its serif and its sans-serif shape correlate above the second."""
SIDE = 32
COPIES = ((8, 8), (1, 1), (1, 2))
"""Jitters of every picture, in X and in Y, for train, valid and test."""


def glyphs(seed: int = 0, *, classes: int | None = None, jitter: Jitter | None = None) -> ZeroShot:
    """Letters, from serif to sans-serif.

    Args:
        seed: of the split and of the jitter; which characters there are does not depend on it.
        classes: take only so many characters, at random; default all, about 1,180.
        jitter: how far items are moved.
    """
    names = letters()
    if classes is not None:
        if not 4 <= classes <= len(names):
            raise ValueError(f"classes must lie between 4 and {len(names)}, got {classes}")
        kept = np.random.default_rng([seed, 0]).permutation(len(names))[:classes]
        names = "".join(names[i] for i in np.sort(kept))
    train, valid, test = (
        _pair(names, part, copies, jitter or Jitter(), [seed, i])
        for i, (part, copies) in enumerate(
            zip(split_classes(np.arange(len(names)), seed), COPIES, strict=True), 1
        )
    )
    return ZeroShot(
        "glyphs", train, valid, test, names=names, domains=("serif", "sans-serif"), k=16
    )


@cache
def letters() -> str:
    """Letters that all faces have (but for the optional ones); of those that look alike in both
    domains the first; none whose serif and sans-serif shapes are the same."""
    needed = [face for face in SERIF + SANS if not face.startswith(OPTIONAL)]
    common = sorted(set.intersection(*(set(characters(face)) for face in needed)))
    candidates = [c for c in common if unicodedata.category(c) in LETTERS]
    serif, sans = (np.stack([shape(face, c) for c in candidates]) for face in (SERIF[0], SANS[0]))
    alike = np.minimum(serif @ serif.T, sans @ sans.T) > ALIKE
    chosen: list[int] = []
    for i in np.flatnonzero(serif.any(1) & sans.any(1)):
        if not alike[i, chosen].any():
            chosen.append(int(i))
    same = (serif * sans).sum(1) > SAME
    return "".join(candidates[i] for i in chosen if not same[i])


def _pair(
    names: str, part: np.ndarray, copies: tuple[int, int], jitter: Jitter, key: list[int]
) -> DomainPair:
    x, y = (
        _items(names, part, faces, n, jitter, np.random.default_rng([*key, side]))
        for side, (faces, n) in enumerate(zip((SERIF, SANS), copies, strict=True))
    )
    return DomainPair(x, y)


def _items(
    names: str,
    part: np.ndarray,
    faces: Sequence[str],
    copies: int,
    jitter: Jitter,
    rng: np.random.Generator,
) -> Items:
    """Every character of a part in every face that has it, so many times."""
    pictures: list[np.ndarray] = []
    classes: list[int] = []
    for c in part:
        for face in faces:
            if names[c] in characters(face):
                pictures.append(drawn(face, names[c]))
                classes.append(int(c))
    moved = jittered(np.stack(pictures), copies, SIDE, jitter, rng)
    features = moved.reshape(len(moved), -1)
    return Items(features, np.repeat(classes, copies), lambda i: moved[i])
