"""Leading singular vectors of one matrix, exact or by random projection."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from schmidt.linalg import fix_signs

Method = Literal["auto", "exact", "randomized"]
EXACT_UP_TO = 1024
"""The smaller side up to which ``auto`` is exact: there it takes well under a second."""
POWER_ITERATIONS = 4


def leading(
    matrix: Tensor, rank: int, method: Method = "auto", seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, k), σ (k,), V (n, k) with k = min(rank, m, n), in descending order of σ.

    ``randomized`` is :func:`torch.svd_lowrank` with twice as many directions as asked for and four
    power iterations; its columns are those of a random projection that ``seed`` fixes, and torch's
    global generators stay as they were. Signs follow the library's one rule, on U.

    Args:
        matrix: (m, n), in float32 or float64; lower precisions are raised to float32.
        rank: number of triplets.
        method: "auto" is exact where min(m, n) ≤ 1024.

    Raises:
        ValueError: entries that are not finite; an unknown method.
    """
    if method not in ("auto", "exact", "randomized"):
        raise ValueError(f"svd must be auto, exact or randomized, got {method!r}")
    if not torch.isfinite(matrix).all():
        raise ValueError("the matrix has entries that are not finite")
    matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    k = min(rank, *matrix.shape)
    directions = min(2 * k + 8, *matrix.shape)
    exact = method == "exact" or (method == "auto" and min(matrix.shape) <= EXACT_UP_TO)
    if exact or directions == min(matrix.shape):
        U, s, Vh = torch.linalg.svd(matrix, full_matrices=False)
        U, s, V = U[:, :k], s[:k], Vh[:k].mT
    else:
        devices = [matrix.device] if matrix.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            U, s, V = torch.svd_lowrank(matrix, q=directions, niter=POWER_ITERATIONS)
        U, s, V = U[:, :k], s[:k], V[:, :k]
    signs = fix_signs(U)
    return U * signs, s, V * signs
