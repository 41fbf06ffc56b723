"""The closed-form linear canonical dependence kernel: canonical correlation analysis and more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from schmidt.certificate import Certificate
from schmidt.dependence.canonical import (
    MANY,
    RIDGES,
    UNCHOSEN,
    Canonical,
    canonical,
    canonical_path,
    cross_fit,
    in_sample,
    scaled,
)
from schmidt.dependence.coembedding import CoEmbedding, Embedding
from schmidt.dependence.evidence import Findings, linear_permutations, weigh
from schmidt.dependence.inputs import ScaledRows, Scales, scales
from schmidt.dependence.judging import Candidate, certificate, judge
from schmidt.dependence.laws import Part, exact, folds, independent, law, why_undivided
from schmidt.dependence.moments import PairMoments, moments, pooled
from schmidt.dependence.ratios import Map, Ratios
from schmidt.operators.pairs import ClassPairs, GivenPairs, PairSampler
from schmidt.parameters import FLAG, SEED, Number, check

FOLDS = 5
PARAMETERS = {
    "modes": Number(1, whole=True, none=True),
    "ridge": Number(0, advice="or say 'auto'"),
    "tied": FLAG,
    "scale": FLAG,
    "seed": SEED,
}


class LinearCDK(CoEmbedding):
    """f and g linear: the best 1 + f(x)ᵀg(y), in closed form.

    On pairs it is canonical correlation analysis, scaled by √σ; on items with classes that of all
    pairs that a class can form; on one-hot rows it is correspondence analysis.

    Args:
        modes: L; None for all there are.
        ridge: added to both covariances of the scaled columns, relative to their mean variance; or
            "auto": the one of the largest H-score on a fifth of the pairs, or of the classes, that
            was left out, on the mean over the fifths (over one of them beyond 300 features); modes
            then carry the correlations that they have on the parts left out. Of a law that is known
            exactly "auto" is 0, of loaders and samplers 1e-3 unless there are rows for validation.
        tied: one map for both domains (their means apart): the kernel of the symmetrised law. For
            domains of one kind; with few classes it is better than two maps.
        scale: divide each column by its standard deviation first, so that units do not matter.
            False: all columns of a domain by one number; for columns of one kind, of which small
            ones are noise: pixels, principal components.
        prior: of the classes: "empirical" or "uniform".
        seed: of the fifths.

    Attributes:
        singular_values_: (L,) cross-fitted: the correlations on each fifth of functions that were
            fitted on the others; descending.
        singular_values_train_: (L,) the canonical correlations of the data themselves, without
            ridge: for a table of counts those of correspondence analysis.
        ridge_: the ridge that was used.

    Cost: three passes over the data and O(d³), in float64.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(500, 3))
        >>> y = x[:, :2] + np.random.default_rng(1).normal(size=(500, 2))
        >>> LinearCDK(1).fit(1e6 * x, y).singular_values_.round(1)
        array([0.7])
    """

    def __init__(
        self,
        modes: int | None = None,
        *,
        ridge: float | str = "auto",
        tied: bool = False,
        scale: bool = True,
        prior: str = "empirical",
        seed: int = 0,
    ) -> None:
        self.modes = modes
        self.ridge = ridge
        self.tied = tied
        self.scale = scale
        self.prior = prior
        self.seed = seed

    def fit(
        self,
        X: Any,
        Y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        validation: tuple[Any, Any] | None = None,
        weights: str = "auto",
    ) -> Self:
        """Fit pairs ``fit(X, Y)``, items with classes ``fit((X, cx), (Y, cy))``, or a loader.

        Args:
            X, Y: (n, …) and (n, …), or items with classes of any number; items are flattened.
            sample_weight: (n,) masses of given pairs, see ``weights``.
            groups: (n,) labels of pairs that belong together, none of which may judge another; or
                "series" for rows in time. Copies are kept together by themselves.
            validation: pairs (X, Y), or items with classes, to choose the ridge and judge by
                instead of parts of the data.
            weights: what the weights are. "counts": how often a pair was seen, whole numbers.
                "sample": of a weighted sample, which is worth (Σw)²/Σw² rows. "law": the law is
                known exactly; nothing is held out, and the values are its own. "auto": whole
                numbers are counts, others a law if rows are the cells of a table – each pair (x, y)
                once, and at most n/2 different x and y –, else of a sample.
        """
        parameters = self.get_params(deep=False)
        check(PARAMETERS, **{k: parameters[k] for k in ("modes", "tied", "scale", "seed")})
        if isinstance(self.ridge, str) and self.ridge != "auto":
            raise ValueError(f"ridge must be 'auto' or a number of at least 0, got {self.ridge!r}")
        if self.ridge != "auto":
            check(PARAMETERS, ridge=self.ridge)
        pairs = law(X, Y, sample_weight, self.prior, weights)
        judges = None if validation is None else validating(validation, self.prior, self.seed)
        found = fit_linear(
            pairs,
            modes=self.modes,
            ridge=None if self.ridge == "auto" else float(self.ridge),
            tied=self.tied,
            scale=self.scale,
            seed=self.seed,
            groups=groups,
            judges=judges,
        )
        self._remember_names(X, Y)
        self.ridge_ = found.ridge
        self.right_, self.left_ = found.right, found.left
        self.singular_values_, self.singular_values_train_ = found.values, found.train
        self.certificate_, self.ratios_ = found.certificate, found.ratios
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote; embeddings are the same to the last bit."""
        tensors, header = cls._read(path)
        return cls(**header["settings"])._restore(tensors, header, *blank_linear(tensors))


