"""One attempt with features of one choice; the search that climbs, grows and stops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from schmidt.linalg import span
from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Exact, Function, Jet
from schmidt.operators.measures import Points
from schmidt.operators.ritz.certify import bounds
from schmidt.operators.ritz.collocation import (
    FEATURES,
    Collocation,
    collocate,
    relative_scale,
    residuals,
    ritz_pairs,
)
from schmidt.operators.ritz.spaces import FeatureChoice, Space
from schmidt.operators.ritz.trunk import TrunkFeatures

CUTS = (1e-4, 1e-6, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12)


@dataclass(frozen=True)
class Trial:
    """The best cut of one choice.

    Attributes:
        choice: what was tried.
        features: the functions φ.
        values: (m,) μ, descending by real part; m ≥ modes.
        mix: (K, m).
        residual: (m,) ‖(T − μ)f‖/‖f‖ on held-out points.
        score: mean relative residual of the wanted modes; what the search minimises.
        estimate: mean relative quadratic error estimate (self-adjoint; NaN otherwise).
        cut, rank: where the basis was cut, and what was left.
        work: what the trial cost, in the units of :func:`work`.
        seconds: what it took on this machine.
    """

    choice: FeatureChoice
    features: Function
    values: Tensor
    mix: Tensor
    residual: Tensor
    score: float
    estimate: float
    cut: float
    rank: int
    work: float
    seconds: float

    @property
    def estimate_or_score(self) -> float:
        """The error that a target refers to."""
        return self.score if math.isnan(self.estimate) else self.estimate


def attempt(
    form: Form,
    space: Space,
    choice: FeatureChoice,
    modes: int,
    *,
    held_out: Points,
    extra: int,
    features: Function | None = None,
) -> tuple[Trial | None, float]:
    """Solve with the features of one choice; None where they span fewer than ``modes`` functions.

    The equation is imposed on ``space.rule``; every cut is judged on ``held_out``. Also returns
    what it cost, in the units of :func:`work`.
    """
    begin = time.perf_counter()
    features = features or space.features(choice)
    at = collocate(form, features, space.rule(choice.points))
    cost = work(len(at.values) + len(held_out), at.values.shape[1], space.dim)
    basis = span(at.values, constraints=cusps(form, space, features), what=FEATURES)
    images = at.images @ basis.mix
    matrix = basis.values.T @ images
    if not bool(matrix.isfinite().all()):
        return None, cost
    judge = collocate(form, features, held_out).mix(basis.mix)
    ranks = {basis.rank(cut): cut for cut in reversed(CUTS)}
    ranks = {k: cut for k, cut in sorted(ranks.items()) if k >= modes + min(2, extra)}
    if not ranks:
        return None, cost

    def judged(rank: int, values: Tensor, vectors: Tensor) -> Trial:
        part = Collocation(judge.values[:, :rank], judge.images[:, :rank])
        error = residuals(part.mix(vectors), values)
        scale = relative_scale(values[:modes], form.offset)
        score = float((error[:modes] / scale).mean())
        estimate = float("nan")
        if form.self_adjoint is True:
            found = bounds(values.numpy(), error.numpy(), modes)
            estimate = float((torch.from_numpy(found.quadratic) / scale).mean())
        mix = basis.mix[:, :rank].to(vectors.dtype) @ vectors
        cut = ranks[rank]
        return Trial(choice, features, values, mix, error, score, estimate, cut, rank, cost, 0.0)

    def galerkin(rank: int) -> tuple[Tensor, Tensor]:
        count = min(modes + extra, rank)
        return ritz_pairs(matrix[:rank, :rank], count, self_adjoint=form.self_adjoint is True)

    best = min((judged(rank, *galerkin(rank)) for rank in ranks), key=_score)
    if not math.isfinite(best.score):
        return None, cost
    return replace(best, seconds=time.perf_counter() - begin), cost


def work(points: int, features: int, dim: int) -> float:
    """The cost of a trial, counted and not timed: N K² for the basis, 2K³ for eigenvalues of all
    cuts, 70 N K (d + 2) for values, slopes and Laplacians; in units of ``UNIT`` operations, which
    a core of 2026 does in about a second."""
    count = points * features**2 + 2 * features**3 + 70 * points * features * (dim + 2)
    return count / UNIT


def _score(trial: Trial) -> float:
    return trial.score if math.isfinite(trial.score) else math.inf


@torch.no_grad()
def cusps(form: Form, space: Space, features: Function) -> Tensor | None:
    """Rows ℓ(φ) = lim r·Tφ, averaged over directions, at the space's singular points.

    Tφ is square-integrable only where ℓ(φ) = 0: Kato's cusp condition.
    """
    centres = space.singularities()
    if not len(centres):
        return None
    small = 1e-7 * float((space.rule(64).x - centres.mean(0)).norm(dim=1).median())
    u = torch.randn(16, space.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = torch.nn.functional.normalize(u, dim=1) * small
    rows = []
    for centre in centres:
        x = torch.cat([centre + u, centre - u])
        points = Points(x, torch.ones(len(x), dtype=torch.float64))
        image = form.action(Exact()(features, x, 2), Sample(points, points))
        rows.append(small * image.mean(0))
    return torch.stack(rows)


UNIT = 2.2e9
HELD_OUT = 2048
FOCUS = 2**15
FOCUS_ROUNDS = 4
GROWTH = 1.5
LARGEST = 1600


@dataclass
class Search:
    """A deterministic sequence of trials, cut short by target and budget.

    What a trial costs is counted (:func:`work`), so that the same seed gives the same trials in the
    same order on every machine. Seconds can be given as a second stop, which is named in the
    result: what it cut short depends on the machine.

    Attributes:
        form, modes: the operator and the number of wanted modes.
        space: where functions live; points are moved to where they turn out to be.
        target: stop when the mean quadratic estimate falls below this.
        seed: of the features and of the held-out points.
        budget: stop when the next trial would bring the work above this.
        seconds: stop as well when this time has passed; None for never.
        trials: all that was tried, in order.
        spent: work so far.
        late: the seconds ended the search.
    """

    form: Form
    space: Space
    modes: int
    target: float
    budget: float
    seconds: float | None = None
    seed: int = 0
    report: Callable[[Trial], Any] | None = None
    stop: Callable[[], bool] = bool
    trials: list[Trial] = field(default_factory=list)
    spent: float = 0.0
    late: bool = False
    begin: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.extra = max(4, self.modes // 4)
        self.fineness = 1.0
        self._draw()

    def _draw(self) -> None:
        self.held_out = self.space.fresh(
            HELD_OUT, torch.Generator().manual_seed(20261123 + self.seed)
        )

    @property
    def left(self) -> float:
        """Work that remains."""
        if self.seconds is not None and time.perf_counter() - self.begin > self.seconds:
            self.late = True
        if self.stop() or self.late:
            return 0.0
        return max(0.0, self.budget - self.spent)

    def run(self) -> Trial:
        """The best trial."""
        best = self._first()
        best = self._climb(best, 0.25 * self.left)
        stalled = 0
        while best.estimate_or_score > self.target:
            larger = self._grown(best, stalled + 1)
            if larger is None:
                break
            if larger.score < 0.8 * best.score:
                stalled = 0
                best = self._climb(self._focused(larger), 0.25 * self.left)
                continue
            best = min(best, larger, key=lambda t: t.score)
            stalled += 1
            if stalled == 2:  # more of the same does not help: look for something else
                best, before = self._climb(best, 0.5 * self.left), best
                if best is before:
                    break
                stalled = 0
        return best

    def only(self, choice: FeatureChoice) -> Trial:
        """The trial of one choice."""
        trial = self._try(choice)
        if trial is None:
            raise ValueError(f"these features span fewer than {self.modes} functions: {choice}")
        return trial

    def given(self, features: Function) -> Trial:
        """The trial of features that are given, on 16 times as many points."""
        with torch.no_grad():
            probe = features(self.held_out.x[:64])
        if probe.ndim != 2 or len(probe) != 64 or probe.dtype != torch.float64:
            raise ValueError(
                "features must map points (B, d) to (B, K) in float64 (a module: .double()), got "
                f"{tuple(probe.shape)} in {str(probe.dtype).removeprefix('torch.')} for 64 points"
            )
        if not bool(probe.isfinite().all()):
            raise ValueError("the features are NaN or Inf at some points of the space")
        count = probe.shape[1]
        choice = FeatureChoice(width=count, points=max(2000, 16 * count), depth=0, envelopes=0)
        trial = self._try(choice, features)
        if trial is None:
            raise ValueError(
                f"these {count} features span fewer than {self.modes + 2} functions, two more than "
                f"the {self.modes} wanted"
            )
        return trial

    def _try(self, choice: FeatureChoice, features: Function | None = None) -> Trial | None:
        trial, cost = attempt(
            self.form,
            self.space,
            choice,
            self.modes,
            held_out=self.held_out,
            extra=self.extra,
            features=features,
        )
        self.spent += cost
        if trial is not None:
            self.trials.append(trial)
            if self.report is not None:
                self.report(trial)
        return trial

    def _first(self) -> Trial:
        choice = replace(self.space.start(self.modes), seed=self.seed)
        trial = self._try(choice)
        while trial is None:
            # features that are too smooth span little, however many they are
            rougher = choice.scaled("gain", 1.4)
            if self.space.allows(rougher):
                choice = rougher
            choice = choice.scaled("width", 1.3).scaled("points", 1.3)
            if choice.width > LARGEST or not self.left:
                raise ValueError(
                    f"the features of this space span fewer than {self.modes} functions; "
                    "ask for fewer modes, or give a larger budget"
                )
            trial = self._try(choice)
        return self._focused(trial)

    def _focused(self, trial: Trial) -> Trial:
        """Refocus as long as it pays and the budget lasts."""
        for _ in range(FOCUS_ROUNDS):
            if 2 * trial.work > self.left:
                break
            old, trial = trial, self._refocus(trial)
            if trial.score > 0.7 * old.score:
                break
        return trial

    def _refocus(self, trial: Trial) -> Trial:
        """Fit the space to the states of a trial, and try again there."""
        if self.space.accurate or not isinstance(trial.features, TrunkFeatures):
            return trial
        features = trial.features
        mix = trial.mix[:, : self.modes]
        real = torch.cat([mix.real, mix.imag], 1) if mix.is_complex() else mix
        real = real[:, real.norm(dim=0) > 0]  # real functions have no imaginary part
        points = self.space.fresh(FOCUS, torch.Generator().manual_seed(4))
        with torch.no_grad():
            jets = [features.mixed(x, 1, real) for x in points.x.split(2048)]
        states = Jet(torch.cat([j.streams for j in jets], 1), jets[0].dim, 1)
        old, self.space = self.space, self.space.refocused(points, states)
        if self.space is old:
            return trial
        self._draw()
        again = self._try(trial.choice)
        if again is not None and again.score < trial.score:
            return again
        self.space = old
        self._draw()
        return trial

    def _climb(self, best: Trial, allowance: float) -> Trial:
        """Walk towards one neighbour after the other while the score falls."""
        end = self.spent + allowance
        tried = {best.choice}
        improved, ever = True, False
        while improved:
            improved = False
            for name, rung in self.space.neighbours(self.fineness):
                while True:
                    choice = best.choice.scaled(name, rung)
                    if choice in tried or not self.space.allows(choice):
                        break
                    if self.spent + 1.5 * best.work > end or not self.left:
                        return best
                    tried.add(choice)
                    trial = self._try(choice)
                    if trial is None or not _better(trial, best):
                        break
                    best, improved, ever = trial, True, True
        if not ever:
            self.fineness = max(0.5, 0.7 * self.fineness)
        return best

    def _grown(self, best: Trial, power: int) -> Trial | None:
        factor = GROWTH**power
        choice = best.choice.scaled("width", factor).scaled("points", factor)
        choice = replace(choice, points=max(choice.points, 4 * best.mix.shape[0]))
        predicted = best.work * factor**3
        if predicted > self.left or choice.width > LARGEST:
            return None
        return self._try(choice)


def _better(new: Trial, old: Trial) -> bool:
    """A lower score, if it is worth what it costs: N K² operations buy about that factor.

    What is cheap but far worse is not taken: it would leave the region where more features help.
    """
    cost = [t.choice.points * t.mix.shape[0] ** 2 for t in (new, old)]
    worth = new.score * cost[0] ** 0.75 < 0.9 * old.score * cost[1] ** 0.75
    return worth and new.score < 1.5 * old.score
