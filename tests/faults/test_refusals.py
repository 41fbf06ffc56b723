"""What cannot be meant is refused by name, in one line, before any work."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

from schmidt import CDK, PCA, Factorization, MatrixCompletion, SemanticIndex, svd
from schmidt.cli.matrix_files import read_matrix
from schmidt.operators import Training, bound_states, fit
from support.small import oscillator

INF = float("inf")
A = np.random.default_rng(0).standard_normal((9, 4))


def network(dtype: torch.dtype) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
    for name, p in list(made.named_parameters()):
        part, _, own = name.partition(".")
        setattr(made[int(part)], own, nn.Parameter(p.detach().to(dtype)))
    return made


def bowl(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(1)


def damaged() -> Any:
    out = scipy.sparse.csr_array(np.eye(3))
    out.indices[0] = 9
    return out


SMALL = Training(steps=1, batch=8)
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "svd rank": (lambda: svd(A, rank=INF), "rank must be a whole number of at least 1, got inf"),
    "svd seed": (lambda: svd(A, rank=1, seed=0.5), "seed must be a whole number"),
    "svd sparse": (lambda: svd(damaged(), rank=1), "indices leave the range"),
    "PCA sparse": (lambda: PCA(1).fit(damaged()), "indices leave the range"),
    "PCA": (lambda: PCA(2.5).fit(A), "n_components must be"),
    "completion": (lambda: MatrixCompletion(rank=INF).fit([0], [0], [1.0]), "rank must be"),
    "CDK": (lambda: CDK(modes=INF).fit(A, A), "modes must be a whole number"),
    "CDK seed": (lambda: CDK(modes=1, seed=0.5).fit(A, A), "seed must be a whole number"),
    "index": (lambda: SemanticIndex().fit([1, 2]), "documents must be strings"),
    "training": (lambda: Training(steps=INF), "steps must be a whole number"),
    "bound states": (lambda: bound_states(bowl, dim=1.5, modes=1), "dim must be a whole number"),
    "their modes": (lambda: bound_states(bowl, dim=2, modes=INF), "modes must be a whole number"),
    "sides": (lambda: Factorization([[1.0]], [2.0], [[1.0]]), "must be an array or a tensor"),
    "bfloat16": (lambda: fit(oscillator(), network(torch.bfloat16), training=SMALL), "bfloat16"),
    "complex": (lambda: fit(oscillator(), network(torch.complex64), training=SMALL), "is complex"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_name(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=words) as error:
        call()
    assert "\n" not in str(error.value)


MARKET = "%%MatrixMarket matrix {} real {}\n2 2{}\n{}\n"
COMPLEX = MARKET.replace("real", "complex")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MARKET.format("coordinate", "skew-symmetric", " 2", "1 1 5\n2 1 1"), "holds 5 on its"),
        (
            MARKET.replace("real", "complex").format("coordinate", "hermitian", " 1", "1 1 5 2"),
            "real",
        ),
        (MARKET.format("coordinate", "general", " 1", "0 1 5"), r"an entry at \(0, 1\) of a 2 × 2"),
    ],
)
def test_matrix_market_keeps_its_word(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.mtx").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_matrix(tmp_path / "a.mtx", None)


def test_an_archive_that_hides_its_parts_is_damaged(tmp_path: Path) -> None:
    """The directory of a .zip has no checksum: an entry fewer, and a sparse matrix would become one
    of its parts."""
    buffer = io.BytesIO()
    scipy.sparse.save_npz(buffer, scipy.sparse.eye_array(4, format="csr"))
    data = buffer.getvalue()
    with zipfile.ZipFile(buffer) as archive:
        start, entries = archive.start_dir, archive.infolist()
    for keep in range(len(entries)):
        name = entries[keep].filename.encode()
        renamed = data[:start] + data[start:].replace(name, name[:-1] + b"q")
        (tmp_path / "a.npz").write_bytes(renamed)
        with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
            read_matrix(tmp_path / "a.npz", None)
