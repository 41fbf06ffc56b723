"""The result: numpy's conventions, best truncations, one rule for signs, files that survive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from schmidt import Factorization
from schmidt.linalg import fix_signs
from schmidt.operators import DisjointMLP
from schmidt.operators.spectrum import Functions
from schmidt.storage import DamagedFileError, read_json, read_tensors, write_json

SETTINGS = {"seed": 3, "optimizer": "soap", "hidden": [32, 32], "lr": 0.01}


@pytest.fixture
def matrix(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((8, 6))


def decompose(a: Any) -> Factorization:
    u, s, vh = (np if isinstance(a, np.ndarray) else torch).linalg.svd(a, full_matrices=False)
    return Factorization(u, s, vh.conj().T, settings=SETTINGS)


def functions(modes: int = 4) -> Functions:
    return Functions(DisjointMLP(2, 3, (5,)), torch.randn(3, modes))


@pytest.mark.parametrize("kind", ["numpy", "torch", "complex"])
def test_unpacks_as_numpy_does(kind: str, matrix: np.ndarray) -> None:
    a: Any = {"numpy": matrix, "torch": torch.from_numpy(matrix), "complex": matrix + 1j * matrix}
    result = decompose(a[kind])
    u, s, vh = result
    with pytest.raises(TypeError, match="len"):  # neither 3 nor the rank
        len(result)  # type: ignore[arg-type]
    assert type(u) is type(vh) is type(a[kind])
    np.testing.assert_allclose((u * s) @ vh, a[kind], atol=1e-12)
    np.testing.assert_allclose(decompose(a[kind]).reconstruct(), a[kind], atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_truncation_is_the_best_approximation(rank: int, matrix: np.ndarray) -> None:
    """Schmidt's theorem: what remains is the tail of the squared singular values."""
    full = decompose(matrix)
    cut = full.truncate(rank)
    assert cut.rank == rank
    assert cut.settings == full.settings
    remains = np.linalg.norm(matrix - cut.reconstruct()) ** 2
    assert remains == pytest.approx((full.values[rank:] ** 2).sum(), abs=1e-12)
    np.testing.assert_array_equal(cut.truncate(1).left, full.truncate(1).left)


def test_truncated_functions_are_the_first_functions() -> None:
    f = functions()
    whole = Factorization(f, np.array([4.0, 3.0, 2.0, 1.0]), f)
    cut = whole.truncate(2)
    x = torch.randn(5, 2)
    assert cut.left is cut.right
    assert torch.equal(cut.left(x), f(x)[:, :2])
    kernel = cut.reconstruct(x, x)
    expected = (f(x)[:, :2] * torch.tensor([4.0, 3.0])) @ f(x)[:, :2].T
    torch.testing.assert_close(kernel, expected.to(kernel), rtol=1e-5, atol=1e-6)


def test_is_frozen(matrix: np.ndarray) -> None:
    with pytest.raises(AttributeError, match="cannot assign"):
        decompose(matrix).values = matrix  # type: ignore[misc]


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("complex_", [False, True])
def test_the_sign_rule_picks_one_of_all_equivalent_columns(
    tensor: bool, complex_: bool, rng: np.random.Generator
) -> None:
    a = rng.standard_normal((9, 5)) + (1j * rng.standard_normal((9, 5)) if complex_ else 0)
    phases = np.exp(2j * np.pi * rng.random(5)) if complex_ else np.array([1, -1, 1, -1, -1.0])

    def fixed(columns: np.ndarray) -> np.ndarray:
        given: Any = torch.from_numpy(columns) if tensor else columns
        factors = fix_signs(given)
        assert isinstance(factors, Tensor) == tensor
        assert factors.dtype == given.dtype
        np.testing.assert_allclose(np.abs(np.asarray(factors)), 1, atol=1e-14)
        return np.asarray(given * factors)

    once = fixed(a)
    np.testing.assert_allclose(fixed(a * phases), once, atol=1e-14)
    np.testing.assert_allclose(fixed(once), once, atol=1e-14)
    size = np.abs(once)
    for column, magnitude in zip(once.T, size.T, strict=True):
        pivot = column[np.flatnonzero(magnitude >= magnitude.max() / 2)[0]]
        assert pivot.real > 0
        assert abs(pivot.imag) < 1e-14


def test_rounding_cannot_decide_a_sign() -> None:
    a = np.array([[1.0, 0.0], [-1.0 - 1e-15, 0.0]])
    np.testing.assert_array_equal(fix_signs(a), [1, 1])
    np.testing.assert_array_equal(fix_signs(np.roll(a, 1, axis=0)), [-1, 1])


def test_signs_on_both_sides_leave_the_product(matrix: np.ndarray) -> None:
    full = decompose(matrix)
    signs = fix_signs(full.left)
    np.testing.assert_allclose((full.left * signs * full.values) @ (full.right * signs).T, matrix)


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_come_back_to_the_last_bit(
    tensor: bool, dtype: str, matrix: np.ndarray, tmp_path: Path
) -> None:
    a: Any = matrix.astype(dtype)
    saved = decompose(torch.from_numpy(a) if tensor else a)
    loaded = Factorization.load(saved.save(tmp_path / "deep" / "f.safetensors"))
    for name in ("left", "values", "right"):
        old, new = getattr(saved, name), getattr(loaded, name)
        assert type(new) is type(old)
        assert new.dtype == old.dtype
        np.testing.assert_array_equal(new, old)
    assert loaded.settings == SETTINGS


