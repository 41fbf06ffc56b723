"""What fresh points say of a result: residuals, error bounds, alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from schmidt.certificate import FAILURE, Bound, Certificate
from schmidt.operators.form import Form
from schmidt.operators.jet import Function
from schmidt.operators.ritz.collocation import collocate
from schmidt.operators.ritz.spaces import Space


@dataclass(frozen=True)
class Bounds:
    """Error bounds per approximate eigenvalue μ, descending.

    Attributes:
        linear: ‖(T−μ)f‖/‖f‖: some point of the spectrum lies within this distance of μ.
        quadratic: Temple–Kato, ‖residuals of the group‖²/gap; never above ``linear``. Its gap is
            estimated from the computed values, not proven.
        gap: estimated distance from each value's group to the rest of the spectrum; NaN where it
            is not larger than the residual, so that ``linear`` is all that is known.
        groups: slices of values that the residuals cannot tell apart (degenerate levels).
    """

    linear: np.ndarray
    quadratic: np.ndarray
    gap: np.ndarray
    groups: list[slice]


def _reach(values: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far down the intervals up to each value reach, and how far up those from it on."""
    low = np.minimum.accumulate(values - radius)
    high = np.maximum.accumulate((values + radius)[::-1])[::-1]
    return low, high


def clusters(values: np.ndarray, radius: np.ndarray, modes: int) -> list[slice]:
    """Runs of values whose intervals [μ − r, μ + r] overlap, the first ``modes`` of them.

    A run that begins within the first ``modes`` and goes on beyond is kept whole.
    """
    out: list[slice] = []
    start = 0
    low, high = _reach(values, radius)
    for i in range(1, len(values) + 1):
        apart = i == len(values) or low[i - 1] > high[i]
        close = i < len(values) and values[i - 1] - values[i] < 1e-6 * max(
            abs(values[i - 1]), abs(values[i])
        )
        if apart and not close:
            out.append(slice(start, i))
            start = i
        if start >= modes:
            break
    return out


def bounds(values: np.ndarray, residual: np.ndarray, modes: int) -> Bounds:
    """Linear and quadratic bounds for the first ``modes`` of the given values.

    Args:
        values: μ, descending; a few more than ``modes``, for the gap behind the last one.
        residual: upper bounds of ‖(T−μ)f‖ for normalised, mutually orthogonal f.
        modes: L.

    For a group of Ritz values, separated by a gap δ from the rest of the spectrum, whose residuals
    together have norm ρ, eigenvalues and Ritz values pair up within ρ²/δ (Kato 1949; Parlett 1998,
    theorem 11.7.1).
    """
    linear = residual[:modes].copy()
    quadratic, gaps = linear.copy(), np.full(modes, np.nan)
    groups = clusters(values, residual, modes)
    low, high = _reach(values, residual)
    for group in groups:
        above, below = np.inf, 0.0  # nothing is known of what follows the last
        if group.start > 0:
            above = low[group.start - 1] - values[group.start]
        if group.stop < len(values):
            below = values[group.stop - 1] - high[group.stop]
        gap = min(above, below)
        together = float(np.sqrt((residual[group] ** 2).sum()))
        if np.isfinite(gap) and gap > together:
            inside = slice(group.start, min(group.stop, modes))
            gaps[inside] = gap
            quadratic[inside] = np.minimum(linear[inside], together**2 / gap)
    return Bounds(linear, quadratic, gaps, [slice(g.start, min(g.stop, modes)) for g in groups])


REPLICATES = 16
NOISE = 1e-3
"""Chance of a false alarm about overlaps that are noise."""
ROUNDING = 1000 * np.finfo(np.float64).eps
"""Of values, relative to the largest; a residual below it says nothing more."""
COARSE = 0.2
"""Share of a value, or of the distance to its neighbours, above which a residual is an alarm."""


