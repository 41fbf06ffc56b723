"""Sketchy Extended: 75,479 sketches and 73,002 photographs of 125 classes, as VGG16 features.

The data set of Ryu et al. (2024), 4.2 and E.2 (Sangkloy et al. 2016, Liu et al. 2017). It is not
downloaded here. The 512 features per picture come from the networks of the public code of Dutta and
Akata (2019), sem-pcyc, and are usually stored beside it:

    DIR/SketchyVGG/split1/{train,test}_{sketch,photo}.npz    arrays features, classes, paths
    DIR/SketchyVGG/split2/…
    DIR/Sketchy/sketch/tx_000000000000/CLASS/*.png           pictures, to show what was retrieved
    DIR/Sketchy/extended_photo/CLASS/*.jpg

The folders may lie one level deeper, in ``data`` or ``dataset``. Files {sketch,photo}.npz in
``SketchyVGG`` with the features of all classes do as well: the splits are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schmidt.domains import DomainPair, Items, Picture, ZeroShot, check_shared, picture, read_arrays

SPLIT_2 = (
    *("bat", "cabin", "cow", "dolphin", "door", "giraffe", "helicopter", "mouse", "pear"),
    *("raccoon", "rhinoceros", "saw", "scissors", "seagull", "skyscraper", "songbird", "sword"),
    *("tree", "wheelchair", "windmill", "window"),
)
"""Test classes of split 2, of Yelamarthi et al. (2018): none of them is a class of ImageNet."""
DOMAINS = ("sketch", "photo")
KEYS = ("features", "classes", "paths")
PICTURES = {"sketch": "sketch/tx_000000000000", "photo": "extended_photo"}


def sketchy(root: Path | str, split: int = 1, *, k: int = 100) -> ZeroShot:
    """Sketches → photographs.

    Args:
        root: the folder that holds ``SketchyVGG``.
        split: 1 (100 classes to train, 25 to test; Shen et al. 2018) or 2 (104 and 21).
        k: items that precision counts.
    """
    if split not in (1, 2):
        raise ValueError(f"Sketchy Extended has splits 1 and 2, got {split}")
    root = Path(root)
    features = features_folder(root)
    if features is None:
        raise FileNotFoundError(
            f"no folder SketchyVGG in {root}: extract the VGG16 features of the sem-pcyc code "
            "first, see schmidt.experiments.retrieval.sketchy for the layout"
        )
    stored = features / f"split{split}"
    parts = _stored(stored) if stored.is_dir() else _whole(features, split)
    if not parts.get("train") or not parts.get("test"):
        raise FileNotFoundError(
            f"{stored} needs train_sketch.npz, train_photo.npz, test_sketch.npz and test_photo.npz"
        )
    names = sorted({name for part in parts.values() for _, cs, _ in part.values() for name in cs})
    pictures = features.parent / "Sketchy"
    pairs = {name: _pair(part, names, pictures) for name, part in parts.items()}
    empty = DomainPair(pairs["train"].x.of(np.array([])), pairs["train"].y.of(np.array([])))
    return ZeroShot(
        f"Sketchy Extended, split {split}",
        pairs["train"],
        pairs.get("valid", empty),
        pairs["test"],
        names=names,
        domains=("sketches", "photographs"),
        k=k,
    )


def features_folder(root: Path) -> Path | None:
    """Where the features lie under a folder, if they do."""
    for place in (".", "SketchyVGG", "data/SketchyVGG", "dataset/SketchyVGG"):
        folder = root / place
        if (folder / "split1").is_dir() or (folder / "split2").is_dir():
            return folder.resolve()
        if (folder / "sketch.npz").is_file() and (folder / "photo.npz").is_file():
            return folder.resolve()
    return None


def split_classes(classes: Sequence[str], split: int) -> tuple[list[str], list[str]]:
    """Names of the classes to train and to test with.

    Split 1 is a random choice of four fifths of the sorted names by numpy's old generator with
    seed 0, as the public code makes it.
    """
    ordered = sorted(classes)
    if split == 1:
        old = np.random.RandomState(0)
        train = set(old.choice(ordered, int(0.8 * len(ordered)), replace=False).tolist())
    else:
        train = set(ordered) - set(SPLIT_2)
    return [c for c in ordered if c in train], [c for c in ordered if c not in train]


Part = dict[str, tuple[np.ndarray, list[str], list[str]]]
"""Domain → features, classes, paths."""


def _stored(folder: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for name in ("train", "valid", "test"):
        files = {domain: folder / f"{name}_{domain}.npz" for domain in DOMAINS}
        if all(file.exists() for file in files.values()):
            part = {domain: _read(file) for domain, file in files.items()}
            if all(len(classes) for _, classes, _ in part.values()):
                parts[name] = part
    return parts


def _whole(folder: Path, split: int) -> dict[str, Part]:
    whole = {d: _read(folder / f"{d}.npz") for d in DOMAINS if (folder / f"{d}.npz").exists()}
    if len(whole) < 2:
        raise FileNotFoundError(f"{folder} has no folder split{split}")
    names = {c for _, classes, _ in whole.values() for c in classes}
    parts: dict[str, Part] = {}
    for name, chosen in zip(("train", "test"), split_classes(sorted(names), split), strict=True):
        parts[name] = {}
        for domain, (features, classes, paths) in whole.items():
            rows = np.flatnonzero(np.isin(classes, chosen))
            parts[name][domain] = (
                features[rows],
                [classes[i] for i in rows],
                [paths[i] for i in rows],
            )
    return parts


def _read(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    found = read_arrays(path, KEYS)
    features = np.asarray(found["features"], np.float32)
    classes, paths = ([str(v) for v in found[key].tolist()] for key in ("classes", "paths"))
    if features.ndim != 2 or len(classes) != len(features) or len(paths) != len(features):
        raise ValueError(
            f"{path}: features must be (n, d) with n classes and paths, got {features.shape}, "
            f"{len(classes)} and {len(paths)}"
        )
    return features, classes, paths


def _pair(part: Part, names: list[str], pictures: Path) -> DomainPair:
    number = {name: i for i, name in enumerate(names)}
    domains = []
    for domain in DOMAINS:
        features, classes, paths = part[domain]
        folder = pictures / PICTURES[domain]
        shown = _shown(folder, paths) if folder.is_dir() else None
        domains.append(Items(features, np.array([number[c] for c in classes]), shown))
    check_shared(domains[0].classes, domains[1].classes, names, DOMAINS)
    return DomainPair(*domains)


def _shown(folder: Path, paths: list[str]) -> Picture:
    return lambda i: picture(folder / paths[i])
