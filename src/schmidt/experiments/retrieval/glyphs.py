"""A zero-shot data set that needs no download: letters in the faces that matplotlib ships.

A class is a character; X are serif faces, Y sans-serif and monospaced ones; every item is moved a
little at random. Test characters are never seen in training, in either domain: what must be learned
is what makes two shapes the same letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

from schmidt.experiments.retrieval.dataset import Items, Pair, ZeroShot, split_classes
from schmidt.experiments.retrieval.faces import characters, drawn, shape
from schmidt.experiments.retrieval.jitter import Jitter, jittered

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
    return ZeroShot("glyphs", train, valid, test, names, ("serif", "sans-serif"), k=16)


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
) -> Pair:
    x, y = (
        _items(names, part, faces, n, jitter, np.random.default_rng([*key, side]))
        for side, (faces, n) in enumerate(zip((SERIF, SANS), copies, strict=True))
    )
    return Pair(x, y)


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
