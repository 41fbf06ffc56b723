"""What a thing is: described for people, compared by what it does.

Two operators are one if they give the same numbers, whatever they are called. So a checkpoint keeps
*evidence* – values of fixed probes at fixed points, digests of data, settings – and a resumed run
makes it again and compares: numbers to 1e-6, everything else exactly. Descriptions stand beside the
differences in the message; they decide nothing.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

TOLERANCE = 1e-6
"""Relative difference up to which two numbers are one."""
WHOLE = 2**26
"""Bytes of an array up to which all of it is read; of larger ones and of memory maps, some rows."""
ROWS = 1024
SEED = 20240723
DEPTH = 6


class Described:
    """Things that say what they are: :meth:`describe`, by default class and public attributes."""

    def describe(self) -> Any:
        """Plain numbers, texts, lists and dictionaries, for people and for JSON."""
        return attributes(self)


def describe(thing: Any, depth: int = DEPTH) -> Any:
    """What a thing is, as plain numbers, texts, lists and dictionaries.

    Arrays are described by shape and digest, functions by their source where it is one line, other
    things by their own ``describe()``, or class and public attributes.

    Example:
        >>> describe({"a": (1, 2.0), "b": None})
        {'a': [1, 2.0], 'b': None}
    """
    if thing is None or isinstance(thing, bool | int | str):
        return thing
    if isinstance(thing, float):
        return thing if math.isfinite(thing) else str(thing)
    if isinstance(thing, np.generic):
        return describe(thing.item(), depth)
    if is_array(thing):
        return {"shape": list(thing.shape), "dtype": _kind(thing), "digest": digest(thing)[:12]}
    if depth <= 0:
        return type(thing).__name__
    if isinstance(thing, Mapping):
        return {str(k): describe(v, depth - 1) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [describe(v, depth - 1) for v in thing]
    if isinstance(thing, set | frozenset):
        return sorted((describe(v, depth - 1) for v in thing), key=str)
    if isinstance(thing, nn.Module):
        return _module(thing, depth)
    own = getattr(thing, "describe", None)
    if own is not None and not isinstance(thing, type):
        return own()
    if isinstance(thing, functools.partial):
        parts = {"args": list(thing.args), **thing.keywords}
        return {"function": describe(thing.func, depth - 1), **describe(parts, depth - 1)}
    if inspect.isroutine(thing):
        return _source(thing)
    if isinstance(thing, type | torch.dtype | torch.device):
        return str(getattr(thing, "__qualname__", thing))
    if hasattr(thing, "__dict__"):
        return attributes(thing, depth)
    return str(thing)


def attributes(thing: Any, depth: int = DEPTH) -> dict[str, Any]:
    """Class and public attributes of a thing."""
    public = {k: v for k, v in vars(thing).items() if not k.startswith("_")}
    return {"class": type(thing).__name__} | {k: describe(v, depth - 1) for k, v in public.items()}


def _module(network: nn.Module, depth: int) -> dict[str, Any]:
    """Class, settings, shapes of own parameters, and the modules inside."""
    plain = (bool, int, float, str, tuple, list)
    settings = {
        k: describe(v, depth - 1)
        for k, v in vars(network).items()
        if not k.startswith("_") and k != "training" and (isinstance(v, plain) or callable(v))
    }
    shapes = {k: list(p.shape) for k, p in network.named_parameters(recurse=False)}
    inside = {k: describe(m, depth - 1) for k, m in network.named_children()}
    return {"class": type(network).__name__, **settings, **shapes, **inside}


def _source(function: Any) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    try:
        text = inspect.getsource(function).strip().splitlines()
    except (OSError, TypeError):
        return str(name)
    return text[0][:120] if len(text) == 1 else str(name)


def is_array(thing: Any) -> bool:
    """A tensor, a numpy array or a sparse matrix."""
    return isinstance(thing, Tensor | np.ndarray) or hasattr(thing, "tocsr")


def _kind(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _pieces(array: Any) -> Iterator[np.ndarray]:
    """The numbers of an array, or of some of its rows."""
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        if array.layout is not torch.strided:
            array = array.to_sparse_coo().coalesce()
            yield array.indices().numpy()
            array = array.values()
        array = array.resolve_conj()
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    elif hasattr(array, "tocsr"):
        rows = array.tocsr()
        yield np.asarray(rows.indptr)
        yield np.asarray(rows.indices)
        array = rows.data
    if (isinstance(array, np.memmap) or array.nbytes > WHOLE) and array.ndim and len(array) > ROWS:
        chosen = np.sort(np.random.default_rng(SEED).choice(len(array), ROWS, replace=False))
        array = array[chosen]
    yield np.ascontiguousarray(array)


def digest(array: Any) -> str:
    """A hash of type, shape and numbers; of memory maps and large arrays, of 1,024 rows of them."""
    total = hashlib.sha256(f"{_kind(array)}:{tuple(array.shape)}".encode())
    for piece in _pieces(array):
        if piece.dtype == object:
            total.update(repr(piece.tolist()).encode())
        else:
            total.update(piece.reshape(-1).view(np.uint8).data if piece.size else b"")
    return total.hexdigest()


def evidence_of_array(array: Any) -> dict[str, Any]:
    """Shape, digest, and for numbers their size and two fixed projections.

    Two arrays are one if their digests are, or if shapes and projections agree: means and products
    depend in the last bits on how many threads made them.
    """
    out: dict[str, Any] = {"shape": list(array.shape), "digest": digest(array)}
    *_, numbers = _pieces(array)
    if numbers.dtype.kind in "fc" and numbers.size:
        flat = np.nan_to_num(
            numbers.reshape(-1).astype(complex if numbers.dtype.kind == "c" else float)
        )
        signs = np.random.default_rng(SEED).integers(0, 2, (2, len(flat)), dtype=np.int8) * 2 - 1
        size = float(np.linalg.norm(flat))
        sums = [complex(s @ flat) for s in signs]
        precise = 1e-10 if numbers.dtype.itemsize >= 8 else 1e-7
        out["sums"] = [size, *(x for s in sums for x in (s.real, s.imag))]
        out["precision"] = precise * size
    return out


def data_of(thing: Any, depth: int = DEPTH) -> dict[str, Any]:
    """The arrays inside a thing, by where they are: evidence of what a form or a sampler holds.

    Public attributes, elements and what functions close over are visited, modules by their state.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(value: Any, path: str, left: int) -> None:
        if id(value) in seen or left < 0 or isinstance(value, str | bytes | type):
            return
        seen.add(id(value))
        if is_array(value):
            found[path] = evidence_of_array(value)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                visit(item, f"{path}.{key}", left - 1)
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value[:64]):
                visit(item, f"{path}[{i}]", left - 1)
        elif isinstance(value, nn.Module):
            visit(dict(value.state_dict()), path, left - 1)
        elif isinstance(value, functools.partial):
            visit([value.func, *value.args, value.keywords], path, left - 1)
        elif inspect.ismethod(value):
            visit(value.__self__, path, left - 1)
        elif inspect.isfunction(value):
            inner = inspect.getclosurevars(value).nonlocals if value.__closure__ else {}
            visit([*(value.__defaults__ or ()), *inner.values()], path, left - 1)
        elif hasattr(value, "__dict__") and not inspect.ismodule(value):
            for key, item in vars(value).items():
                if not key.startswith("_"):
                    visit(item, f"{path}.{key}" if path else key, left - 1)

    visit(thing, "", depth)
    return found


