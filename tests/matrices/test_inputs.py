"""What people pass: every kind of array is the same matrix, centred or not, or is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator

import schmidt
from schmidt import PCA, svd
from schmidt.compare import subspace_distance
from schmidt.matrices.images import compress
from schmidt.matrices.solvers import dask as dask_solver
from schmidt.matrices.sources import centred as centring
from schmidt.operators.dependence import JointTable

M, N = 60, 12


@pytest.fixture
def A(rng: np.random.Generator) -> np.ndarray:
    """With means far from zero, and entries that half precision holds."""
    return np.round(rng.standard_normal((M, N)) * 0.8 ** np.arange(N) * 8 + 20) / 4


def vectors_only(A: np.ndarray) -> LinearOperator:
    """A matvec that is wrong, or fails, for columns (n, 1)."""
    return LinearOperator(
        A.shape, matvec=lambda x: (A * x).sum(1), rmatvec=lambda y: (A.T * y).sum(1), dtype=float
    )


def frame(A: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(A).convert_dtypes()


def read_only(A: np.ndarray) -> np.ndarray:
    B = A.copy()
    B.flags.writeable = False
    return B


def negative(A: np.ndarray) -> torch.Tensor:
    """A tensor whose sign is pending."""
    return torch.view_as_complex(torch.from_numpy(np.stack([A, -A], -1))).conj().imag


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda A: A,
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "swapped bytes": lambda A: A.astype(">f8"),
    "strided": lambda A: np.repeat(np.repeat(A, 2, 0), 3, 1)[::2, ::3],
    "reversed": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "lists": lambda A: A.tolist(),
    "float32": lambda A: A.astype(np.float32),
    "float16": lambda A: A.astype(np.float16),
    "nothing masked": lambda A: np.ma.array(A),
    "matrix": lambda A: np.matrix(A),
    "tensor": torch.from_numpy,
    "tensor with a graph": lambda A: torch.from_numpy(A).requires_grad_(),
    "pending sign": negative,
    "bfloat16": lambda A: torch.from_numpy(A).bfloat16(),
    "sparse tensor": lambda A: torch.from_numpy(A).to_sparse(),
    "pandas": pd.DataFrame,
    "nullable pandas": frame,
    "sparse pandas": lambda A: pd.DataFrame(A).astype(pd.SparseDtype(float, 0)),
    "polars": lambda A: pl.DataFrame(A),
    "csr": scipy.sparse.csr_array,
    "coo": scipy.sparse.coo_matrix,
    "operator": vectors_only,
    "dask": lambda A: da.from_array(A, chunks=(17, 5)),
    "dask, sparse": lambda A: da.from_array(A, chunks=(17, 5)).map_blocks(
        scipy.sparse.csr_array, dtype=float
    ),
    "dask, float16": lambda A: da.from_array(A.astype(np.float16), chunks=(17, 5)),
    "blocks": lambda A: np.split(A, [10, 10, 33]),  # one of them empty
    "tensor blocks": lambda A: list(torch.from_numpy(A).split(25)),
    "sparse blocks": lambda A: [scipy.sparse.csr_array(A[:30]), scipy.sparse.csr_array(A[30:])],
    "frames": lambda A: [pd.DataFrame(A[:30]), pd.DataFrame(A[30:])],
    "function": lambda A: lambda: iter(np.split(A, [0, 20])),
}


def numbers(a: Any) -> np.ndarray:
    return np.asarray(a.compute() if hasattr(a, "compute") else a, dtype=float)


def agrees(given: Any, exact: np.ndarray, accuracy: float, **settings: Any) -> None:
    found = svd(given, rank=3, **settings)
    u, s, vh = np.linalg.svd(exact, full_matrices=False)
    np.testing.assert_allclose(numbers(found.values), s[:3], rtol=accuracy)
    best = (u[:, :3] * s[:3]) @ vh[:3]
    ours = (numbers(found.left) * numbers(found.values)) @ numbers(found.right).T
    np.testing.assert_allclose(ours, best, atol=30 * accuracy * s[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_the_same_matrix(kind: str, A: np.ndarray) -> None:
    given = KINDS[kind](A)
    accuracy = 1e-5 if "16" in kind or "32" in kind else 1e-7
    if kind == "bfloat16":
        A = given.float().numpy().astype(float)
    agrees(given, A, accuracy)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"operator"}))
def test_centring_and_scaling(kind: str, A: np.ndarray) -> None:
    given = KINDS[kind](A)
    accuracy = 1e-4 if "16" in kind or "32" in kind else 1e-7
    if kind == "bfloat16":
        A = given.float().numpy().astype(float)
    agrees(given, A - A.mean(0), accuracy, center=True)
    agrees(given, (A - A.mean(0)) / A.std(0), accuracy, center=True, scale=True)
    agrees(given, A / np.sqrt((A**2).mean(0)), accuracy, scale=True)
    mean, size = np.arange(N), np.arange(1, N + 1)
    agrees(given, (A - mean) / size, accuracy, center=mean, scale=size)


def test_an_operator_is_centred_by_products(A: np.ndarray) -> None:
    agrees(vectors_only(A), A - A.mean(0), 1e-7, center=True)


def test_an_iterator_cannot_be_centred(A: np.ndarray) -> None:
    agrees(iter(np.split(A, 3)), A, 1e-7)
    with pytest.raises(ValueError, match="read once only"):
        svd(iter(np.split(A, 3)), rank=2, center=True)


def test_results_are_of_the_kind_of_the_matrix(A: np.ndarray) -> None:
    """Half precision is computed and given back in single precision."""
    assert svd(A.astype(np.float16), rank=2).left.dtype == np.float32
    assert svd(torch.from_numpy(A).half(), rank=2).left.dtype == torch.float32
    assert svd(torch.from_numpy(A).bfloat16(), rank=2, center=True).right.dtype == torch.float32
    assert svd(torch.from_numpy(A * 4).int(), rank=2).left.dtype == torch.float64
    assert svd(frame(A), rank=2).left.dtype == np.float64
    assert PCA(2).fit(A.astype(np.float16)).components_.dtype in (np.float32, np.float64)


def test_autocast_changes_nothing(A: np.ndarray) -> None:
    for given in (A, A.astype(np.float32), torch.from_numpy(A).float()):
        exact = svd(given, rank=3, solver="krylov")
        plain = PCA(2).fit(np.asarray(given)).components_
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = svd(given, rank=3, solver="krylov")
            assert found.left.dtype == exact.left.dtype
            np.testing.assert_array_equal(numbers(found.left), numbers(exact.left))
            np.testing.assert_array_equal(PCA(2).fit(np.asarray(given)).components_, plain)


def masked(A: np.ndarray) -> np.ma.MaskedArray:
    """With fill values that would be the largest singular value by far."""
    holes = np.zeros(A.shape, bool)
    holes[0, 0] = holes[40, 1] = True
    return np.ma.array(np.where(holes, 1e20, A), mask=holes)


SOUND = np.random.default_rng(0).random((M, N))
MASKED: dict[str, Callable[[Any], Any]] = {
    "svd": lambda m: svd(m, rank=2),
    "svd of a list": lambda m: svd(list(m), rank=2),
    "svd of blocks": lambda m: svd([m[:30], m[30:]], rank=2),
    "svd of a function": lambda m: svd(lambda: iter([m[:30], m[30:]]), rank=2),
    "svd of an iterator": lambda m: svd(iter([m[:30], m[30:]]), rank=2),
    "svd of dask": lambda m: svd(da.from_array(m, chunks=20, asarray=False), rank=2),
    "centring": lambda m: svd(np.ones((M, N)), rank=2, center=m[0]),
    "scaling": lambda m: svd(np.ones((M, N)), rank=2, scale=m[0]),
    "PCA.fit": lambda m: PCA(2).fit(m),
    "PCA.partial_fit": lambda m: PCA(2).partial_fit(m),
    "PCA.transform": lambda m: PCA(2).fit(SOUND).transform(m),
    "PCA.inverse_transform": lambda m: PCA(N).fit(SOUND).inverse_transform(m),
    "nystrom": lambda m: schmidt.nystrom(lambda x, y: x @ y.T, m, rank=2),
    "nystrom of two": lambda m: schmidt.nystrom(lambda y, x: y @ x.T, np.ones((M, N)), m, rank=2),
    "nystrom at points": lambda m: schmidt.nystrom(lambda x, y: x @ y.T, SOUND, rank=2).right(m),
    "compress": lambda m: compress(
        np.ma.array(np.ones((M, N), np.uint8), mask=np.ma.getmaskarray(m)), [2]
    ),
    "compare": lambda m: subspace_distance(np.eye(M)[:, :2], m[:, :2]),
    "CDK": lambda m: schmidt.CDK(modes=2, steps=1).fit(m, np.ones((M, N))),
    "LinearCDK": lambda m: schmidt.LinearCDK(modes=2).fit(SOUND, m),
    "Matrix": lambda m: schmidt.operators.Matrix(m),
    "JointTable": lambda m: JointTable(np.abs(m)),
    "Data": lambda m: schmidt.operators.Data(m),
}


@pytest.mark.parametrize("entry", MASKED)
def test_masked_arrays_are_refused_everywhere(entry: str, A: np.ndarray) -> None:
    with pytest.raises(ValueError, match="mask"):
        MASKED[entry](masked(A))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.array([["a", "b"]]), "numbers"),
        (np.array([[1, object()]], dtype=object), "numbers"),
        ([[1, 2], [3]], "numbers"),
        (pd.DataFrame({"a": [1.0, 2], "b": ["x", "y"]}), "column 'b'"),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "NaN"),
        (pl.DataFrame({"a": [1.0, None]}), "NaN"),
        (pl.DataFrame({"a": ["x", "y"]}), "column 'a'"),
        (np.zeros((3, 0)), "empty"),
        (np.ones(3), "expected a matrix"),
        (torch.ones(2, 2, device="meta"), "without entries"),
        ([np.zeros((0, 3))], "no blocks"),
        (np.array([[1.0, np.inf]]), "NaN or Inf"),
    ],
)
def test_refusals(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        svd(given, rank=1)


def test_operators_that_are_wrong_for_columns(A: np.ndarray) -> None:
    """A running sum along the last axis does nothing to a column (n, 1), without an error."""
    n = 30
    C = np.tril(np.ones((n, n)))
    operator = LinearOperator(
        (n, n), matvec=lambda x: np.cumsum(x, -1), rmatvec=lambda y: np.cumsum(y[::-1], -1)[::-1],
        dtype=float,
    )  # fmt: skip
    both = [operator, operator + 0 * operator, 1.0 * operator]
    for given in both:
        found = svd(given, rank=2, solver="krylov")
        np.testing.assert_allclose(found.values, np.linalg.svd(C, compute_uv=False)[:2], rtol=1e-6)


class TestFiles:
    """Arrays in files, by blocks: small ones are made to look large."""

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("schmidt.matrices.kinds.READ", 0)
        monkeypatch.setattr(centring, "ROOM", 2000)

    @pytest.mark.parametrize("shape", ["tall", "wide", "square"])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, ">f8", complex])
    def test_are_the_same_matrix(
        self,
        shape: str,
        dtype: Any,
        rng: np.random.Generator,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        m, n = {"tall": (300, 20), "wide": (20, 300), "square": (90, 80)}[shape]
        if shape == "square":
            monkeypatch.setattr("schmidt.matrices.solvers.blocks.WIDE", 10)
        exact = rng.standard_normal((m, n)) * np.linspace(1, 9, n) * 20 + 50
        exact = exact + 1j * rng.standard_normal((m, n)) if dtype is complex else exact
        np.save(tmp_path / "a.npy", exact.astype(dtype))
        mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
        exact = np.asarray(mapped).astype(complex if dtype is complex else float)
        for settings, B in (
            ({}, exact),
            ({"center": True}, exact - exact.mean(0)),
            ({"center": True, "scale": True}, (exact - exact.mean(0)) / exact.std(0)),
            ({"center": np.ones(n), "scale": np.full(n, 2)}, (exact - 1) / 2),
        ):  # fmt: skip
            found = svd(mapped, rank=4, **settings)
            u, s, vh = np.linalg.svd(B, full_matrices=False)
            np.testing.assert_allclose(found.values, s[:4], rtol=1e-5)
            np.testing.assert_allclose(
                found.reconstruct(), (u[:, :4] * s[:4]) @ vh[:4], atol=1e-2 * s[3]
            )

    def test_pca(self, rng: np.random.Generator, tmp_path: Path) -> None:
        X = (rng.standard_normal((400, 15)) * np.arange(1, 16) * 30 + 100).astype(np.int32)
        np.save(tmp_path / "x.npy", X)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        ours, whole = PCA(3).fit(mapped), PCA(3).fit(X)
        np.testing.assert_allclose(ours.explained_variance_, whole.explained_variance_, rtol=1e-6)
        np.testing.assert_allclose(ours.transform(mapped), whole.transform(X), atol=1e-6 * 400)


MEMORY = """
import resource, sys, numpy as np
from schmidt import PCA, svd
from schmidt.compare import subspace_distance
path, what = sys.argv[1:]
A = np.load(path, mmap_mode="r")
def anonymous():
    with open("/proc/self/status") as f:
        return next(int(l.split()[1]) for l in f if l.startswith("RssAnon"))
