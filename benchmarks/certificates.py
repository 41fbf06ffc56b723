"""Do certificates hold? Seeded adversarial matrices, every claim checked against LAPACK.

    python benchmarks/certificates.py                  # 1,000 cases, about three minutes
    python benchmarks/certificates.py --cases 100 --first 5000

Spectra: flat, decaying, clustered, rank-deficient, with spikes over a flat bulk. Matrices: dense,
sparse, operators, row blocks, ill-scaled rows or columns, complex, float32, tall and wide. In every
fourth case the solver's answer is spoiled before it is certified – a leading triplet removed, or
noise added – so that what is left has a few large values hidden in a flat bulk, which is the
hardest that a bound from random columns can meet. Solvers are forced away from LAPACK, whose
certificates are the easy ones.

A violation is any claim that is false: a spectral bound below the true norm or above it from below,
a Frobenius error called exact that is not, a residual without a singular value within it, brackets
that miss, "met" where it is not. Rank by tolerance is compared with the smallest rank that does it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
import tyro

from schmidt.matrices import NotConvergedError, svd
from schmidt.matrices.certify import Certificate, certify
from schmidt.matrices.kinds import source_of
from schmidt.matrices.solvers.choice import solve
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.rank import rank_rule

SPECTRA = ("flat", "algebraic", "exponential", "clustered", "deficient", "spiked", "steep")
KINDS = ("dense", "dense", "sparse", "operator", "blocks", "scaled rows", "scaled columns")


@dataclass(frozen=True)
class Options:
    """Which cases."""

    cases: int = 1000
    """How many."""
    first: int = 0
    """Seed of the first; the others follow."""


@dataclass
class Tally:
    """What was found."""

    violations: list[str] = field(default_factory=list)
    over: dict[str, list[float]] = field(default_factory=dict)
    ranks: Counter[int] = field(default_factory=Counter)
    unproven: int = 0
    tolerances: int = 0
    failed: int = 0


def spectrum(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    i = np.arange(1, n + 1)
    if kind == "flat":
        return np.linspace(1, rng.uniform(0.5, 1), n)
    if kind == "algebraic":
        return i ** -rng.uniform(0.3, 2)
    if kind == "exponential":
        return np.exp(-i / rng.uniform(3, 60))
    if kind == "steep":
        return 10.0 ** (-i / rng.uniform(1, 4))
    if kind == "clustered":
        return np.repeat(2.0 ** -np.arange(n), 9)[:n] * rng.uniform(1 - 1e-9, 1, n)
    if kind == "deficient":
        return np.where(i <= rng.integers(1, n // 2), i**-0.5, 0.0)
    bulk = np.full(n, rng.uniform(0.3, 0.95))
    bulk[: rng.integers(1, 6)] = 1
    return bulk


def orthonormal(m: int, n: int, complex_: bool, rng: np.random.Generator) -> np.ndarray:
    """Dense, or local: columns of the identity mixed in a few rows, for tiny overlaps."""
    if rng.random() < 0.25:
        return np.eye(m)[rng.permutation(m)[:n]].T.astype(complex if complex_ else float)
    a = rng.standard_normal((m, n))
    return np.linalg.qr(a + 1j * rng.standard_normal((m, n)) if complex_ else a)[0]


def matrix(seed: int) -> tuple[str, str, np.ndarray]:
    """Spectrum's name, kind, and the matrix itself."""
    rng = np.random.default_rng(seed)
    name, kind = SPECTRA[seed % len(SPECTRA)], KINDS[rng.integers(len(KINDS))]
    m, n = int(rng.integers(100, 320)), int(rng.integers(90, 320))
    small, complex_ = min(m, n), rng.random() < 0.25
    if kind == "sparse":
        A = scipy.sparse.random_array(
            (m, n), density=rng.uniform(0.005, 0.1), rng=rng, data_sampler=rng.standard_normal
        ).toarray()
        A = A * (1 + 1j * rng.standard_normal((m, n))) if complex_ else A
    else:
        s = spectrum(name, small, rng)
        left, right = orthonormal(m, small, complex_, rng), orthonormal(n, small, complex_, rng)
        A = (left * s) @ right.conj().T
    if kind == "scaled rows":
        A = 10.0 ** rng.uniform(-6, 6, (m, 1)) * A
    if kind == "scaled columns":
        A = A * 10.0 ** rng.uniform(-6, 6, n)
    A = A * 10.0 ** rng.uniform(-30, 30)
    if rng.random() < 0.2 and kind in ("dense", "sparse"):
        scale = np.abs(A).max() or 1.0
        A = (A / scale).astype(np.complex64 if complex_ else np.float32)
    return name, kind, A


