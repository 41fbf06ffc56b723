"""Arrays of every make become tensors of the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from schmidt.arrays import tensor


def frozen(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


GIVEN: dict[str, Any] = {
    "list": [[1.0, 2.0], [3.0, 4.0]],
    "reversed": np.array([[3.0, 4.0], [1.0, 2.0]])[::-1],
    "read-only": frozen(np.array([[1.0, 2.0], [3.0, 4.0]])),
    "big-endian": np.array([[1.0, 2.0], [3.0, 4.0]], dtype=">f8"),
    "tensor": torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_any_array_becomes_a_tensor(kind: str) -> None:
    expected = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    torch.testing.assert_close(tensor(GIVEN[kind]), expected, rtol=0, atol=0)


def test_arrays_are_copied_and_tensors_are_not() -> None:
    a, t = np.ones(3), torch.ones(3)
    tensor(a)[0] = 5
    assert a[0] == 1
    assert tensor(t) is t


def test_numpy_converts() -> None:
    assert tensor([1, 2], np.float64).dtype == torch.float64