def differences(then: Any, now: Any, name: str = "", tolerance: float = TOLERANCE) -> list[str]:
    """Where two pieces of evidence differ: one line each, with both values.

    Numbers differ if they are further apart than ``tolerance`` times the larger, and a list of
    numbers if their distance is more than that of its length. None means unknown, which differs
    from nothing.

    Example:
        >>> differences({"batch": 64}, {"batch": 32}, "training")
        ['training.batch: 64 then, 32 now']
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        if "digest" in then and "digest" in now:
            return _array_differences(then, now, name)
        keys = [*then, *(k for k in now if k not in then)]
        path = f"{name}." if name else ""
        return [
            line
            for key in keys
            for line in differences(
                then.get(key, ABSENT), now.get(key, ABSENT), f"{path}{key}", tolerance
            )
        ]
    if _same(then, now, tolerance):
        return []
    return [f"{name}: {_shown(then)} then, {_shown(now)} now"]


def refuse(directory: Path, kind: str, lines: Sequence[str], same: str) -> NoReturn:
    """Say why a run cannot go on from a directory.

    Args:
        directory: where the other one is.
        kind: what it is: "run", "experiment".
        lines: of :func:`differences`, the most telling first.
        same: what has to be the same.

    Raises:
        ValueError: always.
    """
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    raise ValueError(
        f"cannot resume from {directory}: it holds another {kind} – {'; '.join(lines[:SHOWN])}"
        f"{more}. Use the same {same}, or another directory"
    )


SHOWN = 6
"""Differences that are named."""
ABSENT = "absent"


def _same(then: Any, now: Any, tolerance: float) -> bool:
    if isinstance(then, bool) or isinstance(now, bool) or type(then) is str or type(now) is str:
        return type(then) is type(now) and then == now
    if _numeric(then) and _numeric(now):
        if then == now:
            return True
        a, b = np.asarray(then, float), np.asarray(now, float)
        if a.shape != b.shape:
            return False
        unknown = ~np.isfinite(a) | ~np.isfinite(b)
        if unknown.any() and not np.array_equal(a[unknown], b[unknown], equal_nan=True):
            return False
        a, b = np.where(unknown, 0.0, a), np.where(unknown, 0.0, b)
        return bool(np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(a), np.linalg.norm(b)))
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(
            not differences(a, b, "", tolerance) for a, b in zip(then, now, strict=True)
        )
    return then == now


def _numeric(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_numeric(v) for v in value) and _even(value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _even(values: list[Any]) -> bool:
    return len({np.shape(v) if not isinstance(v, list) else len(v) for v in values}) == 1


def _array_differences(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> list[str]:
    if then["digest"] == now["digest"]:
        return []
    if then["shape"] != now["shape"]:
        return [f"{name}: an array of shape {then['shape']} then, {now['shape']} now"]
    if "sums" in then and "sums" in now:
        gap = float(np.linalg.norm(np.subtract(then["sums"], now["sums"])))
        if gap <= max(then["precision"], now["precision"]):
            return []
    return [f"{name}: other numbers than then, in an array of shape {now['shape']}"]


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, float) else f"{value:.8g}"
    return text if len(text) <= 100 else text[:97] + "…"


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them: tuples are lists, arrays are nested lists of numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return plain(value.detach().cpu().numpy())
        if isinstance(value, np.ndarray):
            return plain(value.tolist()) if value.size <= 10_000 else describe(value)
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return describe(value)

    return {str(k): plain(v) for k, v in settings.items()}
