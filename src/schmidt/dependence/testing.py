"""Do two variables depend on each other – and given a third? Permutation tests, mode by mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.certificate import Certificate
from schmidt.dependence.inputs import flat
from schmidt.dependence.laws import plain_items
from schmidt.dependence.permutations import (
    Arrangements,
    Change,
    Covariances,
    neighbourhoods,
    permutation_p,
)
from schmidt.operators.pairs import checked_pairs
from schmidt.parameters import SEED, Choice, Number, check

NEIGHBOURS = 6
"""Rows that may change places where z is given."""
FOURIER = 64
"""Random cosines of each variable."""
MODE_RIDGE = 0.1
NUISANCE_RIDGES = 10.0 ** np.arange(-4, 3)
POINTS = 1000
"""Rows to take the typical distance from."""
PARAMETERS = {
    "features": Choice("both", "linear", "nonlinear", none=True),
    "modes": Number(0, whole=True),
    "permutations": Number(19, whole=True),
    "level": Number(0, 1, open="low"),
    "seed": SEED,
}


@dataclass(frozen=True, kw_only=True)
class IndependenceTest:
    """Whether two variables depend on each other.

    Attributes:
        p_value: of independence, all modes together.
        p_values: of the modes in order, as far as they were tested; the last one may be above the
            level, and then no more were.
        modes: how many modes are told from chance at the level.
        level: that was asked for.
        certificate: what the p-values rest on.
    """

    p_value: float
    p_values: np.ndarray
    modes: int
    level: float
    certificate: Certificate

    @property
    def dependent(self) -> bool:
        """Whether independence is rejected at the level."""
        return self.p_value <= self.level

    def __str__(self) -> str:
        said = "rejected" if self.dependent else "not rejected"
        return (
            f"independence {said}: p = {self.p_value:.3g}; {self.modes} modes told from chance at "
            f"{self.level:g}"
        )


def independence_test(
    X: Any,
    Y: Any,
    *,
    given: Any = None,
    groups: Any = None,
    features: str | None = None,
    modes: int = 8,
    permutations: int = 399,
    level: float = 0.05,
    seed: int = 0,
) -> IndependenceTest:
    """Test whether y depends on x, by putting x together with the y of other rows.

    The statistics are sums of squared covariances of features of x with those of y, whitened with
    ridges of several strengths, each in units of its own spread over the permutations; the largest
    counts. That is the p-value: independent pairs get one of at most α with probability at most α,
    whatever their laws. Modes are tested one after the other: the largest singular value of what is
    left when those before are taken out; a p-value is never below the one before.

    Args:
        X, Y: (n, …) and (n, …); constant columns are left out.
        given: (n, …) Z; test whether y depends on x *given* z. Regressions on z – linear, and on
            random cosines of it, the ridge by generalised cross-validation – are taken from the
            features first, and then x is put together with the y of rows of nearly the same z
            only, of boxes of at most 6. The p-value is approximate: as good as the regressions, and
            as z is the same within a box.
        groups: (n,) labels of rows that belong together: groups of a size change places as a whole.
            "series" for rows in time, which are shifted in a circle against each other; exact for
            stationary series up to the ends.
        features: "linear": the columns; "nonlinear": 64 random cosines of them, of the typical
            distance between rows (Rahimi and Recht 2007; what is tested is then close to HSIC);
            "both". None: "both", but "linear" given z, where cosines are too hard to regress.
        modes: most modes to test one by one.
        permutations: how many; p is at least 1/(permutations + 1).
        level: of the number of modes.
        seed: of permutations and cosines.

    Cost: a product of the features, n·d·e, per permutation.

    Example:
        >>> import numpy as np
        >>> from schmidt.dependence import independence_test
        >>> x = np.random.default_rng(0).uniform(-1, 1, size=300)
        >>> independence_test(x, x**2, permutations=99).p_value
        0.01
    """
    check(PARAMETERS, features=features, modes=modes, permutations=permutations)
    check(PARAMETERS, level=level, seed=seed)
    x, y = checked_pairs(plain_items(X, "X"), plain_items(Y, "Y"))
    n = len(x)
    nuisance = near = None
    if given is not None:
        if groups is not None:
            raise ValueError("given z rows are put together with neighbours in z: no groups")
        z = checked_pairs(plain_items(given, "given"), np.arange(len(x)))[0]
        nuisance = _features(z, "both", seed + 2)
        near = neighbourhoods(_features(z, "linear", seed), NEIGHBOURS)
    features = features or ("both" if given is None else "linear")
    sides = [
        [_without(u, nuisance) for u in _kinds(side, features, seed + k)]
        for k, side in enumerate((x, y))
    ]
    if isinstance(groups, str):
        check({"groups": Choice("series")}, groups=groups)
    elif groups is not None and np.shape(groups) != (n,):
        raise ValueError(f"{n} pairs need groups of shape ({n},), got {np.shape(groups)}")
    arrangements = Arrangements(n, groups, within=near)
    spectra = [
        Covariances(u, v, arrangements)
        for u, v in zip(*sides, strict=True)
        if u.shape[1] and v.shape[1]
    ]
    notes = [f"{permutations} permutations" + (" of groups" if groups is not None else "")]
    if given is not None:
        notes.append("given z p-values are approximate: as good as the regressions on z")
    alarms = []
    if given is not None and features != "linear":
        alarms.append("p-values of cosines given z tend to be too small: z is not all taken out")
    if arrangements.most < permutations:
        alarms.append(f"there are only {arrangements.most:.0f} arrangements of these rows")

    def statistic(change: Change) -> np.ndarray:
        return np.concatenate([s(change) for s in spectra])

    p = permutation_p(statistic, arrangements, permutations, seed) if spectra else 1.0
    found = [p]
    if spectra and modes and p <= level:
        u, v = (torch.cat(side, 1) for side in sides)
        found += _by_mode(u, v, arrangements, permutations, level, modes, seed, p)
    p_values = np.array(found[1:])
    return IndependenceTest(
        p_value=p,
        p_values=p_values,
        modes=int((p_values <= level).sum()),
        level=level,
        certificate=Certificate(
            asked="independence" + (" given z" if given is not None else ""),
            estimates={"p_value": p},
            notes=tuple(notes),
            alarms=tuple(alarms),
        ),
    )


def _by_mode(
    u: Tensor,
    v: Tensor,
    arrangements: Arrangements,
    count: int,
    level: float,
    modes: int,
    seed: int,
    least: float,
) -> list[float]:
    """p-values of the largest singular values left, up to the first that may be chance."""
    u, v = (_whitened(side) for side in (u, v))
    out: list[float] = []
    while len(out) < min(modes, u.shape[1], v.shape[1]):

        def largest(change: Change, u: Tensor = u, v: Tensor = v) -> np.ndarray:
            return torch.linalg.matrix_norm(u.T @ change(v), 2).numpy()[None]

        least = max(least, permutation_p(largest, arrangements, count, seed + len(out)))
        out.append(least)
        if least > level:
            break
        left, _, right = torch.linalg.svd(u.T @ v, full_matrices=False)
        u, v = (_deflated(a, a @ b) for a, b in ((u, left[:, :1]), (v, right[:1].T)))
    return out


def _deflated(u: Tensor, variate: Tensor) -> Tensor:
    return u - variate @ (variate.T @ u) / variate.square().sum().clamp_min(1e-300)


def _whitened(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    power = s.square()
    return u * (power / (power + MODE_RIDGE * power.mean())).sqrt()


def _kinds(side: Tensor, features: str, seed: int) -> list[Tensor]:
    kinds = ("linear", "nonlinear") if features == "both" else (features,)
    return [_features(side, kind, seed) for kind in kinds]


def _features(side: Tensor, kind: str, seed: int) -> Tensor:
    """Columns of mean 0 and variance 1, and random cosines of them."""
    rows = flat(side).double()
    half = (rows.amax(0) - rows.amin(0)) / 2
    alive = half > 2 * torch.finfo(torch.float64).eps * rows.abs().amax(0)
    rows = (rows[:, alive] - rows[:, alive].mean(0)) / half[alive]
    rows = rows / rows.square().mean(0).sqrt()
    if kind == "linear" or not rows.shape[1]:
        return rows
    generator = torch.Generator().manual_seed(seed)
    some = rows[torch.randperm(len(rows), generator=generator)[:POINTS]]
    apart = torch.pdist(some)
    apart = apart[apart > 0]
    width = float(apart.median()) if len(apart) else 1.0
    frequency = torch.randn(rows.shape[1], FOURIER, generator=generator, dtype=torch.float64)
    phase = 2 * torch.pi * torch.rand(FOURIER, generator=generator, dtype=torch.float64)
    cosines = (rows @ frequency / width + phase).cos()
    return torch.cat([rows, cosines], 1) if kind == "both" else cosines


def _without(u: Tensor, nuisance: Tensor | None) -> Tensor:
    """Residuals of a ridge regression on the nuisance, by generalised cross-validation."""
    if nuisance is None or not nuisance.shape[1]:
        return u
    u = u - u.mean(0)
    basis, s, _ = torch.linalg.svd(nuisance - nuisance.mean(0), full_matrices=False)
    inside, power = basis.T @ u, s.square()
    outside = (u.square().sum(0) - inside.square().sum(0)).clamp_min(0)
    best: tuple[Tensor, Tensor] | None = None
    for ridge in NUISANCE_RIDGES:
        left = ridge * power.mean() / (power + ridge * power.mean())
        error = outside + (left[:, None] * inside).square().sum(0)
        free = (len(u) - 1 - (1 - left).sum()).clamp_min(1)
        loss = error / free**2
        fitted = basis @ ((1 - left)[:, None] * inside)
        if best is None:
            best = loss, fitted
        else:
            better = loss < best[0]
            best = torch.where(better, loss, best[0]), torch.where(better, fitted, best[1])
    assert best is not None
    return u - best[1]
