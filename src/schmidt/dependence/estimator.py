"""What every fitted co-embedding can do: embed, score, retrieve, truncate, save."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.dependence.embedding import Embedding
from schmidt.dependence.laws import law
from schmidt.dependence.moments import moments
from schmidt.operators.form import inner
from schmidt.operators.pairs import GivenPairs
from schmidt.storage import plain, read_tensors, write_tensors

CHUNK = 1024


class CoEmbedding(BaseEstimator):
    """f on X and g on Y with p(x, y)/(p(x)p(y)) ≈ 1 + f(x)ᵀg(y), modes in order of importance.

    Subclasses fit ``right_`` (f), ``left_`` (g) and ``singular_values_``.

    Attributes:
        right_, left_: f and g, modules (B, …) → (B, L).
        singular_values_: (L,) ‖f_l‖‖g_l‖ on the training data (D.5).
    """

    prior: str
    right_: Embedding
    left_: Embedding
    singular_values_: np.ndarray

    @property
    def modes_(self) -> int:
        """L, after truncation."""
        self._require_fitted()
        return self.right_.modes

    @property
    def maximal_correlation_(self) -> float:
        """Hirschfeld–Gebelein–Rényi's: the largest correlation of any f(x) with any g(y).

        In [0, 1]: 0 for independent variables only, 1 if some f(x) = g(y) always. An estimate from
        training data, and from above where there are few of them.
        """
        self._require_fitted()
        return float(min(1.0, self.singular_values_.max()))

    def transform_x(self, X: Any, modes: int | None = None) -> Any:
        """f(x), (n, L) or the first ``modes`` of them; the kind and precision of X are kept."""
        self._require_fitted()
        return self.right_.embed(_items(X), self._first(modes))

    def transform_y(self, Y: Any, modes: int | None = None) -> Any:
        """g(y), (n, L)."""
        self._require_fitted()
        return self.left_.embed(_items(Y), self._first(modes))

    def dependence(
        self, X: Any, Y: Any, *, modes: int | None = None, pairwise: bool = False
    ) -> Any:
        """1 + f(x)ᵀg(y), the estimate of p(x, y)/(p(x)p(y)).

        Above 1: more often together than if they were independent.

        Args:
            X, Y: as many x as y, for (n,) values; with ``pairwise`` any numbers, for (n, m).
            modes: use the first modes only.
        """
        f, g = self.transform_x(X, modes), self.transform_y(Y, modes)
        if pairwise:
            return 1 + f @ g.T
        if len(f) != len(g):
            raise ValueError(
                f"got {len(f)} x and {len(g)} y; for all combinations say pairwise=True"
            )
        return 1 + (f * g).sum(1)

    def score(self, X: Any, Y: Any = None, sample_weight: Any = None) -> float:
        """The H-score E[fᵀg] − E[f]ᵀE[g] − ½ tr Λ_f Λ_g, larger is better.

        It is −½ times the objective (3) of the centred kernel, at most ½ Σ σ_l² of the true values.
        Unbiased for pairs: a pair does not meet itself.

        Args:
            X, Y, sample_weight: as for ``fit``; data that were not trained on. Classes may be new.
        """
        self._require_fitted()
        pairs = law(X, Y, sample_weight, self.prior)
        if isinstance(pairs, GivenPairs):
            return self._pair_score(pairs)
        m = moments(pairs, self.right_, self.left_, device=self.right_.mix.device)
        f, g = (
            cov + torch.outer(mean, mean)
            for cov, mean in ((m.cov_f, m.mean_f), (m.cov_g, m.mean_g))
        )
        return float(m.cross.diagonal().sum() - (f * g).sum() / 2)

    def _pair_score(self, pairs: GivenPairs) -> float:
        f, g = (
            side.embed(items).double().cpu()
            for side, items in ((self.right_, pairs.x), (self.left_, pairs.y))
        )
        w = torch.ones(len(f), dtype=torch.float64) if pairs.weight is None else pairs.weight
        w = w / w.sum()
        same, apart = w.square(), 1 - w.square().sum()
        means = ((w @ f) @ (w @ g) - same @ (f * g).sum(1)) / apart
        grams = (inner(f, f, w) * inner(g, g, w)).sum()
        overlap = (grams - same @ (f.square().sum(1) * g.square().sum(1))) / apart
        return float(w @ (f * g).sum(1) - means - overlap / 2)

    def retrieve(
        self,
        queries: Any,
        gallery: Any,
        n: int = 10,
        *,
        modes: int | None = None,
        metric: str = "cosine",
    ) -> tuple[np.ndarray, np.ndarray]:
        """The n items of the gallery (domain Y) that go best with each query (domain X).

        Args:
            queries, gallery: items, not embeddings.
            n: how many; at most the size of the gallery.
            modes: use the first modes only.
            metric: "cosine" of f(x) and g(y), or "inner", f(x)ᵀg(y), the kernel itself.

        Returns:
            Positions in the gallery (queries, n), best first, and their scores.
        """
        f = tensor(self.transform_x(queries, modes)).float()
        g = tensor(self.transform_y(gallery, modes)).to(f)
        if metric not in ("cosine", "inner"):
            raise ValueError(f"metric must be 'cosine' or 'inner', got {metric!r}")
        if not 1 <= n <= len(g):
            raise ValueError(f"n must lie between 1 and the gallery's size {len(g)}, got {n}")
        if metric == "cosine":
            f, g = (torch.nn.functional.normalize(a) for a in (f, g))
        found = [(part @ g.T).topk(n) for part in f.split(CHUNK)]
        positions, scores = (
            torch.cat([getattr(t, name) for t in found]).cpu().numpy()
            for name in ("indices", "values")
        )
        return positions, scores

    def truncate(self, modes: int) -> Self:
        """The first modes only, at no cost: no training, and the networks are shared."""
        self._require_fitted()
        out = copy.copy(self)
        kept = self._first(modes)
        out.right_, out.left_ = self.right_.truncate(modes), self.left_.truncate(modes)
        out.singular_values_ = self.singular_values_[:kept]
        return out

    def save(self, path: str | Path) -> Path:
        """Write networks, values and settings to one ``.safetensors`` file, atomically."""
        self._require_fitted()
        tensors: dict[str, Tensor] = {"values": torch.from_numpy(self.singular_values_)}
        for name in ("right", "left"):
            state = getattr(self, f"{name}_").state_dict()
            tensors |= {f"{name}.{k}": v for k, v in state.items()}
        header = {
            "kind": f"schmidt.{type(self).__name__}",
            "settings": json.dumps(self._settings(), default=plain),
            "units": str(self.right_.units),
        }
        return write_tensors(Path(path), tensors, header)

    @classmethod
    def _read(cls, path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, header = read_tensors(Path(path), f"schmidt.{cls.__name__}")
        return tensors, {**header, "settings": json.loads(header["settings"])}

    def _restore(self, tensors: dict[str, Tensor], right: Embedding, left: Embedding) -> Self:
        for name, side in (("right", right), ("left", left)):
            prefix = f"{name}."
            state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            side.load_state_dict(state)
        self.right_, self.left_ = right.eval(), left.eval()
        self.singular_values_ = tensors["values"].numpy()
        return self

    def _settings(self) -> dict[str, Any]:
        return self.get_params(deep=False)

    def _first(self, modes: int | None) -> int | None:
        if modes is not None and not 1 <= modes <= self.right_.modes:
            raise ValueError(f"modes must lie between 1 and {self.right_.modes}, got {modes}")
        return modes

    def _require_fitted(self) -> None:
        if not hasattr(self, "right_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit first")


def _items(items: Any) -> Any:
    """Items without the classes that may come with them."""
    return items[0] if isinstance(items, tuple) and len(items) == 2 else items
