"""Some eigenpairs of a Hermitian matrix, with their signs, and a proof that none was missed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from schmidt.arrays import exact_arithmetic
from schmidt.certificate import FAILURE, Bound, Certificate
from schmidt.factorization import Eigenpairs
from schmidt.linalg import fix_signs, random_normal
from schmidt.matrices.beyond import Beyond, Side
from schmidt.matrices.certify import COMPLETENESS
from schmidt.matrices.hermitian import Hermitian, PairSearch, RitzPairs, choose, hermitian, pairs_on
from schmidt.matrices.inertia import count_below, factorable
from schmidt.matrices.solvers.engines import lobpcg_vectors
from schmidt.matrices.solvers.triplets import NotConvergedError
from schmidt.matrices.svd import ToleranceError
from schmidt.parameters import FLAG, SEED, Choice, Number, check

WHICH = ("largest", "smallest", "magnitude", "nearest")
SOLVERS = ("lapack", "krylov", "inverse", "lobpcg")
ROUNDS = 16
SMALL = 1000
"""Rows up to which a full decomposition is the fastest."""
ENTRIES = 2**27
LDL = 8192
"""Rows up to which an array is factorized for a count."""
PATIENCE = 160
"""Dimensions of a Krylov space, or 4 k, beyond which A is factorized instead where it can be."""
TABLE = {
    "k": Number(1, whole=True),
    "which": Choice(*WHICH),
    "shift": Number(none=True),
    "solver": Choice("auto", *SOLVERS),
    "accuracy": Number(0, 1, open="both"),
    "completeness": Number(0, 1, open="low"),
    "seed": SEED,
    "strict": FLAG,
}
ORDER = {"largest": "descending", "smallest": "ascending", "magnitude": "magnitude"}


def eigh(
    A: Any,
    k: int = 6,
    *,
    which: str = "largest",
    shift: float | None = None,
    solver: str = "auto",
    preconditioner: Any = None,
    accuracy: float = 1e-6,
    completeness: float = COMPLETENESS,
    seed: int = 0,
    strict: bool = False,
) -> Eigenpairs:
    """k eigenpairs of a symmetric or Hermitian matrix, signed, and whether any was missed.

    Args:
        A: (n, n), of every kind that :func:`schmidt.svd` takes, real or complex, A = Aᴴ. A
            LinearOperator needs no rmatvec; an iterator of row blocks is kept in memory.
        k: how many, up to n.
        which: "largest" and "smallest" with their signs, "magnitude" for the largest |λ|, or
            "nearest" to ``shift``.
        shift: the point of "nearest"; needs entries, to factorize A − shift·I.
        solver: "auto"; "lapack" (all of them), "krylov" (block Krylov with thick restarts),
            "inverse" (block Krylov of (A − σI)⁻¹, σ beyond the end or ``shift``), "lobpcg".
        preconditioner: for LOBPCG, "largest" or "smallest": X (n, b) → about (A − λ)⁻¹ X, a
            function, a matrix or an operator; implies it.
        accuracy: aimed-at relative error of the values, above rounding.
        completeness: ``met`` needs a proof that every value is within completeness·|λ_k| (or of the
            width of the spectrum, where that is less) of the one that belongs in its place.
        seed: of random columns.
        strict: raise where that is not proven.

    Returns:
        Eigenpairs: values (k,), right (n, k) orthonormal, of the kind of A. Bounds of the
        certificate: ``values``, an interval for the j-th eigenvalue itself; ``residuals``
        ‖A x − λ x‖; ``missed``. Repeated eigenvalues come as often as they are, or the certificate
        says that it could not be established.

    Raises:
        ValueError: A is not Hermitian, or a parameter is out of range.
        NotConvergedError: no solver got there.
        ToleranceError: with ``strict``; it holds the result.

    Cost: full decomposition up to 1,000 rows. Else products with blocks of 8 to 48 columns; sparse
    ends that are crowded take one factorization, and a count two or so. Without entries
    completeness takes some 50 products with 4 columns.

    Example:
        >>> eigh(np.diag([2.0, -3.0, 1.0]), 2, which="magnitude").values
        array([-3.,  2.])
    """
    check(TABLE, k=k, which=which, shift=shift, solver=solver, accuracy=accuracy)
    check(TABLE, completeness=completeness, seed=seed, strict=strict)
    _check_words(which, shift, solver, preconditioner)
    with exact_arithmetic():
        source = hermitian(A)
        n = source.shape[0]
        if k > n:
            raise ValueError(f"k must be at most n = {n}, got {k}")
        task = _Task(source, int(k), which, 0.0 if shift is None else shift / source.unit)
        task.accuracy, task.completeness, task.seed = accuracy, completeness, seed
        pairs, proof, name = task.run(solver, preconditioner)
        result = _result(task, pairs, proof, name)
    known = result.certificate
    if strict and known is not None and not known.met:
        raise ToleranceError(
            f"{k} {which} eigenvalues are not proven: {'; '.join(known.notes)}", result
        )
    return result


def _check_words(which: str, shift: float | None, solver: str, preconditioner: Any) -> None:
    if (which == "nearest") != (shift is not None):
        raise ValueError("shift= is the point of which='nearest': give both or neither")
    if preconditioner is not None and solver not in ("auto", "lobpcg"):
        raise ValueError(f"a preconditioner is for lobpcg, not for {solver}")
    if (preconditioner is not None or solver == "lobpcg") and which not in ("largest", "smallest"):
        raise ValueError(f"lobpcg finds the largest or the smallest eigenvalues, not {which!r}")
    if solver == "krylov" and which == "nearest":
        raise ValueError("values inside of the spectrum need solver='inverse' or 'lapack'")
    if solver == "inverse" and which == "magnitude":
        raise ValueError("an inverse finds one end of the spectrum: ask for 'largest', 'smallest'")


class _Task:
    """One question: which eigenvalues, and how surely."""

    accuracy: float
    completeness: float
    seed: int

    def __init__(self, source: Hermitian, k: int, which: str, shift: float) -> None:
        self.source, self.k, self.which, self.shift = source, k, which, shift
        entries = source.entries()
        self.sparse = entries is not None and factorable(entries)
        self.counted: Any = entries if self.sparse else None
        n = source.shape[0]
        if entries is None and source.structure.at_hand and n <= LDL:
            self.counted = source.dense().cpu().resolve_conj().numpy()

    def run(self, solver: str, preconditioner: Any) -> tuple[RitzPairs, _Proof, str]:
        n, k = self.source.shape[0], self.k
        if preconditioner is not None:
            solver = "lobpcg"
        cheap = n * n <= ENTRIES and (n <= SMALL or 6 * k > n)
        if solver == "lapack" or (solver == "auto" and cheap and self.source.norm2 != 0):
            return self._all(), _Proof.exact(), "lapack"
        if solver == "auto" and self.source.norm2 == 0:
            return self._zero(), _Proof.exact(), "zero"
        if solver == "lobpcg":
            return self._lobpcg(preconditioner)
        return self._krylov(solver)

    def _all(self) -> RitzPairs:
        A = self.source.dense()
        values, vectors = torch.linalg.eigh((A + A.mH) / 2)
        eye = torch.eye(len(values), dtype=vectors.dtype, device=vectors.device)
        theta = values.double().cpu().numpy()
        return RitzPairs(theta, vectors, eye, np.zeros((1, len(theta))))

    def _zero(self) -> RitzPairs:
        n, k = self.source.shape[0], self.k
        V = torch.eye(n, k, dtype=self.source.dtype, device=self.source.device)
        return RitzPairs(np.zeros(k), V, torch.eye(k).to(V), np.zeros((1, k)))

    def _krylov(self, solver: str) -> tuple[RitzPairs, _Proof, str]:
        k = self.k
        options: dict[str, Any] = {"accuracy": self.accuracy, "seed": self.seed}
        given: tuple[Any, ...] = (self.source, k, self.which, self.shift)
        if self.which == "nearest":
            if self.counted is None:
                raise ValueError(
                    "which='nearest' factorizes A − shift·I, which needs a sparse matrix with "
                    f"narrow separators, or an array of up to {LDL:,} rows"
                )
            try:
                search = PairSearch(*given, inverse=self.shift, **options)
            except NotConvergedError:  # the shift is an eigenvalue: beside it none is lost
                size = math.sqrt(self.source.norm2 or 1.0)
                search = PairSearch(*given, inverse=self.shift + 1e-6 * size, **options)
            return *self._complete(search, search.advance(k)), "inverse"
        search = PairSearch(*given, **options)
        may = self.counted is not None and self.which != "magnitude"
        try:
            if solver == "inverse":
                pairs = self._glance(search)
                raise NotConvergedError("")
            soon: dict[str, int] = {}
            if solver == "auto" and may:
                soon = (
                    {"restarts": 0, "most": max(4 * k, PATIENCE)}
                    if self.sparse
                    else {"restarts": 4}
                )
            pairs = search.advance(k, **soon)
        except NotConvergedError:
            if not may or solver == "krylov":
                raise
            search = PairSearch(*given, inverse=self._outside(search), **options)
            return *self._complete(search, search.advance(k)), "inverse"
        return *self._complete(search, pairs), "krylov"

    def _glance(self, search: PairSearch) -> RitzPairs:
        while search.space.size < min(5 * search.space.block, self.source.shape[0]):
            search.space.grow()
        return search.pairs(self.k)

    def _outside(self, search: PairSearch) -> float:
        """A shift beyond the end: as far as the residual, and a thousandth of the width."""
        pairs = search.pairs(self.k)
        end = choose(pairs.values, 1, self.which)[0]
        width = float(pairs.values[-1] - pairs.values[0])
        away = 2 * float(pairs.residuals[end]) + 1e-4 * width + 8 * self.source.noise
        return float(pairs.values[end]) + (away if self.which == "largest" else -away)

    def _lobpcg(self, preconditioner: Any) -> tuple[RitzPairs, _Proof, str]:
        n, k = self.source.shape[0], self.k
        more = 2 + k // 10
        for round_ in range(3):
            if 5 * (k + more) > n:
                raise ValueError(f"LOBPCG finds at most n/5 = {n // 5} eigenpairs, got k = {k}")
            V = lobpcg_vectors(
                self.source,
                k + more,
                preconditioner,
                accuracy=1e-4 * self.accuracy,
                seed=self.seed + round_,
                largest=self.which == "largest",
            )
            pairs = pairs_on(self.source, V)
            wanted = choose(pairs.values, k, self.which)
            r = float(pairs.residuals[wanted].max())
            size = max(float(np.abs(pairs.values).max()), 1e-300)
            if r > 10 * self.accuracy**0.5 * size:
                raise NotConvergedError(
                    f"lobpcg: residuals up to {r * self.source.unit:.1e} are left; a better "
                    "preconditioner or solver='inverse' may help"
                )
            proof = self._prove(pairs, round_)
            if not proof.missing:
                break
            more += proof.missing + 2
        return pairs, proof, "lobpcg"

    def _complete(self, search: PairSearch, pairs: RitzPairs) -> tuple[RitzPairs, _Proof]:
        """Until nothing is missing, or nothing more can be found out."""
        k = self.k
        for round_ in range(ROUNDS):
            proof = self._prove(pairs, round_)
            if not proof.missing or search.space.full or round_ == ROUNDS - 1:
                break
            n, space = self.source.shape[0], search.space
            columns = max(proof.missing, space.block) * 2 ** min(round_, 4)
            generator = torch.Generator().manual_seed(_other(self.seed, 1000 + round_))
            fresh = random_normal(n, min(columns, n), space.G, generator)
            if proof.directions is not None and search.at is None:
                fresh = torch.cat([proof.directions.to(fresh), fresh], 1)
            search.look_into(fresh)
            try:
                pairs = search.advance(min(k + proof.missing, n), steps=8)
            except NotConvergedError:
                break
        return pairs, proof

    def scale(self, pairs: RitzPairs) -> float:
        """What δ is relative to: |λ_k|, or how far it is from the other end of the spectrum."""
        wanted = choose(pairs.values, self.k, self.which, self.shift)
        last = float(pairs.values[wanted[-1]])
        spread = max(abs(last - float(end)) for end in (pairs.values[0], pairs.values[-1]))
        return min(abs(last), spread) if spread > 0 else abs(last)

    def delta(self, pairs: RitzPairs) -> float:
        return max(self.completeness * self.scale(pairs), 4 * self.source.noise)

    def _prove(self, pairs: RitzPairs, round_: int) -> _Proof:
        wanted = choose(pairs.values, self.k, self.which, self.shift)
        theta, delta = pairs.values[wanted], self.delta(pairs)
        failure = FAILURE / 2 ** (round_ + 1)
        if self.which == "nearest":
            return self._around(pairs, wanted, delta)
        if self.which != "magnitude":
            sign = 1 if self.which == "largest" else -1
            side = Side(self.source, pairs, sign)
            beyond = self._beyond(side, self.k, -math.inf, delta, round_, failure)
            low, high = sign * theta, np.maximum(beyond.highs[:-1], sign * theta)
            bounds = (low, high) if sign > 0 else (-high, -low)
            return _Proof(*bounds, float((high - low).max()), [beyond])
        least = float(np.abs(theta[-1]))
        low, high, found, missed = theta.copy(), theta.copy(), [], 0.0
        for sign in (1, -1):
            mine = np.flatnonzero(sign * theta > 0)
            side = Side(self.source, pairs, sign)
            floor = -math.inf if sign * theta[-1] > 0 else least
            beyond = self._beyond(side, len(mine), floor, delta, round_, failure / 2)
            found.append(beyond)
            values = sign * theta[mine]
            up = np.maximum(beyond.highs[:-1], values)
            ends = (values, up) if sign > 0 else (-up, -values)
            low[mine], high[mine] = ends
            missed = max(missed, float(beyond.highs[-1]) - least)
            missed = max(missed, float((up - values).max(initial=0.0)))
        return _Proof(low, high, missed, found)

    def _beyond(
        self, side: Side, k: int, least: float, delta: float, round_: int, failure: float
    ) -> Beyond:
        if self.counted is not None:
            found = side.by_count(self.counted, k, least, delta)
            if found is not None:
                return found
        seed = _other(self.seed, round_ + (500 if side.sign < 0 else 0))
        return side.by_probe(k, least, delta, seed=seed, failure=failure)

    def _around(self, pairs: RitzPairs, wanted: np.ndarray, delta: float) -> _Proof:
        """Counts on both sides of the shift: as many eigenvalues there as were found."""
        theta, distance = pairs.values[wanted], np.abs(pairs.values - self.shift)
        width = float(np.linalg.norm(pairs.coupling, 2)) if len(wanted) else 0.0
        mine = pairs.coupling[:, wanted]
        width = float(np.linalg.norm(mine, 2)) + 2 * self.source.noise
        last = float(distance[wanted[-1]])
        following = np.sort(np.delete(distance, wanted))
        gap = float(following[0]) - last if len(following) else math.inf
        radii = [last + min(gap / 3, max(4 * width, delta / 2))] if gap > 8 * width else []
        inner = last - 4 * width
        radii.append(inner if inner > 0 else last + delta)
        for radius in radii:
            ends = [count_below(self.counted, self.shift + s * radius) for s in (-1, 1)]
            if ends[0] is None or ends[1] is None:
                continue
            number, error = ends[1][0] - ends[0][0], max(ends[0][1], ends[1][1])
            expected = int((distance[wanted] < radius).sum())
            if number > expected and radius >= last:
                beyond = Beyond(np.zeros(0), "inertia", 0.0, error, number - expected)
                return _Proof(theta - math.inf, theta + math.inf, math.inf, [beyond])
            if number != expected:
                continue
            missed = max(last - (radius - error), 0.0) + width
            beyond = Beyond(np.zeros(0), "inertia", 0.0, error)
            return _Proof(
                theta - width - (missed if radius < last else 0.0),
                theta + width + (missed if radius < last else 0.0),
                missed,
                [beyond],
            )
        return _Proof(
            theta - math.inf, theta + math.inf, math.inf, [Beyond(np.zeros(0), "nothing")]
        )


class _Proof:
    """Intervals of the eigenvalues asked for, without rounding."""

    def __init__(
        self, low: np.ndarray, high: np.ndarray, missed: float, beyond: list[Beyond]
    ) -> None:
        self.low, self.high, self.missed = low, high, missed
        self.failure = sum(b.failure for b in beyond)
        self.way = ", ".join(dict.fromkeys(b.way for b in beyond))
        self.resolution = max(b.resolution for b in beyond)
        self.missing = sum(b.missing for b in beyond)
        parts = [b.directions for b in beyond if b.directions is not None]
        self.directions = torch.cat(parts, 1) if parts else None
        self.full = False

    @classmethod
    def exact(cls) -> _Proof:
        proof = cls(np.zeros(0), np.zeros(0), 0.0, [Beyond(np.zeros(0), "full decomposition")])
        proof.full = True
        return proof


def _result(task: _Task, pairs: RitzPairs, proof: _Proof, name: str) -> Eigenpairs:
    source, k, which = task.source, task.k, task.which
    wanted = choose(pairs.values, k, which, task.shift)
    theta, noise = pairs.values[wanted], source.noise
    low, high = (theta, theta) if proof.full else (proof.low, proof.high)
    low, high = np.minimum(low, theta) - noise, np.maximum(high, theta) + noise
    residuals = pairs.residuals[wanted] + noise
    missed = proof.missed + noise
    allowed = max(
        task.completeness * task.scale(pairs), 8 * noise, 4 * proof.resolution + 4 * noise
    )
    complete = proof.full or (not proof.missing and missed <= allowed)
    notes = []
    if not complete:
        notes.append(
            f"it could not be established that no eigenvalue was missed ({proof.way}): "
            "solver='lapack' or a larger completeness= may help"
        )
    below = int((np.abs(theta) <= noise).sum())
    if below:
        notes.append(
            f"{below} of the values are rounding: at most {noise * source.unit:.1e} in size"
        )
    u = source.unit
    bounds = {}
    if source.norm2 is not None:
        bounds["norm"] = Bound.around(math.sqrt(source.norm2) * u, noise * u)
    bounds |= {
        "values": Bound(low * u, high * u, proof.failure),
        "residuals": Bound(0.0, residuals * u),
        "missed": Bound(0.0, missed * u, proof.failure),
    }
    vectors = pairs.vectors(wanted)
    vectors = vectors * fix_signs(vectors)
    known = Certificate(bounds, complete, asked=f"{k} {which}", notes=notes, failure=proof.failure)
    values = torch.as_tensor(theta.copy() * u)
    kind = torch.empty(0, dtype=source.dtype).real.dtype
    return Eigenpairs(
        source.give(values.to(source.device, kind)),
        source.give(vectors.to(source.dtype).resolve_conj()),
        certificate=known,
        settings={"solver": name, "which": which, "completeness": proof.way, "seed": task.seed},
        order=ORDER.get(which, "given"),
    )


def _other(seed: int, number: int) -> int:
    state: Callable[..., Any] = np.random.SeedSequence([seed, 77, number]).generate_state
    return int(state(1, np.uint64)[0] >> 1)
