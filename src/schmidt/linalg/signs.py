"""The one rule for signs and phases."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def fix_signs(columns: Any) -> Any:
    """The unit factors that make each column obey the library's one rule for signs.

    The rule: the first entry whose magnitude is at least half of the column's largest is real and
    positive. ("The largest entry" would let rounding decide between two equal ones.) It is applied
    to the right side of a factorization, whose rows are the variables that users look at.

    Args:
        columns: (n, k), numpy array or tensor, real or complex.

    Returns:
        (k,) factors of modulus one, of the same kind; multiply *both* sides of a factorization by
        them. A zero column gets the factor 1.

    Example:
        >>> fix_signs(np.array([[0.0, 1.0], [-2.0, 1.0]]))
        array([-1.,  1.])
    """
    a = columns.detach().cpu().numpy() if isinstance(columns, Tensor) else np.asarray(columns)
    size = np.abs(a)
    first = np.argmax(size >= 0.5 * size.max(axis=0, keepdims=True), axis=0)
    pivot = a[first, np.arange(a.shape[1])]
    modulus = np.abs(pivot)
    factors = np.where(modulus > 0, np.conj(pivot) / np.where(modulus > 0, modulus, 1), 1.0)
    if isinstance(columns, Tensor):
        return torch.as_tensor(factors).to(columns)
    return factors.astype(a.dtype, copy=False)
