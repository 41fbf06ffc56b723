"""What is known about an answer: errors that are exact, bounds that are proven, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from schmidt.matrices.probe import Prober, Remainder
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.entries import squared_norm
from schmidt.matrices.sources.source import Source
from schmidt.rank import RankRule, largest_tail, tail_energy


@dataclass(frozen=True)
class Certificate:
    """What is known about ‖A − A_k‖ and about every triplet.

    Attributes:
        norm: ‖A‖_F, or None for an operator.
        frobenius: ‖A − A_k‖_F where ``frobenius_exact``, else an upper bound.
        frobenius_exact: to three digits at least. False where ‖A‖_F is unknown, or where the
            error is so small that ‖A‖_F² − Σσ² is rounding and A too large to form A − A_k.
        spectral: an upper bound of ‖A − A_k‖₂.
        spectral_lower: a lower bound of it.
        probability: that the upper bound ``spectral`` (and ``frobenius`` where it is not exact) is
            wrong; 0 for what follows from exact arithmetic on measured numbers.
        residuals: (k,) √(‖A v − s u‖² + ‖Aᴴu − s v‖²); some singular value lies within that
            distance of s.
        energy: (low, high) of Σ_{i≤k} σ_i² / Σ σ_i², or None.
        mass: (low, high) of Σ_{i≤k} σ_i / Σ σ_i.
        rule: what was asked for.
        met: whether the answer is proven to be what was asked for.
        note: what else there is to say.
        products: columns that A or Aᴴ was applied to for the certificate.
    """

    norm: float | None
    frobenius: float
    frobenius_exact: bool
    spectral: float
    spectral_lower: float
    probability: float
    residuals: np.ndarray
    energy: tuple[float, float] | None
    mass: tuple[float, float]
    rule: str
    met: bool
    note: str = ""
    products: int = 0

    def __str__(self) -> str:
        sign = "=" if self.frobenius_exact else "≤"
        surely = "" if self.probability == 0 else f" (fails with probability {self.probability:g})"
        lines = [
            f"{self.rule}: " + ("met" if self.met else "NOT proven to be met"),
            f"‖A − A_k‖_F {sign} {self.frobenius:.6g}"
            + (f" of ‖A‖_F = {self.norm:.6g}" if self.norm is not None else ""),
            f"{self.spectral_lower:.4g} ≤ ‖A − A_k‖₂ ≤ {self.spectral:.4g}{surely}",
            f"residuals ≤ {self.residuals.max():.1e}",
        ]
        return "\n".join([*lines, self.note] if self.note else lines)

    def in_units(self, unit: float) -> Certificate:
        """The certificate of unit·A."""
        if unit == 1:
            return self
        return replace(
            self,
            norm=None if self.norm is None else self.norm * unit,
            frobenius=self.frobenius * unit,
            spectral=self.spectral * unit,
            spectral_lower=self.spectral_lower * unit,
            residuals=self.residuals * unit,
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers and lists."""
        return {
            "rule": self.rule,
            "met": self.met,
            "norm": self.norm,
            "frobenius": self.frobenius,
            "frobenius_exact": self.frobenius_exact,
            "spectral": self.spectral,
            "spectral_lower": self.spectral_lower,
            "failure_probability": self.probability,
            "residuals": self.residuals.tolist(),
            "energy": None if self.energy is None else list(self.energy),
            "mass": list(self.mass),
            "note": self.note,
            "products": self.products,
        }


def rounding(source: Source, s: np.ndarray) -> float:
    """What rounding can do to A − A_k and to its products: 8 ε √min(m, n) ‖A‖_F.

    A x carries an error of about ε ‖A‖_F, of which there are three; the rotations of LAPACK's
    decomposition add up like √n. For an operator √min(m, n) σ₁ replaces ‖A‖_F. What the source
    knows of its own comes on top: many updates, or columns that nearly cancel with their means.
    """
    norm = math.sqrt(source.norm2 if source.norm2 is not None else min(source.shape)) * (
        1.0 if source.norm2 is not None else float(s[0])
    )
    own = 8 * math.sqrt(min(source.shape)) * float(torch.finfo(source.dtype).eps) * norm
    return own + source.noise


def cancelled(source: Source) -> float:
    """What rounding can do to ‖A‖_F² − Σs²: noise N does 2 ‖A‖_F N, without its √min(m, n)."""
    assert source.norm2 is not None
    own = 16 * float(torch.finfo(source.dtype).eps) * source.norm2
    return own + 2 * math.sqrt(source.norm2 / min(source.shape)) * source.noise


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
