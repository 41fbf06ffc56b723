"""Arrays of any kind as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy


def tensor(a: Any, dtype: type[np.generic] | None = None) -> Tensor:
    """A tensor as it is; anything else as a tensor of a copy, which numpy may convert to ``dtype``.

    A copy in native byte order, because torch takes neither reversed nor read-only nor
    byte-swapped arrays.
    """
    if isinstance(a, Tensor):
        return a
    if hasattr(a, "tocsr"):
        raise ValueError("expected a dense array, got a sparse matrix; call .toarray() first")
    refuse_masked(a)
    array = np.array(a, dtype=dtype)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"expected numbers, got an array of {array.dtype}")
    return from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def refuse_masked(a: Any) -> None:
    """A masked array would lose its mask, and its fill values would become data.

    Lists are looked into: numpy drops the masks of arrays in them.

    Raises:
        ValueError: a numpy masked array with something masked.
    """
    if isinstance(a, np.ma.MaskedArray):
        if bool(np.ma.getmaskarray(a).any()):
            count = int(np.ma.getmaskarray(a).sum())
            raise ValueError(
                f"the array masks {count} of its {a.size} entries: fill them (a.filled(value)), or "
                "complete them with schmidt.MatrixCompletion"
            )
    elif isinstance(a, list | tuple):
        for part in a:
            if isinstance(part, np.ma.MaskedArray | list | tuple):
                refuse_masked(part)


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """No gradients, and no torch.autocast: linear algebra in the precision of its data."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
