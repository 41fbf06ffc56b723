"""Every result that the library writes: a small one, how it is written and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from schmidt import CDK, Factorization, LinearCDK, MatrixCompletion, SemanticIndex
from schmidt.certificate import Bound, Certificate
from schmidt.factorization import Eigenpairs


@dataclass(frozen=True)
class Saved:
    """One kind of file.

    Attributes:
        make: a number → a small result; other numbers make other ones.
        load: a path → what was saved there.
        content: a result → an array that says which one it is.
    """

    make: Callable[[int], Any]
    load: Callable[[Path], Any]
    content: Callable[[Any], np.ndarray]


def _factorization(seed: int) -> Factorization:
    rng = np.random.default_rng(seed)
    u, s, vh = np.linalg.svd(rng.standard_normal((5, 4)), full_matrices=False)
    known = Certificate({"norm": Bound(1, 2)}, met=True, asked="rank 4")
    return Factorization(u, s, vh.T, certificate=known, settings={"seed": seed})


def _eigenpairs(seed: int) -> Eigenpairs:
    a = np.random.default_rng(seed).standard_normal((4, 4))
    values, vectors = np.linalg.eigh(a + a.T)
    return Eigenpairs(values, vectors, order="ascending", settings={"seed": seed})


@cache
def _completion(seed: int) -> MatrixCompletion:
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((12, 9)) < 0.6)
    return MatrixCompletion().fit(rows, columns, 3 + rng.standard_normal(len(rows)))


@cache
def _index(seed: int) -> SemanticIndex:
    words = ["moon", "star", "sun", "comet", "orbit", "planet", "light", "dust"]
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(words, 5)) for _ in range(8)]
    return SemanticIndex(rank=2).fit(texts)


@cache
def _pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((200, 1))
    return x, 0.8 * x + 0.6 * rng.standard_normal((200, 1))


@cache
def _linear(seed: int) -> LinearCDK:
    return LinearCDK(modes=1).fit(*_pairs(seed))


@cache
def _networks(seed: int) -> CDK:
    return CDK(modes=1, hidden=(4,), steps=3, seed=seed).fit(*_pairs(seed))


RESULTS = {
    "Factorization": Saved(_factorization, Factorization.load, lambda f: f.left),
    "Eigenpairs": Saved(_eigenpairs, Eigenpairs.load, lambda f: f.right),
    "MatrixCompletion": Saved(
        _completion, MatrixCompletion.load, lambda m: m.predict(np.arange(9), np.arange(9))
    ),
    "SemanticIndex": Saved(
        _index, SemanticIndex.load, lambda i: i.transform(["moon", "orbit sun"])
    ),
    "LinearCDK": Saved(_linear, LinearCDK.load, lambda c: c.transform_x(np.ones((1, 1)))),
    "CDK": Saved(_networks, CDK.load, lambda c: c.transform_x(np.ones((1, 1)))),
}