def given(kind: str, A: np.ndarray, rng: np.random.Generator) -> tuple[Any, str]:
    """The matrix as a user has it, and a solver that is not LAPACK."""
    if kind == "sparse":
        return scipy.sparse.csr_array(A), str(rng.choice(["propack", "arpack", "krylov"]))
    if kind == "operator":
        return scipy.sparse.linalg.aslinearoperator(A), str(rng.choice(["propack", "krylov"]))
    if kind == "blocks":
        parts = np.array_split(A, rng.integers(2, 7))
        return (parts if rng.random() < 0.5 else iter(parts)), "auto"
    return A, "krylov"


def check(
    tally: Tally, seed: int, A: np.ndarray, k: int, parts: Any, c: Certificate, label: str
) -> None:
    """Every claim of one certificate."""
    wide = A.astype(complex if np.iscomplexobj(A) else float)
    left, s, right = (np.asarray(part) for part in parts)
    E = wide - (left.astype(wide.dtype) * s) @ right.astype(wide.dtype).conj().T
    exact = np.linalg.svd(wide, compute_uv=False)
    norm, true = np.linalg.norm(wide), float(np.linalg.norm(E, 2))
    fro = float(np.linalg.norm(E))
    own = 1e-14 * norm  # rounding of this check

    def claim(holds: bool, what: str) -> None:
        if not holds:
            tally.violations.append(f"seed {seed} ({label}): {what}")

    claim(true <= c.spectral + own, f"‖E‖₂ = {true:.6g} > {c.spectral:.6g}")
    claim(true >= c.spectral_lower - own, f"‖E‖₂ = {true:.6g} < {c.spectral_lower:.6g}")
    if c.frobenius_exact:
        claim(abs(fro - c.frobenius) <= 2e-3 * fro, f"‖E‖_F = {fro:.6g} is not {c.frobenius:.6g}")
    claim(fro <= 1.001 * c.frobenius + own, f"‖E‖_F = {fro:.6g} > {c.frobenius:.6g}")
    nearest = np.abs(exact[:, None] - s[:k].astype(float)[None]).min(0)
    claim(bool((nearest <= c.residuals + own).all()), "no singular value within a residual")
    mass = s[:k].astype(float).sum() / exact.sum() if exact[0] else 1.0
    if s[0] > 0:
        claim(
            c.mass[0] <= mass * (1 + 1e-6) and mass <= c.mass[1] * (1 + 1e-6),
            f"mass {mass:.6g} outside [{c.mass[0]:.6g}, {c.mass[1]:.6g}]",
        )
    if c.energy is not None:
        energy = 1 - (fro / norm) ** 2
        claim(
            c.energy[0] - 1e-5 <= energy <= c.energy[1] + 1e-5,
            f"energy {energy:.6g} outside {c.energy}",
        )
    if true > 1e-9 * norm and c.probability > 0:
        tally.over.setdefault(label.split(",")[0], []).append(c.spectral / true)


def spoiled(seed: int, A: np.ndarray, kind: str, rng: np.random.Generator) -> tuple[Any, ...]:
    """An answer without one of its leading triplets, or with noise in it, and its certificate."""
    B, _ = given(kind if kind != "blocks" else "dense", A, rng)
    source = source_of(B)
    k = int(rng.integers(2, 12))
    found = solve(source, k + 1, "krylov", accuracy=1e-3, seed=seed)
    if rng.random() < 0.6:
        keep = torch.tensor([i for i in range(k + 1) if i != rng.integers(k)])[:k]
        k = len(keep)
        wrong = Triplets(found.left[:, keep], found.values[keep], found.right[:, keep])
    else:
        noise = torch.from_numpy(rng.standard_normal(tuple(found.right.shape))).to(found.right)
        V, _ = torch.linalg.qr(found.right + 0.3 * noise / found.right.shape[0] ** 0.5)
        Q, R = torch.linalg.qr(source.apply(V))
        u, s, vh = torch.linalg.svd(R)
        wrong = Triplets(Q @ u, s, V @ vh.mH.resolve_conj()).truncate(k)
    c = certify(source, wrong, k, rank_rule(rank=k), seed=seed + 10**6)
    return k, (wrong.left.resolve_conj(), wrong.values, wrong.right.resolve_conj()), c


