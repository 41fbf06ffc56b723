"""``MatrixCompletion``: the estimator."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np

from schmidt.certificate import Certificate
from schmidt.completion.entries import entries, numbers, pairs, places
from schmidt.completion.fixed_rank import annealed_start, fixed_rank
from schmidt.completion.intervals import Scale
from schmidt.completion.living import Posterior, Seen
from schmidt.completion.model import LowRank, Model
from schmidt.completion.observed import Observed, product_at, unit_of
from schmidt.completion.path import Limits
from schmidt.completion.recommendations import Recommendations
from schmidt.completion.selection import (
    IMPLICIT,
    SMALL,
    Selection,
    SoftImpute,
    certified,
    clip_range,
    fit_given,
    refit,
    select,
    starting_biases,
)
from schmidt.completion.updates import Updates
from schmidt.completion.variational import Variational
from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs
from schmidt.parameters import FLAG, SEED, Allowed, Choice, Number, check

PARAMETERS: dict[str, Allowed] = {
    "method": Choice("auto", "variational", "soft-impute", "fixed-rank"),
    "penalty": Number(0, none=True),
    "rank": Number(1, whole=True, none=True),
    "biases": FLAG,
    "bias_penalty": Number(0, none=True),
    "validation": Number(0, 1, open="both"),
    "solver": Choice("auto", "als", "svd"),
    "unknown": Choice("warn", "bias", "raise"),
    "duplicates": Choice("raise", "last", "mean"),
    "tol": Number(0),
    "max_iter": Number(1, whole=True),
    "seed": SEED,
    "progress": FLAG,
    "coverage": Number(0, 1, open="both"),
    "layout": Choice("auto", "matrix", "triples"),
}
KIND = "schmidt.MatrixCompletion"
ARRAYS = ("row_factors_", "column_factors_", "row_biases_", "column_biases_")
SEEN = ("starts", "columns", "values")
FITTED = ("mean_", "penalty_", "limits_", "bias_penalties_", "n_iter_", "unit_")


class MatrixCompletion(Updates, Recommendations):
    """A matrix known at some places, completed: mean + row bias + column bias + low rank.

    Noise, priors and the rank are learned by variational Bayes (Lim and Teh 2007), or it solves
    (softImpute; Mazumder, Hastie and Tibshirani 2010, Hastie et al. 2015)

        minimise ½‖P_Ω(X − μ − b1ᵀ − 1cᵀ − M)‖²_F + ½ρ_b ‖b‖² + ½ρ_c ‖c‖² + λ‖M‖_*

    with λ and the rank chosen on held-out entries inside :meth:`fit`. The answer depends on neither
    the order in which entries are given nor the units of the values.

    Args:
        method: "variational" (variational Bayes: nothing to choose; not convex), "soft-impute" (the
            problem above), "fixed-rank" (least squares over matrices of rank ``rank``, by
            alternating least squares; not convex), or "auto": "soft-impute" where λ is given, else
            "variational", and up to 20,000 entries whichever of both is better on held-out ones.
        penalty: λ, in units of the values. None: chosen for "soft-impute", 0 for "fixed-rank",
            where it multiplies ½(‖A‖² + ‖B‖²) of the factors.
        rank: "fixed-rank": the rank. Otherwise at most so many terms; None means 64 for
            "variational", 50 for "soft-impute", or no limit there where ``solver`` is "svd".
        biases: fit μ, b and c; otherwise they are zero.
        bias_penalty: ρ_b = ρ_c, in entries. None: from estimated variances of biases and noise.
        clip: predictions are clipped to this range (low, high); "auto" takes the smallest and
            largest value of ratings, that is where values repeat (at most half of them are
            distinct), and does not clip otherwise; None never clips.
        validation: fraction of the entries held out to choose λ and the rank; all are used
            afterwards. Where that is fewer than 5,000, several parts are held out in turn. Which
            entries are, is decided by a hash of their labels.
        solver: "als" (fast alternating least squares, sparse plus low rank), "svd" (soft-
            thresholded SVDs of the full matrix), "auto": "svd" up to 10,000 places.
        unknown: what predictions for ids never seen do: "warn" uses μ and the bias of the side that
            is known, and says so once per call, with examples; "bias" does so silently; "raise"
            refuses. Ids that differ from known ones in their type only ("5" and 5) are an error.
        duplicates: several values for one place: "raise", keep the "last", take the "mean".
        tol: the final fit stops when the low-rank part moves by less than this, relatively.
        max_iter: at most so many iterations of the final fit.
        seed: of the held-out parts and of starts.
        progress: show a bar on a terminal.

    Attributes:
        mean_, row_biases_, column_biases_: μ, b (m,), c (n,).
        row_factors_, column_factors_: A (m, k) and B (n, k) with M = ABᵀ; ½(‖A‖² + ‖B‖²) = ‖M‖_*.
        penalty_: λ used; None where there is none: variational Bayes, or biases alone.
        rank_: terms of M.
        choice_: what was tried on held-out entries and chosen, a
            :class:`schmidt.completion.Selection`; None if λ was given.
        certificate_: what is estimated about entries never seen – nothing is proven about them.
        row_ids_, column_ids_: labels, in the order of the factors: that of the matrix, or sorted.
        limits_: range of predictions, or None.
        unit_: the power of four in which the values are computed with.
        n_iter_: iterations of the final fit.

    Cost: O(N k² + (m + n) k³) per iteration for N entries, some 30 iterations; the convex problem
    O(N k + (m + n) k²), several hundred of them. Above 200,000 entries the tables of
    variational Bayes are float32; everything else is float64.

    Example:
        >>> from schmidt import MatrixCompletion
        >>> users, films = ["ann", "ann", "bob", "bob", "cy"], ["f", "g", "f", "h", "h"]
        >>> model = MatrixCompletion(penalty=1.0).fit(users, films, [5, 3, 4, 1, 2])
        >>> [film for film, _ in model.recommend("cy", n=2)]
        ['f', 'g']
    """

    def __init__(
        self,
        *,
        method: str = "auto",
        penalty: float | None = None,
        rank: int | None = None,
        biases: bool = True,
        bias_penalty: float | None = None,
        clip: str | tuple[float, float] | None = "auto",
        validation: float = 0.1,
        solver: str = "auto",
        unknown: str = "warn",
        duplicates: str = "raise",
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
        self.duplicates = duplicates
        self.tol = tol
        self.max_iter = max_iter
        self.seed = seed
        self.progress = progress

    def fit(self, X: Any, columns: Any = None, values: Any = None, *, layout: str = "auto") -> Self:
        """Fit to a matrix with holes, to triples, or to pairs and values.

        Args:
            X: one of

                - (m, n) dense matrix with NaN in the holes; masked cells of a masked array are
                  holes, too. The index and the columns of a frame are the ids of rows and columns;
                - (m, n) scipy sparse matrix, whose stored entries are observed (zeros included);
                - a frame of triples, whose columns are called user, item and rating, or userId,
                  movieId, score …; more columns are ignored;
                - the rows of triples, any hashable ids: ``fit(rows, columns, values)``;
                - (N, 2) pairs of row and column, with the values next: ``fit(pairs, values)``.

            columns, values: columns and values of the triples.
            layout: "matrix" or "triples" for an array with three or four columns, which could be
                either and is refused otherwise.

        Raises:
            ValueError: values that are no finite numbers, two values for one place (see
                ``duplicates``), no entries at all, input that could mean two things, λ to be
                chosen where all values are equal or too few. Rows and columns without entries are
                allowed: their factors and biases are zero.
        """
        given = {k: v for k, v in self.get_params().items() if k in PARAMETERS}
        check(PARAMETERS, layout=layout, **given)
        how = {"layout": layout, "duplicates": self.duplicates}
        x, row_ids, column_ids = entries(X, columns, values, **how)
        self._check(x)
        unit = unit_of(x.values)
        limits = clip_range(self.clip, x.values)
        x = x.with_values(x.values / unit)
        small = None if limits is None else (limits[0] / unit, limits[1] / unit)
        if self.method == "fixed-rank":
            model, penalty, iterations = self._fixed_rank(x, unit)
            choice, state = None, None
        else:
            model, penalty, iterations, choice, state = self._chosen(x, unit, small)
        self.row_ids_, self.column_ids_ = row_ids, column_ids
        self.limits_, self.unit_, self.n_iter_ = limits, unit, iterations
        self.penalty_ = None if penalty is None else penalty * unit
        self.choice_ = None if choice is None else choice * unit
        self._calibration = None if choice is None else choice.calibration
        self._keep(x, model, state)
        full = len(x) == x.shape[0] * x.shape[1]
        self.certificate_ = certified(self.choice_, iterations, self.max_iter, full)
        return self

    def _check(self, x: Observed) -> None:
        """What settings and entries must be together."""
        most = min(x.shape)
        if self.method == "fixed-rank" and self.rank is None:
            raise ValueError("method='fixed-rank' needs rank=…")
        if self.rank is not None and self.rank > most:
            raise ValueError(f"rank must be at most {most} for a matrix {x.shape}, got {self.rank}")
        if self.penalty is not None and self.method == "variational":
            raise ValueError("method='variational' has no penalty: it learns how far to shrink")
        if self.penalty == 0 and self.method != "fixed-rank":
            raise ValueError(
                "penalty=0 leaves the holes undetermined; give a small one, or method='fixed-rank'"
            )
        if len(x) > 1 and x.values.min() == x.values.max():
            message = IMPLICIT.format(len(x), x.values[0])
            if self.biases and self.method != "fixed-rank" and self.penalty is None:
                raise ValueError(message)
            warnings.warn(message, UserWarning, stacklevel=3)

    def _fixed_rank(self, x: Observed, unit: float) -> tuple[Model, float | None, int]:
        penalty, rank = (self.penalty or 0.0) / unit, int(self.rank or 1)
        start = starting_biases(x, self.biases, self.bias_penalty)
        right = annealed_start(x, start, rank, penalty, self.seed)
        model, iterations = fixed_rank(
            x, start, right, penalty, tol=self.tol, max_iter=self.max_iter
        )
        return model, penalty, iterations

    def _chosen(
        self, x: Observed, unit: float, limits: Limits
    ) -> tuple[Model, float | None, int, Selection | None, Variational | None]:
        small = x.shape[0] * x.shape[1] <= SMALL
        svd = self.solver == "svd" or (self.solver == "auto" and small)
        method = SoftImpute(svd, self.rank, self.tol, self.max_iter, self.seed)
        if self.penalty is not None:
            start = starting_biases(x, self.biases, self.bias_penalty)
            model, iterations = fit_given(x, start, self.penalty / unit, method)
            return model, self.penalty / unit, iterations, None, None
        choice = select(
            x,
            method,
            which=self.method,
            biases=self.biases,
            bias_penalty=self.bias_penalty,
            validation=self.validation,
            limits=limits,
            progress=self.progress,
        )
        model, penalty, iterations, state = refit(x, choice, method, self.biases, self.bias_penalty)
        return model, penalty, iterations, choice, state

    def _keep(self, x: Observed, model: Model, state: Variational | None) -> None:
        """The model for entries in units of ``unit_``, as attributes in those of the user."""
        signs = fix_signs(model.part.right) if model.part.rank else np.ones(0)
        part = LowRank(model.part.left * signs, model.part.values, model.part.right * signs)
        a, b = part.balanced()
        a[x.row_counts == 0] = 0  # up to rounding they are
        b[x.column_counts == 0] = 0
        root, unit = np.sqrt(self.unit_), self.unit_
        self.row_factors_, self.column_factors_ = a * root, b * root
        self.mean_ = model.biases.mean * unit
        self.row_biases_ = model.biases.rows * unit
        self.column_biases_ = model.biases.columns * unit
        self.bias_penalties_ = model.biases.penalties
        self._living, self._posterior = Seen(x), None
        if state is not None:
            self._posterior = Posterior.of(state)
        self._scale = Scale.of(x, model.residual(x))

    @property
    def rank_(self) -> int:
        """The number of terms of the low-rank part."""
        self._require_fitted()
        return int(self.row_factors_.shape[1])

    @property
    def factorization_(self) -> Factorization:
        """The low-rank part M = U diag(d) Vᵀ, without mean and biases."""
        self._require_fitted()
        root = np.sqrt(self.unit_)
        part = LowRank.of_product(self.row_factors_ / root, self.column_factors_ / root)
        signs = fix_signs(part.right) if part.rank else np.ones(0)
        known = Certificate(
            asked="the low-rank part of the fitted model",
            notes=["its distance from the matrix is not known: see certificate_ of the model"],
        )
        return Factorization(
            part.left * signs,
            part.values * self.unit_,
            part.right * signs,
            certificate=known,
            settings=self.get_params(),
        )

    def predict(self, rows: Any, columns: Any = None) -> np.ndarray:
        """Values at the places (rows, columns), or at pairs (N, 2).

        Args:
            rows, columns: ids, as in ``fit``; of the same length, or one of them of length one.
                For ids that were never seen see ``unknown``.

        Raises:
            ValueError: ids of another type than in ``fit``, or of another shape than (N,).
        """
        self._require_fitted()
        r, c = places((self.row_ids_, self.column_ids_), rows, columns, self.unknown)
        out = self.mean_ + np.where(r < 0, 0, self.row_biases_[r])
        out += np.where(c < 0, 0, self.column_biases_[c])
        known = (r >= 0) & (c >= 0)
        out[known] += product_at(self.row_factors_, self.column_factors_, r[known], c[known])
        return self._clipped(out)

    def predict_interval(
        self, rows: Any, columns: Any = None, *, coverage: float = 0.9
    ) -> np.ndarray:
        """Intervals (N, 2) around :meth:`predict` that contain so many of the values.

        From the errors at the entries that ``fit`` held out, scaled by what is known of the row and
        the column (``schmidt.completion.intervals``). The coverage is that over entries that are
        drawn as those seen were; it is measured, not guaranteed, and nothing is said of a single
        place. Within the range of ratings, where predictions are clipped.

        Args:
            rows, columns: as in :meth:`predict`.
            coverage: between 0 and 1.

        Raises:
            ValueError: nothing was held out, because λ or a rank was given; or too little was.
        """
        self._require_fitted()
        check(PARAMETERS, coverage=coverage)
        if self._calibration is None:
            raise ValueError("intervals need held-out entries: let fit choose, without penalty")
        if columns is None:
            rows, columns = pairs(rows)
        center = self.predict(rows, columns)
        r, c = places((self.row_ids_, self.column_ids_), rows, columns, "bias")
        squares = self._scale.at(r, c)
        if self._posterior is not None:
            known = (r >= 0) & (c >= 0)
            squares[known] += self._posterior.variance(r[known], c[known])
        for side, biases, factors in (
            (r, self.row_biases_, self.row_factors_),
            (c, self.column_biases_, self.column_factors_),
        ):
            other = self.column_factors_ if side is r else self.row_factors_
            spread = np.mean(biases**2) + np.sum(np.mean(factors**2, 0) * np.mean(other**2, 0))
            squares[side < 0] += float(spread) / self.unit_**2
        wide = self._calibration.factor(*self._scale.support(r, c), coverage)
        half = wide * np.sqrt(squares) * self.unit_
        return np.stack([self._clipped(center - half), self._clipped(center + half)], axis=1)

    def reconstruct(self) -> np.ndarray:
        """The whole matrix (m, n), predictions at observed places included."""
        self._require_fitted()
        full = self.row_factors_ @ self.column_factors_.T
        full += self.mean_ + self.row_biases_[:, None] + self.column_biases_
        return self._clipped(full)

    def score(
        self, rows: Any, columns: Any, values: Any = None, *, sample_weight: Any = None
    ) -> float:
        """Minus the root mean square error of :meth:`predict`: larger is better.

        Args:
            rows, columns, values: triples; or pairs (N, 2) and values.
            sample_weight: (N,) not negative, or None: all alike.
        """
        if values is None:
            (rows, columns), values = pairs(rows), columns
        predicted = self.predict(rows, columns)
        if not len(predicted):
            raise ValueError("there are no entries to score")
        error = np.abs(predicted - numbers(values, len(predicted)))
        weight = np.ones(len(error))
        if sample_weight is not None:
            weight = numbers(sample_weight, len(error))
            if weight.min() < 0 or not weight.any():
                raise ValueError("sample_weight must not be negative, nor zero everywhere")
        largest = float(error.max()) or 1.0
        return -largest * float(np.sqrt(np.average((error / largest) ** 2, weights=weight)))
