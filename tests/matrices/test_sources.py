"""Every kind of matrix obeys the laws of sources, in every clothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import aslinearoperator

from laws.sources import SourceLaws
from schmidt.matrices.hermitian import Hermitian
from schmidt.matrices.kinds import source_of
from schmidt.matrices.sources.centred import Centred
from schmidt.matrices.sources.source import (
    Adjoint,
    Dense,
    InUnits,
    Source,
    Structure,
    Wrapped,
    tall,
)

rng = np.random.default_rng(8)
PLAIN = rng.standard_normal((23, 11))
HOLES = np.where(rng.random((40, 17)) < 0.2, rng.standard_normal((40, 17)), 0.0)
COMPLEX = rng.standard_normal((9, 14)) + 1j * rng.standard_normal((9, 14))
KINDS: dict[str, tuple[np.ndarray, Any]] = {
    "dense": (PLAIN, PLAIN),
    "one row": (PLAIN[:1], PLAIN[:1]),
    "one column": (PLAIN[:, :1], PLAIN[:, :1]),
    "Fortran order": (PLAIN, np.asfortranarray(PLAIN)),
    "float32": (PLAIN.astype(np.float32).astype(float), PLAIN.astype(np.float32)),
    "integers": (np.round(9 * PLAIN), np.round(9 * PLAIN).astype(int)),
    "complex": (COMPLEX, COMPLEX),
    "tensor": (PLAIN, torch.from_numpy(PLAIN)),
    "conjugate view": (COMPLEX.conj(), torch.from_numpy(COMPLEX).conj()),
    "huge": (1e200 * PLAIN, 1e200 * PLAIN),
    "tiny": (1e-200 * PLAIN, 1e-200 * PLAIN),
    "sparse": (HOLES, scipy.sparse.coo_array(HOLES)),
    "sparse complex": (HOLES * (1 + 2j), scipy.sparse.csc_array(HOLES * (1 + 2j))),
    "sparse float32": (
        HOLES.astype(np.float32).astype(float),
        scipy.sparse.csr_array(HOLES.astype(np.float32)),
    ),
    "operator": (PLAIN, aslinearoperator(PLAIN)),
    "complex operator": (COMPLEX, aslinearoperator(COMPLEX)),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestKinds(SourceLaws):
    """As users pass them."""

    @pytest.fixture(autouse=True)
    def _of(self, kind: str) -> None:
        self.whole, self.given = KINDS[kind]

    def matrix(self) -> np.ndarray:
        return self.whole

    def source(self) -> Source:
        return source_of(self.given, 4, 0)


class TestCentred(SourceLaws):
    """Minus the means of the columns, and divided by their deviations."""

    @pytest.fixture(autouse=True, params=["dense", "float32", "sparse", "operator", "complex"])
    def _of(self, request: pytest.FixtureRequest) -> None:
        self.whole, self.given = KINDS[request.param]
        self.scaled = request.param != "operator"  # whose entries nobody knows

    def matrix(self) -> np.ndarray:
        centred = self.whole - self.whole.mean(axis=0)
        spread = np.sqrt(np.mean(np.abs(centred) ** 2, axis=0))
        return centred / spread if self.scaled else centred

    def source(self) -> Source:
        return source_of(self.given, 4, 0, center=True, scale=self.scaled)


class TestAdjoint(SourceLaws):
    """Wide matrices as their adjoints."""

    def matrix(self) -> np.ndarray:
        return COMPLEX.conj().T

    def source(self) -> Source:
        return tall(source_of(COMPLEX, 4, 0))


class TestMapped(SourceLaws):
    """A file that is mapped, not read."""

    @pytest.fixture(autouse=True)
    def _on_disk(self, tmp_path: Path) -> None:
        np.save(tmp_path / "A.npy", PLAIN)
        self.path = tmp_path / "A.npy"

    def matrix(self) -> np.ndarray:
        return PLAIN

    def source(self) -> Source:
        return source_of(np.load(self.path, mmap_mode="r"), 4, 0)


class Marked(Dense):
    """A source whose every answer can be told from a default."""

    structure = Structure("a marked matrix", images=False)
    probes = False
    eps = 0.25
    most = 3

    def largest(self, rank: int) -> int:
        return rank + 17

    def give(self, result: torch.Tensor) -> Any:
        return ("given", tuple(result.shape))

    def give_left(self, left: Any, values: torch.Tensor, right: torch.Tensor) -> Any:
        return "left"


WRAPPERS: dict[type, Any] = {
    Adjoint: Adjoint,
    InUnits: lambda source: InUnits(source, 4.0),
    Centred: lambda source: Centred(source, source.matrix.mean(0), 0.5 + torch.arange(11).double()),
    Hermitian: lambda source: Hermitian(source, source.noise),
}


@pytest.mark.parametrize("kind", Wrapped.__subclasses__(), ids=lambda kind: kind.__name__)
def test_wrappers_forward_what_they_do_not_say_anew(kind: type) -> None:
    inside = Marked(PLAIN)
    inside.noise = 0.5
    outside = WRAPPERS[kind](inside)
    assert (outside.structure, outside.probes, outside.eps) == (inside.structure, False, 0.25)
    assert (outside.most, outside.largest(2)) == (3, 19)
    assert outside.give(torch.zeros(2, 1)) == ("given", (2, 1))
    x = torch.zeros(1)
    assert outside.give_left(x, x, x) == "left"
    assert outside.solver == ""


@pytest.mark.parametrize("kind", Wrapped.__subclasses__(), ids=lambda kind: kind.__name__)
def test_wrappers_keep_noise_in_their_own_units(kind: type) -> None:
    """Noise of the matrix within, as far as the wrapper's own products can make it grow."""
    inside = Dense(PLAIN)
    quiet = WRAPPERS[kind](inside).noise
    inside.noise = 0.5
    grown = {Adjoint: 0.5, InUnits: 0.125, Centred: 1.0, Hermitian: 0.5}[kind]
    assert WRAPPERS[kind](inside).noise == pytest.approx(quiet + grown)


@pytest.mark.parametrize("kind", Wrapped.__subclasses__(), ids=lambda kind: kind.__name__)
def test_wrappers_in_double_precision_and_other_units(kind: type) -> None:
    given = PLAIN.astype(np.float32)
    outside = WRAPPERS[kind](Dense(given))
    exact = outside.dense().double() * outside.unit
    wide, small = outside.wide(), outside.scaled(2.0)
    assert wide.dtype == torch.float64
    assert small.unit == 2 * outside.unit
    slack = 1e-5 * float(exact.abs().max())
    for other in (wide, small):
        torch.testing.assert_close(
            other.dense().double() * other.unit,
            exact,
            rtol=1e-5,
            atol=slack,
        )
