"""What is known about an answer: errors that are exact, bounds that are proven, and how surely."""

from __future__ import annotations

import math

import numpy as np

from schmidt.certificate import FAILURE, Bound, Certificate
from schmidt.matrices.completeness import Proof, establish
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.entries import squared_norm
from schmidt.matrices.sources.source import Source
from schmidt.rank import RankRule, largest_tail, tail_energy

SURE = 1e3
"""Times its rounding that a Frobenius error must exceed to be called known."""
AIM, LOOSE = 1e-6, 1e-5
"""Relative errors of values: what solvers aim at by default, and what is said if not proven."""
COMPLETENESS = 0.1
"""δ/s_k up to which an answer may be called complete, unless another is asked for."""


def rounding(source: Source, found: Triplets) -> float:
    """What rounding can do to A − A_k and to its products: 8 ε g ‖A‖_F, g = √min(m, n), at least 4.

    A x carries an error of about ε ‖A‖_F, of which there are three; the rotations of LAPACK's
    decomposition add up like √n. Long sums of terms of one sign lose √1024 or so more, as they are
    made in blocks, and √(max(m, n)/1024) where there are many blocks. For an operator √min(m, n) σ₁
    replaces ‖A‖_F. What the source and the solver know of their own comes on top: many updates, or
    columns that nearly cancel with their means.
    """
    m, n = source.shape
    small, large = min(m, n), max(m, n)
    norm = math.sqrt(source.norm2 if source.norm2 is not None else small) * (
        1.0 if source.norm2 is not None else float(found.values[0])
    )
    growth = max(math.sqrt(small), 4, math.sqrt(min(large, 1024)) / 2, math.sqrt(large / 1024))
    return 8 * growth * source.eps * norm + source.noise + found.noise


def cancelled(source: Source, found: Triplets) -> float:
    """What rounding can do to ‖A‖_F² − Σs²: noise N does 2 ‖A‖_F N, without its √min(m, n)."""
    assert source.norm2 is not None
    # long sums of squares in single precision lose more
    own = 16 * max(1.0, math.sqrt(max(source.shape) / 1024)) * source.eps * source.norm2
    added = source.noise + found.noise
    return own + 2 * math.sqrt(source.norm2 / min(source.shape)) * added


def prove(
    source: Source,
    found: Triplets,
    rank: int,
    rule: RankRule,
    *,
    seed: int,
    completeness: float = COMPLETENESS,
    failure: float = FAILURE,
    accuracy: float = 1e-6,
    demanded: float | None = None,
) -> Proof:
    """Upper bounds of σ_1 … σ_k and of ‖A − A_k‖₂, or what was missed: see ``completeness``."""
    sharp = None
    if rule.kind == "tol" and rule.norm != "fro":
        sharp = rule.amount * float(found.values[0])
    return establish(
        source,
        found,
        rank,
        completeness=completeness,
        noise=rounding(source, found),
        seed=seed,
        failure=failure,
        accuracy=accuracy,
        sharp=sharp,
        demanded=demanded is not None,
    )


