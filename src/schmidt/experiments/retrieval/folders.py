"""Two folders of pictures, one per domain, with a folder per class in each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schmidt.experiments.retrieval.dataset import Items, ZeroShot, check_shared, split

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SIDE, SHOWN = 32, 96
"""Pixels of a side: as features, and in pictures."""


def folders(
    root: Path | str, *, query: str | None = None, seed: int = 0, side: int = SIDE, k: int = 10
) -> ZeroShot:
    """Pictures from ``root/DOMAIN/CLASS/*.png`` (or .jpg, …), two domains, as grey pixels.

    Pixels are crude features: for photographs, extract features with a pretrained network and use
    :func:`~schmidt.experiments.retrieval.arrays.arrays` instead.

    Args:
        query: the folder of the domain that queries come from; default the first by name.
        seed: of the split of the classes.
        side: pictures are fitted into a square of so many pixels.
        k: items that precision counts.
    """
    root = Path(root)
    x_folder, y_folder = _domains(root, query)
    names = sorted({folder.name for part in (x_folder, y_folder) for folder in subfolders(part)})
    if not names:
        raise ValueError(f"{x_folder} has no folders of classes: expected DOMAIN/CLASS/picture.png")
    domains = (x_folder.name, y_folder.name)
    files = [_files(folder, names) for folder in (x_folder, y_folder)]
    check_shared(files[0][1], files[1][1], names, domains)
    x, y = (_items(paths, classes, side) for paths, classes in files)
    return split(root.resolve().name, x, y, names, seed=seed, domains=domains, k=k)


def picture(path: Path) -> np.ndarray:
    """A picture as it is shown: at most 96 pixels a side, on white."""
    return np.asarray(_opened(path, SHOWN))


def subfolders(folder: Path) -> list[Path]:
    """Visible folders in a folder, by name."""
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


def _domains(root: Path, query: str | None) -> tuple[Path, Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder: {root}")
    found = subfolders(root)
    if len(found) != 2:
        names = ", ".join(f.name for f in found[:6]) or "none"
        raise ValueError(
            f"{root} must hold two folders, one per domain, with a folder of pictures per class in "
            f"each; found {len(found)}: {names}"
        )
    if query is not None and query not in (f.name for f in found):
        raise ValueError(
            f"no domain {query!r} in {root}; there are {found[0].name} and {found[1].name}"
        )
    return (found[1], found[0]) if query == found[1].name else (found[0], found[1])


def _files(domain: Path, names: list[str]) -> tuple[list[Path], np.ndarray]:
    """Paths of all pictures of a domain, and their classes."""
    paths: list[Path] = []
    classes: list[int] = []
    for c, name in enumerate(names):
        folder = domain / name
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        pictures = [p for p in found if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
        paths += pictures
        classes += [c] * len(pictures)
    return paths, np.array(classes, dtype=int)


def _items(paths: list[Path], classes: np.ndarray, side: int) -> Items:
    features = np.stack([_square(path, side) for path in paths])
    return Items(features, classes, lambda i: picture(paths[i]))


def _square(path: Path, side: int) -> np.ndarray:
    """Grey pixels of a picture fitted into a white square."""
    from PIL import Image

    small = _opened(path, side).convert("L")
    square = Image.new("L", (side, side), 255)
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return np.asarray(square).ravel()


def _opened(path: Path, side: int) -> Image:
    """A picture on white, colours as they are, its longer side so many pixels."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            clear = opened.convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"cannot read {path} as a picture ({error}); remove or replace it"
        ) from None
    image = Image.new("RGBA", clear.size, "white")
    image.alpha_composite(clear)
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