@dataclass(frozen=True)
class Evidence:
    """What points say that neither the solver nor its search has seen.

    Attributes:
        values: (L,) μ.
        residual: (L,) ‖(T−μ)f‖/‖f‖.
        radius: (L,) upper confidence bounds of the residuals, all at once but for ``failure``. For
            self-adjoint T *some* point of the spectrum lies in [μ − radius, μ + radius]; which one
            it is, a residual cannot know. NaN for T that is not self-adjoint, whose residuals do
            not bound errors.
        estimate: (L,) quadratic (Temple–Kato) bound plus what fresh points say of the quadrature's
            error and rounding; never above ``radius``. It presumes the gap, which is estimated.
        gap: (L,) estimated distance of each level from the rest; NaN where none is visible.
        groups: levels: slices of values that the residuals cannot tell apart.
        condition: (L,) condition numbers of the eigenvalues of T that is not self-adjoint; a
            perturbation of size ε moves them by about condition·ε. Ones otherwise.
        overlap: largest |⟨f_i|f_j⟩ − δ_ij| (self-adjoint T) beyond the noise of the points.
        points: how many points were used.
        failure: the probability that any of the radii is too small, over the points drawn.
        alarms: sentences, empty if all is well.
        every: values and radii of all pairs, those behind the wanted ones included.
    """

    values: np.ndarray
    residual: np.ndarray
    radius: np.ndarray
    estimate: np.ndarray
    gap: np.ndarray
    groups: list[slice]
    condition: np.ndarray
    overlap: float
    points: int
    failure: float = FAILURE
    alarms: list[str] = field(default_factory=list)
    every: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def orthonormal(self) -> bool:
        """Whether functions of one level are orthogonal enough for as many points of the spectrum
        as there are functions; of different levels they need not be."""
        most = max((g.stop - g.start for g in self.groups), default=1)
        return most == 1 or self.overlap * most < 1e-2

    def gap_behind(self) -> tuple[int, float, float] | None:
        """(l, μ_l − radius, μ_{l+1} + radius) of a gap behind the wanted values; None for none.

        All l ≥ L values before it belong to levels that are well apart from each other, so that at
        least l points of the spectrum lie above the gap.
        """
        if self.every is None:
            return None
        values, radius = self.every
        low, high = _reach(values, radius)
        for group in clusters(values, radius, len(self.values)):
            above = low[group.start - 1] - values[group.start] if group.start else np.inf
            if group.stop == len(values):
                return None
            below = values[group.stop - 1] - high[group.stop]
            if not min(above, below) > float(np.sqrt((radius[group] ** 2).sum())):
                return None
            if group.stop >= len(self.values):
                return group.stop, float(low[group.stop - 1]), float(high[group.stop])
        return None

    def certificate(
        self, asked: str, *, index: bool, notes: Sequence[str], alarms: Sequence[str]
    ) -> Certificate:
        """The certificate: met where the index is proven and nothing looks wrong.

        Args:
            asked: what was asked for.
            index: whether it is proven that no state was missed.
            notes, alarms: what else is to be said; the alarms of the evidence come first.
        """
        bounds, together = {}, [*self.alarms, *alarms]
        if not np.isnan(self.radius).any():
            bounds["values"] = Bound.around(self.values.real, self.radius, self.failure)
        high = np.where(np.isnan(self.radius), np.inf, self.radius)
        bounds["residuals"] = Bound(np.zeros(len(high)), high, self.failure)
        return Certificate(
            bounds,
            index and not together and "values" in bounds,
            alarms=together,
            asked=asked,
            notes=notes,
            estimates={
                "error": self.estimate,
                "residual": self.residual,
                "gap": self.gap,
                "condition": self.condition,
                "level": np.repeat(
                    np.arange(1, len(self.groups) + 1), [g.stop - g.start for g in self.groups]
                ),
                "overlap": self.overlap,
                "points": self.points,
            },
        )


