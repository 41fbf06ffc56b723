"""``MatrixCompletion``: the estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from schmidt.completion.biases import Biases
from schmidt.completion.entries import entries
from schmidt.completion.files import Saved
from schmidt.completion.fitting import (
    SMALL,
    Choice,
    SoftImpute,
    choose,
    fit_given,
    refit,
    starting_biases,
)
from schmidt.completion.fixed_rank import annealed_start, fixed_rank
from schmidt.completion.fold_in import merged, only
from schmidt.completion.model import LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.completion.predictions import Predictions
from schmidt.completion.ridge import row_model
from schmidt.completion.settings import check, clip_range
from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs


class MatrixCompletion(Predictions, Saved, BaseEstimator):
    """A matrix known at some places, completed: mean + row bias + column bias + low rank.

    Solves (softImpute; Mazumder, Hastie and Tibshirani 2010, Hastie et al. 2015)

        minimise ½‖P_Ω(X − μ − b1ᵀ − 1cᵀ − M)‖²_F + ½ρ_b ‖b‖² + ½ρ_c ‖c‖² + λ‖M‖_*

    and chooses λ and the rank on held-out entries inside :meth:`fit`, unless λ is given.

    Args:
        method: "soft-impute" (the problem above), or "fixed-rank" (least squares over matrices of
            rank ``rank``, by alternating least squares; not convex).
        penalty: λ. None: chosen for "soft-impute", 0 for "fixed-rank", where it multiplies
            ½(‖A‖² + ‖B‖²) of the factors.
        rank: "fixed-rank": the rank. "soft-impute": at most so many terms; None means 50, or no
            limit where ``solver`` is "svd".
        biases: fit μ, b and c; otherwise they are zero.
        bias_penalty: ρ_b = ρ_c, in entries. None: from estimated variances of biases and noise.
        clip: predictions are clipped to this range (low, high); "auto" takes the smallest and
            largest value of ratings, that is where values repeat (at most half of them are
            distinct), and does not clip otherwise; None never clips.
        validation: fraction of the entries held out to choose λ and the rank; all are used
            afterwards.
        solver: "als" (fast alternating least squares, sparse plus low rank), "svd" (soft-
            thresholded SVDs of the full matrix), "auto": "svd" up to 10,000 places.
        unknown: what predictions for ids never seen do: "bias" uses μ and the bias of the side that
            is known, "error" raises.
        tol: the final fit stops when the low-rank part moves by less than this, relatively.
        max_iter: at most so many iterations of the final fit.
        seed: of the held-out split and of random starts.
        progress: show a bar on a terminal.

    Attributes:
        mean_, row_biases_, column_biases_: μ, b (m,), c (n,).
        row_factors_, column_factors_: A (m, k) and B (n, k) with M = ABᵀ; ½(‖A‖² + ‖B‖²) = ‖M‖_*.
        penalty_: λ used; None where only biases were worth keeping.
        rank_: terms of M.
        choice_: what was tried on held-out entries and chosen, a
            :class:`schmidt.completion.Choice`; None if λ was given.
        row_ids_, column_ids_: labels, in the order of the factors.
        limits_: range of predictions, or None.
        n_iter_: iterations of the final fit.

    Cost: O(N k + (m + n) k²) per iteration for N entries. Everything is float64.

    Example:
        >>> from schmidt import MatrixCompletion
        >>> model = MatrixCompletion().fit(users, films, ratings)  # doctest: +SKIP
        >>> model.recommend("ann", n=5)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        method: str = "soft-impute",
        penalty: float | None = None,
        rank: int | None = None,
        biases: bool = True,
        bias_penalty: float | None = None,
        clip: str | tuple[float, float] | None = "auto",
        validation: float = 0.1,
        solver: str = "auto",
        unknown: str = "bias",
        tol: float = 5e-3,
        max_iter: int = 100,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self.method = method
        self.penalty = penalty
        self.rank = rank
        self.biases = biases
        self.bias_penalty = bias_penalty
        self.clip = clip
        self.validation = validation
        self.solver = solver
        self.unknown = unknown
        self.tol = tol
        self.max_iter = max_iter
        self.seed = seed
        self.progress = progress

    def fit(self, X: Any, columns: Any = None, values: Any = None) -> Self:
        """Fit to a matrix with holes, ``fit(X)``, or to triples, ``fit(rows, columns, values)``.

        Args:
            X: (m, n) scipy sparse matrix, whose stored entries are observed (zeros included), or a
                dense one with NaN in the holes; or the rows of triples, any hashable ids.
            columns, values: columns and values of the triples.

        Raises:
            ValueError: values that are no finite numbers, two values for one place, no entries at
                all, settings out of range. Rows and columns without entries are allowed: their
                factors and biases are zero.
        """
        x, row_ids, column_ids = entries(X, columns, values)
        check(self, x)
        self.row_ids_, self.column_ids_ = row_ids, column_ids
        self.limits_ = clip_range(self.clip, x.values)
        self.choice_: Choice | None = None
        start = starting_biases(x, self.biases, self.bias_penalty)
        fitted = self._fixed_rank if self.method == "fixed-rank" else self._soft_impute
        model, self.penalty_, self.n_iter_ = fitted(x, start)
        self._keep(x, model)
        return self

    def _fixed_rank(self, x: Observed, start: Biases) -> tuple[Model, float | None, int]:
        penalty, rank = self.penalty or 0.0, int(self.rank or 1)
        rng = np.random.default_rng(self.seed)
        right = annealed_start(x, start, rank, penalty, rng)
        model, iterations = fixed_rank(
            x, start, right, penalty, tol=self.tol, max_iter=self.max_iter
        )
        return model, penalty, iterations

    def _soft_impute(self, x: Observed, start: Biases) -> tuple[Model, float | None, int]:
        small = x.shape[0] * x.shape[1] <= SMALL
        svd = self.solver == "svd" or (self.solver == "auto" and small)
        method = SoftImpute(svd, self.rank, self.tol, self.max_iter, self.seed)
        if self.penalty is not None:
            model, iterations = fit_given(x, start, self.penalty, method)
            return model, self.penalty, iterations
        self.choice_ = choose(
            x,
            method,
            biases=self.biases,
            bias_penalty=self.bias_penalty,
            validation=self.validation,
            limits=self.limits_,
            progress=self.progress,
        )
        return refit(x, start, self.choice_, method)

    def _keep(self, x: Observed, model: Model) -> None:
        signs = fix_signs(model.part.left) if model.part.rank else np.ones(0)
        part = LowRank(model.part.left * signs, model.part.values, model.part.right * signs)
        self.row_factors_, self.column_factors_ = part.balanced()
        self.row_factors_[x.row_counts == 0] = 0  # up to rounding they are
        self.column_factors_[x.column_counts == 0] = 0
        self.mean_ = model.biases.mean
        self.row_biases_, self.column_biases_ = model.biases.rows, model.biases.columns
        self.bias_penalties_ = model.biases.penalties
        self._seen = x

    @property
    def rank_(self) -> int:
        """The number of terms of the low-rank part."""
        self._require_fitted()
        return int(self.row_factors_.shape[1])

    @property
    def factorization_(self) -> Factorization:
        """The low-rank part M = U diag(d) Vᵀ, without mean and biases."""
        self._require_fitted()
        part = LowRank.of_product(self.row_factors_, self.column_factors_)
        return Factorization(part.left, part.values, part.right, settings=self.get_params())

    def fold_in(self, rows: Any, columns: Any, values: Any) -> Self:
        """Add entries of new rows, or further ones of known rows, without a new fit.

        Each row concerned is regressed on the factors of its columns, with the penalties of the
        fit; columns and other rows stay as they are. O(k²) per entry.

        Args:
            rows: ids; new ones are appended. New rows of a matrix are numbered m, m + 1, ….
            columns: known ids.
            values: numbers.

        Raises:
            ValueError: unknown columns, or a place that has a value already. Nothing is changed.
        """
        self._require_fitted()
        ids = self.row_ids_, self.column_ids_
        x, row_ids, touched = merged(self._seen, ids, rows, columns, values)
        biases = Biases(self.mean_, np.zeros(0), self.column_biases_, self.bias_penalties_)
        factors, b = row_model(only(x, touched), self.column_factors_, biases, self.penalty_ or 0.0)
        more = x.shape[0] - self._seen.shape[0]
        self.row_factors_ = np.pad(self.row_factors_, ((0, more), (0, 0)))
        self.row_biases_ = np.pad(self.row_biases_, (0, more))
        self.row_factors_[touched], self.row_biases_[touched] = factors, b
        self.row_ids_, self._seen = row_ids, x
        return self
