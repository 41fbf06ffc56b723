"""Which of several solutions is best on rows that took no part, and what these rows say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from schmidt.certificate import Certificate
from schmidt.dependence.canonical import Canonical, HeldOut, correlations
from schmidt.dependence.moments import PairMoments


@dataclass(frozen=True)
class Candidate:
    """Functions that were fitted on some rows, in several strengths of regularisation.

    Attributes:
        name: for people.
        train: moments of the features on the rows that fitted.
        tests: moments of the same features on each part of the rows that judge.
        solutions: by ridge.
        rows: how many independent pairs, or classes, each part has.
    """

    name: str
    train: PairMoments
    tests: Sequence[PairMoments]
    solutions: Mapping[float, Canonical]
    rows: Sequence[float]
    known: dict[tuple[int, float], HeldOut] = field(default_factory=dict, repr=False)

    def says(self, part: int, ridge: float) -> HeldOut:
        """What one part says of one solution."""
        key = (part, ridge)
        if key not in self.known:
            self.known[key] = HeldOut.of(
                self.tests[part], self.solutions[ridge], self.train, self.rows[part]
            )
        return self.known[key]

    def together(self, subset: Sequence[int], mass: Sequence[float], ridge: float) -> HeldOut:
        """What several parts say of one solution."""
        return HeldOut.joined([self.says(b, ridge) for b in subset], [mass[b] for b in subset])


@dataclass(frozen=True)
class Selected:
    """A candidate, its ridge, and the factors (L,) that its modes are to be multiplied with."""

    candidate: int
    ridge: float
    factors: Tensor
    score: float


@dataclass(frozen=True)
class Verdict:
    """What rows that took no part say.

    Attributes:
        choice: made on all of them.
        values, errors: (L,) correlations on each part under the choice made on the other parts, and
            their likely errors.
        score: the H-score on each part, under the choice made on the others.
        alone: there is only one part, and it has both chosen and judged.
    """

    choice: Selected
    values: np.ndarray
    errors: np.ndarray
    score: float
    alone: bool


def judge(candidates: Sequence[Candidate], mass: Sequence[float], *, simple: bool) -> Verdict:
    """Choose the candidate and ridge of the largest H-score; values from parts that did not choose.

    Args:
        mass: of each part.
        simple: the first candidate is the simple one: the others must be better than it by more
            than the likely error of the difference.
    """
    count = len(mass)
    subsets = [[b for b in range(count) if b != k] for k in range(count)]
    alone = count < 2
    if alone:
        subsets = [[0]]
    choice = choose(candidates, mass, list(range(count)), simple=simple)
    judged, scores, sizes = [], [], []
    for k, subset in enumerate(subsets):
        found = choice if alone else choose(candidates, mass, subset, simple=simple)
        candidate = candidates[found.candidate]
        judged.append(candidate.says(k, found.ridge))
        sizes.append(candidate.together(range(count), mass, found.ridge).sizes)
        other = judged[-1] if alone else candidate.together(subset, mass, found.ridge)
        f, g = judged[-1].grams * other.grams.flip(0)
        scores.append(replace(judged[-1], overlap=(f + g) / 2).h_score(found.factors))
    values, errors = correlations(judged, mass, sizes)
    return Verdict(choice, values, errors, float(np.average(scores, weights=mass)), alone)


def choose(
    candidates: Sequence[Candidate], mass: Sequence[float], subset: list[int], *, simple: bool
) -> Selected:
    """The best of all candidates and ridges on some of the parts."""
    best: list[Selected] = []
    for index, candidate in enumerate(candidates):
        here: list[Selected] = []
        for ridge in candidate.solutions:
            together = candidate.together(subset, mass, ridge)
            factors = together.factors()
            here.append(Selected(index, ridge, factors, together.h_score(factors)))
        best.append(max(here, key=lambda c: c.score))
    top = max(best, key=lambda c: c.score)
    if not simple or top.candidate == 0:
        return top
    apart = np.array(
        [
            candidates[top.candidate].says(b, top.ridge).h_score(top.factors)
            - candidates[0].says(b, best[0].ridge).h_score(best[0].factors)
            for b in subset
        ]
    )
    error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
    return top if top.score - best[0].score > error else best[0]


def certificate(
    modes: int,
    *,
    errors: np.ndarray | None = None,
    score: float | None = None,
    notes: Sequence[str] = (),
    alarms: Sequence[str] = (),
    more: Mapping[str, object] | None = None,
) -> Certificate:
    """What is known of the values: estimates, never proofs."""
    estimates: dict[str, object] = dict(more or {})
    if errors is not None:
        estimates["values"] = errors
    if score is not None:
        estimates["held_out_score"] = score
    return Certificate(
        asked=f"correlations of {modes} modes",
        met=False,
        estimates=estimates,
        notes=("estimates from a sample: nothing here is proven", *notes),
        alarms=alarms,
    )