def certify(
    form: Form,
    space: Space,
    features: Function,
    values: Tensor,
    mix: Tensor,
    modes: int,
    *,
    points: int,
    seed: int,
    expected: Tensor | None = None,
    condition: np.ndarray | None = None,
    failure: float = FAILURE,
    edge: float | None = None,
) -> Evidence:
    """Evaluate residuals on independent randomised point sets.

    Args:
        values, mix: (m,), (K, m): more pairs than ``modes``, for the gap behind the last level.
        points: size of each of the sixteen sets; from their scatter come the confidence bounds.
        seed: of the points.
        expected: (m,) residuals seen before, on points that took part in choosing.
        condition: for T that is not self-adjoint.
        failure: allowed probability that any of the m bounds is wrong. Means over a set are taken
            to be normal (Student's t over the sets, by the jackknife).
        edge: the value below which the spectrum of T is continuous, where it is known.
    """
    generator = torch.Generator().manual_seed(seed)
    gram, cross, square = [], [], []
    count = 0
    for _ in range(REPLICATES):
        at = collocate(form, features, space.independent(points, generator), mix)
        count += len(at.values)
        # where functions have vanished to rounding an infinite V adds nothing
        empty = (at.values == 0) & ~at.images.isfinite()
        error = at.images.masked_fill(empty, 0.0) - at.values * values
        gram.append((at.values.mH @ at.values).numpy())
        cross.append((at.values.mH @ error).numpy())
        square.append((error.abs() ** 2).sum(0).numpy())
    g, e, r = (np.stack(parts) for parts in (gram, cross, square))
    mu, squares = values.numpy(), np.real(np.einsum("bii->bi", g))
    finite = all(np.isfinite(part).all() for part in (r, g, mu))
    if not (finite and (squares.sum(0) > 0).all()):
        raise ValueError(
            "residuals are NaN or infinite on fresh points: functions or the potential are not "
            "finite there"
        )
    norm = np.sqrt(squares.sum(0) / REPLICATES).clip(1e-300)
    residual, upper = _ratio(r, squares, 1 - failure / len(values))
    radius, residual = np.sqrt(upper), np.sqrt(residual)
    if form.self_adjoint is not True:
        condition = np.ones(modes) if condition is None else condition[:modes]
        nothing = np.full(modes, np.nan)
        alarms = _growth(mu, residual, expected, modes)
        alarms += _unresolved(mu, condition * residual[:modes], modes, form.offset)
        singles = [slice(i, i + 1) for i in range(modes)]
        return Evidence(
            mu[:modes], residual[:modes], nothing, nothing, nothing, singles, condition,
            float("nan"), count, failure, alarms,
        )  # fmt: skip
    overlap = _overlap(g / np.outer(norm, norm), modes)
    if edge is not None:
        mu, radius = np.append(mu, edge), np.append(radius, 0.0)
        residual = np.append(residual, 0.0)
    found = bounds(mu, radius, modes)
    moved = _rayleigh_shift(e / np.outer(norm, norm), found.groups)
    rounding = ROUNDING * (np.abs(mu).max() + abs(form.offset))
    radius = radius + rounding
    estimate = np.minimum(found.linear + rounding, found.quadratic + moved + rounding)
    alarms = [
        *_exploited(overlap),
        *_growth(mu, residual, expected, modes),
        *_unresolved(mu, radius, modes, form.offset),
        *_entangled(mu, radius, modes, rounding),
    ]
    return Evidence(
        mu[:modes], residual[:modes], radius[:modes], estimate, found.gap, found.groups,
        np.ones(modes), overlap, count, failure, alarms, (mu, radius),
    )  # fmt: skip


