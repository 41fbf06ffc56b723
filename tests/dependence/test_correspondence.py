"""Correspondence analysis: formulas that hold for every table, and the hair and eyes of 592."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from schmidt.dependence import (
    LinearCDK,
    correspondence_analysis,
    multiple_correspondence_analysis,
)

HAIR_EYE = pd.DataFrame(
    [[68, 119, 26, 7], [20, 84, 17, 94], [15, 54, 14, 10], [5, 29, 14, 16]],
    index=["brown eyes", "blue eyes", "hazel eyes", "green eyes"],
    columns=["black", "brown", "red", "blond"],
)


def test_values_are_those_of_the_kernel_of_the_table() -> None:
    found = correspondence_analysis(HAIR_EYE)
    np.testing.assert_allclose(found.values, [0.456916, 0.149086, 0.050975], atol=1e-6)
    p = HAIR_EYE.to_numpy() / 592
    a, b = p.sum(1), p.sum(0)
    chi = ((p - np.outer(a, b)) ** 2 / np.outer(a, b)).sum()
    assert found.total == pytest.approx(chi)
    assert found.explained.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.dependence(), p / np.outer(a, b), rtol=1e-10)
    for points, mass, shares in (
        (found.rows, a, found.row_contributions),
        (found.columns, b, found.column_contributions),
    ):
        np.testing.assert_allclose(mass @ points, 0, atol=1e-12)
        gram = points.T @ (mass[:, None] * points)
        np.testing.assert_allclose(gram, np.diag(found.inertia), atol=1e-12)
        np.testing.assert_allclose(shares.sum(0), 1)
    # transition: a row is the mean of the columns by its profile, stretched by 1/σ
    np.testing.assert_allclose(found.supplementary_rows(HAIR_EYE), found.rows, atol=1e-12)
    np.testing.assert_allclose(found.supplementary_columns(HAIR_EYE), found.columns, atol=1e-12)
    assert found.truncate(2).rows.shape == (4, 2)
    assert "mode 1: σ = 0.456916" in str(found)


def test_labels_of_people_are_their_table() -> None:
    table = correspondence_analysis(HAIR_EYE)
    cells = HAIR_EYE.stack()
    eyes, hair = (np.repeat(cells.index.get_level_values(k), cells) for k in (0, 1))
    for x, y in ((eyes, hair), (pd.Series(eyes, dtype="category"), list(hair))):
        people = correspondence_analysis(x, y)
        np.testing.assert_allclose(people.values, table.values)
        at = [list(people.row_labels).index(name) for name in table.row_labels]
        np.testing.assert_allclose(np.abs(people.rows[at]), np.abs(table.rows), atol=1e-10)
    weighed = correspondence_analysis(
        cells.index.get_level_values(0), cells.index.get_level_values(1), sample_weight=cells
    )
    np.testing.assert_allclose(weighed.values, table.values)
    one_hot = [np.eye(4)[pd.factorize(side)[0]] for side in (eyes, hair)]
    np.testing.assert_allclose(
        LinearCDK(3).fit(*one_hot).singular_values_train_, table.values, atol=1e-8
    )


def test_independent_tables_and_units(rng: np.random.Generator) -> None:
    flat = correspondence_analysis(np.outer([1, 2, 3], [5, 1]))
    assert flat.values[0] < 1e-12
    assert not flat.dependence().std() > 1e-12
    table = rng.gamma(0.4, size=(6, 5)) + 1e-3
    one = correspondence_analysis(table)
    for factor in (1e-300, 1e300):
        np.testing.assert_allclose(correspondence_analysis(table * factor).values, one.values)
    np.testing.assert_allclose(correspondence_analysis(table.T).values, one.values)
    block = correspondence_analysis([[3, 0, 0], [0, 2, 1]])
    np.testing.assert_allclose(block.values, 1)


def test_multiple_correspondence_of_two_columns_is_the_simple_one(
    rng: np.random.Generator,
) -> None:
    """The indicators of two columns have inertias (1 ± σ)/2 (Greenacre 2007, ch. 18)."""
    x = rng.integers(3, size=200)
    frame = pd.DataFrame({"a": x, "b": np.where(rng.uniform(size=200) < 0.5, x, 2 - x)})
    frame["b"] = frame["b"].map({0: "p", 1: "q", 2: "r"})
    both = multiple_correspondence_analysis(frame)
    simple = correspondence_analysis(frame["a"], frame["b"])
    np.testing.assert_allclose(both.inertia[:2], (1 + simple.values) / 2)
    assert list(both.column_labels) == ["a=0", "a=1", "a=2", "b=p", "b=q", "b=r"]
    assert both.total == pytest.approx(6 / 2 - 1)
    kept = both.supplementary_rows([[1, 0, 0, 1, 0, 0]])
    assert kept.shape == (1, len(both.values))
    plain = multiple_correspondence_analysis(frame.to_numpy())
    np.testing.assert_allclose(plain.values, both.values)


def test_the_biplot_names_what_it_shows() -> None:
    axes = correspondence_analysis(HAIR_EYE).plot()
    said = {text.get_text() for text in axes.texts}
    assert said == {*HAIR_EYE.index, *HAIR_EYE.columns}
    assert "89.4% of the inertia" in axes.get_xlabel()
    correspondence_analysis([[3, 1], [1, 2]]).plot()  # one mode only


def test_refusals() -> None:
    with pytest.raises(ValueError, match="row 1 of the table is zero"):
        correspondence_analysis([[1, 2], [0, 0]])
    with pytest.raises(ValueError, match="none negative"):
        correspondence_analysis([[1, -2], [1, 0]])
    with pytest.raises(ValueError, match="given as \\(X, Y\\)"):
        correspondence_analysis([["a", "b"], ["b", "a"]])
    with pytest.raises(ValueError, match="1 labels of Y are missing"):
        correspondence_analysis(["a", "b"], ["a", None])
    with pytest.raises(ValueError, match="as many x as y"):
        correspondence_analysis(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="has 1 modes, not 2"):
        correspondence_analysis([[3, 1], [1, 2]], modes=2)
    with pytest.raises(ValueError, match="need 4 counts"):
        correspondence_analysis(HAIR_EYE).supplementary_rows([1, 2])
    with pytest.raises(ValueError, match="nothing can depend"):
        correspondence_analysis(["a", "a"], ["p", "q"])
