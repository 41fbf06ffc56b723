"""Bounds of the spectral norm of what a truncated answer leaves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from schmidt.matrices.certificate.probe import Prober, Remainder
from schmidt.matrices.certificate.rounding import cancelled
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Source

COLUMNS = 8


def measured_residuals(kept: Triplets) -> np.ndarray:
    assert kept.residuals is not None
    return kept.residuals.double().cpu().numpy()


def spectral_bounds(
    source: Source,
    found: Triplets,
    rank: int,
    noise: float,
    seed: int,
    probability: float,
    sharp: float | None,
) -> tuple[float, float, int]:
    """Lower and upper bounds of ‖A − A_k‖₂, and the columns they cost.

    Random columns judge E_K, behind all K triplets. With Aᴴu_i = s_i v_i + r_i for the K − k
    triplets that are left out, A − A_k adds them to E_K, and
    ‖A − A_k‖₂² ≤ max(s_{k+1}² + r², ‖E_K‖₂²) + r ‖E_K‖₂ with r² = Σ‖r_i‖²: a Hermitian 2 × 2
    block matrix is no larger than its larger diagonal block plus its off-diagonal one.
    """
    dropped = found.values[rank:]
    if found.values.shape[0] == min(source.shape):
        remainder = (0.0, 0.0, 0)
    else:
        remainder = _remainder(source, found, seed, probability, sharp)
    lower, upper, spent = remainder
    lower, upper = max(lower - noise, 0.0), upper + noise
    if not len(dropped):
        return lower, upper, spent
    first = float(dropped[0])
    left_out = Triplets(
        None if found.left is None else found.left[:, rank:],
        dropped,
        found.right[:, rank:],
        None if found.residuals is None else found.residuals[rank:],
    )
    r = float(np.linalg.norm(measured_residuals(left_out) + noise))
    above = math.sqrt(max((first + noise) ** 2 + r * r, upper * upper) + r * upper)
    return max(first - noise, 0.0), above, spent


def _remainder(
    source: Source, found: Triplets, seed: int, probability: float, sharp: float | None
) -> tuple[float, float, int]:
    m, n = source.shape
    flipped = n > m
    E: Any = Remainder(source, found)
    if flipped:
        E = _Flipped(E)
    if not source.probes:
        assert source.norm2 is not None
        rest = source.norm2 - float(found.values.double().square().sum())
        return 0.0, math.sqrt(max(rest, 0.0) + cancelled(source)), 0
    if min(m, n) <= 8 * COLUMNS:  # all of E is as cheap as a probe
        eye = torch.eye(min(m, n), dtype=source.dtype, device=source.device)
        norm = float(torch.linalg.matrix_norm(E.apply(eye), 2))
        return norm, norm, min(m, n)
    prober = Prober(
        E, min(m, n), source.empty(), columns=COLUMNS, probability=probability, seed=seed
    )
    for _ in range(3):
        prober.half_step()
    probe = prober.bound()
    # all bounds fail together, so one may go on until one is good
    while (
        (
            probe.upper > 3 * probe.lower
            or (sharp is not None and probe.lower < sharp < 1.02 * probe.upper)
        )
        and prober.step < (24 if sharp is not None else 6)
        and not prober.full
    ):
        prober.half_step()
        probe = prober.bound()
    return probe.lower, probe.upper, probe.products


class _Flipped:
    def __init__(self, E: Remainder) -> None:
        self.apply, self.adjoint = E.adjoint, E.apply
