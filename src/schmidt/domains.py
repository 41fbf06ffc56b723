"""Items of two domains by class, from folders of pictures or arrays, split so that no test class is
seen in training.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schmidt.storage import DamagedFileError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = Callable[[int], np.ndarray]
"""The picture of item i: (h, w) or (h, w, 3), bytes."""
TRAIN, VALID = 0.7, 0.1


@dataclass(frozen=True)
class Items:
    """Items of one domain.

    Attributes:
        features: (n, d); bytes stand for pixels, 255 for 1.
        classes: (n,) integers, indices into the names of the data set.
        picture: draws an item, where there is something to draw.
    """

    features: np.ndarray
    classes: np.ndarray
    picture: Picture | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.classes.shape != self.features.shape[:1]:
            raise ValueError(
                "a domain needs features (n, d) and classes (n,), got shapes "
                f"{self.features.shape} and {self.classes.shape}"
            )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def values(self) -> np.ndarray:
        """The features in single precision."""
        if self.features.dtype == np.uint8:
            return self.features.astype(np.float32) / 255
        return self.features.astype(np.float32)

    def of(self, classes: np.ndarray) -> Items:
        """Only the items of some classes."""
        index = np.flatnonzero(np.isin(self.classes, classes))
        picture = self.picture
        if picture is None:
            return Items(self.features[index], self.classes[index])
        return Items(self.features[index], self.classes[index], lambda i: picture(int(index[i])))


@dataclass(frozen=True)
class DomainPair:
    """The items of both domains that belong to the same classes."""

    x: Items
    y: Items

    @property
    def classes(self) -> np.ndarray:
        return np.union1d(self.x.classes, self.y.classes)


@dataclass(frozen=True)
class ZeroShot:
    """A zero-shot data set: train, valid and test have no class in common.

    Attributes:
        train, valid, test: queries come from ``test.x``, the gallery is ``test.y``. ``valid``, used
            to choose settings of baselines, can be empty.
        names: of the classes.
        domains: names of X and Y.
        k: items that precision counts.
    """

    name: str
    train: DomainPair
    valid: DomainPair
    test: DomainPair
    _: KW_ONLY
    names: Sequence[str]
    domains: tuple[str, str] = ("X", "Y")
    k: int = 10

    def __post_init__(self) -> None:
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        seen: dict[int, str] = {}
        for part, pair in parts.items():
            for c in pair.classes:
                if c in seen:
                    raise ValueError(
                        f"class {self.names[c]!r} is in {seen[c]} and in {part}: not zero-shot"
                    )
                seen[int(c)] = part
            if part != "valid" and not (len(pair.x) and len(pair.y)):
                raise ValueError(f"{self.name}: no items to {part} with in one of the domains")
        if self.k > len(self.test.y):
            object.__setattr__(self, "k", len(self.test.y))

    @property
    def comparable(self) -> bool:
        """Whether features of X and Y have the same length, so that they can be compared raw."""
        return self.train.x.features.shape[1] == self.train.y.features.shape[1]

    def sizes(self) -> dict[str, dict[str, int]]:
        """Classes and items of every part."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {
            name: {"classes": len(pair.classes), "x": len(pair.x), "y": len(pair.y)}
            for name, pair in parts.items()
        }


def split(
    name: str,
    x: Items,
    y: Items,
    names: Sequence[str],
    *,
    seed: int = 0,
    domains: tuple[str, str] = ("X", "Y"),
    k: int = 10,
) -> ZeroShot:
    """Split the classes at random: 70 % to train, 10 % to choose settings, 20 % to test.

    Precision counts k items, or as many as the smallest test class of Y has.
    """
    check_shared(x.classes, y.classes, names, domains)
    classes = np.unique(x.classes)
    parts = split_classes(classes, seed)
    train, valid, test = (DomainPair(x.of(part), y.of(part)) for part in parts)
    fewest = int(np.unique(test.y.classes, return_counts=True)[1].min())
    return ZeroShot(name, train, valid, test, names=names, domains=domains, k=min(k, fewest))


