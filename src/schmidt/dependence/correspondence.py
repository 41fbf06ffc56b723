"""Correspondence analysis: the exact kernel of a table, or of columns of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from schmidt.certificate import Certificate
from schmidt.linalg import fix_signs
from schmidt.parameters import Number, check

NUMERICAL_RANK = 1e-12
PARAMETERS = {"modes": Number(1, whole=True, none=True)}


@dataclass(frozen=True, kw_only=True)
class Correspondence:
    """Coordinates of the rows and columns of a table, by the modes of p/(p_x p_y) − 1.

    Attributes:
        values: (L,) canonical correlations, descending: exact for the table.
        rows, columns: (n, L), (m, L) principal coordinates: σ_l times functions of mean 0 and
            variance 1.
        row_masses, column_masses: (n,), (m,) shares of the whole.
        row_labels, column_labels: names.
        total: total inertia Σσ², over all modes: χ²/N.
        certificate: of the values; for these numbers as they are, not for where they came from.
    """

    values: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    row_masses: np.ndarray
    column_masses: np.ndarray
    row_labels: np.ndarray
    column_labels: np.ndarray
    total: float
    certificate: Certificate

    @property
    def inertia(self) -> np.ndarray:
        """(L,) σ_l²."""
        return self.values**2

    @property
    def explained(self) -> np.ndarray:
        """(L,) shares of the total inertia; 0 where there is none."""
        return self.inertia / self.total if self.total > 0 else 0 * self.inertia

    @property
    def row_contributions(self) -> np.ndarray:
        """(n, L) share of a row in the inertia of a mode; columns add to 1."""
        return self.row_masses[:, None] * self.rows**2 / _safe(self.inertia)

    @property
    def column_contributions(self) -> np.ndarray:
        """(m, L) the same for columns."""
        return self.column_masses[:, None] * self.columns**2 / _safe(self.inertia)

    def supplementary_rows(self, table: Any) -> np.ndarray:
        """(k, L) coordinates of further rows (k, m) of counts, which took no part: the mean of the
        columns' standard coordinates, weighted by their profile."""
        return _profiles(table, len(self.columns)) @ (self.columns / _safe(self.values))

    def supplementary_columns(self, table: Any) -> np.ndarray:
        """(k, L) coordinates of further columns (n, k)."""
        return _profiles(_numbers(table)[0].T, len(self.rows)) @ (self.rows / _safe(self.values))

    def dependence(self) -> np.ndarray:
        """(n, m) 1 + Σ_l of the modes: p(x, y)/(p(x)p(y)) with all modes."""
        return 1 + (self.rows / _safe(self.values)) @ self.columns.T

    def truncate(self, modes: int) -> Correspondence:
        """The first modes only."""
        check({"modes": Number(1, len(self.values), whole=True)}, modes=modes)
        return Correspondence(
            values=self.values[:modes],
            rows=self.rows[:, :modes],
            columns=self.columns[:, :modes],
            row_masses=self.row_masses,
            column_masses=self.column_masses,
            row_labels=self.row_labels,
            column_labels=self.column_labels,
            total=self.total,
            certificate=self.certificate.truncate(modes, {}, f"{modes} modes", False),
        )

    def plot(self, axes: Any = None, modes: tuple[int, int] = (0, 1)) -> Any:
        """The biplot of two modes: rows and columns in principal coordinates, with their names.

        Returns:
            The axes; a mode that is not there is drawn as 0.
        """
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 6))[1] if axes is None else axes
        both = (
            (self.rows, self.row_labels, "o", "tab:blue", "rows"),
            (self.columns, self.column_labels, "^", "tab:red", "columns"),
        )
        for points, labels, marker, colour, name in both:
            at = [points[:, k] if k < points.shape[1] else 0 * points[:, 0] for k in modes]
            axes.scatter(*at, marker=marker, color=colour, label=name)
            for a, b, text in zip(*at, labels, strict=True):
                axes.annotate(
                    str(text), (a, b), (4, 4), textcoords="offset points", color=colour, fontsize=9
                )
        axes.axhline(0, color="0.8", lw=0.8, zorder=0)
        axes.axvline(0, color="0.8", lw=0.8, zorder=0)
        axes.set_aspect("equal", "datalim")
        axes.margins(0.2)
        for k, put in zip(modes, (axes.set_xlabel, axes.set_ylabel), strict=True):
            if k < len(self.values):
                share = f"{self.explained[k]:.1%} of the inertia"
                put(f"mode {k + 1}: σ = {self.values[k]:.3f}, {share}")
        axes.legend()
        return axes

    def __str__(self) -> str:
        lines = [
            f"correspondence analysis of {len(self.rows)} × {len(self.columns)}; "
            f"total inertia {self.total:.6g}"
        ]
        lines += [
            f"mode {k + 1}: σ = {v:.6f}, {e:.2%} of the inertia"
            for k, (v, e) in enumerate(zip(self.values, self.explained, strict=True))
        ]
        return "\n".join(lines)