def blank_linear(
    tensors: dict[str, Tensor], precision: torch.dtype | None = None
) -> tuple[Embedding, Embedding]:
    """Linear embeddings of the shapes in a file."""

    def side(name: str) -> Embedding:
        shapes = ("network.centre", "network.factor", "mean", "mix")
        empty = [torch.empty_like(tensors[f"{name}.{k}"]) for k in shapes]
        return Embedding(ScaledRows(Scales(*empty[:2])), *empty[2:], precision=precision)

    return side("right"), side("left")


@dataclass(frozen=True)
class LinearFit:
    """Both embeddings, and what the estimators say of them."""

    right: Embedding
    left: Embedding
    ridge: float
    values: np.ndarray
    train: np.ndarray
    certificate: Certificate
    ratios: Ratios


def validating(given: tuple[Any, Any], prior: str, seed: int) -> list[Part]:
    """Data to judge by, in parts, or as one where they cannot be parted."""
    if not isinstance(given, tuple) or len(given) != 2:
        raise ValueError("validation must be (X, Y), or ((X, cx), (Y, cy))")
    pairs = law(given[0], given[1], None, prior)
    return folds(pairs, FOLDS, seed) or [(pairs, 1.0)]


def fit_linear(
    pairs: PairSampler,
    *,
    modes: int | None,
    ridge: float | None,
    tied: bool,
    scale: bool,
    seed: int,
    groups: Any = None,
    judges: list[Part] | None = None,
    pad: bool = False,
    precision: torch.dtype | None = None,
) -> LinearFit:
    """The closed form on all of the data, judged by parts of them or by others.

    Args:
        judges: parts to judge by; None: folds of the data.
        pad: as many modes as asked for, zeros beyond what there is.
        precision: of what is made of whole numbers; None: double.
    """
    rows = tuple(ScaledRows(s) for s in scales(pairs, scale=scale, shared=tied))
    parts = folds(pairs, FOLDS, seed, groups) if judges is None else []
    measured = [(moments(part, *rows), mass) for part, mass in parts]
    plain = bool(measured) and isinstance(pairs, GivenPairs)
    whole = pooled(measured) if plain else moments(pairs, *rows)
    own = canonical(whole, tied=tied)
    most = len(own.values)
    if modes is not None and modes > most and not pad:
        raise ValueError(f"these data have at most {most} linear modes, not {modes}")
    count = modes or most
    notes, alarms = [], []
    score = errors = None
    found_out: Findings | None = None
    kept: list[tuple[PairSampler, Map, Map]]
    train = own.padded(count).values.numpy().clip(0.0, 1.0)
    auto, factors = ridge is None, None
    if measured:
        crossed = cross_fit(measured, modes=count, rows=rows_of(parts), ridge=ridge, tied=tied)
        ridge = crossed.ridge
        values, errors, score = crossed.values, crossed.errors, crossed.score
        factors = crossed.factors if auto else None
        kept = [
            (part, *_maps(rows, _times(solution, factors), centre))
            for (part, _), (solution, centre) in zip(parts, crossed.solutions, strict=True)
        ]
        notes.append(f"values are cross-fitted on {len(parts)} parts; errors by the jackknife")
        found_out = weigh(
            values,
            errors,
            rows_of(parts),
            [
                (part, *_maps(rows, solution, centre))
                for (part, _), (solution, centre) in zip(parts, crossed.solutions, strict=True)
            ],
            sizes=crossed.sizes,
            permuted=linear_permutations(pairs, [part for part, _ in parts], *rows),
            seed=seed,
        )
    elif judges:
        many = len(whole.mean_f) > MANY
        tried = [ridge] if ridge is not None else list(RIDGES[::2] if many else RIDGES)
        solutions = canonical_path(whole, tried, modes=count, tied=tied)
        tests = [moments(part, *rows) for part, _ in judges]
        candidate = Candidate("linear", whole, tests, solutions, rows_of(judges))
        verdict = judge([candidate], [mass for _, mass in judges], simple=False)
        ridge = verdict.choice.ridge
        factors = verdict.choice.factors if auto else None
        values, errors, score = verdict.values, verdict.errors, verdict.score
        kept = [
            (part, *_maps(rows, _times(solutions[ridge], factors), whole)) for part, _ in judges
        ]
        notes.append(f"values are of the rows for validation, in {len(judges)} parts")
        found_out = weigh(values, errors, rows_of(judges), kept, seed=seed)
    else:
        ridge = (0.0 if exact(pairs) else UNCHOSEN) if ridge is None else ridge
        solution = canonical(whole, ridge=ridge, tied=tied).padded(count)
        values = in_sample(whole, solution)
        kept = [(pairs, *_maps(rows, solution, whole))]
        if exact(pairs):
            notes.append(f"values are the law's own: {why_undivided(pairs)}")
        else:
            alarms.append(f"nothing was held out: {why_undivided(pairs)}")
            if isinstance(pairs, GivenPairs | ClassPairs):
                values = np.zeros_like(values)
                alarms.append("so the values are given as 0: there is no evidence for more")
            else:
                alarms.append("values are those of the rows that were fitted, which is too large")
    if found_out is not None:
        values = found_out.values
        notes += found_out.notes
        alarms += found_out.alarms
    more = None if found_out is None else found_out.estimates
    found = own if ridge == 0 else canonical(whole, ridge=ridge, tied=tied)
    found = _times(found.padded(count), factors)
    return LinearFit(
        Embedding(rows[0], whole.mean_f, found.mix_f, precision=precision).eval(),
        Embedding(rows[1], whole.mean_g, found.mix_g, precision=precision).eval(),
        ridge,
        values,
        train,
        certificate(count, errors=errors, score=score, notes=notes, alarms=alarms, more=more),
        Ratios.of(kept, pairs),
    )


def rows_of(parts: list[Part]) -> list[float]:
    return [independent(part) for part, _ in parts]


def _times(c: Canonical, factors: Tensor | None) -> Canonical:
    return c if factors is None else scaled(c, factors)


def _maps(rows: tuple[ScaledRows, ...], c: Canonical, centre: PairMoments) -> tuple[Map, Map]:
    f, g = rows
    return (
        lambda x: (f(x) - centre.mean_f) @ c.mix_f,
        lambda y: (g(y) - centre.mean_g) @ c.mix_g,
    )