def certify(
    source: Source,
    found: Triplets,
    rank: int,
    rule: RankRule,
    proof: Proof,
    completeness: float = COMPLETENESS,
    accuracy: float | None = None,
) -> Certificate:
    """The certificate of the first ``rank`` of the triplets that a solver found.

    Args:
        source: A.
        found: K ≥ k triplets with A v = s u to rounding.
        rank: k.
        rule: what was asked for.
        proof: upper bounds of the singular values.
        completeness: δ/s_k that the answer must prove.
        accuracy: of every value that the answer must prove, if any.
    """
    kept = found.truncate(rank)
    s = kept.values.double().cpu().numpy()
    noise = rounding(source, found)
    residuals = kept.errors(noise)
    highs = np.maximum(proof.highs[:rank], s) + noise
    top = float(proof.highs[rank]) + noise
    bounds = {
        "values": Bound(np.maximum(s - noise, 0.0), highs, proof.failure),
        "residuals": Bound(0.0, residuals),
        "missed": Bound(0.0, float((highs - s).max()), proof.failure),
    }
    spectrum = None if found.spectrum is None else found.spectrum.double().cpu().numpy()
    known = found.values.double().cpu().numpy() if spectrum is None else spectrum
    norm = _norm(source, spectrum)
    frobenius = _frobenius(source, kept, spectrum, noise, cancelled_or(source, found))
    low = min(max(proof.lower - noise, 0.0), top)
    # A (I − V Vᴴ), and (I − U Uᴴ) A where that is what is kept
    m, n = source.shape if found.dropped is None else source.shape[::-1]
    most = math.sqrt(max(min(m, n - rank), 0)) * top + noise
    if frobenius is None:
        frobenius = Bound(low, max(most, low), proof.failure)
        if norm is not None:  # what cancelled: all of it may be error
            left = (source.norm2 or norm.high**2) - float(np.square(s).sum())
            left += cancelled_or(source, found)
            other = math.sqrt(max(left, 0.0)) + noise
            if other < most:
                frobenius = Bound(min(low, other), other)
    fails = proof.failure
    if frobenius.high < top:
        top, fails = frobenius.high, frobenius.failure
    low = min(low, top)
    bounds["spectral"] = Bound(low, top, fails)
    bounds["frobenius"] = frobenius
    if norm is not None:
        bounds["norm"] = norm
        bounds["energy"] = _energy(norm, frobenius)
    bounds["mass"] = _mass(source, known, rank, found, top, noise, proof.failure)
    complete = bounds["missed"].high <= max(completeness * float(s[-1]), 4 * noise)
    notes = _notes(norm, frobenius, complete, proof, completeness, noise, s)
    accurate = not (found.short or unproven(source, found, rank, proof, accuracy))
    if found.short:
        notes.insert(
            0,
            f"it could not be established that the values are right: the solver stopped at a "
            f"Krylov space of dimension {found.settings.get('dimension')} with residuals up to "
            f"{float((residuals / max(float(s[0]), 1e-300)).max()):.1e} σ₁",
        )
    if complete and (not accurate or unproven(source, found, rank, proof, LOOSE)):
        worst = float(((highs - s) / np.maximum(s, 4 * noise)).max())
        aimed = "is aimed at by estimates" if accuracy is None else "could not be established"
        notes.insert(
            0,
            f"it is proven that s_j ≤ σ_j ≤ (1 + {worst:.1e}) s_j for every j: "
            f"accuracy {AIM if accuracy is None else accuracy:g} {aimed}",
        )
    order = ("norm", "frobenius", "spectral", "energy", "mass", "values", "residuals", "missed")
    return Certificate(
        bounds={name: bounds[name] for name in order if name in bounds},
        met=complete and accurate and _met(rule, rank, s, bounds),
        asked=str(rule) + ("" if accuracy is None else f", σ to {accuracy:g}"),
        notes=notes,
        failure=proof.failure,
    )


def unproven(
    source: Source, found: Triplets, rank: int, proof: Proof, accuracy: float | None
) -> bool:
    """Whether σ_j ≤ (1 + accuracy) s_j + rounding is not proven for some j."""
    if accuracy is None:
        return False
    s = found.values[:rank].double().cpu().numpy()
    noise = rounding(source, found)
    return bool((np.maximum(proof.highs[:rank], s) + noise > (1 + accuracy) * s + 4 * noise).any())


def cancelled_or(source: Source, found: Triplets) -> float:
    """:func:`cancelled`, or 0 where ‖A‖_F is unknown."""
    return 0.0 if source.norm2 is None else cancelled(source, found)


def in_units(certificate: Certificate, unit: float) -> Certificate:
    """The certificate of unit·A."""
    if unit == 1:
        return certificate
    relative = ("energy", "mass")
    bounds = {
        name: bound if name in relative else _scaled(bound, unit)
        for name, bound in certificate.bounds.items()
    }
    return Certificate(
        bounds=bounds,
        met=certificate.met,
        alarms=certificate.alarms,
        asked=certificate.asked,
        notes=certificate.notes,
        estimates=certificate.estimates,
        failure=certificate.failure,
        allowed=certificate.allowed,
    )


def _scaled(bound: Bound, unit: float) -> Bound:
    """Outwards by the smallest number that there is, because a product may be subnormal."""
    tiny = 5e-324 if unit < 1e-280 else 0.0
    with np.errstate(over="ignore", under="ignore"):
        low = np.maximum(np.multiply(bound.low, unit) - tiny, 0.0)
        high = np.multiply(bound.high, unit)
        high = np.where(np.asarray(bound.high) > 0, high + tiny, high)
    return Bound(low, high, bound.failure)


def _norm(source: Source, spectrum: np.ndarray | None) -> Bound | None:
    """‖A‖_F: sums in double precision of exact squares, or of a whole spectrum."""
    slack = 64 * float(np.finfo(float).eps)
    if source.norm2 is not None:
        value = math.sqrt(source.norm2)
        return Bound.around(value, slack * value + source.noise)
    if spectrum is None:
        return None
    value = float(np.linalg.norm(spectrum))
    return Bound.around(value, 8 * source.eps * math.sqrt(len(spectrum)) * value)


