"""Measuring and bounding what a solver left behind: the certificate of its answer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from schmidt.matrices.certificate.certificate import Certificate
from schmidt.matrices.certificate.rounding import cancelled, rounding
from schmidt.matrices.certificate.spectral import measured_residuals, spectral_bounds
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.entries import squared_norm
from schmidt.matrices.sources.source import Source
from schmidt.rank import RankRule, largest_tail, tail_energy

PROBABILITY = 1e-6
"""Of a bound from random columns being wrong."""
SURE = 1e3
"""Times the rounding of ‖A‖_F² that ‖A‖_F² − Σσ² must exceed to be called exact."""


def certify(
    source: Source,
    found: Triplets,
    rank: int,
    rule: RankRule,
    *,
    seed: int,
    probability: float = PROBABILITY,
    sharp: float | None = None,
) -> Certificate:
    """The certificate of the first ``rank`` of the triplets that a solver found.

    Args:
        source: A.
        found: K ≥ k triplets with A v = s u to rounding.
        rank: k.
        rule: what was asked for.
        seed: of the random columns; they must be new to ``found``.
        probability: that the spectral bound may fail.
        sharp: a number that the spectral bound should get below, if it can in a few more products.
    """
    found, mismatch = _measured(source, found)
    kept = found.truncate(rank)
    s = found.values.double().cpu().numpy()
    noise = rounding(source, s)
    residuals = measured_residuals(kept) + noise
    spectrum = None if found.spectrum is None else found.spectrum.double().cpu().numpy()
    if spectrum is not None:
        tail = spectrum[rank:]
        next_value = float(tail[0]) if len(tail) else 0.0
        lower, upper, chance, spent = max(next_value - noise, 0.0), next_value + noise, 0.0, 0
    else:
        lower, upper, spent = spectral_bounds(source, found, rank, noise, seed, probability, sharp)
        chance = probability if spent and len(s) < min(source.shape) else 0.0
    exact, slack = _frobenius(source, kept, spectrum, noise, mismatch)
    smallest = min(source.shape)
    bound = math.sqrt(smallest - rank) * upper + noise if smallest > rank else noise
    frobenius = exact if exact is not None else bound
    if exact is None and source.norm2 is not None:
        # what cancelled: all of it may be error
        most = source.norm2 - float(np.square(s[:rank]).sum()) + cancelled(source) + mismatch
        frobenius = min(bound, math.sqrt(max(most, 0.0)) + noise)
    if exact is not None:
        upper = min(upper, exact + slack)
    known = s if spectrum is None else spectrum
    norm = _norm(source, spectrum)
    mass = _mass(source, known, rank, found, upper, noise, mismatch)
    return Certificate(
        norm,
        frobenius,
        exact is not None,
        upper,
        min(lower, upper),
        chance,
        residuals,
        _energy(norm, frobenius, exact is not None),
        mass,
        str(rule),
        _met(rule, rank, s, norm, frobenius, upper, noise, mass),
        _note(norm, exact, frobenius),
        spent,
    )


def _norm(source: Source, spectrum: np.ndarray | None) -> float | None:
    if source.norm2 is not None:
        return math.sqrt(source.norm2)
    return None if spectrum is None else float(np.linalg.norm(spectrum))


def _measured(source: Source, found: Triplets) -> tuple[Triplets, float]:
    """Residuals of both sides where nobody has measured them, and what ‖A‖_F² − Σσ² misses.

    ‖A − U S Vᴴ‖_F² = ‖A‖_F² − Σs² − 2 Re Σ s_i ⟨u_i, A v_i − s_i u_i⟩: nothing for solvers that
    make A v = s u by construction.
    """
    if found.residuals is not None:
        return found, 0.0
    right = torch.linalg.vector_norm(source.adjoint(found.left) - found.right * found.values, dim=0)
    left = torch.linalg.vector_norm(source.apply(found.right) - found.left * found.values, dim=0)
    return replace(found, residuals=torch.hypot(left, right)), 2 * float(found.values @ left)


def _frobenius(
    source: Source,
    kept: Triplets,
    spectrum: np.ndarray | None,
    noise: float,
    mismatch: float,
) -> tuple[float | None, float]:
    """‖A − A_k‖_F to three digits, or None; and how wrong rounding may have made it."""
    if spectrum is not None:
        value = math.sqrt(float(np.square(spectrum[len(kept.values) :]).sum()))
        return (value if value > SURE * noise else None), noise
    if source.norm2 is None:
        return None, 0.0
    left = source.norm2 - float(kept.values.double().square().sum())
    uncertain = cancelled(source) + mismatch
    if left > SURE * uncertain:
        return math.sqrt(left), noise + uncertain / math.sqrt(left)
    if source.structure != "dense":
        return None, 0.0
    A, total = source.dense(), 0.0
    scaled = kept.values[:, None] * kept.right.mH
    for start in range(0, A.shape[0], 1024):
        rows = slice(start, start + 1024)
        total += squared_norm(A[rows] - kept.left[rows] @ scaled)
    value = math.sqrt(total)
    return (value if value > SURE * noise else None), noise


def _mass(
    source: Source,
    known: np.ndarray,
    rank: int,
    found: Triplets,
    spectral: float,
    noise: float,
    mismatch: float,
) -> tuple[float, float]:
    """Bounds of Σ_{i≤k} s_i / ‖A‖_*, ‖A‖_* = Σσ.

    With A_K all K triplets and E = A − A_K: ‖A‖_* ≤ Σs + ‖E‖_* ≤ Σs + √min(m, n) ‖E‖_F. Tested
    with U Vᴴ plus the polar factor of (I − U Uᴴ) E, ‖A‖_* ≥ Σs + ‖E‖_* − √K (Σ‖r_i‖²)^(1/2), and
    ‖E‖_* ≥ ‖E‖_F²/‖E‖₂. The bound of ‖A − A_k‖₂ serves for ‖E‖₂.
    """
    kept, seen = float(known[:rank].sum()), float(known.sum())
    terms = 0 if found.spectrum is not None else source.small
    if found.spectrum is None and source.norm2 is None:
        most, least = terms * spectral, 0.0
    else:
        most = largest_tail(known, source.norm2, terms)
        least = 0.0
    if terms and source.norm2 is not None and spectral > 0 and found.residuals is not None:
        slack = cancelled(source) + mismatch
        most = math.sqrt(most**2 + terms * slack)
        r = float(found.residuals.double().square().sum()) ** 0.5
        energy = max(tail_energy(known, source.norm2) - slack, 0.0)
        least = max(energy / spectral - math.sqrt(len(known)) * (r + noise), 0.0)
    most, least = most + len(known) * noise, least - len(known) * noise
    low = kept / (seen + most) if seen + most > 0 else 1.0
    high = min(kept / (seen + least), 1.0) if seen + least > kept else 1.0
    return min(low, high), high


def _energy(norm: float | None, frobenius: float, exact: bool) -> tuple[float, float] | None:
    if norm is None:
        return None
    share = max(0.0, 1 - (frobenius / norm) ** 2) if norm else 1.0
    return (share, share) if exact else (share, 1.0)


def _met(
    rule: RankRule,
    rank: int,
    s: np.ndarray,
    norm: float | None,
    frobenius: float,
    spectral: float,
    noise: float,
    mass: tuple[float, float],
) -> bool:
    if rule.kind == "rank":
        return rank == rule.amount
    if rule.kind == "mass":
        return mass[0] >= rule.amount * (1 - 1e-12)
    if rule.tail_energy is not None:
        # of the size of rounding in Σσ² only
        slack = 1e-12 * (norm or 0.0) + noise
        return norm is not None and frobenius <= math.sqrt(rule.tail_energy) * norm + slack
    return spectral <= rule.amount * float(s[0]) + noise


def _note(norm: float | None, exact: float | None, frobenius: float) -> str:
    if exact is not None:
        return ""
    if norm is None:
        return "‖A‖_F is unknown for an operator: the Frobenius error is a bound only"
    return (
        "‖A‖_F² − Σσ² is lost in rounding here: the Frobenius error is a bound, not its value"
        if frobenius > 0
        else ""
    )
