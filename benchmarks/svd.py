"""schmidt.svd beside scikit-learn, scipy, fbpca and torch, at one accuracy, on one thread.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 python benchmarks/svd.py
    … python benchmarks/svd.py --cases algebraic zipf --rank 20 --repeats 3

Every peer runs at several settings, from its default upwards, and counts with the cheapest one
whose k singular values are all within ``--accuracy`` of LAPACK's (ARPACK's at full precision where
the matrix is sparse), relative to the k-th. schmidt runs at its defaults, without and with its
certificate. Numbers are CPU seconds of this process, the least of ``--repeats``. fbpca is left out
where it is not installed.

With ``--memory FOLDER`` files of 3.2 GB, tall and square, are written to it, mostly holes, read by
child processes under every rule, centred or not, and removed; the table is of the peak of anonymous
memory beyond what an imported library takes.

`ratio` is schmidt's time without certificate over that of the best peer; `certificate` is its share
on top. Set the thread variables before the start: CPU time on several threads means nothing here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg as sla
import torch
import tyro
from sklearn.utils.extmath import randomized_svd

from schmidt.matrices import svd
from schmidt.matrices.kinds import source_of
from schmidt.matrices.solvers.choice import solve
from schmidt.matrices.sources.source import in_units

try:
    import fbpca
except ImportError:
    fbpca = None


@dataclass(frozen=True)
class Options:
    """What is compared."""

    cases: tuple[str, ...] = ()
    """Names of cases; default all."""
    peers: tuple[str, ...] = ()
    """Which of arpack, propack, sklearn, fbpca, torch, lapack; default all."""
    rank: int = 50
    """k."""
    accuracy: float = 1e-6
    """Relative error that all k singular values must reach."""
    repeats: int = 2
    """The least time of so many runs counts."""
    memory: Path | None = None
    """Measure memory instead, with files in this folder."""


M, N = 4000, 2000


def planted(values: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((M, N)))[0]
    right = np.linalg.qr(rng.standard_normal((N, N)))[0]
    return (left * values) @ right.T


def zipf() -> scipy.sparse.csr_array:
    """50,000 × 20,000, a million entries whose rows and columns follow Zipf's law."""
    rng = np.random.default_rng(2)
    rows, columns = (1 / np.arange(1, size + 1) ** 0.6 for size in (50_000, 20_000))
    count = 1_000_000
    i = rng.choice(len(rows), count, p=rows / rows.sum())
    j = rng.choice(len(columns), count, p=columns / columns.sum())
    shape = (len(rows), len(columns))
    return scipy.sparse.csr_array(
        scipy.sparse.coo_array((rng.random(count) + 0.5, (i, j)), shape=shape)
    )


def uniform() -> scipy.sparse.csr_array:
    """20,000 × 10,000 with 400,000 entries anywhere: a nearly flat spectrum."""
    rng = np.random.default_rng(0)
    return scipy.sparse.random_array((20_000, 10_000), density=0.002, rng=rng, format="csr")


def scaled() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.standard_normal((M, N)) * 10.0 ** rng.uniform(-3, 3, N)


i = np.arange(1, N + 1)
CASES: Mapping[str, Callable[[], Any]] = {
    "algebraic": lambda: planted(i**-0.5),
    "harmonic": lambda: planted(i**-1.0),
    "exponential": lambda: planted(np.exp(-i / 30)),
    "bulk": lambda: planted(np.r_[np.linspace(2, 1.2, 50), 0.999 ** np.arange(N - 50)]),
    "flat": lambda: planted(np.linspace(1, 0.5, N)),
    "deficient": lambda: planted(np.where(i <= 120, i**-0.5, 0)),
    "scaled": scaled,
    "zipf": zipf,
    "uniform": uniform,
    "operator": lambda: sla.aslinearoperator(zipf()),
}


def peers(A: Any, k: int) -> dict[str, list[tuple[str, Callable[[], np.ndarray]]]]:
    """Name → settings, cheap ones first; each gives k singular values."""

    def scipy_svds(solver: str, tol: float) -> Callable[[], np.ndarray]:
        return lambda: np.sort(sla.svds(A, k, solver=solver, tol=tol, rng=0)[1])[::-1]

    def sklearn(over: int, power: int | str) -> Callable[[], np.ndarray]:
        return lambda: randomized_svd(
            A, k, n_oversamples=over, n_iter=power, random_state=0, flip_sign=False
        )[1]

    out = {
        "arpack": [(f"tol {tol:g}", scipy_svds("arpack", tol)) for tol in (1e-4, 1e-6, 0)],
        "propack": [(f"tol {tol:g}", scipy_svds("propack", tol)) for tol in (1e-3, 0)],
    }
    if isinstance(A, sla.LinearOperator):
        return out
    widths = [(10, "auto"), (50, 4), (50, 7), (50, 12), (100, 12), (100, 25)]
    out["sklearn"] = [(f"+{w}, {p}", sklearn(w, p)) for w, p in widths]
    if fbpca is not None:
        out["fbpca"] = [
            (f"+{w}, {p}", lambda w=w, p=p: fbpca.pca(A, k, raw=True, n_iter=p, l=k + w)[1])
            for w, p in ((2, 2), (50, 4), (50, 8), (100, 12))
        ]
    if isinstance(A, np.ndarray):
        T = torch.from_numpy(A)
        out["torch"] = [
            (f"+{w}, {p}", lambda w=w, p=p: torch.svd_lowrank(T, k + w, p)[1][:k].numpy())
            for w, p in ((10, 2), (50, 4), (50, 8), (100, 12))
        ]
        out["lapack"] = [("full", lambda: np.linalg.svd(A, full_matrices=False)[1][:k])]
    return out