def _frobenius(
    source: Source,
    kept: Triplets,
    spectrum: np.ndarray | None,
    noise: float,
    uncertain: float,
) -> Bound | None:
    """‖A − A_k‖_F, or None where it is lost in rounding."""
    if spectrum is not None:
        value = math.sqrt(float(np.square(spectrum[len(kept.values) :]).sum()))
        return Bound(max(value - noise, 0.0), value + noise)
    if source.norm2 is None:
        return None
    left = source.norm2 - float(kept.values.double().square().sum())
    if left > SURE * uncertain:
        value = math.sqrt(left)
        return Bound.around(value, uncertain / value)
    if not source.structure.at_hand:
        return None
    A, total = source.dense(), 0.0
    scaled = kept.values[:, None] * kept.right.mH
    for start in range(0, A.shape[0], 1024):
        rows = slice(start, start + 1024)
        total += squared_norm(A[rows] - kept.left[rows] @ scaled)
    value = math.sqrt(total)
    return Bound(max(value - noise, 0.0), value + noise)


def _mass(
    source: Source,
    known: np.ndarray,
    rank: int,
    found: Triplets,
    spectral: float,
    noise: float,
    failure: float,
) -> Bound:
    """Bounds of Σ_{i≤k} s_i / ‖A‖_*, ‖A‖_* = Σσ.

    With A_K all K triplets and E = A − A_K: ‖A‖_* ≤ Σs + ‖E‖_* ≤ Σs + √min(m, n) ‖E‖_F. Tested
    with U Vᴴ plus the polar factor of (I − U Uᴴ) E, ‖A‖_* ≥ Σs + ‖E‖_* − √K (Σ‖r_i‖²)^(1/2), and
    ‖E‖_* ≥ ‖E‖_F²/‖E‖₂. The bound of ‖A − A_k‖₂ serves for ‖E‖₂.
    """
    kept, seen = float(known[:rank].sum()), float(known.sum())
    terms = 0 if found.spectrum is not None else source.small
    least, random = 0.0, 0.0
    if found.spectrum is None and source.norm2 is None:
        most, random = terms * spectral, failure
    else:
        most = largest_tail(known, source.norm2, terms)
    if terms and source.norm2 is not None and spectral > 0 and found.residuals is not None:
        slack = cancelled(source, found)
        most = math.sqrt(most**2 + terms * slack)
        r = float(found.residuals.double().square().sum()) ** 0.5
        energy = max(tail_energy(known, source.norm2) - slack, 0.0)
        least = max(energy / spectral - math.sqrt(len(known)) * (r + noise), 0.0)
        random = failure
    most, least = most + len(known) * noise, least - len(known) * noise
    low = kept / (seen + most) if seen + most > 0 else 1.0
    high = min(kept / (seen + least), 1.0) if seen + least > kept else 1.0
    return Bound(min(low, high), high, random)


def _energy(norm: Bound, frobenius: Bound) -> Bound:
    if not norm.high:
        return Bound(1.0, 1.0)
    low = max(0.0, 1 - (frobenius.high / norm.low) ** 2) if norm.low > 0 else 0.0
    high = max(low, min(1.0, 1 - (frobenius.low / norm.high) ** 2))
    return Bound(low, high, frobenius.failure)


def _met(rule: RankRule, rank: int, s: np.ndarray, bounds: dict[str, Bound]) -> bool:
    if rule.kind == "rank":
        return rank == rule.amount
    if rule.kind == "mass":
        return bool(bounds["mass"].low >= rule.amount)
    if rule.kind == "energy":
        return "energy" in bounds and bool(bounds["energy"].low >= rule.amount)
    if rule.norm == "fro":
        return "norm" in bounds and bool(
            bounds["frobenius"].high <= rule.amount * bounds["norm"].low
        )
    return bool(bounds["spectral"].high <= rule.amount * bounds["values"].low[0])


def _notes(
    norm: Bound | None,
    frobenius: Bound,
    complete: bool,
    proof: Proof,
    completeness: float,
    noise: float,
    s: np.ndarray,
) -> list[str]:
    notes = []
    if not complete:
        notes.append(
            "it could not be established that no singular value above "
            f"{1 + completeness:g} s_k was missed ({proof.way}): a larger completeness= or "
            "solver='lapack' may help"
        )
    if s[-1] <= 4 * noise:
        below = int((s <= 4 * noise).sum())
        notes.append(f"the last {below} values are rounding: they are at most {5 * noise:.1e}")
    exact = frobenius.low > 0.99 * frobenius.high
    if norm is None:
        notes.append("‖A‖_F is unknown for an operator: the Frobenius error is a bound only")
    elif not exact and frobenius.high > 0:
        notes.append(
            "‖A‖_F² − Σσ² is lost in rounding here: the Frobenius error is a bound, not its value"
        )
    return notes
