"""The closed-form linear canonical dependence kernel: canonical correlation analysis and more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from schmidt.dependence.canonical import UNCHOSEN, canonical, choose_ridge
from schmidt.dependence.embedding import Embedding
from schmidt.dependence.estimator import CoEmbedding
from schmidt.dependence.laws import folds, law
from schmidt.dependence.moments import Moments, moments, pooled
from schmidt.dependence.networks import flat

FOLDS = 5


class Rows(nn.Module):
    """Items of any shape as rows of float64: what the linear maps act on."""

    def forward(self, x: Tensor) -> Tensor:
        return flat(x).double()


class LinearCDK(CoEmbedding):
    """f and g linear: the best 1 + f(x)ᵀg(y), in closed form.

    On pairs it is canonical correlation analysis, scaled by √σ; on items with classes that of all
    pairs that a class can form; on one-hot rows it is correspondence analysis.

    Args:
        modes: L; None for all there are.
        ridge: added to both covariances, relative to the mean of their eigenvalues; or "auto": the
            one of the largest H-score on a fifth of the pairs, or of the classes, that was left
            out, on the mean over the fifths (over one of them beyond 300 features).
        tied: one map for both domains (their means apart): the kernel of the symmetrised law. For
            domains of one kind; with few classes it is better than two maps.
        prior: of the classes: "empirical" or "uniform".
        seed: of the fifths.

    Attributes:
        singular_values_: (L,) the values of the regularised problem, descending; for ridge 0 the
            canonical correlations.
        ridge_: the ridge that was used.

    Cost: one pass over the data and O(d³), in float64. For loaders and samplers "auto" means 1e-3.
    """

    def __init__(
        self,
        modes: int | None = None,
        *,
        ridge: float | str = "auto",
        tied: bool = False,
        prior: str = "empirical",
        seed: int = 0,
    ) -> None:
        self.modes = modes
        self.ridge = ridge
        self.tied = tied
        self.prior = prior
        self.seed = seed

    def fit(self, X: Any, Y: Any = None, sample_weight: Any = None) -> Self:
        """Fit pairs ``fit(X, Y)``, items with classes ``fit((X, cx), (Y, cy))``, or a loader.

        Args:
            X, Y: (n, …) and (n, …), or items with classes of any number; items are flattened.
            sample_weight: (n,) masses of given pairs.
        """
        if self.modes is not None and self.modes < 1:
            raise ValueError(f"modes must be at least 1, got {self.modes}")
        pairs = law(X, Y, sample_weight, self.prior)
        rows = Rows()
        if self.ridge == "auto":
            parts = [(moments(p, rows, rows), mass) for p, mass in folds(pairs, FOLDS, self.seed)]
        else:
            parts = []
        whole = pooled(parts) if parts else moments(pairs, rows, rows)
        self.ridge_ = self._ridge(parts)
        found = canonical(whole, ridge=self.ridge_, tied=self.tied)
        most = len(found.values)
        if self.modes is not None and self.modes > most:
            raise ValueError(f"these data have at most {most} linear modes, not {self.modes}")
        found = found.truncate(self.modes or most)
        self.right_ = Embedding(rows, whole.mean_f, found.mix_f)
        self.left_ = Embedding(rows, whole.mean_g, found.mix_g)
        self.singular_values_ = found.values.numpy()
        return self

    def _ridge(self, parts: list[tuple[Moments, float]]) -> float:
        if self.ridge == "auto":
            return choose_ridge(parts, modes=self.modes, tied=self.tied) if parts else UNCHOSEN
        if isinstance(self.ridge, str) or not self.ridge >= 0:
            raise ValueError(f"ridge must be 'auto' or at least 0, got {self.ridge!r}")
        return self.ridge

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote; embeddings are the same to the last bit."""
        tensors, header = cls._read(path)
        out = cls(**header["settings"])
        sides = [
            Embedding(Rows(), *(torch.empty_like(tensors[f"{n}.{k}"]) for k in ("mean", "mix")))
            for n in ("right", "left")
        ]
        return out._restore(tensors, *sides)
