"""Scalar fields: functions of position such as potentials and densities."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor | float]
"""A scalar field: points (B, d) to values (B,), or to one number for all of them."""


def cast(values: Tensor | float, x: Tensor, name: str) -> Tensor:
    """What a field returned at points x, on their device and in their precision."""
    dtype = x.dtype if x.is_floating_point() else torch.float64
    if not isinstance(values, Tensor):
        return torch.as_tensor(values, dtype=dtype, device=x.device)
    if values.is_complex():
        raise ValueError(f"{name} must be real, got {values.dtype}")
    return values.to(x.device, dtype)


def evaluate(field: Field, x: Tensor, name: str) -> Tensor:
    """The values (B,) of a field at points (B, d); ``name`` says in errors which field it is."""
    values = cast(field(x), x, name)
    if values.ndim == 0:
        return values.expand(len(x))
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"{name} must map points (B, d) to values (B,): it gave {tuple(values.shape)} for "
            f"points {tuple(x.shape)}"
        )
    return values
