"""Names of rows and columns: any hashable values, and their positions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np


class Ids:
    """Labels in order, each once.

    Args:
        labels: strings, numbers, tuples, …; an int means 0, 1, …, labels − 1.
        what: "row" or "column", for messages.
    """

    def __init__(self, labels: int | Iterable[Hashable], what: str) -> None:
        self.what = what
        self.labels: Sequence[Any] = range(labels) if isinstance(labels, int) else list(labels)
        self._positions: dict[Any, int] = (
            {} if isinstance(labels, int) else {label: i for i, label in enumerate(self.labels)}
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counted(self) -> bool:
        """Whether the labels are 0, 1, …: the rows and columns of a matrix."""
        return isinstance(self.labels, range)

    @classmethod
    def from_column(cls, values: Any, what: str) -> tuple[Ids, np.ndarray]:
        """Labels in order of their first appearance, and the position of each value."""
        found: dict[Any, int] = {}
        try:
            positions = [found.setdefault(value, len(found)) for value in plain(values)]
        except TypeError as error:
            raise ValueError(f"{what} ids must be hashable: {error}") from None
        for label in found:
            if label is None or label != label:
                raise ValueError(f"a {what} id is missing ({label!r}): leave that entry out")
        return cls(found, what), np.array(positions, dtype=np.intp)

    def find(self, values: Any) -> np.ndarray:
        """(N,) positions; −1 for what is unknown."""
        values = plain(values)
        if self.counted:
            array = np.array(values) if len(values) else np.zeros(0, dtype=int)
            if array.dtype.kind not in "iu":
                raise ValueError(
                    f"{self.what}s of a matrix are counted 0, 1, …; got {values[0]!r} "
                    f"of type {type(values[0]).__name__}"
                )
            return np.where((array >= 0) & (array < len(self)), array, -1).astype(np.intp)
        return np.array([self._positions.get(value, -1) for value in values], dtype=np.intp)

    def require(self, values: Any) -> np.ndarray:
        """As :meth:`find`, but unknown ones are an error that names them."""
        positions = self.find(values)
        if (positions < 0).any():
            unknown = [v for v, p in zip(plain(values), positions, strict=True) if p < 0]
            raise ValueError(unknown_message(self.what, unknown, len(self)))
        return positions

    def extended(self, values: Any) -> Ids:
        """With those of the values that are not yet known appended."""
        new = dict.fromkeys(
            v for v, p in zip(plain(values), self.find(values), strict=True) if p < 0
        )
        if not new:
            return self
        if self.counted:
            last = len(self) + len(new)
            if sorted(new) != list(range(len(self), last)):
                raise ValueError(
                    f"new {self.what}s of a matrix of {len(self)} must be numbered "
                    f"{len(self)}, {len(self) + 1}, …; got {sorted(new)[:3]}"
                )
            return Ids(last, self.what)
        return Ids([*self.labels, *new], self.what)


def unknown_message(what: str, unknown: Sequence[Any], known: int) -> str:
    """What is said about ids that no training entry had."""
    shown = ", ".join(map(repr, unknown[:3])) + (", …" if len(unknown) > 3 else "")
    kind = f" of type {type(unknown[0]).__name__}"
    return (
        f"unknown {what} {shown}{kind}: not among the {known} {what}s seen in fit; "
        "ids must have the same type as there"
    )


def plain(values: Any) -> list[Any]:
    """A sequence as a list, numpy scalars as Python's own; a single string is no sequence."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise ValueError(f"ids must come as a sequence, got {values!r}: write [{values!r}]")
    return list(values.tolist() if hasattr(values, "tolist") else values)
