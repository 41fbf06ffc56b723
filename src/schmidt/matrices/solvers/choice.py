"""Which solver finds the leading triplets, by the structure of the matrix and the rank."""

from __future__ import annotations

from typing import Any

from schmidt.matrices.solvers.engines import lanczos, lobpcg
from schmidt.matrices.solvers.krylov import advance, block_krylov, passes
from schmidt.matrices.solvers.triplets import NotConvergedError, Triplets, lapack
from schmidt.matrices.sources.source import BLOCKS, MAPPED, Source

SOLVERS = ("lapack", "krylov", "propack", "arpack", "lobpcg")
SMALL = 400
"""min(m, n) up to which a full decomposition is the fastest."""
SHARE = 6
"""Krylov methods find at most min(m, n)/6 triplets sooner than LAPACK finds all."""
NARROW = 8
"""Columns of a block of a sparse matrix or an operator, up to 120 triplets."""
ENTRIES = 2**27
"""Entries up to which a matrix may be made dense for LAPACK (1 GiB in float64)."""
READ = (BLOCKS, MAPPED)
"""Structures that are read again for every product: the number of passes is bounded."""
MEMORY = 2**31
"""Bytes that a Krylov space and its images may take beyond."""


def solve(
    source: Source,
    rank: int,
    solver: str = "auto",
    *,
    preconditioner: Any = None,
    accuracy: float = 1e-6,
    seed: int = 0,
    start: Triplets | None = None,
) -> Triplets:
    """At least ``rank`` triplets by the solver named, or by the one that suits the structure.

    Args:
        source: A with m ≥ n, unless it has a solver of its own; see :func:`leading_triplets`.
        start: fewer triplets whose space is to go on.
    """
    enough = solver == "auto" and not source.solver and _choice(source, rank) == "lapack"
    if start is not None and start.space is not None and not enough:
        return advance(start.space, rank, accuracy=accuracy, largest=room(source, rank))
    if source.solver:
        if solver != "auto":
            raise ValueError(f"{source.structure} has a solver of its own: leave solver out")
        return source.solve(rank, accuracy=accuracy, seed=seed)
    if preconditioner is not None and solver not in ("auto", "lobpcg"):
        raise ValueError(f"a preconditioner is for lobpcg, not for {solver}")
    if solver == "auto":
        solver = "lobpcg" if preconditioner is not None else _choice(source, rank)
    if solver == "lapack":
        return lapack(source, rank)
    if solver == "lobpcg":
        return lobpcg(source, rank, preconditioner, accuracy=accuracy, seed=seed)
    if solver == "krylov":
        largest = room(source, rank)
        return block_krylov(source, rank, accuracy=accuracy, seed=seed, largest=largest)
    if solver in ("propack", "arpack"):
        if source.device.type != "cpu":
            raise ValueError(f"{solver} works on the CPU only, A is on {source.device}")
        return lanczos(source, rank, accuracy=accuracy, seed=seed, solver=solver)
    return _automatic(source, rank, accuracy, seed)


def room(source: Source, rank: int) -> int:
    """The largest dimension of a Krylov space: all of it for small A, else what memory allows.

    A matrix that is read again for every product is read so many times and no more.
    """
    m, n = source.shape
    known = passes(rank) if source.structure in READ else source.largest(rank)
    if known is not None:
        return min(known, n)
    return n if m * n <= ENTRIES else min(n, max(4 * rank + 400, MEMORY // (8 * (m + n))))


def _choice(source: Source, rank: int) -> str:
    m, n = source.shape
    if source.norm2 == 0 and m * n <= ENTRIES:
        return "lapack"
    little = source.small <= SMALL or SHARE * rank > source.small
    if little and m * n <= ENTRIES:
        return "lapack"
    return "automatic"


def _automatic(source: Source, rank: int, accuracy: float, seed: int) -> Triplets:
    """Block Krylov, whose space can be proven to miss nothing; where it fails, LAPACK."""
    m, n = source.shape
    # products with sparse matrices cost the same per column, so narrow blocks cost the least
    block = None if source.structure.batched else NARROW * (1 + rank // 120)
    # a space of half the dimension costs more than all of LAPACK
    held = m * n <= ENTRIES and source.structure not in READ
    limit = source.small // 2 if held else room(source, rank)
    try:
        return block_krylov(source, rank, accuracy=accuracy, seed=seed, block=block, largest=limit)
    except NotConvergedError:
        if not held:
            raise
    return lapack(source, rank)