def _ratio(
    above: np.ndarray, below: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Σ above/Σ below over replicates, and its upper confidence bound by the jackknife."""
    n = len(above)
    total = above.sum(0) / below.sum(0)
    others = (above.sum(0) - above) / (below.sum(0) - below)
    spread = np.sqrt((n - 1) / n * ((others - others.mean(0)) ** 2).sum(0))
    return total, total + stats.t.ppf(confidence, n - 1) * spread


def _overlap(gram: np.ndarray, modes: int) -> float:
    """Largest deviation of Gram matrices (replicates, m, m) from the identity, beyond noise."""
    n = len(gram)
    off = (gram - np.eye(gram.shape[1]))[:, :modes, :modes]
    noise = stats.t.ppf(1 - NOISE / 2, n - 1) * off.std(0, ddof=1) / np.sqrt(n)
    return float((np.abs(off.mean(0)) - noise).clip(0).max())


def _rayleigh_shift(cross: np.ndarray, groups: list[slice]) -> np.ndarray:
    """How far Rayleigh–Ritz values on the fresh points lie from μ, with noise: (modes,).

    ``cross`` holds ⟨f_i|(T−μ_j)f_j⟩ per replicate, for normalised f.
    """
    n = len(cross)
    quantile = stats.t.ppf(1 - NOISE / 2, n - 1)
    out = []
    for group in groups:
        block = cross[:, group, group]
        block = (block + np.conj(np.swapaxes(block, 1, 2))) / 2
        noise = block.std(0, ddof=1) / np.sqrt(n)
        size = np.linalg.norm(block.mean(0)) + quantile * np.linalg.norm(noise)
        out += [size] * (group.stop - group.start)
    return np.array(out)


def _exploited(overlap: float) -> list[str]:
    if overlap <= 0.02:
        return []
    return [
        f"functions that were orthonormal on the solver's points overlap by {overlap:.1%} on "
        "fresh ones: the quadrature was exploited; give the solver more points or a larger budget"
    ]


def _growth(
    values: np.ndarray, residual: np.ndarray, expected: Tensor | None, modes: int
) -> list[str]:
    if expected is None:
        return []
    before = expected.numpy()[:modes]
    worse = residual[:modes] > 3 * before + 1e-9 * np.abs(values).max()
    if not worse.any():
        return []
    return [
        f"residuals of modes {_list(worse)} are more than three times larger on fresh "
        "points than on those that the search looked at"
    ]


def _unresolved(values: np.ndarray, error: np.ndarray, modes: int, offset: float) -> list[str]:
    """Errors above a fifth of the value, or of a small share of the range where it vanishes."""
    spacing = np.abs(values[:modes, None] - values[None, :])
    size = np.abs(values[:modes] - offset).clip(1e-2 * spacing.max())
    bad = error[:modes] > COARSE * size
    if not bad.any():
        return []
    return [f"modes {_list(bad)} are not resolved: residuals above 20 %"]


def _entangled(values: np.ndarray, radius: np.ndarray, modes: int, rounding: float) -> list[str]:
    """Levels whose bounds are wider than their distances, and splittings below what was resolved.

    A level that is really degenerate splits by no more than the quadratic bound ρ²/δ.
    """
    wide = np.zeros(modes, dtype=bool)
    split = np.zeros(modes, dtype=bool)
    low, high = _reach(values, radius)
    for group in clusters(values, radius, modes):
        above = low[group.start - 1] - values[group.start] if group.start else np.inf
        last = group.stop == len(values)
        below = np.inf if last else values[group.stop - 1] - high[group.stop]
        gap, together = min(above, below), float(np.sqrt((radius[group] ** 2).sum()))
        inside = slice(group.start, min(group.stop, modes))
        if not gap > together:
            wide[inside] = True
            continue
        width = float(values[group.start] - values[group.stop - 1])
        quadratic = 10 * (group.stop - group.start) * together**2 / gap
        if width > max(quadratic, 1e-3 * together, 10 * rounding):
            split[inside] = True
    out = []
    if wide.any():
        out.append(
            f"the bounds of modes {_list(wide)} are not smaller than the distance to their "
            "neighbours: which state is which is not known"
        )
    if split.any():
        out.append(
            f"modes {_list(split)} lie closer together than their bounds: how far they are apart, "
            "and how many they are, is not resolved"
        )
    return out


def _list(which: np.ndarray) -> str:
    return ", ".join(str(i + 1) for i in np.flatnonzero(which))
