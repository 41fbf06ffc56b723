"""The linear canonical dependence kernel in closed form, from moments of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from torch import Tensor

from schmidt.dependence.moments import PairMoments, pooled
from schmidt.linalg import fix_signs

RIDGES = (1e-6, 1e-5, 1e-4, *(10 ** (k / 2) for k in range(-6, 4)), 1e2, 1e3, 1e4)
"""The largest shrink everything to nothing, which is right where nothing depends."""
NUMERICAL_RANK = 1e-10
LEAST_FACTOR = 1e-3
MANY = 300
"""Features beyond which one decomposition takes long."""
UNCHOSEN = 1e-3
"""The ridge where data cannot be parted to choose it."""


@dataclass(frozen=True)
class Canonical:
    """The singular pairs of the kernel within the spans of the features.

    Attributes:
        values: (L,) descending.
        mix_f, mix_g: (K, L), (K′, L): functions (f − mean) @ mix, of norm √values.
    """

    values: Tensor
    mix_f: Tensor
    mix_g: Tensor

    def truncate(self, modes: int) -> Canonical:
        return Canonical(self.values[:modes], self.mix_f[:, :modes], self.mix_g[:, :modes])

    def padded(self, modes: int) -> Canonical:
        """As many pairs as asked for, those beyond what the features span being zero."""
        parts = (self.values[:modes], self.mix_f[:, :modes], self.mix_g[:, :modes])
        missing = modes - len(parts[0])
        return Canonical(*(torch.nn.functional.pad(t, (0, missing)) for t in parts))


def canonical(m: PairMoments, *, ridge: float = 0.0, tied: bool = False) -> Canonical:
    """All singular pairs of p(x,y)/(p(x)p(y)) − 1 compressed to linear functions of the features.

    Args:
        m: moments of the features.
        ridge: added to both covariances, relative to the mean variance of their features. 0 is
            canonical correlation analysis; directions without variance are dropped.
        tied: one map for both sides: the kernel symmetrised over the two domains, and its positive
            part. The features must be of one kind.

    Cost O(K³).
    """
    return _Problem(m, tied).solve(ridge)


def canonical_path(
    m: PairMoments, ridges: Sequence[float], *, modes: int, tied: bool = False
) -> dict[float, Canonical]:
    """Exactly ``modes`` singular pairs for each of several ridges; see :func:`canonical`."""
    problem = _Problem(m, tied)
    return {ridge: problem.solve(ridge, modes).padded(modes) for ridge in ridges}


@dataclass(frozen=True)
class HeldOut:
    """What rows that took no part say of modes, centred by means of the rows that fitted.

    Attributes:
        grams: (2, L, L) E[f fᵀ] and E[g gᵀ].
        overlap: (L, L) their elementwise product, in which no pair meets itself if it is of
            several parts.
        cross: (L,) covariances of f and g.
        rows: how many independent pairs, or classes, said it.
    """

    grams: Tensor
    overlap: Tensor
    cross: Tensor
    rows: float = float("inf")

    @classmethod
    def of(
        cls, m: PairMoments, c: Canonical, centre: PairMoments, rows: float = float("inf")
    ) -> HeldOut:
        df, dg = m.mean_f - centre.mean_f, m.mean_g - centre.mean_g
        f, g = (
            mix.T @ (cov + torch.outer(d, d)) @ mix
            for mix, cov, d in ((c.mix_f, m.cov_f, df), (c.mix_g, m.cov_g, dg))
        )
        cross = ((m.cross @ c.mix_g) * c.mix_f).sum(0)
        if 1 < rows < float("inf"):
            cross = cross * rows / (rows - 1)
        return cls(torch.stack([f, g]), f * g, cross, rows)

    @classmethod
    def pooled(cls, parts: Sequence[HeldOut], mass: Sequence[float]) -> HeldOut:
        """Of several parts, with functions that differ from part to part."""
        w = torch.tensor(mass, dtype=torch.float64)
        w = w / w.sum()

        def mean(name: str) -> Tensor:
            values = torch.stack([getattr(part, name) for part in parts])
            return torch.tensordot(w, values, dims=1)

        return cls(mean("grams"), mean("overlap"), mean("cross"), sum(p.rows for p in parts))

    @classmethod
    def joined(cls, parts: Sequence[HeldOut], mass: Sequence[float]) -> HeldOut:
        """Of several parts, with the same functions: Gram matrices of f and of g are multiplied
        only if they are of different parts."""
        out = cls.pooled(parts, mass)
        if len(parts) < 2:
            return out
        w = torch.tensor(mass, dtype=torch.float64)
        w = w / w.sum()
        within = sum(a**2 * part.overlap for a, part in zip(w, parts, strict=True))
        apart = (out.grams[0] * out.grams[1] - within) / (1 - w.square().sum())
        return replace(out, overlap=apart)

    @property
    def sizes(self) -> Tensor:
        """(L,) ‖f_l‖‖g_l‖."""
        return self.grams.diagonal(dim1=1, dim2=2).clamp_min(0).prod(0).sqrt()

    def correlations(self) -> Tensor:
        """(L,) of each mode, without a constraint."""
        size = self.sizes
        return torch.where(size > 0, self.cross / size.clamp_min(1e-300), 0 * size)

    def divided(self, sizes: Tensor) -> HeldOut:
        """Of functions whose products are divided by (L,) sizes."""
        known = sizes > 0
        root = torch.where(known, sizes.clamp_min(1e-300).rsqrt(), 0.0)
        both = torch.outer(root, root)
        return HeldOut(
            self.grams * both, self.overlap * both.square(), self.cross * root**2, self.rows
        )

    def falling(self) -> np.ndarray:
        """The nearest descending correlations, in [0, 1]."""
        return falling(self.correlations().numpy())

    def factors(self, values: np.ndarray | None = None) -> Tensor:
        """(L,) what to multiply modes with, so that each carries the correlation it has here, or
        the given one, and all of them the largest H-score.

        Correlations r of n rows are shrunk by 1 − 1/(n r²), the positive part of James and Stein's
        factor: what might be chance is none.
        """
        size = self.sizes
        r = torch.from_numpy(self.falling() if values is None else values)
        wanted = r * (1 - 1 / (self.rows * r.square()).clamp_min(1e-12)).clamp_min(0)
        d = torch.where(size > 0, wanted / size.clamp_min(1e-300), 0 * size)
        a, q = float(d @ self.cross), float(d @ self.overlap @ d)
        whole = min(max(a / q, 0.0), 1.0) if q > 0 else float(a > 0)
        # where nothing depends functions all but vanish; they keep their directions
        return torch.maximum(whole * d, LEAST_FACTOR / size.clamp_min(LEAST_FACTOR))

    def h_score(self, factors: Tensor) -> float:
        """E[fᵀg] − E[f]ᵀE[g] − ½ tr Λ_f Λ_g of modes multiplied by factors."""
        return float(factors @ self.cross - factors @ self.overlap @ factors / 2)


def falling(values: np.ndarray) -> np.ndarray:
    """The nearest descending sequence, in [0, 1]."""
    return np.clip(isotonic_regression(values, increasing=False).x, 0.0, 1.0)


def scaled(c: Canonical, factors: Tensor) -> Canonical:
    """The kernel of each mode multiplied by a factor."""
    root = factors.sqrt()
    return Canonical(c.values * factors, c.mix_f * root, c.mix_g * root)


@dataclass(frozen=True)
class CrossFit:
    """What parts of the data say of functions that were fitted on the others.

    Attributes:
        ridge: of the largest H-score on parts left out.
        values: (L,) correlations of the modes on parts left out, of ridges chosen on the others;
            descending (the nearest such sequence), none below 0.
        errors: (L,) their likely errors.
        score: the H-score on parts left out.
        solutions: of each part left out, with the centre it was fitted by.
        sizes: of each part left out, (L,) ‖f_l‖‖g_l‖ of functions of its ridge.
        factors: (L,) that give modes the correlations they have on parts left out.
    """

    ridge: float
    values: np.ndarray
    errors: np.ndarray
    score: float
    solutions: tuple[tuple[Canonical, PairMoments], ...]
    sizes: tuple[Tensor, ...]
    factors: Tensor


def cross_fit(
    parts: Sequence[tuple[PairMoments, float]],
    *,
    modes: int,
    rows: Sequence[float],
    ridge: float | None = None,
    tied: bool = False,
    rescaled: bool = True,
) -> CrossFit:
    """Fit all parts but one, judge on that one, for each; for many ridges if none is given.

    Args:
        parts: moments of disjoint parts of the data, and their masses. For many features the ridge
            is chosen on the first part only, among every second.
        modes: L.
        rows: how many independent pairs, or classes, each part has.
        rescaled: choose the ridge for modes that are multiplied by their factors afterwards.
    """
    trains = [pooled([*parts[:i], *parts[i + 1 :]]) for i in range(len(parts))]
    problems = [_Problem(train, tied) for train in trains]
    mass = [m for _, m in parts]
    many = ridge is None and len(parts[0][0].mean_f) > MANY
    ridges = (ridge,) if ridge is not None else RIDGES[::2] if many else RIDGES
    parted = range(1 if many else len(parts))
    # what each part says of each ridge

    def says(i: int, r: float) -> HeldOut:
        solution = problems[i].solve(r, modes).padded(modes)
        return HeldOut.of(parts[i][0], solution, trains[i], rows[i])

    said = [[says(i, r) for r in ridges] for i in parted]

    def best(of: Sequence[int]) -> int:
        each = [
            HeldOut.pooled([said[i][j] for i in of], [mass[i] for i in of])
            for j in range(len(ridges))
        ]
        plain = torch.ones(modes, dtype=torch.float64)
        return int(np.argmax([one.h_score(one.factors() if rescaled else plain) for one in each]))

    top = best(parted) if len(ridges) > 1 else 0
    # a part takes no part in the choice of the ridge that it judges, unless it is the only one
    chosen = [
        top if many or len(ridges) == 1 else best([k for k in parted if k != i])
        for i in range(len(parts))
    ]
    solutions = [
        p.solve(ridges[j], modes).padded(modes) for p, j in zip(problems, chosen, strict=True)
    ]
    judged = [
        HeldOut.of(part, found, train, n)
        for (part, _), found, train, n in zip(parts, solutions, trains, rows, strict=True)
    ]
    plain = HeldOut.pooled(judged, mass)
    sizes = [plain.sizes] * len(parts)
    if not many and len(ridges) > 1:
        # functions of different ridges differ in size, which must not make one part the judge
        each = [HeldOut.pooled([row[j] for row in said], mass) for j in range(len(ridges))]
        plain, sizes = each[top], [each[j].sizes for j in chosen]
    values, errors = correlations(judged, mass, sizes)
    factors = plain.factors(values)
    others = [[k for k in range(len(parts)) if k != i] for i in range(len(parts))]
    score = 0.0
    for i, o in enumerate(others):
        rest = HeldOut.pooled([judged[k].divided(sizes[k]) for k in o], [mass[k] for k in o])
        score += mass[i] * judged[i].divided(sizes[i]).h_score(rest.factors())
    return CrossFit(
        ridges[top],
        values,
        errors,
        score / sum(mass),
        tuple(zip(solutions, trains, strict=True)),
        tuple(sizes),
        factors,
    )


def correlations(
    judged: Sequence[HeldOut], mass: Sequence[float], sizes: Sequence[Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of modes over parts that did not fit them, and their likely errors (jackknife).

    The nearest descending sequence; what is below 0 is 0. Functions of each part are divided by
    their ``sizes``, so that parts count by their rows alone.
    """
    count = len(judged)
    judged = [one.divided(size) for one, size in zip(judged, sizes, strict=True)]
    values = HeldOut.pooled(judged, mass).falling()
    if count < 2:
        return values, np.full_like(values, np.nan)
    without = []
    for i in range(count):
        rest = [k for k in range(count) if k != i]
        few = HeldOut.pooled([judged[k] for k in rest], [mass[k] for k in rest])
        without.append(few.correlations())
    away = torch.stack(without)
    spread = (away - away.mean(0)).square().sum(0) * (count - 1) / count
    return values, spread.sqrt().numpy()


