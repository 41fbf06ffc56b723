"""One call for the best rank-k approximation of a matrix, with a certificate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import exact_arithmetic
from schmidt.certificate import FAILURE, Bound, Certificate
from schmidt.factorization import Eigenpairs, Factorization
from schmidt.linalg import fix_signs
from schmidt.matrices.certify import AIM, COMPLETENESS, certify, prove, rounding, unproven
from schmidt.matrices.certify import in_units as certificate_in_units
from schmidt.matrices.completeness import Proof
from schmidt.matrices.kinds import source_of
from schmidt.matrices.smallest import smallest
from schmidt.matrices.solvers.choice import READ, SOLVERS, room, solve
from schmidt.matrices.solvers.krylov import advance
from schmidt.matrices.solvers.triplets import NotConvergedError, Triplets
from schmidt.matrices.sources.source import Source, in_units, tall
from schmidt.matrices.sources.weighted import positive
from schmidt.parameters import FLAG, SEED, Choice, Number, check
from schmidt.rank import RankRule, rank_rule

TABLE = {
    "accuracy": Number(0, 1, open="both", none=True),
    "solver": Choice("auto", *SOLVERS),
    "seed": SEED,
    "completeness": Number(0, 1, open="low"),
    "strict": FLAG,
    "which": Choice("largest", "smallest"),
}
ROUNDS = 24
"""Times that something may be found to be missing."""
SHARPER = 3
"""Times that the space grows because values are not proven to be as accurate as asked."""
FIRST = 32
"""Triplets to begin with where the rank is not given."""


class ToleranceError(RuntimeError):
    """The answer is not proven to be what was asked for; ``result`` holds it all the same."""

    def __init__(self, message: str, result: Factorization | Eigenpairs) -> None:
        super().__init__(message)
        self.result = result


def svd(
    A: Any,
    *,
    rank: int | None = None,
    tol: float | None = None,
    energy: float | None = None,
    mass: float | None = None,
    norm: str = "fro",
    center: Any = False,
    scale: Any = False,
    row_weights: Any = None,
    column_weights: Any = None,
    which: str = "largest",
    solver: str = "auto",
    preconditioner: Any = None,
    accuracy: float | None = None,
    seed: int = 0,
    completeness: float = COMPLETENESS,
    strict: bool = False,
) -> Factorization:
    """The best approximation of a matrix by one of low rank, and how good it is.

    ``U, s, Vh = schmidt.svd(A, rank=10)`` unpacks as numpy's does; ``.certificate`` is the
    :class:`~schmidt.certificate.Certificate`.

    Args:
        A: (m, n), real or complex: a numpy array, a tensor on any device, a scipy sparse matrix, a
            LinearOperator, a dask array, or row blocks: a list of arrays, a function that returns
            an iterator of them (two passes), or an iterator (one pass). Integers become float64.
        rank: the number k of terms, up to min(m, n).
        tol: instead, the smallest k with ‖A − A_k‖ ≤ tol ‖A‖ in the ``norm`` named.
        energy: instead, the smallest k with Σ_{i≤k} σ_i² ≥ energy · Σ σ_i², which is ‖A‖_F².
        mass: instead, the smallest k with Σ_{i≤k} σ_i ≥ mass · Σ σ_i. Where the tail is not known,
            the smallest for which its bracket proves it.
        norm: of ``tol``: "fro"; "spectral"; or "sigma": all σ_i > tol·σ₁, the numerical rank.
        center: True subtracts the mean of every column, an array (n,) is subtracted itself.
        scale: True divides columns by their standard deviation (root mean square without
            ``center``), an array (n,) divides. Sparse matrices stay sparse.
        row_weights: w (m,), positive: samples that count w times, in means and deviations too.
        column_weights: v (n,), positive: areas of grid cells, cos of latitude. All norms become
            those of Σ w_i v_j |a_ij|², Uᴴ diag(w) U = I and Vᴴ diag(v) V = I; U S Vᴴ is in the
            units of the data.
        which: "smallest" for the k smallest, ascending, of ``rank=k``: values that are rounding are
            0, with what they are at most in the certificate, whose bounds are ``values``,
            ``residuals`` and ``missed``. Up to 8,192 rows or columns, or sparse.
        solver: "auto", or "lapack" (full decomposition), "krylov" (block Krylov), "propack",
            "arpack", "lobpcg" (symmetric positive semidefinite A). Blocks and dask arrays have
            their own.
        preconditioner: for LOBPCG: (n, b) → (n, b), a matrix or an operator; implies it.
        accuracy: relative error of the singular values. Where it is given it is part of what is
            asked for: ``met`` needs a proof that σ_j ≤ (1 + accuracy) s_j for every j, up to
            rounding. By default the solver aims at 1e-6, ``values`` holds what is proven of every
            one, and a note says so where that is less than 1e-5.
        seed: of all random columns. Signs and results do not depend on it beyond ``accuracy``.
        completeness: ``met`` needs a proof that no singular value above (1 + completeness) s_k was
            missed, which fails with probability 1e-6 at most. Smaller numbers cost more products.
        strict: raise where the certificate does not prove what was asked for.

    Returns:
        A factorization with left (m, k) and right (n, k), of the kind, precision and device of A.
        The first large entry of every right vector is positive.

    Raises:
        ValueError: a matrix that is empty, not finite or not a matrix; an impossible rank; none or
            several of rank, tol, energy and mass.
        ToleranceError: with ``strict``, where the tolerance is not proven; it holds the result.
        NotConvergedError: no solver reached the accuracy.

    Cost: for dense A, about 10 products of A with 24 columns, and as many of Aᴴ, for k = 50; the
    certificate adds 3 with 8 columns.
    """
    rule = rank_rule(rank, tol, energy, mass, norm)
    check(TABLE, accuracy=accuracy, solver=solver, seed=seed)
    check(TABLE, completeness=completeness, strict=strict, which=which)
    if which == "smallest" and (rule.kind != "rank" or preconditioner is not None):
        raise ValueError("which='smallest' takes rank=, and no preconditioner")
    if which == "smallest" and solver not in ("auto", "lapack"):
        raise ValueError(f"which='smallest' has solvers of its own: leave solver={solver!r} out")
    with exact_arithmetic():
        rows = positive(row_weights, "row_weights")
        columns = positive(column_weights, "column_weights")
        given = in_units(
            source_of(
                A, rank or FIRST, seed, center=center, scale=scale, rows=rows, columns=columns
            )
        )
        _check_rank(rule, given)
        source = tall(given)
        aim = AIM if accuracy is None else max(accuracy / 10, 1e-15)
        if which == "smallest":
            result = _smallest(
                given, source, int(rule.amount), accuracy or AIM, seed, rows, columns
            )
            return _strict(result, rule, strict)
        settings: dict[str, Any] = {"rule": str(rule), "accuracy": accuracy or AIM, "seed": seed}
        found, k, proof = _complete(
            source, rule, solver, preconditioner, aim, seed, completeness, accuracy
        )
        certificate = certify(source, found, k, rule, proof, completeness, accuracy)
        kept = found.truncate(k) if source is given else found.truncate(k).adjoint
        settings |= {**found.settings, "completeness": proof.way}
        result = _result(given, kept, certificate, settings, rows, columns)
    if strict and not certificate.met:
        raise ToleranceError(_unmet(rule, certificate_in_units(certificate, given.unit)), result)
    return result


def _smallest(
    given: Source,
    source: Source,
    k: int,
    accuracy: float,
    seed: int,
    rows: Tensor | None,
    columns: Tensor | None,
) -> Factorization:
    found, bounds, way, noise = smallest(source, k, accuracy=accuracy, seed=seed)
    missed, last = bounds["missed"].high, float(found.values[-1])
    complete = bool(way) and missed <= max(COMPLETENESS * last, 4 * noise)
    notes = [] if complete else ["it could not be established that no smaller value was missed"]
    if source.norm2 is not None:
        norm = math.sqrt(source.norm2)
        bounds = {"norm": Bound.around(norm, 64 * source.eps * norm + source.noise), **bounds}
    known = Certificate(bounds, complete, asked=f"{k} smallest", notes=notes)
    below = int((found.values == 0).sum())
    if below:
        most = float(np.max(bounds["values"].high[:below])) * given.unit
        notes = [*notes, f"the first {below} values are rounding: they are at most {most:.1e}"]
        known = replace(known, notes=notes)
    kept = found if source is given else found.adjoint
    settings = {"rule": f"{k} smallest", "seed": seed, "completeness": way or "nothing"}
    return _result(given, kept, known, settings, rows, columns)


def _strict(result: Factorization, rule: RankRule, strict: bool) -> Factorization:
    known = result.certificate
    if strict and known is not None and not known.met:
        raise ToleranceError(f"{rule} is not proven: {'; '.join(known.notes)}", result)
    return result


def _complete(
    source: Source,
    rule: RankRule,
    solver: str,
    preconditioner: Any,
    accuracy: float,
    seed: int,
    completeness: float,
    demanded: float | None,
) -> tuple[Triplets, int, Proof]:
    """Triplets that satisfy the rule, how many of them, and the proof that none was missed.

    What a proof finds to be missing goes into the Krylov space, which goes on. Every round has its
    own random columns, and a failure that is half of the last one's.
    """
    found, k = _search(source, rule, solver, preconditioner, accuracy, seed)
    sharper = 0
    for round_ in range(ROUNDS):
        # other random columns than the solver's
        proof = prove(
            source,
            found,
            k,
            rule,
            seed=_other(seed, round_),
            completeness=completeness,
            failure=FAILURE / 2 ** (round_ + 1),
            accuracy=accuracy,
            demanded=demanded,
        )
        space = found.space
        if space is None or space.full:
            break
        if proof.missed is not None:
            # more copies than the block holds may be there
            space.grow(torch.cat([proof.missed, space.fresh(space.block * 2**round_)], 1))
        elif sharper < SHARPER and unproven(source, found, k, proof, demanded):
            sharper += 1
            for _ in range(2):
                space.grow()
        else:
            break
        try:
            wanted = len(found.values)
            found = advance(space, wanted, accuracy=accuracy, largest=room(source, wanted))
        except NotConvergedError:
            break
        found, k = _search(source, rule, solver, preconditioner, accuracy, seed, found)
    spent = sum(FAILURE / 2 ** (j + 1) for j in range(round_ + 1))
    return found, k, replace(proof, failure=spent if proof.failure else 0.0)


def _search(
    source: Source,
    rule: RankRule,
    solver: str,
    preconditioner: Any,
    accuracy: float,
    seed: int,
    start: Triplets | None = None,
) -> tuple[Triplets, int]:
    """Triplets, and how many of them satisfy the rule: more and more until they do."""
    small, most = source.small, source.most
    wanted = min(int(rule.amount) if rule.kind == "rank" else FIRST, most)
    found = start
    while True:
        failure = None
        if found is None or len(found.values) < wanted:
            try:
                found = solve(
                    source,
                    wanted,
                    solver,
                    preconditioner=preconditioner,
                    accuracy=accuracy,
                    seed=seed,
                    start=found,
                )
            except NotConvergedError as error:
                if rule.kind == "rank" and source.structure in READ and error.rough:
                    found = error.rough  # what so many passes have given, and not met
                elif rule.kind == "rank" or error.found is None:
                    raise
                else:
                    found, failure = error.found, error  # those may be enough
        known = found.values if found.spectrum is None else found.spectrum
        s = known.double().cpu().numpy()
        # what is left has any rank, as long as the triplets are not exact
        remaining = 0 if found.spectrum is not None else small
        k = rule.choose(s, source.norm2, remaining, _lost(source, found, rule))
        if k is not None and k <= len(found.values):
            return found, k
        if failure is not None:
            raise failure
        if len(found.values) >= most:
            return found, len(found.values)
        wanted = min(max(2 * len(found.values), wanted, k or 0), most)


def _lost(source: Source, found: Triplets, rule: RankRule) -> float:
    """The share of ‖A‖_F² that is rounding, and no term."""
    if not source.norm2:
        return 0.0
    if found.spectrum is not None:
        return rounding(source, found) ** 2 / source.norm2
    return 8 * source.eps if rule.kind == "energy" else 0.0


def _check_rank(rule: RankRule, source: Source) -> None:
    if rule.kind == "rank" and rule.amount > source.small:
        m, n = source.shape
        raise ValueError(f"rank must be at most min(m, n) = {min(m, n)}, got {int(rule.amount)}")
    needs_norm = rule.kind == "energy" or (rule.kind == "tol" and rule.norm == "fro")
    if needs_norm and source.norm2 is None:
        rule.choose(np.ones(1), None, 1)  # raises, and says why


def _other(seed: int, number: int) -> int:
    """Seeds for columns that are independent of those of ``seed``, and of one another."""
    return int(np.random.SeedSequence([seed, 1 + number]).generate_state(1, np.uint64)[0] >> 1)


def _result(
    source: Source,
    kept: Triplets,
    certificate: Certificate,
    settings: dict[str, Any],
    rows: Tensor | None = None,
    columns: Tensor | None = None,
) -> Factorization:
    right = kept.right.resolve_conj()
    mine = right if columns is None else right / columns.sqrt()[:, None].to(right)
    factors = fix_signs(mine)
    left = None if kept.left is None else kept.left.resolve_conj() * factors
    given = source.give_left(left, kept.values, right * factors)
    if rows is not None:
        root = rows.sqrt()[:, None]
        given = given / (root.to(given) if isinstance(given, Tensor) else _like(root, given))
    certificate = certificate_in_units(certificate, source.unit)
    if rows is not None or columns is not None:
        notes = (*certificate.notes, "all norms and residuals are weighted")
        certificate = replace(certificate, notes=notes)
    return Factorization(
        given,
        source.give(kept.values * source.unit),
        source.give(mine * factors),
        certificate=certificate,
        settings=settings,
    )


def _like(root: Tensor, given: Any) -> Any:
    kind = np.empty(0, given.dtype).real.dtype
    return root.numpy().astype(kind)


def _unmet(rule: RankRule, c: Certificate) -> str:
    if rule.kind == "rank":
        known = c.notes[0] if c.notes else "a bound fails with too large a probability"
    elif rule.kind == "mass":
        known = f"the share kept lies between {c['mass'].low:.4g} and {c['mass'].high:.4g}"
    elif rule.tail_energy is not None:
        known = f"‖A − A_k‖_F is at most {c['frobenius'].high:.3g} (‖A‖_F is {c['norm'].high:.3g})"
    else:
        low, high = c["spectral"].low, c["spectral"].high
        known = f"‖A − A_k‖₂ lies between {low:.3g} and {high:.3g}"
    more = [note for note in c.notes if "could not be established" in note and note != known]
    return f"{rule} is not proven: {'; '.join([known, *more])}"
