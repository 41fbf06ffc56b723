"""Names of rows and columns: any hashable values, and their positions."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

FEW = 64
"""Fewer ids are looked up one by one."""


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
        self._truth = any(isinstance(label, bool) for label in self._positions)
        self._texts: dict[str, Any] | None = None
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counted(self) -> bool:
        """Whether the labels are 0, 1, …: the rows and columns of a matrix."""
        return isinstance(self.labels, range)

    def hashes(self) -> np.ndarray:
        """(n,) uint64, the same for the same label in every process."""
        digests = (
            hashlib.blake2b(_text(label).encode("utf-8", "surrogatepass"), digest_size=8).digest()
            for label in self.labels
        )
        return np.frombuffer(b"".join(digests), dtype=np.uint64)

    @classmethod
    def from_column(cls, values: Any, what: str) -> tuple[Ids, np.ndarray]:
        """Different labels, sorted, and the position of each value."""
        numbers = _integers(values)
        if numbers is not None:
            different, positions = np.unique(numbers, return_inverse=True)
            return cls(different.tolist(), what), positions.astype(np.intp)
        listed = plain(values, f"{what} ids")
        try:
            found = set(listed)
        except TypeError as error:
            raise ValueError(f"{what} ids must be hashable: {error}") from None
        wrong = next((label for label in found if missing(label)), found)
        if wrong is not found:
            raise ValueError(f"a {what} id is missing ({wrong!r}): leave that entry out")
        ids = cls(_sorted(found), what)
        texts = ids._by_text()
        if len(texts) < len(ids):
            twin = next(label for label in ids.labels if texts[_text(label)] != label)
            raise ValueError(
                f"the {what} ids {twin!r} and {texts[_text(twin)]!r} differ in type only: give all "
                "of them the same type"
            )
        return ids, np.array([ids._positions[v] for v in listed], dtype=np.intp)

    def find(self, values: Any) -> np.ndarray:
        """(N,) positions; −1 for what is unknown.

        Raises:
            ValueError: ids that differ from known ones in nothing but their type.
        """
        numbers = _integers(values)
        if numbers is not None and (found := self._find_integers(numbers)) is not None:
            return found
        values = plain(values, f"{self.what} ids")
        if self.counted:
            wrong = next((v for v in values if isinstance(v, bool) or not isinstance(v, int)), None)
            if wrong is not None:
                raise ValueError(
                    f"{self.what}s of a matrix are counted 0, 1, …; got {wrong!r} "
                    f"of type {type(wrong).__name__}"
                )
            return np.array([v if 0 <= v < len(self) else -1 for v in values], dtype=np.intp)
        try:
            found = np.array([self._positions.get(v, -1) for v in values], dtype=np.intp)
        except TypeError as error:
            raise ValueError(f"{self.what} ids must be hashable: {error}") from None
        for value, position in zip(values, found, strict=True):
            if position < 0 and missing(value):
                raise ValueError(f"a {self.what} id is missing ({value!r}): leave it out")
            if position >= 0 and not self._truth and not isinstance(value, bool):
                continue
            twin = self.labels[position] if position >= 0 else self._by_text().get(_text(value))
            if twin is not None and (
                twin != value or isinstance(value, bool) is not isinstance(twin, bool)
            ):
                raise ValueError(
                    f"{self.what} {value!r} is of type {type(value).__name__}, but fit has seen "
                    f"{twin!r} of type {type(twin).__name__}: convert the ids to the type they had "
                    "there"
                )
        return found

    def require(self, values: Any) -> np.ndarray:
        """As :meth:`find`, but unknown ones are an error that names them."""
        return self.known(values, "raise")

    def known(self, values: Any, unknown: str) -> np.ndarray:
        """As :meth:`find`; for unknown ids "raise" an error, "warn", or do nothing ("bias")."""
        positions = self.find(values)
        if unknown == "bias" or (positions >= 0).all():
            return positions
        missed = [v for v, p in zip(plain(values, "ids"), positions, strict=True) if p < 0]
        distinct = list(dict.fromkeys(missed))
        shown = ", ".join(map(repr, distinct[:3])) + (", …" if len(distinct) > 3 else "")
        message = (
            f"{len(distinct)} of the {self.what}s asked for are unknown: {shown} – not among the "
            f"{len(self)} seen in fit"
        )
        if unknown == "raise":
            raise ValueError(message)
        warnings.warn(
            message + "; they get the mean and what is known of the other side "
            "(unknown='raise' refuses them, unknown='bias' says nothing)",
            UserWarning,
            stacklevel=4,
        )
        return positions

    def fresh(self, values: Any) -> tuple[list[Any], np.ndarray]:
        """Those labels among the values that are not yet known, each once, and (N,) the positions
        that the values will have when these are appended."""
        listed, found = plain(values, f"{self.what} ids"), self.find(values)
        new = dict.fromkeys(v for v, p in zip(listed, found, strict=True) if p < 0)
        if not new:
            return [], found
        if len({_text(label) for label in new}) < len(new):
            raise ValueError(f"some of the new {self.what} ids differ in type only")
        if self.counted and sorted(new) != list(range(len(self), len(self) + len(new))):
            raise ValueError(
                f"new {self.what}s of a matrix of {len(self)} must be numbered "
                f"{len(self)}, {len(self) + 1}, …; got {sorted(new)[:3]}"
            )
        ordered = sorted(new) if self.counted else list(new)
        place = {label: len(self) + i for i, label in enumerate(ordered)}
        at = [place[v] if p < 0 else p for v, p in zip(listed, found, strict=True)]
        return ordered, np.array(at, dtype=np.intp)

    def append(self, labels: list[Any]) -> None:
        """Labels that :meth:`fresh` has found, at the end."""
        if isinstance(self.labels, range):
            self.labels = range(len(self) + len(labels))
            return
        for label in labels:
            self._positions[label] = len(self.labels)
            self.labels.append(label)  # type: ignore[attr-defined]
            if self._texts is not None:
                self._texts[_text(label)] = label
        self._truth = self._truth or any(isinstance(label, bool) for label in labels)

    def as_json(self) -> Any:
        """A number, or labels as JSON can hold them: tuples become {"tuple": […]}.

        Raises:
            TypeError: labels that are no strings, numbers, or tuples of these.
        """
        return len(self) if self.counted else [_written(v, self.what) for v in self.labels]

    @classmethod
    def from_json(cls, content: Any, what: str) -> Ids:
        """The labels that :meth:`as_json` wrote, of the same types."""
        return cls(content if isinstance(content, int) else map(_read, content), what)

    def _find_integers(self, numbers: np.ndarray) -> np.ndarray | None:
        """Positions, where all of them are labels; else None."""
        if self.counted:
            inside = not len(numbers) or (numbers.min() >= 0 and numbers.max() < len(self))
            return numbers.astype(np.intp) if inside else None
        if len(numbers) < FEW:
            return None
        if self._sorted is None or len(self._sorted[0]) < len(self):
            if not all(type(label) is int and abs(label) < 2**63 for label in self.labels):
                return None
            array = np.array(self.labels, dtype=np.int64)
            order = np.argsort(array)
            self._sorted = array[order], order
        array, order = self._sorted
        at = np.minimum(np.searchsorted(array, numbers), len(array) - 1)
        return np.asarray(order[at]) if bool((array[at] == numbers).all()) else None

    def _by_text(self) -> dict[str, Any]:
        if self._texts is None:
            self._texts = {_text(label): label for label in self.labels}
        return self._texts


def _integers(values: Any) -> np.ndarray | None:
    """A vector of whole numbers as int64; None for anything else."""
    array = values.to_numpy() if type(values).__module__.startswith("pandas") and (
        getattr(getattr(values, "dtype", None), "kind", "") == "i"
        and isinstance(values.dtype, np.dtype)
    ) else values  # fmt: skip
    if type(array) is not np.ndarray or array.ndim != 1 or array.dtype.kind not in "iu":
        return None
    return None if array.dtype == np.uint64 else array.astype(np.int64)


def plain(values: Any, what: str) -> list[Any]:
    """A sequence as a list, numpy scalars as Python's own; a single string is no sequence."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__") or _scalar(values):
        raise ValueError(f"{what} must come as a sequence, got {values!r}: write [{values!r}]")
    if isinstance(values, set | frozenset | Mapping):
        raise ValueError(f"{what} need an order, got a {type(values).__name__}: make a list")
    if sparse.issparse(values) or getattr(values, "ndim", 1) != 1:
        raise ValueError(
            f"{what} must be one-dimensional, got shape {values.shape}: write ids[:, 0], or "
            "name the column"
        )
    if np.ma.is_masked(values):
        raise ValueError(f"some {what} are masked: leave those entries out")
    if getattr(getattr(values, "dtype", None), "kind", "") in "Mm" and isinstance(
        values, np.ndarray
    ):
        values = values.astype(f"{values.dtype.kind}8[us]")
    listed = list(values.tolist() if hasattr(values, "tolist") else values)
    return [v.item() if isinstance(v, np.generic) else v for v in listed]


def missing(label: Any) -> bool:
    """None, NaN, NaT and pandas' NA."""
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float) and label != label


def _scalar(values: Any) -> bool:
    return getattr(values, "ndim", 1) == 0


def _sorted(labels: Iterable[Any]) -> list[Any]:
    """One order for one set, whatever the order in which it came."""
    listed = list(labels)
    kinds = {type(label) for label in listed}
    if kinds <= {str} or kinds <= {int, float}:
        return sorted(listed)
    return sorted(listed, key=lambda label: (type(label).__name__, _text(label)))


def _text(label: Any) -> str:
    """What a label looks like, whatever its type: 5, 5.0, "5" and b"5" are the same."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace")
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _written(label: Any, what: str) -> Any:
    if isinstance(label, str | int | float):
        return label
    if isinstance(label, tuple):
        return {"tuple": [_written(part, what) for part in label]}
    raise TypeError(
        f"cannot save {what} ids like {label!r}: only strings, numbers and tuples of these can be "
        "written"
    )


def _read(content: Any) -> Any:
    return tuple(map(_read, content["tuple"])) if isinstance(content, dict) else content
