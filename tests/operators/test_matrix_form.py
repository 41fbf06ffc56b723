"""A matrix form is its matrix, whatever the matrix comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from schmidt.operators import Jet, Matrix

KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "dense": np.asarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "tensor": torch.tensor,
    "scipy": scipy.sparse.coo_matrix,
    "coo": lambda a: torch.tensor(a).to_sparse(),
    "csr": lambda a: torch.tensor(a).to_sparse_csr(),
    "csc": lambda a: torch.tensor(a).to_sparse_csc(),
    "bsr": lambda a: torch.tensor(a).to_sparse_bsr((2, 2)),
    "bsc": lambda a: torch.tensor(a).to_sparse_bsc((2, 2)),
}
SQUARE = [kind for kind in KINDS if kind != "reversed"]


def on_indices(values: np.ndarray) -> Jet:
    return Jet(torch.tensor(values)[None], 1, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_form_is_its_matrix(kind: str, rng: np.random.Generator) -> None:
    a = rng.standard_normal((6, 4)) * (rng.random((6, 4)) < 0.6)
    form = Matrix(KINDS[kind](a))
    f, g = rng.standard_normal((4, 3)), rng.standard_normal((6, 2))
    sample, jf, jg = form.evaluation(), on_indices(f), on_indices(g)
    np.testing.assert_allclose(form.matrix(jg, jf, sample).numpy(), g.T @ a @ f, atol=1e-12)
    np.testing.assert_allclose(form.action(jf, sample).numpy(), a @ f, atol=1e-12)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64])
@pytest.mark.parametrize("kind", SQUARE)
def test_whole_numbers_are_numbers(kind: str, dtype: type, rng: np.random.Generator) -> None:
    a = (rng.random((4, 4)) < 0.5).astype(dtype)
    form, f = Matrix(KINDS[kind](a)), rng.standard_normal((4, 2))
    found = form.action(on_indices(f), form.evaluation())
    np.testing.assert_allclose(found.numpy(), a.astype(float) @ f, atol=1e-12)


@pytest.mark.parametrize("kind", SQUARE)
def test_symmetry_is_a_plain_answer(kind: str, rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 4))
    assert Matrix(KINDS[kind](a)).self_adjoint is False
    assert Matrix(KINDS[kind](a + a.T)).self_adjoint is True


def test_repeated_sparse_entries_add() -> None:
    where = torch.tensor([[0, 0], [1, 1]])
    form = Matrix(
        torch.sparse_coo_tensor(where, torch.tensor([1.0, 2.0]), (2, 2), check_invariants=True)
    )
    assert float(form.a[0, 1]) == 3


@pytest.mark.parametrize("kind", ["dense", "tensor", "scipy", "coo", "csr"])
def test_complex_matrices_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"real matrix, got .*complex128.*\[\[A, −B\], \[B, A\]\]"):
        Matrix(KINDS[kind](1j * np.eye(3)))


def test_matrix_form_refuses_what_it_cannot_read() -> None:
    for make in (np.asarray, scipy.sparse.csr_matrix):
        with pytest.raises(ValueError, match="NaN"):
            Matrix(make(np.array([[1.0, np.nan]])))
    with pytest.raises(ValueError, match="non-empty matrix"):
        Matrix(np.ones(3))
    with pytest.raises(ValueError, match="block=2"):
        Matrix(np.ones((3, 4)), block=2)
