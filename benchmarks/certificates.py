"""Do certificates hold, and are answers complete? Seeded adversarial matrices, checked with LAPACK.

    python benchmarks/certificates.py                  # 3,000 cases, some minutes
    python benchmarks/certificates.py --cases 100 --first 5000

Spectra: values repeated up to 40 times, clusters, three levels, all equal, pairs like those of a
ring, flat, algebraic, exponential, rank-deficient, steep. Matrices: dense, sparse, operators, row
blocks read twice and once, dask; complex; single precision; up to 260 × 260, and tall. Singular
vectors are random or columns of the identity. Solvers are forced away from LAPACK in every second
case.

A violation is any claim that is false: a bound of ‖A − A_k‖ in either norm, of a singular value, of
what was missed, of energy or mass; a residual without a singular value within it. "False met": what
was asked for – an accuracy of all values in every fifth case – is not so, or a value above 1.1 s_k
is missing. A certificate that never says "met"
has failed too: cases whose answer is right, and whose s_k is repeated or at least 1.2 s_{k+1},
should be met.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
import tyro

from schmidt.factorization import Factorization
from schmidt.matrices import NotConvergedError, svd
from schmidt.matrices.solvers import choice

SPECTRA = (
    "repeated", "clustered", "levels", "equal", "pairs",
    "flat", "algebraic", "exponential", "deficient", "steep",
)  # fmt: skip
KINDS = ("dense", "sparse", "operator", "blocks", "once", "dask", "tall")


@dataclass(frozen=True)
class Options:
    """Which cases."""

    cases: int = 3000
    """How many."""
    first: int = 0
    """Seed of the first; the others follow."""


@dataclass
class Tally:
    """What was found."""

    violations: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    inaccurate: list[str] = field(default_factory=list)
    muted: list[str] = field(default_factory=list)
    cases: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    ranks: Counter[int] = field(default_factory=Counter)
    over: list[float] = field(default_factory=list)
    should: int = 0


@dataclass(frozen=True)
class Case:
    """A matrix as it is, as a user has it, and what is asked for."""

    label: str
    matrix: np.ndarray
    given: Any
    rule: dict[str, Any]
    solver: str
    once: bool


def spectrum(name: str, n: int, rng: np.random.Generator) -> np.ndarray:
    i = np.arange(1.0, n + 1)
    if name == "repeated":
        s = np.repeat(rng.uniform(0.3, 1, n), rng.integers(2, 40))[:n]
    elif name == "clustered":
        s = np.repeat(2.0 ** -np.arange(n), rng.integers(3, 25))[:n]
        s = s * (1 - 10.0 ** -float(rng.integers(4, 12)) * rng.random(n))
    elif name == "levels":
        a, b = sorted(rng.integers(0, n + 1, 2))
        s = np.r_[
            np.ones(a), np.full(b - a, rng.uniform(0.5, 0.99)), np.full(n - b, rng.uniform(0, 0.5))
        ]
    elif name == "equal":
        s = np.ones(n)
    elif name == "pairs":
        s = np.abs(np.cos(np.pi * (i // 2) / n)) + 0.01
    elif name == "flat":
        s = np.linspace(1, rng.uniform(0.5, 1), n)
    elif name == "algebraic":
        s = i ** -rng.uniform(0.3, 2)
    elif name == "exponential":
        s = np.exp(-i / rng.uniform(2, 60))
    elif name == "steep":
        s = 10.0 ** (-i / rng.uniform(1, 4))
    else:
        s = np.where(i <= rng.integers(1, max(2, n // 2)), i**-0.5, 0.0)
    return np.sort(s)[::-1]


def frame(m: int, n: int, complex_: bool, rng: np.random.Generator) -> np.ndarray:
    """n orthonormal columns: random, or of the identity."""
    if rng.random() < 0.3:
        return np.eye(m)[rng.permutation(m)[:n]].T.astype(complex if complex_ else float)
    a = rng.standard_normal((m, n))
    return np.linalg.qr(a + 1j * rng.standard_normal((m, n)) if complex_ else a)[0]


def case(seed: int) -> Case:
    """The case of a seed."""
    rng = np.random.default_rng(seed)
    kind, name = str(rng.choice(KINDS)), SPECTRA[seed % len(SPECTRA)]
    m, n = (int(rng.integers(2, 260)) for _ in range(2))
    if kind == "tall":
        m, n = int(rng.integers(20_000, 40_000)), int(rng.integers(2, 12))
    small, complex_ = min(m, n), rng.random() < 0.25
    left, right = frame(m, small, complex_, rng) if kind != "tall" else None, frame(
        n, small, complex_, rng
    )  # fmt: skip
    if left is None:
        left = np.linalg.qr(rng.random((m, small)) + (1j * rng.random((m, small)) * complex_))[0]
        left = left if complex_ else left.real
    A = (left * spectrum(name, small, rng)) @ right.conj().T
    if rng.random() < 0.25 or kind == "tall":
        A = A.astype(np.complex64 if complex_ else np.float32)
    given, solver = dressed(kind, A, rng)
    rule: dict[str, Any] = {"rank": int(rng.integers(1, min(small, 60) + 1))}
    choice_ = rng.random()
    if kind not in ("operator", "once"):
        if choice_ < 0.15:
            rule = {"energy": float(rng.uniform(0.3, 0.999))}
        elif choice_ < 0.3:
            norm = str(rng.choice(["fro", "spectral", "sigma"]))
            rule = {"tol": float(10 ** rng.uniform(-3, -0.3)), "norm": norm}
    if rng.random() < 0.2:
        rule["accuracy"] = float(10 ** rng.uniform(-8, -3))
    label = f"{name}, {kind}, {solver}, {A.shape}, {A.dtype}, {rule}"
    return Case(label, A, given, rule, solver, kind == "once")


def dressed(kind: str, A: np.ndarray, rng: np.random.Generator) -> tuple[Any, str]:
    """The matrix as a user has it, and a solver."""
    parts = np.array_split(A, min(len(A), int(rng.integers(1, 5))))
    if kind == "sparse":
        solvers = ["krylov", "propack", "arpack", "auto"]
        return scipy.sparse.csr_array(A), str(rng.choice(solvers))
    if kind == "operator":
        solvers = ["krylov", "propack", "arpack"]
        return scipy.sparse.linalg.aslinearoperator(A), str(rng.choice(solvers))
    if kind == "blocks":
        return (lambda: iter(parts)), "auto"
    if kind == "once":
        return iter(parts), "auto"
    if kind == "dask":
        import dask.array

        chunks = tuple(max(1, size // 2) for size in A.shape)
        return dask.array.from_array(A, chunks=chunks), "auto"
    return A, "auto" if kind == "tall" else str(rng.choice(["krylov", "krylov", "auto", "lapack"]))


def check(tally: Tally, number: int, c: Case, found: Factorization) -> None:
    """Every claim of one certificate."""
    known = found.certificate
    assert known is not None
    wide = complex if np.iscomplexobj(c.matrix) else float
    A = c.matrix.astype(wide)
    left = found.left.compute() if hasattr(found.left, "compute") else found.left
    left, right = np.asarray(left).astype(wide), np.asarray(found.right).astype(wide)
    s, k = np.asarray(found.values).astype(float), found.rank
    exact = np.linalg.svd(A if len(A) < 1000 else np.linalg.qr(A)[1], compute_uv=False)
    E = A - (left * s) @ right.conj().T
    norm, fro = float(np.linalg.norm(A)), float(np.linalg.norm(E))
    true = float(np.linalg.norm(E if len(A) < 1000 else np.linalg.qr(E)[1], 2))
    own = 1e-14 * norm  # rounding of this check
    miss = float((exact[:k] - s).max())
    mass = float(s.sum() / exact.sum()) if exact[0] else 1.0
    inside = {
        "spectral": known["spectral"].low - own <= true <= known["spectral"].high + own,
        "frobenius": known["frobenius"].low - own <= fro <= known["frobenius"].high + own,
        "values": bool(
            (known["values"].low <= exact[:k] + own).all()
            and (exact[:k] <= known["values"].high + own).all()
        ),
        "missed": miss <= known["missed"].high + own,
        "residuals": bool(
            (np.abs(exact[:, None] - s).min(0) <= known["residuals"].high + own).all()
        ),
        "mass": known["mass"].low * (1 - 1e-6) <= mass <= known["mass"].high * (1 + 1e-6) + 1e-12,
    }
    if norm and "energy" in known:
        share = 1 - (fro / norm) ** 2
        inside["energy"] = known["energy"].low - 1e-12 <= share <= known["energy"].high + 1e-12
    for name, holds in inside.items():
        if not holds:
            tally.violations.append(f"seed {number} ({c.label}): {name}")
    noise = float(np.finfo(c.matrix.dtype).eps)
    accurate = bool((np.abs(s - exact[:k]) <= 2e-6 * exact[:k] + 300 * noise * exact[0]).all())
    if known.met:
        if miss > 0.1 * s[-1] + 100 * noise * norm or not asked(c, found, exact, fro, true, norm):
            tally.false.append(f"seed {number} ({c.label})")
        elif not accurate and "accuracy" not in c.rule and not said(found):
            worst = float(np.abs(s / exact[:k] - 1).max())
            tally.inaccurate.append(f"seed {number} ({c.label}): off by {worst:.1e}")
    if "rank" not in c.rule:
        tally.ranks[k - smallest(c.rule, exact)] += 1
    elif not c.once and accurate and exact[k - 1] > 1e-6 * exact[0]:
        after = exact[k] if k < len(exact) else 0.0
        if exact[k - 1] >= 1.2 * after or exact[k - 1] - after < 1e-9 * after:
            tally.should += 1
            if not known.met:
                tally.muted.append(f"seed {number} ({c.label})")
    kind = c.label.split(", ")[1]
    tally.cases[kind] += 1
    tally.met[kind] += known.met
    tally.ways[str(found.settings["completeness"])] += 1
    if true > 1e-6 * norm and not c.once:
        tally.over.append(known["spectral"].high / true)


def asked(
    c: Case, found: Factorization, exact: np.ndarray, fro: float, true: float, norm: float
) -> bool:
    """Whether the rule is satisfied."""
    own = 1e-14 * norm
    if "accuracy" in c.rule:
        s = np.asarray(found.values).astype(float)
        noise = 300 * float(np.finfo(c.matrix.dtype).eps) * float(exact[0])
        if (exact[: found.rank] > (1 + c.rule["accuracy"]) * s + noise).any():
            return False
    if "rank" in c.rule:
        return found.rank == c.rule["rank"]
    if "energy" in c.rule:
        return 1 - (fro / norm) ** 2 >= c.rule["energy"] - 1e-13
    if c.rule["norm"] == "fro":
        return fro <= c.rule["tol"] * norm + own
    return true <= c.rule["tol"] * float(exact[0]) + own


def said(found: Factorization) -> bool:
    """Whether a note says that values are proven less sharply than they are aimed at."""
    assert found.certificate is not None
    return "aimed at by estimates" in " ".join(found.certificate.notes)


def smallest(rule: dict[str, Any], exact: np.ndarray) -> int:
    """The smallest rank that satisfies a rule."""
    tails = np.append(np.cumsum(exact[::-1] ** 2)[::-1], 0.0)
    if "energy" in rule or rule.get("norm") == "fro":
        share = 1 - rule["energy"] if "energy" in rule else rule["tol"] ** 2
        return max(1, int(np.argmax(tails <= share * tails[0])))
    return max(1, int((exact > rule["tol"] * exact[0]).sum()))


def main(options: Options) -> None:
    torch.set_num_threads(1)
    tally, begin = Tally(), time.process_time()
    usual = choice.SMALL, choice.SHARE
    for seed in range(options.first, options.first + options.cases):
        choice.SMALL, choice.SHARE = usual if seed % 2 else (0, 1)
        c = case(seed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = svd(c.given, **c.rule, solver=c.solver, seed=seed)
        except NotConvergedError:
            tally.refused[c.solver] += 1
            continue
        check(tally, seed, c, found)
    spent = time.process_time() - begin
    print(f"{options.cases} cases, {spent:.0f} CPU seconds; met by kind:")
    print("  " + ", ".join(f"{k} {tally.met[k]}/{n}" for k, n in sorted(tally.cases.items())))
    print("proofs: " + ", ".join(f"{way} {n}" for way, n in tally.ways.most_common()))
    for name, lines in (
        ("violations", tally.violations),
        ("false met", tally.false),
        ("met, off by more than 2e-6 and not said to be", tally.inaccurate),
        (f"right and separated or repeated ({tally.should}), but not met", tally.muted),
    ):
        print(f"{name}: {len(lines)}")
        for line in lines[:30]:
            print("  " + line)
    refused = ", ".join(f"{k} {n}" for k, n in tally.refused.items()) or "none"
    print(f"solver refused (NotConvergedError): {refused}")
    over = np.array(tally.over or [1.0])
    print(
        f"bound of ‖A − A_k‖₂ over truth: median {np.median(over):.3f}, 95 % "
        f"{np.percentile(over, 95):.2f}, largest {over.max():.1f}"
    )
    print(
        "rank by a rule minus the smallest rank that does it: "
        + ", ".join(f"{d:+d}: {n}" for d, n in sorted(tally.ranks.items()))
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
