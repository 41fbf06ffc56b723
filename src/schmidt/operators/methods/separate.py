"""Which entries of the parameters belong to which mode, found by differentiating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Owner:
    """A parameter belongs to mode ``mode``, or its slice l along ``axis`` to mode l."""

    axis: int | None = None
    mode: int = 0

    def spread(self, matrix: Tensor, dimensions: int) -> Tensor:
        """M_ml as factors of a tensor (m, *parameter), l being the owner of each entry."""
        if self.axis is None:
            return matrix[:, self.mode].reshape(-1, *[1] * dimensions)
        shape = [len(matrix)] + [1] * dimensions
        shape[1 + self.axis] = matrix.shape[1]
        return matrix.reshape(shape)


def owners(values: Tensor, parameters: Mapping[str, Tensor]) -> tuple[dict[str, Owner], list[str]]:
    """The owner of every parameter, and the names of those that several modes share.

    Args:
        values: (B, L, …) of all functions, with their graph. One backward pass per mode.
        parameters: those that the values depend on, by name.
    """
    modes, tensors = values.shape[1], list(parameters.values())
    noise = torch.randn(
        values[:, 0].shape, generator=torch.Generator().manual_seed(0), dtype=values.dtype
    ).to(values.device)
    gradients: dict[str, list[Tensor | None]] = {name: [] for name in parameters}
    for mode in range(modes):
        found = torch.autograd.grad(
            (values[:, mode] * noise).sum(), tensors, retain_graph=True, allow_unused=True
        )
        for name, gradient in zip(parameters, found, strict=True):
            none = gradient is None or not bool(gradient.any())
            gradients[name].append(None if none else gradient)
    owned, shared = {}, []
    for name, parameter in parameters.items():
        owner = _owner(gradients[name], parameter)
        if owner is None:
            shared.append(name)
        else:
            owned[name] = owner
    return owned, shared


def _owner(gradients: list[Tensor | None], parameter: Tensor) -> Owner | None:
    for axis, size in enumerate(parameter.shape):
        if size == len(gradients) and all(
            g is None or _only(g, axis, mode) for mode, g in enumerate(gradients)
        ):
            return Owner(axis=axis)
    touched = [mode for mode, g in enumerate(gradients) if g is not None]
    return Owner(mode=touched[0] if touched else 0) if len(touched) < 2 else None


def _only(gradient: Tensor, axis: int, index: int) -> bool:
    rest = gradient.clone()
    rest.select(axis, index).zero_()
    return not bool(rest.any())
