"""How much memory there is for what a method must keep."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

MEMINFO = Path("/proc/meminfo")


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes that tensors take."""
    return sum(t.numel() * t.element_size() for t in tensors)


def available(device: torch.device) -> int | None:
    """Bytes that can be had on a device now; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    if MEMINFO.exists():
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
