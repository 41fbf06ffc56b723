"""Parameters that are sharded over processes (FSDP2's ``DTensor``), gathered and written back.

Factors are small: every process gathers them whole and computes the same step, then keeps its part.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_sharded(x: Tensor) -> bool:
    return hasattr(x, "full_tensor")


def whole(x: Any) -> Tensor:
    """The whole tensor, on every process."""
    return x.full_tensor() if is_sharded(x) else x


def write(target: Any, value: Tensor) -> None:
    """``target`` ← ``value``, which is whole and the same on every process."""
    if is_sharded(target):
        from torch.distributed.tensor import DTensor, Replicate

        everywhere = [Replicate()] * target.device_mesh.ndim
        value = DTensor.from_local(value, target.device_mesh, everywhere, run_check=False)
        value = value.redistribute(placements=target.placements)
    target.copy_(value)
