"""Principal component analysis, by the SVD of the centred data or by power iteration."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import scipy.sparse
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from schmidt.certificate import Certificate
from schmidt.linalg import fix_signs
from schmidt.matrices.kinds import source_of
from schmidt.matrices.solvers.blocks import Incremental
from schmidt.matrices.solvers.krylov import power_iteration
from schmidt.matrices.sources.centred import Centred, centred, column_means
from schmidt.matrices.sources.entries import squared_norm
from schmidt.matrices.sources.source import Dense, Source
from schmidt.matrices.svd import svd

SPARE = 10
"""Components that ``partial_fit`` keeps beyond those that are asked for, at least."""
UNKNOWN = 200
"""Components that it keeps where their number is a share of the variance."""


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
        accuracy: relative, of the singular values.
        seed: of starting vectors. Results depend on it within the accuracy only.

    Attributes:
        components_: (k, n_features) orthonormal rows; the first large entry of each is positive.
        explained_variance_: (k,) variances along them, with n_samples − 1 degrees of freedom.
        explained_variance_ratio_: (k,) the same over the total variance.
        singular_values_: (k,) of the centred data.
        mean_: (n_features,).
        left_: (n_samples, k) the left singular vectors; only after ``fit``.
        n_components_: k.
        n_samples_seen_: number of rows.
        certificate_: what is known about the error, see :class:`schmidt.certificate.Certificate`;
            only after ``fit`` with an SVD.

    Sparse data are centred implicitly and never become dense. float32 stays float32.
    """

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        solver: str = "auto",
        accuracy: float = 1e-6,
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.solver = solver
        self.accuracy = accuracy
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the components of X (n_samples, n_features), dense or sparse; y is ignored."""
        X = self._checked(X, reset=True, least=2)
        k = self._wanted(min(X.shape))
        self.__dict__.pop("_state", None)
        with torch.no_grad():
            source = source_of(X)
            mean = column_means(source)
            if self.solver == "power":
                self._fit_power(centred(source, mean.numpy(), False), k)
            else:
                self._fit_svd(X, mean.numpy(), k)
        self.mean_ = mean.numpy().astype(X.dtype, copy=False)
        self.n_samples_seen_ = X.shape[0]
        self._explain(X.shape[0])
        return self

    def _fit_svd(self, X: Any, mean: np.ndarray, k: int | float) -> None:
        rule: dict[str, Any] = {"energy": k} if isinstance(k, float) else {"rank": k}
        found = svd(
            X, **rule, center=mean, solver=self.solver, accuracy=self.accuracy, seed=self.seed
        )
        assert isinstance(found.certificate, Certificate)
        self.certificate_ = found.certificate
        self.left_, self.singular_values_ = found.left, found.values
        self.components_ = np.ascontiguousarray(found.right.T)
        norm = self.certificate_["norm"]
        self._total = ((norm.low + norm.high) / 2) ** 2

    def _fit_power(self, source: Source, k: int | float) -> None:
        self.__dict__.pop("certificate_", None)
        self._total = source.norm2 if source.norm2 is not None else 0.0
        found = power_iteration(source, k, accuracy=self.accuracy, seed=self.seed)
        signs = fix_signs(found.right)
        self.left_ = (found.left * signs).numpy()
        self.singular_values_ = found.values.numpy()
        self.components_ = np.ascontiguousarray((found.right * signs).T.numpy())

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Take in one more batch of any number of rows, dense or sparse; y is ignored.

        Keeps the mean, the total variance and max(2k, k + 10) components of all rows so far; what
        else there is in a batch is forgotten, so components are a little off where the spectrum
        decays slowly. Until there are k rows, there are fewer components.
        """
        first = not hasattr(self, "_state")
        X = self._checked(X, reset=first, least=1)
        n = X.shape[1]
        wanted = self._wanted(n)
        if first:
            kept = UNKNOWN if isinstance(wanted, float) else max(2 * wanted, wanted + SPARE)
            self._state = Incremental(min(kept, n), seed=self.seed)
            self.n_samples_seen_, self._total = 0, 0.0
            self.mean_ = np.zeros(n)
            for name in ("left_", "certificate_"):
                self.__dict__.pop(name, None)
        with torch.no_grad():
            self._take(source_of(X))
        assert self._state.values is not None
        assert self._state.right is not None
        s = self._state.values.double().numpy()
        if isinstance(wanted, float):
            enough = np.cumsum(s**2) >= wanted * self._total
            k = int(np.argmax(enough)) + 1 if enough.any() else len(s)
        else:
            k = min(wanted, len(s))
        right = self._state.right[:, :k].to(torch.from_numpy(np.empty(0, X.dtype)).dtype)
        self.singular_values_ = s[:k].astype(X.dtype, copy=False)
        self.components_ = np.ascontiguousarray((right * fix_signs(right)).T.numpy())
        self._explain(self.n_samples_seen_)
        return self

    def _take(self, batch: Source) -> None:
        """Chan, Golub and LeVeque 1983: a batch about its mean, and one row between the means."""
        old, new = self.n_samples_seen_, batch.shape[0]
        mean = column_means(batch)
        difference = torch.from_numpy(self.mean_) - mean
        weight = math.sqrt(old * new / (old + new))
        extra = (weight * difference)[None] if old else None
        shifted: Source
        if isinstance(batch, Dense):
            shifted = Dense(batch.matrix - mean)
        else:
            shifted = Centred(batch, mean, torch.ones_like(mean))
        assert shifted.norm2 is not None
        between = squared_norm(extra) if extra is not None else 0.0
        self._total += shifted.norm2 + between
        self._state.update(shifted, extra)
        self.mean_ = self.mean_ + (mean.numpy() - self.mean_) * (new / (old + new))
        self.n_samples_seen_ = old + new

    def transform(self, X: Any) -> np.ndarray:
        """z (n_samples, k), the coordinates of the rows of X."""
        check_is_fitted(self)
        X = self._checked(X, reset=False, least=1)
        components = self.components_.astype(X.dtype, copy=False)
        if scipy.sparse.issparse(X):
            return X @ components.T - (components @ self.mean_).astype(X.dtype, copy=False)
        return (X - self.mean_.astype(X.dtype, copy=False)) @ components.T

    def inverse_transform(self, X: Any) -> np.ndarray:
        """mean + Σ_j z_j v_j, (n_samples, n_features), for coordinates X (n_samples, k)."""
        check_is_fitted(self)
        Z = np.asarray(X)
        if Z.ndim != 2 or Z.shape[1] != self.n_components_:
            raise ValueError(
                f"expected coordinates of shape (n, {self.n_components_}), got {Z.shape}"
            )
        return Z @ self.components_ + self.mean_.astype(self.components_.dtype, copy=False)

    def _explain(self, samples: int) -> None:
        s = self.singular_values_
        self.n_components_ = len(s)
        self.explained_variance_ = s**2 / max(samples - 1, 1)
        share = s.astype(float) ** 2 / self._total if self._total > 0 else np.zeros(len(s))
        self.explained_variance_ratio_ = share.astype(s.dtype)

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
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
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
