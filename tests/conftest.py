"""What every test gets: one thread per worker, seeds, and a clock of its own."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Networks draw their parameters from torch's global generator."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time budgets count this process's work, so that a busy machine changes no result."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)