def test_views_of_one_array_can_be_saved(matrix: np.ndarray, tmp_path: Path) -> None:
    """Descending eigenvalues are reversed views of ascending ones; sides may share memory."""
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    saved = Factorization(vectors[:, ::-1], values[::-1], vectors[:, ::-1])
    loaded = Factorization.load(saved.save(tmp_path / "f.safetensors"))
    for name in ("left", "values", "right"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    # products of views and of copies may differ in the last bit, by the version of numpy
    np.testing.assert_allclose(loaded.reconstruct(), saved.reconstruct(), atol=1e-12)
    base = torch.from_numpy(matrix)
    shared = Factorization(base, torch.ones(6), base[:, :])
    np.testing.assert_array_equal(
        Factorization.load(shared.save(tmp_path / "g.safetensors")).right, matrix
    )


def test_numpy_scalars_in_settings_stay_numbers(matrix: np.ndarray, tmp_path: Path) -> None:
    settings = {"modes": np.int64(4), "lr": np.float32(0.5), "grid": np.arange(2), "out": tmp_path}
    saved = Factorization(matrix, matrix[0], matrix, settings=settings)
    loaded = Factorization.load(saved.save(tmp_path / "f.safetensors"))
    expected = {"modes": 4, "lr": 0.5, "grid": [0, 1], "out": str(tmp_path)}
    assert loaded.settings == expected


@pytest.mark.parametrize("same", [False, True])
def test_functions_come_back_into_modules(same: bool, tmp_path: Path) -> None:
    right = functions()
    left = right if same else functions()
    saved = Factorization(left, np.arange(4.0)[::-1], right)
    path = saved.save(tmp_path / "f.safetensors")
    torch.manual_seed(99)
    loaded = Factorization.load(path, left=functions(), right=None if same else functions())
    x = torch.randn(7, 2)
    assert torch.equal(loaded.left(x), left(x))
    assert torch.equal(loaded.right(x), right(x))
    assert (loaded.left is loaded.right) == same


def test_loading_functions_needs_modules(tmp_path: Path) -> None:
    f = functions()
    path = Factorization(f, np.ones(4), f).save(tmp_path / "f.safetensors")
    with pytest.raises(ValueError, match="holds functions: pass the module for `left`"):
        Factorization.load(path)


def test_a_plain_function_cannot_be_saved(tmp_path: Path) -> None:
    result = Factorization(torch.sin, np.ones(1), torch.sin)
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        result.save(tmp_path / "f.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "text"])
def test_a_damaged_file_is_named(damage: str, matrix: np.ndarray, tmp_path: Path) -> None:
    path = decompose(matrix).save(tmp_path / "f.safetensors")
    data = path.read_bytes()
    broken = {"cut": data[:-9], "empty": b"", "header": b"\xff" * 16 + data[16:], "text": b"hello"}
    path.write_bytes(broken[damage])
    with pytest.raises(DamagedFileError, match=r"f\.safetensors is damaged: it cannot be read"):
        Factorization.load(path)


def test_a_missing_or_foreign_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match="no such file"):
        Factorization.load(tmp_path / "absent.safetensors")
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not hold a Factorization"):
        Factorization.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_failing_write_leaves_the_old_file(
    call: str, matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = decompose(matrix).save(tmp_path / "f.safetensors")
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        decompose(2 * matrix).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    decompose(2 * matrix).save(path)
    assert read_tensors(path)[0]["values"][0] == pytest.approx(
        2 * np.linalg.norm(matrix, 2), rel=1e-12
    )


def test_a_new_file_obeys_the_umask(matrix: np.ndarray, tmp_path: Path) -> None:
    path = decompose(matrix).save(tmp_path / "f.safetensors")
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_json_is_strict_atomic_and_keeps_numbers(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"x": np.float32(0.5), "v": torch.arange(2), "p": 1})
    assert read_json(path) == {"x": 0.5, "v": [0, 1], "p": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert read_json(path)["p"] == 1
    for broken in (b"{", b"", b"\xff\xfe"):
        path.write_bytes(broken)
        with pytest.raises(DamagedFileError, match=r"a\.json is damaged: not valid JSON"):
            read_json(path)


def test_bad_input_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"values must be a vector, got shape \(8, 6\)"):
        Factorization(matrix, matrix, matrix)
    with pytest.raises(ValueError, match="left has 6 columns for 5 values"):
        Factorization(matrix, np.ones(5), matrix)
    with pytest.raises(ValueError, match=r"left must have shape \(m, k\), got \(5,\)"):
        Factorization(np.ones(5), np.ones(5), matrix)
    for rank in (0, 7):
        with pytest.raises(ValueError, match=f"between 1 and 6, got {rank}"):
            decompose(matrix).truncate(rank)
    lambdas = Factorization(nn.Identity(), np.ones(3), nn.Identity())
    with pytest.raises(TypeError, match="left cannot be truncated"):
        lambdas.truncate(2)