def correspondence_analysis(
    X: Any, Y: Any = None, *, sample_weight: Any = None, modes: int | None = None
) -> Correspondence:
    """Correspondence analysis of a table, or of two columns of labels.

    Args:
        X: a table (n, m) of counts or masses, an array or a data frame, whose index and columns
            name rows and columns; or, with Y, labels (k,): strings, numbers or categories.
        Y: labels (k,).
        sample_weight: (k,) masses of the pairs of labels.
        modes: L; None for all that there are, at most min(n, m) − 1.

    The values are exact for the table; for how far they are from those of what it was drawn from
    see :class:`~schmidt.dependence.LinearCDK` on the labels, which is cross-fitted.

    Raises:
        ValueError: negative or no numbers, rows or columns without any, missing labels.

    Example:
        >>> from schmidt.dependence import correspondence_analysis
        >>> correspondence_analysis([[30, 10], [10, 30]]).values
        array([0.5])
    """
    check(PARAMETERS, modes=modes)
    if Y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight belongs to two columns of labels; a table holds masses")
        p, names = _numbers(X)
    else:
        p, names = _crossed(X, Y, sample_weight)
    return _analyse(p, *names, modes)


def multiple_correspondence_analysis(
    X: Any, *, sample_weight: Any = None, modes: int | None = None
) -> Correspondence:
    """Multiple correspondence analysis: correspondence analysis of the indicators of all columns.

    Args:
        X: (n, q) labels: a data frame, or an array of strings or numbers, every column of which
            names categories.
        sample_weight: (n,) masses of rows.
        modes: L; at most the number of categories less that of columns.

    Its ``columns`` are the categories, named "column=category"; its ``rows`` those of X. Inertias
    are those of the indicators, without the corrections of Benzécri or Greenacre.
    """
    check(PARAMETERS, modes=modes)
    columns, names, index = _columns(X)
    indicators, labels = [], []
    for column, name in zip(columns, names, strict=True):
        code, kinds = labelled(column, f"column {name}")
        indicators.append(np.eye(len(kinds))[code])
        labels += [f"{name}={kind}" for kind in kinds]
    table = np.concatenate(indicators, 1)
    if sample_weight is not None:
        table = table * _masses(sample_weight, len(table))[:, None]
    keep = table.sum(1) > 0
    some = table.sum(0) > 0
    found = np.asarray(labels, dtype=object)
    return _analyse(table[keep][:, some], index[keep], found[some], modes)


