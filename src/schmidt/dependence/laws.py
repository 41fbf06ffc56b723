"""What the estimators accept as data, and how it is parted into what fits and what judges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.dependence.rows import WeightedPairs, same
from schmidt.operators.pairs import ClassPairs, GivenPairs, LoaderPairs, PairSampler

Part = tuple[PairSampler, float]
"""A part of a law, and its mass."""
SERIES = "series"
MOST_UNITS = 2**22
"""Counted pairs that are dealt one by one; more of them by the multinomial law."""


def law(
    X: Any,
    Y: Any = None,
    sample_weight: Any = None,
    prior: str = "empirical",
    weights: str = "auto",
) -> PairSampler:
    """A law of pairs from arrays, from items with classes, from a loader or from a sampler.

    Args:
        X, Y: arrays or data frames of n pairs; or ``(X, cx)`` and ``(Y, cy)``, items with their
            classes; or X alone: a sampler (n, generator) → (x, y), or an iterable of batches.
        sample_weight: (n,) masses of given pairs.
        prior: of the classes.
        weights: what ``sample_weight`` means, see :class:`~schmidt.dependence.WeightedPairs`.

    Raises:
        ValueError: what was given is none of these; says what to give.
    """
    if Y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight belongs to pairs; a loader yields (x, y, weight)")
        return _stream(X)
    if isinstance(X, tuple) != isinstance(Y, tuple):
        raise ValueError("give classes for both domains, fit((X, cx), (Y, cy)), or for none")
    if isinstance(X, tuple):
        if sample_weight is not None:
            raise ValueError("sample_weight belongs to pairs; items with classes have none")
        if len(X) != 2 or len(Y) != 2:
            raise ValueError("items with classes are given as (X, cx) and (Y, cy)")
        return ClassPairs(plain_items(X[0], "X"), X[1], plain_items(Y[0], "Y"), Y[1], prior=prior)
    return WeightedPairs(plain_items(X, "X"), plain_items(Y, "Y"), sample_weight, weights)


def _stream(X: Any) -> PairSampler:
    if callable(X):
        return X
    if isinstance(X, Iterator):
        raise ValueError(
            "a generator gives its batches only once, and training passes over them again and "
            "again: give a list of batches, a DataLoader, or an object with __iter__"
        )
    if isinstance(X, Iterable) and not isinstance(X, tuple) and not hasattr(X, "shape"):
        return LoaderPairs(X)
    raise ValueError("expected fit(X, Y), fit((X, cx), (Y, cy)), or a loader or sampler of pairs")


def plain_items(items: Any, name: str) -> Any:
    """Items as an array: data frames by their numbers, everything else as it is.

    Raises:
        ValueError: a list of (items, classes), which belongs into a tuple; columns that are no
            numbers, by name.
    """
    if isinstance(items, list) and len(items) == 2 and all(hasattr(a, "shape") for a in items):
        raise ValueError(
            f"{name} is a list of two arrays: items with classes are given as a tuple, "
            f"({name}, classes); items alone as one array"
        )
    if isinstance(items, Tensor) or not hasattr(items, "to_numpy"):
        return items
    if hasattr(items, "columns"):
        bad = [
            str(column)
            for column, kind in zip(items.columns, items.dtypes, strict=True)
            if not _numeric(kind)
        ]
        if bad:
            raise ValueError(
                f"columns of {name} that are no numbers: {', '.join(bad[:5])}"
                f"{' …' if len(bad) > 5 else ''}; encode them (pandas.get_dummies), or leave them "
                "out"
            )
        kinds = list(items.dtypes)
        if all(isinstance(k, np.dtype) and k == kinds[0] and k.kind != "b" for k in kinds):
            return items.to_numpy()
    elif isinstance(getattr(items, "dtype", None), np.dtype) and items.dtype.kind in "iuf":
        return items.to_numpy()
    try:
        return items.to_numpy(dtype=np.float64, na_value=np.nan)
    except TypeError:  # other libraries than pandas
        return np.asarray(items.to_numpy(), dtype=np.float64)


def _numeric(kind: Any) -> bool:
    if isinstance(kind, np.dtype):
        return kind.kind in "biufc"
    known = getattr(kind, "_is_numeric", None)  # pandas' nullable types
    if known is None:
        known = kind.is_numeric() if hasattr(kind, "is_numeric") else False
    return bool(known) or getattr(kind, "_is_boolean", False) or str(kind) == "Boolean"


def names(items: Any) -> np.ndarray | None:
    """The columns of a data frame, if all of them are strings."""
    items = items[0] if isinstance(items, tuple) else items
    columns = getattr(items, "columns", None)
    if columns is None or isinstance(items, Tensor):
        return None
    found = [c for c in columns if isinstance(c, str)]
    return np.array(found, dtype=object) if len(found) == len(columns) else None


def in_order(items: Any, known: np.ndarray | None, name: str) -> Any:
    """A data frame with its columns in the order they were fitted in; anything else as it is.

    Raises:
        ValueError: columns that are missing, or that were not fitted.
    """
    found = names(items)
    if known is None or found is None or list(found) == list(known):
        return items
    missing = [c for c in known if c not in set(found)]
    extra = [c for c in found if c not in set(known)]
    if missing or extra or len(found) != len(known):
        what = [
            f"{', '.join(c[:5])} {how}" for c, how in ((missing, "missing"), (extra, "new")) if c
        ]
        raise ValueError(
            f"the columns of {name} are not those of the fit: {'; '.join(what) or 'repeated names'}"
        )
    return items[list(known)]


def most_modes(pairs: PairSampler) -> int | None:
    """The most modes that a law can have, where that is known: pairs or classes, less one."""
    if isinstance(pairs, ClassPairs):
        return len(pairs.classes) - 1
    return len(pairs) - 1 if isinstance(pairs, GivenPairs) else None


def require_modes(pairs: PairSampler, modes: int) -> None:
    most = most_modes(pairs)
    if most is not None and modes > most:
        kind = "classes" if isinstance(pairs, ClassPairs) else "pairs"
        raise ValueError(
            f"{most + 1} {kind} have at most {most} modes of dependence: give more, or modes ≤ "
            f"{most} instead of {modes}"
        )


def why_undivided(pairs: PairSampler) -> str:
    """Why a law was not parted, in words."""
    if isinstance(pairs, ClassPairs):
        return "there are too few classes, and too few items of some, to hold any out"
    if not isinstance(pairs, GivenPairs):
        return "the rows of a loader or sampler cannot be told apart: give validation=(X, Y)"
    if exact(pairs):
        return "the weights are a law of cells that is known exactly, not a sample"
    return "there are too few pairs to hold any out"


def independent(pairs: PairSampler) -> float:
    """How many pairs of a part, or classes, are draws of their own."""
    if isinstance(pairs, ClassPairs):
        return float(len(pairs.classes))
    if not isinstance(pairs, GivenPairs):
        return float("inf")
    if pairs.independent is not None:
        return pairs.independent
    counts = pairs.counts
    return float("inf") if counts is None else float(counts.sum())


def exact(pairs: PairSampler) -> bool:
    """Whether the pairs with their weights are the whole law, and not a sample of it."""
    if isinstance(pairs, WeightedPairs):
        return pairs.kind == "law"
    return isinstance(pairs, GivenPairs) and pairs.counts is None


def folds(pairs: PairSampler, count: int, seed: int, groups: Any = None) -> list[Part]:
    """``count`` disjoint parts of equal mass; see :func:`deal`."""
    return deal(pairs, [1 / count] * count, seed, groups)


def deal(pairs: PairSampler, shares: Sequence[float], seed: int, groups: Any = None) -> list[Part]:
    """Disjoint parts that hold about the given shares of the mass, dealt at random.

    Whole numbers as weights are counts: the pairs that they count are dealt one by one, so that
    a table and its rows are one law. Copies stay together: rows that share an x or a y where such
    values hardly ever repeat by chance. Classes are dealt as a whole, so that parts judge each
    other on new classes; where they are too few for that, their items are.

    Args:
        groups: (n,) labels of given pairs that must not be parted; or "series": rows in time, of
            which parts are contiguous.

    Returns:
        Parts of at least two pairs or classes, and their masses; fewer than asked for where data
        are few, and none at all of laws that cannot be parted: loaders, samplers, a law that is
        known exactly, a handful of pairs.

    Raises:
        ValueError: groups of another length, or of data that are not pairs.
    """
    if groups is not None and not isinstance(pairs, GivenPairs):
        raise ValueError("groups belong to given pairs: classes are kept together by themselves")
    generator = torch.Generator().manual_seed(seed)
    if isinstance(pairs, ClassPairs):
        return _deal_classes(pairs, shares, generator)
    if not isinstance(pairs, GivenPairs):
        return []
    if exact(pairs):
        _keys(pairs, groups)  # which may be wrong all the same
        return []
    sampled = pairs.counts is None
    counts = pairs.weight if sampled else pairs.counts
    assert counts is not None
    seen = counts > 0
    if not bool(seen.all()):
        if groups is not None and not isinstance(groups, str):
            groups = _labels(pairs, groups)[seen.numpy()]
        pairs, counts = pairs.only(torch.nonzero(seen).flatten()), counts[seen]
    keys = _keys(pairs, groups)
    if keys is None and sampled:
        keys = torch.arange(len(pairs))
    if keys is None:
        return _deal_units(pairs, counts, shares, generator)
    if isinstance(groups, str):
        order = torch.arange(int(keys.max()) + 1)
    else:
        order = torch.randperm(int(keys.max()) + 1, generator=generator)
    mass = torch.zeros(len(order), dtype=torch.float64).index_add_(0, keys, counts.double())
    place = torch.empty_like(mass, dtype=torch.int64)
    place[order] = _places(mass[order], shares)
    row = place[keys]
    chosen = [torch.nonzero((row == k) & (counts > 0)).flatten() for k in range(len(shares))]
    out: list[Part] = []
    for part in _merged(chosen):
        some = pairs.only(part)
        if isinstance(some, WeightedPairs):
            some.series = isinstance(groups, str)
            some.blocks = keys[part]
        if not isinstance(groups, str):
            mass = torch.zeros(len(order), dtype=torch.float64)
            mass.index_add_(0, keys[part], counts[part].double())
            if not sampled:
                mass = (mass > 0).double()  # a copy that was counted is no heavier witness
            some.independent = float(mass.sum().square() / mass.square().sum())
        out.append((some, float(counts[part].sum())))
    return out


def _places(mass: Tensor, shares: Sequence[float]) -> Tensor:
    """The part of each of a row of masses, by where its middle lies."""
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    middle = (mass.cumsum(0) - mass / 2) / mass.sum()
    return torch.searchsorted(ends / ends[-1], middle).clamp_max(len(shares) - 1)


def _merged(chosen: list[Tensor], least: int = 2) -> list[Tensor]:
    """Parts that are too small join the next; fewer than two parts are none."""
    out: list[Tensor] = []
    rest = chosen[0][:0]
    for part in chosen:
        rest = torch.cat([rest, part])
        if len(rest) >= least:
            out.append(rest)
            rest = rest[:0]
    if out and len(rest):
        out[-1] = torch.cat([out[-1], rest])
    return [part.sort().values for part in out] if len(out) > 1 else []


def _deal_units(
    pairs: GivenPairs, counts: Tensor, shares: Sequence[float], generator: torch.Generator
) -> list[Part]:
    """Every counted pair by itself."""
    total = int(counts.sum())
    if total <= MOST_UNITS:
        unit = torch.arange(len(counts)).repeat_interleave(counts)
        order = unit[torch.randperm(total, generator=generator)]
        ends = (torch.tensor(shares).double().cumsum(0) / sum(shares) * total).round().long()
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        pieces = _merged([order[a:b] for a, b in zip(starts, ends, strict=True)])
        dealt = [piece.bincount(minlength=len(counts)) for piece in pieces]
    else:
        seed = int(torch.randint(2**31, (1,), generator=generator))
        rng = np.random.default_rng(seed)
        share = np.array(shares) / sum(shares)
        dealt = list(torch.from_numpy(rng.multinomial(counts.numpy(), share)).T)
    out: list[Part] = []
    for number in dealt:
        part = torch.nonzero(number).flatten()
        weight = None if pairs.weight is None and int(number.max()) == 1 else number[part]
        out.append((pairs.only(part, weight), float(number.sum())))
    return out


def _deal_classes(
    pairs: ClassPairs, shares: Sequence[float], generator: torch.Generator
) -> list[Part]:
    order = torch.randperm(len(pairs.classes), generator=generator)
    place = _places(torch.ones(len(order)).double(), shares)
    chosen = _merged([order[place == k] for k in range(len(shares))])
    few = len(pairs.classes) < 2 * len(shares)
    if not few and len(chosen) > 1:
        return [(pairs.only(part), float(pairs.prior[part].sum())) for part in chosen]
    least = min(int(code.bincount().min()) for code in (pairs.code_x, pairs.code_y))
    if least < len(shares):
        if len(chosen) < 2:
            return []
        return [(pairs.only(part), float(pairs.prior[part].sum())) for part in chosen]
    sides = []
    for code in (pairs.code_x, pairs.code_y):
        place = torch.empty_like(code)
        for c in range(len(pairs.classes)):
            mine = torch.nonzero(code == c).flatten()
            mine = mine[torch.randperm(len(mine), generator=generator)]
            at = _places(torch.ones(len(mine)).double(), shares)
            # every part must see every class
            at[: len(shares)] = torch.arange(len(shares))
            place[mine] = at
        sides.append([torch.nonzero(place == k).flatten() for k in range(len(shares))])
    total = sum(shares)
    parts = zip(*sides, shares, strict=True)
    return [(pairs.items(x, y), share / total) for x, y, share in parts]


def _keys(pairs: GivenPairs, groups: Any) -> Tensor | None:
    """(n,) numbers of what must stay together; None if every pair may go its own way."""
    n = len(pairs)
    if isinstance(groups, str):
        if groups != SERIES:
            raise ValueError(f"groups must be labels (n,), 'series' or None, got {groups!r}")
        return torch.arange(n)
    if groups is not None:
        labels = _labels(pairs, groups)
        codes = np.unique(labels, return_inverse=True)[1]
        if codes.max() == 0:
            raise ValueError("all pairs are in one group: there is nothing to judge them by")
        return torch.from_numpy(np.ascontiguousarray(codes, dtype=np.int64))
    return _copies(pairs)


def _labels(pairs: GivenPairs, groups: Any) -> np.ndarray:
    labels = groups.cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    if labels.shape != (len(pairs),):
        raise ValueError(
            f"{len(pairs)} pairs need groups of shape ({len(pairs)},), got {labels.shape}"
        )
    return labels.astype(str) if labels.dtype.kind == "O" else labels


def _copies(pairs: GivenPairs) -> Tensor | None:
    """ScaledRows that are copies of each other, or share an x or a y that hardly repeats by chance.

    Values of few kinds repeat because the law is discrete, and then rows are draws of their own:
    a value counts as an item if there are more than √n different ones on its side.
    """
    n = int(pairs.counts.sum()) if pairs.counts is not None else len(pairs)
    ids = [same(side) for side in (pairs.x, pairs.y)]
    kinds = [int(i.max()) + 1 for i in ids]
    many = [k > n**0.5 for k in kinds]
    if all(k == len(i) for k, i in zip(kinds, ids, strict=True)) or not any(many):
        return None if n == len(pairs) or not any(many) else torch.arange(len(pairs))
    linked = _components([i for i, m in zip(ids, many, strict=True) if m])
    # by chance nearly all rows are linked to one another
    weight = torch.ones(len(linked)) if pairs.counts is None else pairs.counts.double()
    return linked if float(linked.bincount(weight).max()) <= n / 2 else None


def _components(ids: list[Tensor]) -> Tensor:
    """Connected components of rows, of which any two with one id are linked."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(ids[0])
    rows, columns, size = [], [], n
    for i in ids:
        rows.append(np.arange(n))
        columns.append(i.numpy() + size)
        size += int(i.max()) + 1
    at = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(at[0])), at), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][:n]
    return same(torch.from_numpy(labels.astype(np.int64))[:, None])
