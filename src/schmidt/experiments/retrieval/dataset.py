"""Items of two domains, by class, and classes split so that no test class is seen in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

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
class Pair:
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
    train: Pair
    valid: Pair
    test: Pair
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
    train, valid, test = (Pair(x.of(part), y.of(part)) for part in parts)
    fewest = int(np.unique(test.y.classes, return_counts=True)[1].min())
    return ZeroShot(name, train, valid, test, names, domains, min(k, fewest))


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
