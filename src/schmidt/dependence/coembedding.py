"""What every fitted co-embedding is and can do: embed, score, retrieve, truncate, save."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn

from schmidt.arrays import tensor
from schmidt.certificate import Certificate
from schmidt.dependence.laws import exact, in_order, law, names, plain_items
from schmidt.dependence.moments import moments
from schmidt.dependence.ratios import Ratios
from schmidt.operators.form import inner
from schmidt.operators.pairs import GivenPairs
from schmidt.parameters import Choice, Number, check
from schmidt.storage import plain, read_tensors, write_tensors

CHUNK = 4096
QUERIES = 1024
PLAIN = ("ridge_", "history_", "steps_", "seconds_", "interrupted_", "chosen_", "hidden_")
"""Fitted attributes that a file keeps as JSON, where an estimator has them."""
NAMES = ("feature_names_in_", "target_names_in_")


class Embedding(nn.Module):
    """x ↦ (u(x) − mean) @ mix, (B, …) → (B, L).

    Args:
        network: u, a module (B, …) → (B, K).
        mean: (K,).
        mix: (K, L).
        units: take ``network.features`` for u, the hidden units, instead of its outputs.
        precision: of what is made of whole numbers; None: that of ``mix``.
    """

    mean: Tensor
    mix: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Tensor,
        mix: Tensor,
        *,
        units: bool = False,
        precision: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.precision = precision
        self.network = network
        self.units = units
        like = _first(network, mean)
        self.register_buffer("mean", mean.to(like).clone())
        self.register_buffer("mix", mix.to(like).clone())

    @property
    def modes(self) -> int:
        return self.mix.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        network: Any = self.network
        values = network.features(x) if self.units else network(x)
        if values.shape[-1] != len(self.mean):
            raise ValueError(
                f"items have {values.shape[-1]} features each, and were fitted with "
                f"{len(self.mean)}"
            )
        return (values - self.mean) @ self.mix

    @torch.no_grad()
    def embed(self, x: Any, modes: int | None = None) -> Any:
        """Numpy in, numpy out; tensor in, tensor out, on its device; floats keep precision."""
        given = tensor(x)
        if given.ndim == 0 or len(given) == 0:
            raise ValueError(f"expected items (n, …), got shape {tuple(given.shape)}")
        if given.is_complex():
            raise ValueError("the items are complex; the co-embedding was fitted to real ones")
        if given.is_floating_point() and not bool(given.isfinite().all()):
            raise ValueError("the items contain NaN or Inf; remove them first")
        mix, device = self.mix, self.mix.device
        # maps of inputs take differences in the precision that items came in
        plainly = not (hasattr(self.network, "inputs") or hasattr(self.network, "centre"))
        parts = []
        for part in given.split(CHUNK):
            part = part.to(device)
            if plainly and part.is_floating_point():
                part = part.to(mix.dtype)
            parts.append(self(part)[:, :modes])
        out = torch.cat(parts)
        dtype = given.dtype if given.is_floating_point() else self.precision or mix.dtype
        out = out.to(given.device, dtype)
        return out if isinstance(x, Tensor) else out.numpy()

    def truncate(self, modes: int) -> Embedding:
        """The first modes only; the network is shared."""
        mix = self.mix[:, :modes]
        return Embedding(self.network, self.mean, mix, units=self.units, precision=self.precision)


def _first(network: nn.Module, otherwise: Tensor) -> Tensor:
    """Some tensor of the network that is learned, to take precision and device from."""
    both = (*network.parameters(), *network.buffers())
    return next((p for p in both if p.is_floating_point()), otherwise)


class CoEmbedding(BaseEstimator):
    """f on X and g on Y with p(x, y)/(p(x)p(y)) ≈ 1 + f(x)ᵀg(y), modes in order of importance.

    Subclasses fit what is listed here.

    Attributes:
        right_, left_: f and g, modules (B, …) → (B, L).
        singular_values_: (L,) the correlations of the modes on rows that took no part in finding
            them; the certificate says how they were found, and where that was not possible.
        singular_values_train_: (L,) the correlations on the rows that were fitted: too large where
            these are few.
        certificate_: likely errors of the values, the held-out H-score, and what is not known.
            Nothing in it is proven: these are estimates from a sample.
        feature_names_in_, target_names_in_: the columns of X and Y, where they were data frames.
    """

    prior: str
    right_: Embedding
    left_: Embedding
    singular_values_: np.ndarray
    singular_values_train_: np.ndarray
    certificate_: Certificate
    ratios_: Ratios

    @property
    def modes_(self) -> int:
        """L, after truncation."""
        self._require_fitted()
        return self.right_.modes

    @property
    def maximal_correlation_(self) -> float:
        """Hirschfeld–Gebelein–Rényi's: the largest correlation of any f(x) with any g(y).

        In [0, 1]: 0 for independent variables only, 1 if some f(x) = g(y) always. An estimate, of
        the functions that were found, on rows that did not find them.
        """
        self._require_fitted()
        return float(min(1.0, self.singular_values_.max()))

    @property
    def intervals_(self) -> np.ndarray:
        """(L, 2) 95 % intervals of ``singular_values_``: rows, groups or stretches of a series that
        were held out are drawn again (bootstrap). They hold for the functions that were found; the
        best functions may have more. [0, 1] where nothing was held out."""
        self._require_fitted()
        e = self.certificate_.estimates
        if "low" not in e:
            known = "known exactly" in " ".join(self.certificate_.notes)
            v = self.singular_values_
            return np.stack([v, v] if known else [0 * v, 0 * v + 1], 1)
        return np.stack([np.asarray(e["low"]), np.asarray(e["high"])], 1)

    @property
    def p_value_(self) -> float:
        """Of independence; NaN where nothing was held out, or where the law is known exactly."""
        self._require_fitted()
        return float(self.certificate_.estimates.get("p_value", float("nan")))

    def transform_x(self, X: Any, modes: int | None = None) -> Any:
        """f(x), (n, L) or the first ``modes`` of them; the kind and precision of X are kept."""
        self._require_fitted()
        return self.right_.embed(self._items(X, 0), self._first(modes))

    def transform_y(self, Y: Any, modes: int | None = None) -> Any:
        """g(y), (n, L)."""
        self._require_fitted()
        return self.left_.embed(self._items(Y, 1), self._first(modes))

    def dependence(
        self, X: Any, Y: Any, *, modes: int | None = None, pairwise: bool = False
    ) -> Any:
        """1 + f(x)ᵀg(y), the best estimate of p(x, y)/(p(x)p(y)) of its rank, in the mean square.

        Above 1: more often together than if they were independent. It is *not* a ratio of
        densities itself: a sum of few modes is negative for some pairs, where the ratio is small.
        Where a positive number is needed, see :meth:`log_dependence`.

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

    def log_dependence(
        self, X: Any, Y: Any, *, modes: int | None = None, pairwise: bool = False
    ) -> Any:
        """log p(x, y)/(p(x)p(y)), calibrated: an increasing function of :meth:`dependence`.

        The function is the one that fits held-out pairs best: how often pairs that belong together,
        and pairs that were put together at random, have such a value (isotonic regression). Its
        mean over the data is an estimate of the mutual information.

        Args:
            X, Y, modes, pairwise: as in :meth:`dependence`.
        """
        k = self.dependence(X, Y, modes=modes, pairwise=pairwise)
        return self.ratios_.log_ratio(k, self._first(modes))

    def score(
        self, X: Any, Y: Any = None, sample_weight: Any = None, *, weights: str = "auto"
    ) -> float:
        """The H-score E[fᵀg] − E[f]ᵀE[g] − ½ tr Λ_f Λ_g, larger is better.

        It is −½ times the objective (3) of the centred kernel, at most ½ Σ σ_l² of the true values.
        Unbiased for pairs: a pair does not meet itself.

        Args:
            X, Y, sample_weight, weights: as for ``fit``; data that were not trained on.
                Classes may be new.
        """
        self._require_fitted()
        if Y is not None:
            X, Y = self._ordered(X, 0), self._ordered(Y, 1)
        pairs = law(X, Y, sample_weight, self.prior, weights)
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
        # of n counted pairs each meets itself once in n²
        counts = pairs.counts
        w = w / w.sum()
        if exact(pairs):
            same, apart = 0 * w, 1.0
        elif counts is None:
            same, apart = w.square(), float(1 - w.square().sum())
        else:
            same, apart = w / float(counts.sum()), 1 - 1 / float(counts.sum())
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
        table = {
            "metric": Choice("cosine", "inner"),
            "n": Number(1, len(g), whole=True, advice="the gallery has no more items"),
        }
        check(table, metric=metric, n=n)
        if metric == "cosine":
            f, g = (torch.nn.functional.normalize(a) for a in (f, g))
        found = [(part @ g.T).topk(n) for part in f.split(QUERIES)]
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
        out.singular_values_train_ = self.singular_values_train_[:kept]
        old = self.certificate_
        out.certificate_ = old.truncate(modes, {}, f"correlations of {modes} modes", False)
        out.ratios_ = self.ratios_.truncate(modes)
        return out

    def save(self, path: str | Path) -> Path:
        """Write networks, values, settings and everything fitted to one ``.safetensors`` file."""
        self._require_fitted()
        tensors: dict[str, Tensor] = {
            "values": torch.from_numpy(self.singular_values_),
            "values_train": torch.from_numpy(self.singular_values_train_),
        }
        tensors |= {f"ratios.{k}": v for k, v in self.ratios_.tensors().items()}
        for name in ("right", "left"):
            state = getattr(self, f"{name}_").state_dict()
            tensors |= {f"{name}.{k}": v for k, v in state.items()}
        fitted = {name: getattr(self, name) for name in PLAIN if hasattr(self, name)}
        fitted |= {n: getattr(self, n).tolist() for n in NAMES if hasattr(self, n)}
        header = {
            "kind": f"schmidt.{type(self).__name__}",
            "settings": json.dumps(self._settings(), default=plain),
            "fitted": json.dumps(fitted, default=plain),
            "certificate": json.dumps(self.certificate_.as_dict(), default=plain),
            "units": str(self.right_.units),
        }
        return write_tensors(Path(path), tensors, header)

    @classmethod
    def _read(cls, path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, header = read_tensors(Path(path), f"schmidt.{cls.__name__}")
        plainly = ("settings", "fitted", "certificate")
        return tensors, {k: json.loads(v) if k in plainly else v for k, v in header.items()}

    def _restore(
        self,
        tensors: dict[str, Tensor],
        header: dict[str, Any],
        right: Embedding,
        left: Embedding,
    ) -> Self:
        for name, side in (("right", right), ("left", left)):
            prefix = f"{name}."
            state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            side.load_state_dict(state)
        self.right_, self.left_ = right.eval(), left.eval()
        self.singular_values_ = tensors["values"].numpy()
        self.singular_values_train_ = tensors["values_train"].numpy()
        self.certificate_ = Certificate.from_dict(header["certificate"])
        self.ratios_ = Ratios.from_tensors(
            {k[len("ratios.") :]: v for k, v in tensors.items() if k.startswith("ratios.")}
        )
        for name, value in header["fitted"].items():
            setattr(self, name, np.array(value, dtype=object) if name in NAMES else value)
        return self

    def _settings(self) -> dict[str, Any]:
        return self.get_params(deep=False)

    def _remember_names(self, X: Any, Y: Any) -> None:
        for name, side in zip(NAMES, (X, Y), strict=True):
            found = names(side) if side is not None else None
            if found is not None:
                setattr(self, name, found)
            elif hasattr(self, name):
                delattr(self, name)

    def _ordered(self, items: Any, side: int) -> Any:
        known = getattr(self, NAMES[side], None)
        name = "XY"[side]
        if isinstance(items, tuple):
            return (in_order(items[0], known, name), *items[1:])
        return in_order(items, known, name)

    def _items(self, items: Any, side: int) -> Any:
        """Items without the classes that may come with them."""
        items = items[0] if isinstance(items, tuple) and len(items) == 2 else items
        return plain_items(self._ordered(items, side), "XY"[side])

    def _first(self, modes: int | None) -> int | None:
        check({"modes": Number(1, self.right_.modes, whole=True, none=True)}, modes=modes)
        return modes

    def _require_fitted(self) -> None:
        if not hasattr(self, "right_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit first")