def rule(rng: np.random.Generator) -> dict[str, Any]:
    choice = rng.random()
    if choice < 0.5:
        return {"rank": int(rng.integers(1, 25))}
    if choice < 0.65:
        return {"energy": float(rng.uniform(0.3, 0.999))}
    if choice < 0.7:
        return {"mass": float(rng.uniform(0.2, 0.9))}
    norm = str(rng.choice(["fro", "spectral", "sigma"]))
    return {"tol": float(10 ** rng.uniform(-3, -0.3)), "norm": norm}


def optimal(exact: np.ndarray, wanted: dict[str, Any]) -> int:
    tails = np.append(np.cumsum(exact[::-1] ** 2)[::-1], 0.0)
    if "energy" in wanted or wanted.get("norm") == "fro":
        share = 1 - wanted["energy"] if "energy" in wanted else wanted["tol"] ** 2
        return max(1, int(np.argmax(tails <= share * tails[0])))
    return max(1, int((exact > wanted["tol"] * exact[0]).sum()))


def one(seed: int, tally: Tally) -> None:
    name, kind, A = matrix(seed)
    rng = np.random.default_rng([seed, 1])
    label = f"{'sparse' if kind == 'sparse' else name}, {kind}"
    try:
        if seed % 4 == 3:
            k, parts, c = spoiled(seed, A, kind, rng)
            check(tally, seed, A, k, parts, c, f"{label}, spoiled")
            return
        wanted = rule(rng)
        if kind == "operator" and ("energy" in wanted or wanted.get("norm") == "fro"):
            wanted = {"rank": 7}
        if kind == "blocks":
            wanted = {"rank": wanted.get("rank", 9)}
        B, solver = given(kind, A, rng)
        if solver in ("propack", "arpack") and "rank" not in wanted:
            solver = "auto"
        f = svd(B, **wanted, solver=solver, seed=seed)
    except NotConvergedError:
        tally.failed += 1
        return
    parts = (f.left, f.values, f.right)
    check(tally, seed, A, f.rank, parts, f.certificate, label)
    if "rank" in wanted or "mass" in wanted:
        return
    tally.tolerances += 1
    tally.unproven += not f.certificate.met
    exact = np.linalg.svd(A.astype(complex if np.iscomplexobj(A) else float), compute_uv=False)
    best = optimal(exact, wanted)
    tally.ranks[f.rank - best] += 1
    wide = A.astype(complex if np.iscomplexobj(A) else float)
    E = wide - (f.left * f.values.astype(float)) @ f.right.conj().T
    if f.certificate.met:
        fro = "energy" in wanted or wanted["norm"] == "fro"
        share = (1 - wanted["energy"]) ** 0.5 if "energy" in wanted else wanted["tol"]
        value, whole = (
            (np.linalg.norm(E), np.linalg.norm(wide)) if fro else (np.linalg.norm(E, 2), exact[0])
        )
        eps = float(np.finfo(A.dtype).eps)
        if value > share * whole * (1 + 1e-9) + 100 * eps * np.linalg.norm(wide):
            tally.violations.append(f"seed {seed} ({label}): {wanted} is called met and is not")


def main(options: Options) -> None:
    torch.set_num_threads(1)
    tally, begin = Tally(), time.process_time()
    for seed in range(options.first, options.first + options.cases):
        one(seed, tally)
    print(f"{options.cases} cases, {time.process_time() - begin:.0f} CPU seconds")
    print(f"violations: {len(tally.violations)}")
    for line in tally.violations[:40]:
        print("  " + line)
    print(f"solver refused (NotConvergedError): {tally.failed}")
    print("overestimate of ‖A − A_k‖₂ by bounds from random columns:")
    ratios: list[float] = []
    for name, values in sorted(tally.over.items()):
        ratios += values
        print(
            f"  {name:12s} {len(values):4d} cases, median {np.median(values):.2f}, "
            f"largest {max(values):.2f}"
        )
    print(f"  {'all':12s} {len(ratios):4d} cases, median {np.median(ratios):.2f}")
    print(
        f"rank by tolerance minus the smallest rank that does it, of {tally.tolerances}: "
        + ", ".join(f"{d:+d}: {n}" for d, n in sorted(tally.ranks.items()))
    )
    print(f"tolerances not proven to be met: {tally.unproven}")


if __name__ == "__main__":
    main(tyro.cli(Options))
