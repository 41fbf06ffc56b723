"""How much memory a process has used."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")


def now() -> int | None:
    """Bytes that this process holds, or None where the system does not say."""
    return _line("VmRSS")


def peak() -> int | None:
    """The most bytes that this process ever held, or None where the system does not say."""
    found = _line("VmHWM")  # getrusage would count what the parent held when it forked
    if found is not None:
        return found
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class Meter:
    """Bytes that some work took on top of what was there before it: the peak, less the start."""

    def __init__(self, device: str) -> None:
        self.cuda = torch.device(device).type == "cuda"
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(device)
        self.device = device
        self.before = now() if now() is not None else peak()

    def read(self) -> int | None:
        if self.cuda:
            return int(torch.cuda.max_memory_allocated(self.device))
        most = peak()
        return None if most is None or self.before is None else max(0, most - self.before)


def _line(key: str) -> int | None:
    if not STATUS.exists():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None
