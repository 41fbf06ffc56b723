"""Principal component analysis, by the SVD of the centred data or by power iteration."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Self

import numpy as np
import scipy.sparse
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from schmidt.arrays import exact_arithmetic, refuse_masked
from schmidt.certificate import Bound, Certificate
from schmidt.linalg import fix_signs
from schmidt.matrices.kinds import is_mapped, source_of
from schmidt.matrices.solvers.choice import SOLVERS
from schmidt.matrices.solvers.incremental import Incremental
from schmidt.matrices.solvers.krylov import power_iteration
from schmidt.matrices.sources.centred import centred, column_means, slices
from schmidt.matrices.sources.entries import plain, sound
from schmidt.matrices.sources.source import Source, in_units
from schmidt.matrices.svd import svd
from schmidt.parameters import SEED, Allowed, Choice, Number, check

ALL = 256
"""Columns up to which ``partial_fit`` forgets nothing."""
SPARE = 24
"""Beyond: components that it keeps besides those that are asked for, at least."""
UNKNOWN = 200
"""Components that it keeps where their number is a share of the variance."""
CLOSE = 0.1
"""Relative error of singular values up to which a certificate calls components found."""
CHUNK = 2**22
"""Entries that are centred together in ``transform``."""
TINY = 1e-280
"""Of ‖X − mean‖_F²: below, variances have lost digits."""
OUT_OF_RANGE = "the variances leave the range of floats: scale the data"
PARAMETERS: dict[str, Allowed] = {
    "solver": Choice("auto", "power", *SOLVERS),
    "accuracy": Number(0, 1, open="both", none=True),
    "seed": SEED,
}


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The directions of largest variance: x ≈ mean + Σ_j z_j v_j.

    The components are the leading right singular vectors of the centred data, and its
    reconstruction is its best approximation of rank k. Principal components of the *columns* of the
    centred data, as points, are the left singular vectors, ``left_``.

    Args:
        n_components: k; None for min(n_samples, n_features); or a share of the variance in (0, 1),
            for the smallest k that explains as much. The share needs no full spectrum: the total
            is ‖X − mean‖_F².
        solver: "auto" and the solvers of :func:`schmidt.svd`, or "power": power iteration with
            deflation, one component after the other, for k = 1, 2 and for teaching.
        accuracy: relative, of the singular values, as for :func:`schmidt.svd`.
        seed: of starting vectors. Results depend on it within the accuracy only.

    Attributes:
        components_: (k, n_features) orthonormal rows; the first large entry of each is positive.
        explained_variance_: (k,) variances along them, with n_samples − 1 degrees of freedom.
        explained_variance_ratio_: (k,) the same over the total variance.
        singular_values_: (k,) of the centred data.
        mean_: (n_features,), in double precision: means may be larger than what varies about them.
        left_: (n_samples, k) the left singular vectors; only after ``fit``, and never pickled.
        n_components_: k.
        n_samples_seen_: number of rows.
        certificate_: what is known about the error, a :class:`schmidt.certificate.Certificate`.

    Sparse data are centred implicitly and never become dense; arrays in files are read by blocks.
    float32 stays float32, half precision becomes float32. Masked arrays are refused.
    """

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        solver: str = "auto",
        accuracy: float | None = None,
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.solver = solver
        self.accuracy = accuracy
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the components of X (n_samples, n_features), dense or sparse; y is ignored."""
        check(PARAMETERS, solver=self.solver, accuracy=self.accuracy, seed=self.seed)
        X = self._checked(X, reset=True, least=2)
        k = self._wanted(min(X.shape))
        for name in ("_state", "left_"):
            self.__dict__.pop(name, None)
        self._kind = X.dtype if X.dtype.kind == "f" else np.dtype(float)
        with exact_arithmetic():
            if self.solver == "power":
                self._fit_power(X, k)
            else:
                self._fit_svd(X, k)
        self.n_samples_seen_ = X.shape[0]
        self._explain(X.shape[0])
        return self

    def _fit_svd(self, X: Any, k: int | float) -> None:
        rule: dict[str, Any] = {"energy": k} if isinstance(k, float) else {"rank": k}
        self.mean_ = column_means_of(X)
        found = svd(
            X, **rule, center=self.mean_, solver=self.solver, accuracy=self.accuracy, seed=self.seed
        )
        assert isinstance(found.certificate, Certificate)
        self.certificate_ = found.certificate
        self.left_, self.singular_values_ = found.left, found.values
        self.components_ = np.ascontiguousarray(found.right.T)
        self._total = _squared(_norm(found.certificate))

    def _fit_power(self, X: Any, k: int | float) -> None:
        self.mean_ = column_means_of(X)
        source = in_units(source_of(X, center=self.mean_))  # squares of squares stay in range
        self._total = _squared(math.sqrt(source.norm2 or 0.0) * source.unit)
        found = power_iteration(source, k, accuracy=self.accuracy or 1e-6, seed=self.seed)
        signs = fix_signs(found.right)
        self.left_ = (found.left * signs).numpy().astype(self._kind, copy=False)
        values = found.values.double().numpy() * source.unit
        self.singular_values_ = values.astype(self._kind)
        right = (found.right * signs).T.numpy()
        self.components_ = np.ascontiguousarray(right.astype(self._kind, copy=False))
        # U is orthonormal up to the residuals only
        rest = source.adjoint(found.left) - found.right * found.values
        residuals = torch.linalg.vector_norm(rest, dim=0).double().numpy() * source.unit
        noise = source.noise * source.unit + 2 * float(np.linalg.norm(residuals))
        known = self._known(values, len(values), math.inf, noise, k)
        bounds = {**known.bounds, "residuals": Bound(0.0, residuals)}
        self.certificate_ = replace(known, bounds=bounds)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Take in one more batch of any number of rows, dense or sparse; y is ignored.

        Goes on from ``fit`` or from earlier batches. Mean and total variance are those of all rows.
        Up to 256 columns nothing is forgotten; beyond, max(3k, k + 24) components are kept, and
        ``certificate_`` says how far off that may have led. What ``fit`` found is all that it
        remembers. Until there are k rows, there are fewer components.
        """
        check(PARAMETERS, solver=self.solver, accuracy=self.accuracy, seed=self.seed)
        first = not hasattr(self, "components_")
        X = self._checked(X, reset=first, least=1)
        n = X.shape[1]
        wanted = self._wanted(n)
        if not hasattr(self, "_state"):
            self._begin(n, wanted, X.dtype)
        with exact_arithmetic():
            self._take(source_of(X))
        assert self._state.values is not None
        assert self._state.right is not None
        s = self._state.values.double().numpy()
        if isinstance(wanted, float):
            enough = np.cumsum(s**2) >= wanted * self._total
            k = int(np.argmax(enough)) + 1 if enough.any() else len(s)
        else:
            k = min(wanted, len(s))
        right = self._state.right[:, :k]
        right = (right * fix_signs(right)).T.numpy().astype(self._kind, copy=False)
        self.singular_values_ = s[:k].astype(self._kind, copy=False)
        self.components_ = np.ascontiguousarray(right)
        eps = float(np.finfo(float).eps)
        noise = 4 * eps * self._state.updates * math.sqrt(min(n, self.n_samples_seen_))
        means = math.sqrt(self.n_samples_seen_) * float(np.linalg.norm(self.mean_))
        noise = noise * (math.sqrt(self._total) + means) + self._carried
        self.certificate_ = self._known(s, k, self._state.lost, noise, wanted)
        self._explain(self.n_samples_seen_)
        return self

    def _begin(self, n: int, wanted: int | float, kind: np.dtype) -> None:
        """From nothing, or from what ``fit`` has found."""
        kept = UNKNOWN if isinstance(wanted, float) else max(3 * wanted, wanted + SPARE)
        state = Incremental(n if n <= ALL else min(kept, n), seed=self.seed)
        self.__dict__.pop("left_", None)
        if hasattr(self, "components_"):
            state.values = torch.from_numpy(self.singular_values_.astype(float))
            state.right = torch.from_numpy(self.components_.T.astype(float))
            state.updates, state.lost = 1, math.inf
            self._carried = _residual(self.certificate_)
        else:
            self.n_samples_seen_, self._total, self.mean_ = 0, 0.0, np.zeros(n)
            self._carried = 0.0
            self._kind = kind if kind.kind == "f" else np.dtype(float)
        self._state = state

    def _take(self, batch: Source) -> None:
        """Chan, Golub and LeVeque 1983: a batch about its mean, and one row between the means."""
        old, new = self.n_samples_seen_, batch.shape[0]
        mean = column_means(batch) * batch.unit
        difference = torch.from_numpy(self.mean_) - mean
        weight = math.sqrt(old * new / (old + new))
        extra = (weight * difference)[None] if old else None
        shifted = centred(batch, mean, False)
        if shifted.unit > 1:
            raise ValueError(OUT_OF_RANGE)
        if shifted.unit < 1:  # what is far below all other rows may vanish beside them
            shifted = shifted.scaled(1 / shifted.unit)
        assert shifted.norm2 is not None
        between = float(extra.square().sum()) if extra is not None else 0.0
        total = self._total + shifted.norm2 + between
        if total < TINY and bool(batch.norm2) and batch.unit < 1:
            raise ValueError(OUT_OF_RANGE)
        self._total = total
        self._state.update(shifted, extra)
        self.mean_ = self.mean_ + (mean.numpy() - self.mean_) * (new / (old + new))
        self.n_samples_seen_ = old + new

    def _known(
        self, s: np.ndarray, k: int, lost: float, noise: float, asked: int | float
    ) -> Certificate:
        """What the first k of the singular values s of UᴴA, or of A V, say about those of A.

        AᴴA is that of what was kept plus EᴴE of what was dropped, ‖E‖_F² = ‖A‖_F² − Σs²; so
        s_j² ≤ σ_j² ≤ s_j² + ‖E‖₂², and ‖E‖₂² is no larger than ``lost`` and ‖E‖_F².
        """
        total = self._total
        noise = noise + 8 * float(np.finfo(self._kind).eps) * math.sqrt(total)
        slack = 2 * noise * math.sqrt(total)
        rest = max(total - float(np.square(s).sum()), 0.0) + slack
        most = 0.0 if lost == 0 else min(rest, lost + slack)
        highest = np.sqrt(np.square(s) + most) + noise
        kept = s[:k]
        if lost == 0:
            high = float(np.linalg.norm(s[k:])) + math.sqrt(len(s)) * noise
        else:
            high = math.sqrt(max(total - float(np.square(kept).sum()), 0.0) + slack)
        best = max(total - float(np.square(highest[:k]).sum()), 0.0)
        following = float(highest[k]) if k < len(s) else math.sqrt(most) + noise
        missed = max(following - float(kept[-1]), 0.0)
        share = (
            tuple(
                min(float(np.square(ends).sum()) / total, 1.0)
                for ends in (np.maximum(kept - noise, 0), highest[:k])
            )
            if total
            else (1.0, 1.0)
        )
        bounds = {
            "norm": Bound(max(math.sqrt(total) - noise, 0.0), math.sqrt(total) + noise),
            "frobenius": Bound(min(math.sqrt(best), high), high),
            "spectral": Bound(0.0, min(high, following)),
            "energy": Bound(*share),
            "values": Bound(np.maximum(kept - noise, 0), highest[:k]),
            "missed": Bound(0.0, missed),
        }
        close = bool(highest[k - 1] - kept[-1] <= CLOSE * kept[-1] + 2 * noise)
        if isinstance(asked, float):
            named = f"{asked:g} of the variance"
            met = share[0] >= asked * (1 - 1e-12) and close
        else:
            near = missed <= CLOSE * kept[-1] + 2 * noise
            named, met = f"{asked} components", k == asked and close and near
        notes = [] if met else ["components off by what was not kept: see the bounds of values"]
        return Certificate(bounds, met, asked=named, notes=notes)

    def transform(self, X: Any) -> np.ndarray:
        """z (n_samples, k), the coordinates of the rows of X."""
        check_is_fitted(self)
        X = self._checked(X, reset=False, least=1)
        kind = X.dtype if X.dtype.kind == "f" else self._kind
        out = np.empty((X.shape[0], self.n_components_), kind)
        components = self.components_.astype(float).T
        step = max(CHUNK // max(X.shape[1], 1), 1)
        for start in range(0, len(out), step):  # in double precision: means cancel
            rows = slice(start, start + step)
            if scipy.sparse.issparse(X):
                out[rows] = X[rows].astype(float) @ components - self.mean_ @ components
            else:
                out[rows] = (X[rows] - self.mean_) @ components
        return out

    def inverse_transform(self, X: Any) -> np.ndarray:
        """mean + Σ_j z_j v_j, (n_samples, n_features), for coordinates X (n_samples, k)."""
        check_is_fitted(self)
        refuse_masked(X)
        Z = np.asarray(X)
        if Z.dtype.kind not in "biuf":
            raise ValueError(f"expected coordinates, got entries of type {Z.dtype}")
        if Z.ndim != 2 or Z.shape[1] != self.n_components_:
            raise ValueError(
                f"expected coordinates of shape (n, {self.n_components_}), got {Z.shape}"
            )
        kind = Z.dtype if Z.dtype in (np.float32, np.float64) else self._kind
        return (Z @ self.components_.astype(float) + self.mean_).astype(kind, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the scores of the training data."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("left_", None)
        return state

    def _explain(self, samples: int) -> None:
        s = self.singular_values_.astype(float)
        self.n_components_ = len(s)
        variances = s**2 / max(samples - 1, 1)
        share = s**2 / self._total if self._total > 0 else np.zeros(len(s))
        with np.errstate(over="ignore"):
            self.explained_variance_ = variances.astype(self._kind)
        if not np.isfinite(self.explained_variance_).all():
            raise ValueError(OUT_OF_RANGE)
        self.explained_variance_ratio_ = share.astype(self._kind)

    def _wanted(self, most: int) -> int | float:
        k: Any = self.n_components
        if k is None:
            return most
        if isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            if not 1 <= k <= most:
                raise ValueError(
                    f"n_components must lie between 1 and {most}, the smaller side of the data, "
                    f"got {k}"
                )
            return int(k)
        if isinstance(k, (float, np.floating)) and 0 < float(k) < 1:
            return float(k)
        raise ValueError(
            f"n_components must be None, a whole number or a share between 0 and 1, got {k!r}"
        )

    def _checked(self, X: Any, *, reset: bool, least: int) -> Any:
        refuse_masked(X)
        if isinstance(X, torch.Tensor):
            X = plain(X).cpu().numpy()
        if getattr(X, "dtype", None) == np.float16:
            X = np.asarray(X, dtype=np.float32)
        if scipy.sparse.issparse(X):
            sound(X)
        in_file = is_mapped(X) and X.dtype.kind in "biuf" and X.dtype.isnative
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=None if in_file else [np.float64, np.float32],  # no copy of all of it
            ensure_min_samples=least,
        )

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def column_means_of(X: Any) -> np.ndarray:
    """(n,) means of the columns in double precision, blockwise where X lies in a file."""
    if is_mapped(X):
        sums = [X[rows].sum(0, dtype=float) for rows in slices(X.shape)]
        return np.asarray(np.sum(sums, 0) / len(X))
    source = source_of(X)
    return np.asarray(column_means(source).numpy() * source.unit)


def _squared(norm: float) -> float:
    if norm and not math.sqrt(TINY) < norm < 1e150:
        raise ValueError(OUT_OF_RANGE)
    return norm**2


def _norm(certificate: Certificate) -> float:
    known = certificate["norm"]
    return float(known.low + known.high) / 2


def _residual(certificate: Certificate) -> float:
    """‖AᴴU − V S‖_F of what ``fit`` found."""
    return float(np.linalg.norm(certificate["residuals"].high))