def split_classes(classes: np.ndarray, seed: int) -> list[np.ndarray]:
    """Classes of train, valid and test."""
    if len(classes) < 4:
        raise ValueError(
            f"at least 4 classes are needed to train on some and test on others, got {len(classes)}"
        )
    shuffled = np.random.default_rng(seed).permutation(classes)
    train, test = round(TRAIN * len(classes)), max(2, round((1 - TRAIN - VALID) * len(classes)))
    train = min(train, len(classes) - test)
    end = len(classes) - test
    return [np.sort(part) for part in (shuffled[:train], shuffled[train:end], shuffled[end:])]


def check_shared(
    cx: np.ndarray, cy: np.ndarray, names: Sequence[str], domains: tuple[str, str]
) -> None:
    """Refuse classes that only one domain has."""
    for mine, other, i in ((cx, cy, 0), (cy, cx, 1)):
        lonely = [names[c] for c in np.setdiff1d(mine, other)]
        if lonely:
            shown = ", ".join(lonely[:5]) + (f" and {len(lonely) - 5} more" if lonely[5:] else "")
            raise ValueError(
                f"{len(lonely)} classes are in {domains[i]} but not in {domains[1 - i]}: {shown}; "
                "every class needs items of both domains"
            )


KEYS = ("X", "cx", "Y", "cy")


def arrays(path: Path | str, *, seed: int = 0, k: int = 10) -> ZeroShot:
    """Features from an .npz file with X (n, d), cx (n,), Y (m, e) and cy (m,).

    Classes are integers or text. Features of more than two axes are flattened; bytes are taken as
    pixels. X and Y may have different lengths of features; then nothing compares them directly.

    Args:
        seed: of the split of the classes.
        k: items that precision counts.
    """
    path = Path(path)
    found = read_arrays(path, KEYS)
    names = sorted(
        {str(c) for key in ("cx", "cy") for c in np.asarray(found[key]).tolist()}, key=_key
    )
    number = {name: i for i, name in enumerate(names)}
    x, y = (
        _from_arrays(path, found[key], found[classes], number, key)
        for key, classes in (("X", "cx"), ("Y", "cy"))
    )
    return split(path.stem, x, y, names, seed=seed, k=k)


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Named arrays of an .npz file; what is missing or damaged is a clear error."""
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in keys if key not in file.files]
            if missing:
                raise KeyError(
                    f"{path} has no {', '.join(missing)}; it needs {', '.join(keys)}, "
                    f"and has {', '.join(file.files) or 'nothing'}"
                )
            return {key: file[key] for key in keys}
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except (zipfile.BadZipFile, ValueError, TypeError, EOFError, OSError) as error:
        raise DamagedFileError(
            f"{path} cannot be read as an .npz file of arrays ({error})"
        ) from None


def _key(name: str) -> tuple[int, Any]:
    """Numbers in their order, then text."""
    return (0, int(name)) if name.lstrip("-").isdigit() else (1, name)


def _from_arrays(
    path: Path, features: np.ndarray, classes: np.ndarray, number: dict[str, int], key: str
) -> Items:
    if features.ndim < 2 or classes.shape != (len(features),):
        raise ValueError(
            f"{path}: {key} must be (n, d) and its classes (n,), got shapes {features.shape} and "
            f"{classes.shape}"
        )
    flat = features.reshape(len(features), -1)
    if flat.dtype != np.uint8:
        flat = flat.astype(np.float32)
        if not np.isfinite(flat).all():
            raise ValueError(f"{path}: {key} holds values that are not finite")
    return Items(flat, np.array([number[str(c)] for c in classes.tolist()]))


SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SIDE, SHOWN = 32, 96
"""Pixels of a side: as features, and in pictures."""


def folders(
    root: Path | str, *, query: str | None = None, seed: int = 0, side: int = SIDE, k: int = 10
) -> ZeroShot:
    """Pictures from ``root/DOMAIN/CLASS/*.png`` (or .jpg, …), two domains, as grey pixels.

    Pixels are crude features: for photographs, extract features with a pretrained network and use
    :func:`~schmidt.domains.arrays` instead.

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
    x, y = (_from_pictures(paths, classes, side) for paths, classes in files)
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


def _from_pictures(paths: list[Path], classes: np.ndarray, side: int) -> Items:
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