def labelled(side: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n,) of labels of any kind, and the sorted labels.

    Raises:
        ValueError: missing labels, or another shape.
    """
    plain = np.asarray(side, dtype=object)
    if plain.ndim != 1:
        raise ValueError(f"{name} must be labels (n,), got shape {plain.shape}")
    missing = [v is None or v != v or type(v).__name__ == "NAType" for v in plain]
    if any(missing):
        raise ValueError(
            f"{sum(missing)} labels of {name} are missing; name them as a category, or leave "
            "these rows out"
        )
    kinds = set(plain)
    try:
        order = sorted(kinds)
    except TypeError:
        order = sorted(kinds, key=lambda v: (type(v).__name__, str(v)))
    place = {kind: k for k, kind in enumerate(order)}
    kept = np.empty(len(order), dtype=object)
    kept[:] = order
    return np.array([place[v] for v in plain], dtype=np.int64), kept


def _crossed(X: Any, Y: Any, weight: Any) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    (i, rows), (j, columns) = labelled(X, "X"), labelled(Y, "Y")
    if len(i) != len(j):
        raise ValueError(f"pairs need as many x as y, got {len(i)} and {len(j)}")
    w = np.ones(len(i)) if weight is None else _masses(weight, len(i))
    p = np.zeros((len(rows), len(columns)))
    np.add.at(p, (i, j), w)
    a, b = p.sum(1) > 0, p.sum(0) > 0  # what only pairs of mass 0 have
    return p[a][:, b], (rows[a], columns[b])


def _masses(weight: Any, n: int) -> np.ndarray:
    w = np.asarray(weight, dtype=float)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
        raise ValueError(f"sample_weight must be {n} masses, none negative and not all 0")
    return w


def _columns(X: Any) -> tuple[list[Any], list[str], np.ndarray]:
    if hasattr(X, "columns"):
        names = [str(c) for c in X.columns]
        index = np.asarray(getattr(X, "index", np.arange(len(X))), dtype=object)
        at = [X.iloc[:, k] if hasattr(X, "iloc") else X[:, k] for k in range(len(names))]
        return at, names, index
    plain = np.asarray(X, dtype=object)
    if plain.ndim != 2 or not plain.size:
        raise ValueError(f"expected columns of labels (n, q), got shape {plain.shape}")
    return list(plain.T), [str(k) for k in range(plain.shape[1])], np.arange(len(plain))


def _numbers(table: Any) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """A table (n, m) as floats, and the names of rows and columns."""
    names = [getattr(table, name, None) for name in ("index", "columns")]
    try:
        plain = table.numpy() if isinstance(table, torch.Tensor) else table
        p = np.asarray(plain, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "a table holds counts or masses; two columns of labels are given as (X, Y), more of "
            "them to multiple_correspondence_analysis"
        ) from error
    if p.ndim != 2:
        raise ValueError(f"a table has rows and columns, got shape {p.shape}")
    if not np.isfinite(p).all() or (p < 0).any():
        raise ValueError("a table holds counts or masses: none negative, NaN or infinite")
    found = [
        np.arange(size) if name is None or callable(name) else np.asarray(name, dtype=object)
        for name, size in zip(names, p.shape, strict=True)
    ]
    return p, (found[0], found[1])


def _profiles(table: Any, size: int) -> np.ndarray:
    p = np.atleast_2d(_numbers(np.atleast_2d(np.asarray(table)))[0])
    if p.shape[1] != size:
        raise ValueError(f"supplementary profiles need {size} counts each, got {p.shape[1]}")
    if not (p.sum(1) > 0).all():
        raise ValueError("a supplementary profile of zeros is nowhere")
    return p / p.sum(1, keepdims=True)


def _analyse(
    p: np.ndarray, row_labels: np.ndarray, column_labels: np.ndarray, modes: int | None
) -> Correspondence:
    if not p.sum() > 0 or min(p.shape) < 2:
        raise ValueError(f"nothing can depend in a table of shape {p.shape}")
    p = p / p.max()
    p = p / p.sum()
    a, b = p.sum(1), p.sum(0)
    for masses, what in ((a, "row"), (b, "column")):
        if not (masses > 0).all():
            raise ValueError(f"{what} {int(np.argmin(masses))} of the table is zero: leave it out")
    scaled = p / np.sqrt(a)[:, None] / np.sqrt(b) - np.outer(np.sqrt(a), np.sqrt(b))
    u, s, vh = np.linalg.svd(scaled, full_matrices=False)
    count = int((s > NUMERICAL_RANK * max(p.shape)).sum())
    if modes is not None and modes > max(count, 1):
        raise ValueError(f"this table has {count} modes, not {modes}")
    count = modes or max(count, 1)
    sign = fix_signs(u[:, :count])
    rows = u[:, :count] / np.sqrt(a)[:, None] * s[:count] * sign
    columns = vh[:count].T / np.sqrt(b)[:, None] * s[:count] * sign
    error = 8 * max(p.shape) * np.finfo(float).eps
    values = s[:count].clip(0, 1)
    return Correspondence(
        values=values,
        rows=rows,
        columns=columns,
        row_masses=a,
        column_masses=b,
        row_labels=row_labels,
        column_labels=column_labels,
        total=float((scaled**2).sum()),
        certificate=Certificate(
            asked=f"{count} modes",
            notes=("exact for this table up to rounding; it may be a sample of something else",),
            estimates={"values": np.full(count, error)},
        ),
    )


def _safe(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.inf)
