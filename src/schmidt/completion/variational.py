"""Variational Bayes: noise, priors and the rank are learned from the entries; nothing is tuned.

    x_ij = μ + b_i + c_j + a_i·m_j + ε, ε ~ N(0, σ²), (a_i, b_i) ~ N(0, S), (m_j, c_j) ~ N(0, T) (1)

The posterior is approximated by a product over rows and columns (Lim and Teh 2007; Ilin and Raiko
2010). With φ_j = (m_j, 1), rows are regressed on columns, each by itself and exactly:

    Cov_i = (S⁻¹ + Σ_j E[φ_j φ_jᵀ]/σ²)⁻¹,   E(a_i, b_i) = Cov_i Σ_j (x_ij φ_j − E[c_j φ_j])/σ²   (2)

and S and T, which are full matrices, and σ² are those of largest likelihood given the posterior:

    S = mean_i E[(a_i, b_i)(a_i, b_i)ᵀ],   σ² = mean E(x_ij − μ − b_i − c_j − a_i·m_j)²        (3)

The sums over the entries of a row in (2) are products of a sparse matrix with a table that has one
line per column: E[φφᵀ] (packed), E[cφ], E[c²]. The problem is not convex: what is found depends on
the start, which is some steps of (2) with a ridge, and is not proven to be best.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy import sparse

from schmidt.completion.model import Biases, LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.linalg import fix_signs

FIRST, LARGEST, COLD, LEAST_STEPS = 16, 64, 5, 6
"""Components to begin with and at most; steps with a ridge; least number of steps of (2), (3)."""
RIDGE, BIAS_RIDGE, BLOCK = 2.0, 4.0, 1 << 17
DEAD, FADING, FALLS = 0.1, 0.3, 0.8
"""A component is dropped where its mean carries less than a tenth of its second moment, or less
than .3 of it while its strength falls by a fifth in a step."""
DOUBLE = 200_000
"""Up to so many entries tables are float64, beyond float32."""


@dataclass(frozen=True)
class Tables:
    """What the other side needs to know of a side's latent vectors (a_i, b_i), of length K = k + 1.

    Attributes:
        means: (m, K) posterior means, that of the bias last.
        moments: (m, K(K + 1)/2 + K + 1) E[φφᵀ] (packed lower triangle), E[bφ], E[b²].
    """

    means: np.ndarray
    moments: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """(m, K + 1): E φ = (E a, 1), then E b."""
        one = np.ones((len(self.means), 1), self.means.dtype)
        return np.hstack([self.means[:, :-1], one, self.means[:, -1:]])

    @classmethod
    def certain(cls, means: np.ndarray) -> Tables:
        """Those of latent vectors that are known."""
        a, b = np.tril_indices(means.shape[1])
        phi = np.hstack([means[:, :-1], np.ones((len(means), 1), means.dtype)])
        bias = means[:, -1:]
        return cls(means, np.hstack([phi[:, a] * phi[:, b], bias * phi, bias**2]))

    def turned(self, turn: np.ndarray) -> Tables:
        """Of the latent vectors with a replaced by turnᵀa; ``turn`` (k, q)."""
        size, (k, q) = self.means.shape[1], turn.shape
        full = np.zeros((size, q + 1))
        full[:k, :q], full[k, q] = turn, 1
        packed, low = size * (size + 1) // 2, np.tril_indices(q + 1)
        where, out = _unpacked(size), []
        step = max(1, BLOCK // size**2)
        for start in range(0, len(self.means), step):
            part = self.moments[start : start + step]
            square = part[:, where].reshape(-1, size, size).astype(float)
            square = full.T @ square @ full
            cross = part[:, packed : packed + size] @ full
            out.append(np.hstack([square[:, low[0], low[1]], cross, part[:, -1:]]))
        dtype = self.means.dtype
        return Tables((self.means @ full).astype(dtype), np.vstack(out).astype(dtype))


@dataclass
class Entries:
    """The entries seen from one side: sparse matrices of ones and of values, in one dtype."""

    ones: sparse.csr_array
    values: sparse.csr_array

    @classmethod
    def of(cls, x: Observed, mean: float, dtype: type) -> Entries:
        shape, starts = x.shape, x.starts
        index = np.int32 if max(len(x), *shape) < 2**31 else np.int64
        columns, starts = x.columns.astype(index), starts.astype(index)
        values: np.ndarray = (x.values - mean).astype(dtype)
        ones: np.ndarray = np.ones(len(x), dtype)
        return cls(*(sparse.csr_array((v, columns, starts), shape=shape) for v in (ones, values)))

    def transposed(self) -> Entries:
        values: Any = self.values.T.tocsr()
        ones: Any = (self.ones.data, values.indices, values.indptr)
        return Entries(sparse.csr_array(ones, shape=values.shape), values)


@dataclass(frozen=True)
class Prior:
    """N(0, ``covariance``) of latent vectors; without biases the last of them is held at 0."""

    covariance: np.ndarray
    biases: bool

    @property
    def precision(self) -> np.ndarray:
        k = len(self.covariance) - (not self.biases)
        out = np.eye(len(self.covariance)) * 1e12 / max(float(np.trace(self.covariance)), 1e-30)
        out[:k, :k] = np.linalg.inv(self.covariance[:k, :k])
        return out


def regress(
    entries: Entries,
    tables: Tables,
    precision: np.ndarray,
    noise: float,
    *,
    certain: bool = False,
) -> tuple[Tables, float, np.ndarray]:
    """(2) for all rows.

    Args:
        entries: of the rows.
        tables: of the columns.
        precision: S⁻¹.
        noise: σ².
        certain: leave Cov out of the answer: ridge regressions.

    Returns:
        Tables of the rows; Σ E(residual)² − Σ x² over the entries; (K, K) the sum of the second
        moments of rows that have entries. O(NK² + mK³).
    """
    size, dtype = tables.means.shape[1], tables.means.dtype
    packed, k, low = size * (size + 1) // 2, size - 1, np.tril_indices(size)
    inside, flat, twice = k * (k + 1) // 2, low[0] * size + low[1], 2.0 - (low[0] == low[1])
    where, features = _unpacked(size), tables.features
    rows = entries.ones.shape[0]
    means = np.empty((rows, size), dtype)
    moments = np.empty((rows, packed + size + 1), dtype)
    total, error = np.zeros(packed), 0.0
    counts, step = np.diff(entries.ones.indptr), max(1, BLOCK // size**2)
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows))
        sums = (_rows(entries.ones, part) @ tables.moments).astype(float)
        products = (_rows(entries.values, part) @ features).astype(float)
        target = products[:, :size] - sums[:, packed : packed + size]
        gram = sums.take(where, axis=1).reshape(-1, size, size)
        gram /= noise
        gram += precision
        lower = torch.linalg.cholesky(torch.from_numpy(gram))
        right = torch.from_numpy(target / noise)[..., None]
        if certain:
            w = torch.cholesky_solve(right, lower).numpy()[..., 0]
            second = w[:, low[0]] * w[:, low[1]]
        else:
            inverse = torch.cholesky_inverse(lower)
            w = (inverse @ right).numpy()[..., 0]
            second = inverse.numpy().reshape(-1, size**2).take(flat, axis=1)
            second += w.take(low[0], axis=1) * w.take(low[1], axis=1)
        error += float(np.sum(sums[:, :packed] * second, axis=0) @ twice)
        error += float(sums[:, -1].sum() - 2 * products[:, -1].sum() - 2 * np.vdot(w, target))
        total += second[counts[part] > 0].sum(axis=0)
        means[part] = w
        out = moments[part]
        out[:, :inside] = second[:, :inside]
        out[:, inside : packed - 1] = w[:, :k]
        out[:, packed - 1] = 1
        out[:, packed : packed + k] = second[:, inside : inside + k]
        out[:, packed + k] = w[:, k]
        out[:, -1] = second[:, -1]
    total = total[where].reshape(size, size)
    return Tables(means, moments), error, total


@dataclass
class Variational:
    """The state of a fit of (1); ``run`` carries it to where the noise stands still.

    Attributes:
        x: the entries; of these only keys, shape and counts are used after the start.
        biases: whether there are μ, b and c.
        rank: at most so many components.
        seed: of the start.
    """

    x: Observed
    biases: bool = True
    rank: int = LARGEST
    seed: int = 0
    tol: float = 1e-3
    max_iter: int = 60
    trace: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        x, self.dtype = self.x, np.float64 if len(self.x) <= DOUBLE else np.float32
        self.mean = float(x.values.mean()) if self.biases else 0.0
        rows = Entries.of(x, self.mean, self.dtype)
        self.entries = rows, rows.transposed()
        flat = rows.values.data.astype(float)
        self.square = float(flat @ flat)
        self.variance = max(self.square / len(x), np.finfo(float).tiny)
        self.floor = (1e-6 if self.dtype == np.float32 else 1e-12) * self.variance
        self.filled = [max(int((np.diff(e.ones.indptr) > 0).sum()), 1) for e in self.entries]
        self.noise = self.variance
        self._before: np.ndarray | None = None
        self._start(np.zeros((x.shape[1], 1), self.dtype))

    def _start(self, columns: np.ndarray) -> None:
        size = columns.shape[1]
        self.sides = [
            Tables.certain(np.zeros((self.x.shape[0], size), self.dtype)),
            Tables.certain(columns.astype(self.dtype)),
        ]
        first = np.eye(size) * np.append(np.full(size - 1, 1.0), self.variance)
        self.priors = [Prior(first, self.biases), Prior(first, self.biases)]

    @property
    def components(self) -> int:
        return self.sides[1].means.shape[1] - 1

    def step(self) -> None:
        """(2) and (3) for rows, then for columns."""
        for side in (0, 1):
            tables, error, total = regress(
                self.entries[side], self.sides[1 - side], self.priors[side].precision, self.noise
            )
            self.sides[side] = tables
            covariance = total / self.filled[side]
            covariance += 1e-9 * np.eye(len(total)) * max(float(np.trace(covariance)), 1e-30)
            self.priors[side] = Prior(covariance, self.biases)
            self.noise = max((self.square + error) / len(self.x), self.floor)

    def _cold(self, components: int) -> None:
        """Ridge regressions from a small random start: steps of (2) would prune what they have not
        found yet."""
        old = self.sides[1].means
        more = 0.1 * self.x.normals(1, components, self.seed)[:, self.components :]
        self._start(np.hstack([old[:, :-1], more, old[:, -1:]]))
        off = 0.0 if self.biases else 1e12
        ridge = np.append(np.full(components, RIDGE * self.variance), BIAS_RIDGE + off)
        totals: list[np.ndarray] = []
        error = 0.0
        for _ in range(COLD):
            totals = []
            for side in (0, 1):
                self.sides[side], error, total = regress(
                    self.entries[side], self.sides[1 - side], np.diag(ridge), 1.0, certain=True
                )
                totals.append(total / self.filled[side])
        scale = 1e-6 * np.eye(components + 1)
        self.priors = [Prior(t + scale * max(np.trace(t), 1e-30), self.biases) for t in totals]
        self.noise = max((self.square + error) / len(self.x), self.floor)
        self._before = None

    def _prune(self) -> None:
        """Turn the components so that both priors are diagonal; drop those that are only spread."""
        k = self.components
        first, second = (prior.covariance[:k, :k] for prior in self.priors)
        lower = np.linalg.cholesky(first)
        strength, q = np.linalg.eigh(lower.T @ second @ lower)
        turn, back = np.linalg.solve(lower.T, q)[:, ::-1], (q.T @ lower.T)[::-1]
        strength = np.maximum(strength[::-1], np.finfo(float).tiny)
        rows, columns = self.sides[0].means[:, :k] @ turn, self.sides[1].means[:, :k] @ back.T
        sizes = (len(t.means) / n for t, n in zip(self.sides, self.filled, strict=True))
        near = [
            (part**2).mean(axis=0) * size for part, size in zip((rows, columns), sizes, strict=True)
        ]
        sure = np.minimum(near[0], near[1] / strength)
        dead = sure < DEAD
        if self._before is not None and len(self._before) == k:
            dead |= (sure < FADING) & (strength < FALLS * self._before)
        self._before = strength[~dead]
        if dead.any():
            for side, matrix in ((0, turn[:, ~dead]), (1, back[~dead].T)):
                self.sides[side] = self.sides[side].turned(matrix)
                full = np.zeros((k + 1, matrix.shape[1] + 1))
                full[:k, :-1], full[k, -1] = matrix, 1
                covariance = full.T @ self.priors[side].covariance @ full
                self.priors[side] = Prior(covariance, self.biases)

    def settle(self) -> bool:
        """Steps until the noise stands still; whether it does."""
        before = np.inf
        for i in range(self.max_iter):
            self.step()
            self.trace.append((self.components, self.noise))
            if i >= LEAST_STEPS - 2 and self.components:
                self._prune()
            if i >= LEAST_STEPS and abs(before - self.noise) < self.tol * self.noise:
                return True
            before = self.noise
        return False

    def alone(self) -> Model:
        """Mean and biases without components."""
        if self.biases and not self.components:
            self.settle()
        return self.model()

    def run(self) -> bool:
        """From the start: more components until some are pruned. Whether the noise stands still."""
        self.alone()
        most = min(self.rank, *self.x.shape)
        k = min(FIRST, most)
        while True:
            self._cold(k)
            settled = self.settle()
            if self.components < k or k >= most:
                return settled
            k = min(2 * k, most)

    def on(self, x: Observed) -> Variational:
        """The same state with other entries of the same rows and columns, to be settled."""
        new = replace(self, x=x, trace=[])
        new.sides, new.priors, new.noise = list(self.sides), list(self.priors), self.noise
        return new

    def model(self) -> Model:
        """Means of the posterior."""
        (left, b), (right, c) = (np.split(t.means.astype(float), [-1], axis=1) for t in self.sides)
        small = np.finfo(float).tiny
        shrunk = [self.noise / max(float(p.covariance[-1, -1]), small) for p in self.priors]
        if not self.biases:
            return Model(Biases.none(self.x.shape), LowRank.of_product(left, right))
        biases = Biases(self.mean, b[:, 0], c[:, 0], (shrunk[0], shrunk[1]))
        return Model(biases, LowRank.of_product(left, right))

    def balanced(self) -> tuple[list[Tables], list[np.ndarray]]:
        """Tables and precisions of the priors, turned to where rows are U√d and columns V√d of the
        low-rank part U diag(d) Vᵀ, with the signs of :func:`schmidt.linalg.fix_signs`."""
        left, right = (t.means[:, :-1].astype(float) for t in self.sides)
        r, t = np.linalg.qr(left)[1], np.linalg.qr(right)[1]
        u, d, vh = np.linalg.svd(r @ t.T)
        root = np.sqrt(np.maximum(d, np.finfo(float).eps * d.max(initial=1e-300)))
        turns = (t.T @ vh.T) / root, (r.T @ u) / root
        signs = fix_signs(right @ turns[1]) if len(d) else np.ones(0)
        sides, precisions = [], []
        for tables, prior, turn in zip(self.sides, self.priors, turns, strict=True):
            sides.append(tables.turned(turn * signs))
            full = np.eye(len(d) + 1)
            full[:-1, :-1] = turn * signs
            inverse = np.linalg.inv(full)
            precisions.append(inverse @ prior.precision @ inverse.T)
        return sides, precisions


def _rows(matrix: sparse.csr_array, part: slice) -> sparse.csr_array:
    """Some rows, without a copy of their entries."""
    starts = matrix.indptr[part.start : part.stop + 1]
    inside = slice(int(starts[0]), int(starts[-1]))
    pieces = matrix.data[inside], matrix.indices[inside], starts - starts[0]
    return sparse.csr_array(pieces, shape=(part.stop - part.start, matrix.shape[1]))


@lru_cache(maxsize=64)
def _unpacked(size: int) -> np.ndarray:
    """(size²,) where the entries of a symmetric matrix stand in its packed lower triangle."""
    out = np.zeros((size, size), dtype=np.intp)
    low = np.tril_indices(size)
    out[low] = np.arange(len(low[0]))
    return np.maximum(out, out.T).ravel()