def seconds(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    best, out = np.inf, None
    for _ in range(repeats):
        begin = time.process_time()
        out = call()
        best = min(best, time.process_time() - begin)
    return best, out


def case(name: str, options: Options) -> None:
    A, k = CASES[name](), options.rank
    if isinstance(A, np.ndarray):
        exact = np.linalg.svd(A, compute_uv=False)[:k]
    else:
        exact = np.sort(sla.svds(A, k, solver="arpack", rng=0)[1])[::-1]

    def error(s: np.ndarray) -> float:
        return float(np.abs(s - exact).max() / exact[-1]) if exact[-1] > 0 else np.nan

    source = in_units(source_of(A))
    # everything a user waits for but the certificate: reading A, and the solver
    plain, found = seconds(lambda: solve(in_units(source_of(A)), k), options.repeats)
    whole, result = seconds(lambda: svd(A, rank=k), options.repeats)
    mine = error(np.asarray(found.values) * source.unit)
    rows = []
    for peer, settings in peers(A, k).items():
        if options.peers and peer not in options.peers:
            continue
        for label, call in settings:
            try:
                spent, s = seconds(call, 1)
            except Exception as failure:
                rows.append((peer, label, np.nan, np.nan, str(failure).splitlines()[0][:60]))
                continue
            e = error(np.asarray(s, dtype=float))
            if e <= options.accuracy and options.repeats > 1:
                spent = min(spent, seconds(call, options.repeats - 1)[0])
            rows.append((peer, label, spent, e, ""))
            if e <= options.accuracy:
                break
    good = [row for row in rows if row[3] <= options.accuracy]
    print(f"\n## {name} {A.shape}, k = {k}\n\n| | setting | CPU s | σ error | |")
    print("|---|---|---|---|---|")
    solver = result.settings["solver"]
    print(f"| **schmidt**, {solver} | default | {plain:.3f} | {mine:.0e} | |")
    print(f"| schmidt with certificate | | {whole:.3f} | | {certificate(whole, plain, result)} |")
    for peer, label, spent, e, note in rows:
        mark = "**" if (peer, label, spent, e, note) in good else ""
        print(f"| {peer} | {label} | {mark}{spent:.3f}{mark} | {e:.0e} | {note} |")
    if good:
        best = min(good, key=lambda row: row[2])
        print(f"\nratio to {best[0]}: {plain / best[2]:.2f}", flush=True)


def certificate(whole: float, plain: float, result: Any) -> str:
    c = result.certificate
    more, spectral = 100 * (whole / plain - 1), c["spectral"]
    return f"+{more:.0f} %, {spectral.low:.3g} ≤ ‖E‖₂ ≤ {spectral.high:.3g}"


CHILD = """
import json, sys, threading, time, numpy as np
from schmidt.matrices import svd
def anonymous():
    with open("/proc/self/status") as f:
        return next(int(l.split()[1]) for l in f if l.startswith("RssAnon"))
peak, stop = 0, False
def watch():
    global peak
    while not stop:
        peak = max(peak, anonymous()); time.sleep(0.01)
A, rule = np.load(sys.argv[1], mmap_mode="r"), json.loads(sys.argv[2])
svd(np.eye(40), rank=2)
before = anonymous()
thread = threading.Thread(target=watch); thread.start()
try:
    found = svd(A, **rule)
finally:
    stop = True; thread.join()
print(f"{(peak - before) / 1024:.0f} | {found.rank} | {found.certificate.met}")
"""
RULES: tuple[dict[str, Any], ...] = (
    {"rank": 5},
    {"rank": 5, "center": True},
    {"energy": 0.9, "center": True},
    {"tol": 0.3, "norm": "spectral"},
)


def memory(folder: Path) -> None:
    """Peaks of anonymous memory for files of 3.2 GB: most of their rows are zero."""
    print("| file | rule | MB | k | met |\n|---|---|---|---|---|")
    for m, n in ((20_000, 20_000), (3_200_000, 125)):
        path, rng = folder / f"{m}x{n}.npy", np.random.default_rng(0)
        A, step = np.lib.format.open_memmap(path, "w+", float, (m, n)), m // 40
        for start in range(0, m, step):
            left, right = rng.standard_normal((step // 10, 8)), rng.standard_normal((8, n))
            A[start : start + step // 10] = left @ (right.T * 0.7 ** np.arange(8)).T + 0.3
        A.flush()
        del A
        for rule in RULES:
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(path), json.dumps(rule)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            said = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
            print(f"| {m} × {n} | {rule} | {said} |", flush=True)
        path.unlink()


def main(options: Options) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.memory is not None:
        memory(options.memory)
        return
    for name in options.cases or CASES:
        case(name, options)


if __name__ == "__main__":
    main(tyro.cli(Options))
