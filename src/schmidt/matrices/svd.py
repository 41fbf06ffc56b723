"""One call for the best rank-k approximation of a matrix, with a certificate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs
from schmidt.matrices.certify import Certificate, certify
from schmidt.matrices.kinds import source_of
from schmidt.matrices.solvers.choice import SOLVERS, solve
from schmidt.matrices.solvers.krylov import NotConvergedError
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.centred import centred
from schmidt.matrices.sources.source import Source, in_units
from schmidt.rank import RankRule, rank_rule

FIRST = 32
"""Triplets to begin with where the rank is not given."""


class ToleranceError(RuntimeError):
    """The answer is not proven to be what was asked for; ``result`` holds it all the same."""

    def __init__(self, message: str, result: Factorization) -> None:
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
    solver: str = "auto",
    preconditioner: Any = None,
    accuracy: float = 1e-6,
    seed: int = 0,
    strict: bool = False,
) -> Factorization:
    """The best approximation of a matrix by one of low rank, and how good it is.

    ``U, s, Vh = schmidt.svd(A, rank=10)`` unpacks as numpy's does; ``.certificate`` is the
    :class:`~schmidt.matrices.Certificate`.

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
        solver: "auto", or "lapack" (full decomposition), "krylov" (block Krylov), "propack",
            "arpack", "lobpcg" (symmetric positive semidefinite A). Blocks and dask arrays have
            their own.
        preconditioner: for LOBPCG: (n, b) → (n, b), a matrix or an operator; implies it.
        accuracy: aimed-at relative error of the singular values.
        seed: of all random columns. Signs and results do not depend on it beyond ``accuracy``.
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
    if not 0 < accuracy < 1:
        raise ValueError(f"accuracy must lie between 0 and 1, got {accuracy}")
    if solver != "auto" and solver not in SOLVERS:
        raise ValueError(f"solver must be auto or one of {', '.join(SOLVERS)}, got {solver!r}")
    with torch.no_grad():
        source = in_units(centred(source_of(A, rank or FIRST, seed), center, scale))
        _check_rank(rule, source)
        settings: dict[str, Any] = {"rule": str(rule), "accuracy": accuracy, "seed": seed}
        found, k = _search(source, rule, solver, preconditioner, accuracy, seed)
        sharp = None
        if rule.kind == "tol" and rule.norm != "fro":
            sharp = rule.amount * float(found.values[0])
        # other random columns than the solver's
        certificate = certify(source, found, k, rule, seed=_other(seed), sharp=sharp)
        result = _result(source, found.truncate(k), certificate, {**settings, **found.settings})
    if strict and not certificate.met:
        raise ToleranceError(_unmet(rule, certificate), result)
    return result


def _search(
    source: Source,
    rule: RankRule,
    solver: str,
    preconditioner: Any,
    accuracy: float,
    seed: int,
) -> tuple[Triplets, int]:
    """Triplets, and how many of them satisfy the rule: more and more until they do."""
    small, most = source.small, source.most
    wanted = min(int(rule.amount) if rule.kind == "rank" else FIRST, most)
    while True:
        failure = None
        try:
            found = solve(
                source, wanted, solver, preconditioner=preconditioner, accuracy=accuracy, seed=seed
            )
        except NotConvergedError as error:
            if rule.kind == "rank" or error.found is None:
                raise
            found, failure = error.found, error  # those may be enough
        known = found.values if found.spectrum is None else found.spectrum
        s = known.double().cpu().numpy()
        # what is left has any rank, as long as the triplets are not exact
        k = rule.choose(s, source.norm2, 0 if found.spectrum is not None else small)
        if k is not None and k <= len(found.values):
            return found, k
        if failure is not None:
            raise failure
        if len(found.values) >= most:
            return found, len(found.values)
        wanted = min(max(2 * wanted, k or 0), most)


def _check_rank(rule: RankRule, source: Source) -> None:
    if rule.kind == "rank" and rule.amount > source.small:
        m, n = source.shape
        raise ValueError(f"rank must be at most min(m, n) = {min(m, n)}, got {int(rule.amount)}")
    needs_norm = rule.kind == "energy" or (rule.kind == "tol" and rule.norm == "fro")
    if needs_norm and source.norm2 is None:
        rule.choose(np.ones(1), None, 1)  # raises, and says why


def _other(seed: int) -> int:
    """A seed for columns that are independent of those of ``seed``."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)[0] >> 1)


def _result(
    source: Source, kept: Triplets, certificate: Certificate, settings: dict[str, Any]
) -> Factorization:
    right = kept.right.resolve_conj()
    factors = fix_signs(right)
    right = right * factors
    left = None if kept.left is None else kept.left.resolve_conj() * factors
    return Factorization(
        source.give_left(left, kept.values, right),
        source.give(kept.values * source.unit),
        source.give(right),
        certificate=certificate.in_units(source.unit),
        settings=settings,
    )


def _unmet(rule: RankRule, c: Certificate) -> str:
    if rule.kind == "mass":
        known = f"the share kept lies between {c.mass[0]:.4g} and {c.mass[1]:.4g}"
    elif rule.tail_energy is not None:
        known = f"‖A − A_k‖_F is at most {c.frobenius:.3g} (‖A‖_F is {c.norm:.3g})"
    else:
        known = f"‖A − A_k‖₂ lies between {c.spectral_lower:.3g} and {c.spectral:.3g}"
    return f"{rule} is not proven: {known}"
