"""Where pairs (x, y) of a joint law come from: given ones, classes, a loader, augmentations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor

PairSampler = Callable[[int, torch.Generator], tuple[Tensor, ...]]
"""(n, generator) → x (n, …), y (n, …): n independent pairs of p(x, y); perhaps weights (n,) too."""

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""(items, generator) → items of the same number, each changed at random."""


class GivenPairs:
    """Pairs given as arrays, drawn with replacement, in proportion to their weights.

    Args:
        x, y: arrays (n, …) with one row per pair, n ≥ 2.
        weight: (n,) masses, not negative; any scale. Default: equal.

    Attributes:
        independent: how many of the pairs are draws of their own, where some are known to be copies
            or to belong together; else None.

    Drawing by weight instead of carrying weights along keeps the estimates unbiased.
    """

    independent: float | None = None

    def __init__(self, x: Any, y: Any, weight: Any | None = None) -> None:
        self.x, self.y = checked_pairs(x, y)
        self.weight = None if weight is None else _masses(weight, len(self.x))
        self._below = None if self.weight is None else self.weight.cumsum(0)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def counts(self) -> Tensor | None:
        """How often each pair was seen, (n,) int64; None if the weights are not whole numbers.

        Equal weights mean once each, whatever they are.
        """
        w = self.weight
        if w is None or (bool((w == w[0]).all()) and not bool(w[0] == w[0].round())):
            return torch.ones(len(self.x), dtype=torch.int64)
        return w.long() if bool((w == w.round()).all()) and float(w.sum()) < 2**53 else None

    def only(self, chosen: Tensor, weight: Tensor | None = None) -> GivenPairs:
        """Some of the pairs, by position; with weights of their own if these are given."""
        if weight is None and self.weight is not None:
            weight = self.weight[chosen]
        return GivenPairs(self.x[chosen], self.y[chosen], weight)

    def __call__(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self._below is None:
            chosen = torch.randint(len(self.x), (n,), generator=generator)
        else:
            chosen = _draw(self._below, n, generator)
        return self.x[chosen], self.y[chosen]


class ClassPairs:
    """p(x, y) = Σ_c p(c) p(x|c) p(y|c): x and y of one class, otherwise independent (E.2).

    Args:
        x, cx: items (n, …) of the first domain and their classes (n,), numbers or strings.
        y, cy: those of the second domain.
        prior: p(c): "empirical" – the mean of the class frequencies in the two domains –,
            "uniform", or masses (C,) of the sorted classes that both domains have.

    Attributes:
        classes: the classes that both domains have, sorted.
        x, y: the items of those classes; ``code_x``, ``code_y`` their positions in ``classes``.
        prior: (C,) p(c).
        dropped: classes that only one domain has, which are left out, with a warning.

    The kernel p(x,y)/(p(x)p(y)) − 1 of C classes has at most C − 1 singular values above 0.
    """

    def __init__(
        self, x: Any, cx: Any, y: Any, cy: Any, *, prior: str | Tensor = "empirical"
    ) -> None:
        if isinstance(prior, str) and prior not in ("empirical", "uniform"):
            raise ValueError(f"prior must be 'empirical' or 'uniform', got {prior!r}")
        x, y = (_items(side, name) for side, name in ((x, "x"), (y, "y")))
        labels = [_labels(c, len(items), name) for c, items, name in ((cx, x, "x"), (cy, y, "y"))]
        words = [_words(side) for side in labels]
        if words[0] != words[1]:
            raise ValueError(
                f"the classes of x are {words[0]}, those of y {words[1]}: none can be the same; "
                "give both domains classes of one kind, as with cy.astype(str)"
            )
        both = np.intersect1d(labels[0], labels[1])
        self.dropped = tuple(np.setxor1d(np.unique(labels[0]), np.unique(labels[1])).tolist())
        if len(both) < 2:
            raise ValueError(
                "pairs by class need at least two classes that both domains have; they share "
                f"{len(both)}, and {len(self.dropped)} are in one domain only"
            )
        if self.dropped:
            warnings.warn(
                f"{len(self.dropped)} classes are in one domain only and are left out: "
                + ", ".join(map(str, self.dropped[:10]))
                + (" …" if len(self.dropped) > 10 else ""),
                stacklevel=2,
            )
        self.classes = both
        self.x, self.code_x = _of_classes(x, labels[0], both)
        self.y, self.code_y = _of_classes(y, labels[1], both)
        require_finite(self.x, "x")
        require_finite(self.y, "y")
        self._sides = [_Grouped(code, len(both)) for code in (self.code_x, self.code_y)]
        if isinstance(prior, Tensor):
            masses = _masses(prior, len(both))
        elif prior == "uniform":
            masses = torch.ones(len(both), dtype=torch.float64)
        else:
            counts = [side.count.double() for side in self._sides]
            masses = counts[0] / counts[0].sum() + counts[1] / counts[1].sum()
        self.prior = masses / masses.sum()
        self._below = self.prior.cumsum(0)

    def __call__(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        c = _draw(self._below, n, generator)
        i, j = (side.draw(c, generator) for side in self._sides)
        return self.x[i], self.y[j]

    def only(self, chosen: Tensor) -> ClassPairs:
        """Some of the classes, by position."""
        chosen = chosen.sort().values
        x, y = (torch.isin(code, chosen) for code in (self.code_x, self.code_y))
        sides = self.x[x], self.code_x[x], self.y[y], self.code_y[y]
        return ClassPairs(*sides, prior=self.prior[chosen])

    def items(self, x: Tensor, y: Tensor) -> ClassPairs:
        """Some of the items of each domain, by position; every class must be among them."""
        sides = self.x[x], self.code_x[x], self.y[y], self.code_y[y]
        return ClassPairs(*sides, prior=self.prior)

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """p(x) and p(y) of the items: p(c) shared among the items of class c."""
        wx, wy = (self.prior / side.count for side in self._sides)
        return wx[self.code_x], wy[self.code_y]


class LoaderPairs:
    """Pairs from an iterable of batches, such as a ``DataLoader``, for data larger than memory.

    Args:
        loader: yields (x, y) or (x, y, weight), batches of any size; iterated again and again. It
            should shuffle. Its randomness is its own: the generator of a draw is not used.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self._batches: Iterator[Any] = iter(())
        self._rest: tuple[Tensor, ...] | None = None

    def __call__(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        parts, have = [], 0
        while have < n:
            batch = self._rest if self._rest is not None else self._next()
            self._rest = None
            take = min(n - have, len(batch[0]))
            if take < len(batch[0]):
                self._rest = tuple(side[take:] for side in batch)
            parts.append(tuple(side[:take] for side in batch))
            have += take
        return tuple(torch.cat(side) for side in zip(*parts, strict=True))

    def _next(self) -> tuple[Tensor, ...]:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = self.batches()
            batch = next(self._batches, None)
        if batch is None:
            raise ValueError("the loader yields no batches")
        return batch

    def batches(self) -> Iterator[tuple[Tensor, ...]]:
        """One pass over the loader, every batch checked."""
        for batch in self.loader:
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise ValueError("a loader of pairs must yield (x, y) or (x, y, weight)")
            x, y = checked_pairs(batch[0], batch[1], least=1)
            yield (x, y) if len(batch) == 2 else (x, y, _masses(batch[2], len(x)))


class Augmented:
    """The pairs of another sampler, each side changed at random.

    Args:
        pairs: where pairs come from.
        x, y: what to do with each side, (items, generator) → items; None: nothing.

    ``Augmented(GivenPairs(z, z), a, a)`` is the law of two independent views of one item.
    """

    def __init__(
        self, pairs: PairSampler, x: Augmentation | None = None, y: Augmentation | None = None
    ) -> None:
        self.pairs, self.change = pairs, (x, y)

    def __call__(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        x, y, *weight = self.pairs(n, generator)
        x, y = (
            side if change is None else change(side, generator)
            for side, change in zip((x, y), self.change, strict=True)
        )
        return x, y, *weight


class _Grouped:
    """Items by class, to draw one of a class in constant time."""

    def __init__(self, code: Tensor, classes: int) -> None:
        self.order = code.argsort(stable=True)
        self.count = code.bincount(minlength=classes)
        self.first = self.count.cumsum(0) - self.count

    def draw(self, classes: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(len(classes), generator=generator, dtype=torch.float64)
        within = (u * self.count[classes]).long()
        return self.order[self.first[classes] + within]


def checked_pairs(x: Any, y: Any, *, least: int = 2) -> tuple[Tensor, Tensor]:
    """Both sides as tensors of equal length, without NaN or Inf."""
    x, y = (_items(side, name) for side, name in ((x, "x"), (y, "y")))
    if len(x) != len(y) or len(x) < least:
        raise ValueError(
            f"pairs need as many x as y, and at least {least}: got {len(x)} and {len(y)}"
        )
    require_finite(x, "x")
    require_finite(y, "y")
    return x, y


def require_finite(side: Tensor, name: str) -> None:
    if side.is_floating_point() and not bool(side.isfinite().all()):
        raise ValueError(f"the {name} of the pairs contain NaN or Inf; remove those pairs first")


def _masses(weight: Any, n: int) -> Tensor:
    w = tensor(weight).double()
    if w.shape != (n,):
        raise ValueError(f"{n} pairs need weights of shape ({n},), got {tuple(w.shape)}")
    if not bool((w.isfinite() & (w >= 0)).all()) or not bool(w.sum() > 0):
        raise ValueError("weights must be finite, not negative, and not all zero")
    return w


def _draw(below: Tensor, n: int, generator: torch.Generator) -> Tensor:
    u = torch.rand(n, generator=generator, dtype=torch.float64) * below[-1]
    return torch.searchsorted(below, u, right=True).clamp_max(len(below) - 1)


def _items(given: Any, name: str) -> Tensor:
    """Items (n, …) of real numbers."""
    try:
        items = tensor(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    if items.ndim == 0:
        raise ValueError(f"{name} must be items (n, …), got a single number")
    if items.is_complex():
        raise ValueError(
            f"{name} is complex: give real and imaginary parts as columns of their own"
        )
    if items[:1].numel() == 0 and len(items):
        raise ValueError(f"{name} has no columns: its shape is {tuple(items.shape)}")
    return items


def _labels(given: Any, n: int, name: str) -> np.ndarray:
    """Classes as an array of numbers or of strings."""
    if isinstance(given, Tensor):
        labels = given.detach().cpu().numpy()
    else:
        labels = np.asarray(given)
        if labels.dtype.kind in "US" and not hasattr(given, "dtype"):
            labels = np.array(list(given), dtype=object)  # numpy makes strings of all there are
    if labels.shape != (n,):
        raise ValueError(f"{n} items {name} need classes of shape ({n},), got {labels.shape}")
    if labels.dtype.kind == "O":
        labels = _plain_labels(labels, name)
    if labels.dtype.kind not in "biufUS":
        raise ValueError(f"classes must be numbers or strings, those of {name} are {labels.dtype}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"the classes of {name} contain NaN or Inf; remove those items first")
    return labels


def _plain_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Objects as numbers or strings, if they are all of one kind."""
    missing = [i for i, c in enumerate(labels) if _absent(c)]
    if missing:
        raise ValueError(
            f"{len(missing)} items {name} have no class (None or NaN), the first at position "
            f"{missing[0]}; remove those items first"
        )
    if all(isinstance(c, str) for c in labels):
        return labels.astype(str)
    if all(isinstance(c, bool | int | float | np.number | np.bool_) for c in labels):
        return np.array(labels.tolist())
    kinds = sorted({type(c).__name__ for c in labels})
    raise ValueError(
        f"the classes of {name} must be all numbers or all strings, got {', '.join(kinds)}"
    )


def _absent(label: Any) -> bool:
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float | np.floating) and not np.isfinite(label)


def _words(labels: np.ndarray) -> str:
    return "strings" if labels.dtype.kind in "US" else "numbers"


def _of_classes(items: Tensor, labels: np.ndarray, both: np.ndarray) -> tuple[Tensor, Tensor]:
    """The items of the given classes, and the positions of their classes among them."""
    position = np.searchsorted(both, labels).clip(max=len(both) - 1)
    kept = both[position] == labels
    code = torch.from_numpy(np.asarray(position[kept], dtype=np.int64))
    return (items if kept.all() else items[torch.from_numpy(kept)]), code