def in_sample(m: PairMoments, c: Canonical) -> np.ndarray:
    """The correlations of modes on the rows that fitted them, in their order."""
    return HeldOut.of(m, c, m).correlations().numpy().clip(0.0, 1.0)


class _Problem:
    """Moments in the eigenbases of the covariances, in which every ridge is one decomposition."""

    def __init__(self, m: PairMoments, tied: bool) -> None:
        self.tied = tied
        if not tied:
            self.bases = [_basis(cov) for cov in (m.cov_f, m.cov_g)]
            self.cross = self.bases[0][1].T @ m.cross @ self.bases[1][1]
            return
        if m.cross.shape[0] != m.cross.shape[1]:
            raise ValueError(
                f"tied needs features of one size on both sides, got {tuple(m.cross.shape)}"
            )
        self.bases = [_basis((m.cov_f + m.cov_g) / 2)]
        basis = self.bases[0][1]
        self.cross = basis.T @ (m.cross + m.cross.T) @ basis / 2

    def solve(self, ridge: float, modes: int | None = None) -> Canonical:
        scales = [(v + ridge * mean).rsqrt() for v, _, mean in self.bases]
        compressed = scales[0][:, None] * self.cross * scales[-1]
        if self.tied:
            values, u = torch.linalg.eigh(compressed)
            values, u = values.flip(0)[:modes].clamp_min(0), u.flip(1)[:, :modes]
            sides = [u]
        else:
            u, values, vh = torch.linalg.svd(compressed, full_matrices=False)
            values, sides = values[:modes], [u[:, :modes], vh[:modes].T]
        mixes = [
            (vectors * scale) @ side * values.sqrt()
            for (_, vectors, _), scale, side in zip(self.bases, scales, sides, strict=True)
        ]
        sign = fix_signs(mixes[0])
        mixes = [mix * sign for mix in mixes]
        return Canonical(values, mixes[0], mixes[-1])


def _basis(cov: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues and vectors of a covariance without the directions that have no variance, and
    the mean of all eigenvalues."""
    values, vectors = torch.linalg.eigh(cov)
    values = values.clamp_min(0)
    if not bool(values[-1] > 0):
        raise ValueError("the features are constant: there is nothing to correlate")
    keep = values > NUMERICAL_RANK * values[-1]
    alive = int((cov.diagonal() > NUMERICAL_RANK**2 * cov.diagonal().max()).sum())
    return values[keep], vectors[:, keep], values.sum() / alive