import threading, time
peak, stop = 0, False
def watch():
    global peak
    while not stop:
        peak = max(peak, anonymous()); time.sleep(0.005)
svd(np.eye(40), rank=2); PCA(2).fit(np.random.rand(50, 5))
before = anonymous()
thread = threading.Thread(target=watch); thread.start()
if what == "pca":
    PCA(5).fit(A)
else:
    svd(A, rank=5, center=what == "centred", accuracy=1e-3)
stop = True; thread.join()
print((peak - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("what", "shape"),
    [("centred", (200_000, 125)), ("pca", (5000, 5000))],
)
def test_the_peak_of_memory_is_bounded_by_blocks(
    what: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    """200 MB in a file; a centred copy and its decomposition would take 600."""
    A = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", float, shape)
    rng = np.random.default_rng(0)
    B, C = rng.standard_normal((shape[0], 8)), rng.standard_normal((8, shape[1])) * 9
    for start in range(0, shape[0], 1000):
        part = B[start : start + 1000]
        A[start : start + 1000] = part @ C + rng.random((len(part), 1)) * np.ones(shape[1])
    A.flush()
    del A
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "a.npy"), what],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 300, f"{done.stdout.strip()} MB"


def test_dask_with_means_takes_few_passes(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for the means, one for the norm, and those of the solver; the left side stays lazy."""
    A = rng.standard_normal((400, 60)) * 0.7 ** np.arange(60) + 5
    reads = 0

    def read(block: np.ndarray) -> np.ndarray:
        nonlocal reads
        reads += block.size > 0
        return block

    def passes(center: bool) -> float:
        nonlocal reads
        reads = 0
        given = da.from_array(A, chunks=(100, 60)).map_blocks(read, dtype=float)
        found = svd(given, rank=3, center=center)
        assert isinstance(found.left, da.Array)
        return reads / 4

    assert passes(True) <= passes(False) + 3
    assert dask_solver.shifted(da.from_array(A, chunks=50), True, False).chunks[0] == (50,) * 8


@pytest.mark.parametrize("scale", [1e-300, 1e-140, 1e140, 1e200])
@pytest.mark.parametrize("kind", ["array", "csr", "dask", "blocks", "sparse blocks"])
def test_matrices_of_any_size_are_centred(kind: str, scale: float, A: np.ndarray) -> None:
    found = svd(KINDS[kind](A * scale), rank=2, center=True)
    exact = np.linalg.svd(A - A.mean(0), compute_uv=False)[:2]
    np.testing.assert_allclose(numbers(found.values) / scale, exact, rtol=1e-8)
    try:
        found = svd(KINDS[kind](A * scale), rank=2, center=True, scale=True)
    except ValueError as error:
        assert "leave the range" in str(error)  # noqa: PT017 – right or refused
    else:
        exact = np.linalg.svd((A - A.mean(0)) / A.std(0), compute_uv=False)[:2]
        np.testing.assert_allclose(numbers(found.values), exact, rtol=1e-8)
