"""Both co-embeddings keep the laws of estimators; data frames and labels of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from laws.estimators import EstimatorLaws
from schmidt.dependence import CDK, ClassPairs, LinearCDK


def pairs(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    x = rng.normal(size=(120, 3))
    return x, x[:, :2] + rng.normal(size=(120, 2))


class TestLinear(EstimatorLaws):
    unit_free = True

    def make(self) -> Any:
        return LinearCDK(2)

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return pairs(rng)


class TestLinearTied(TestLinear):
    unit_free = False

    def make(self) -> Any:
        return LinearCDK(2, ridge=0.1, tied=True)

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        x, y = pairs(rng)
        return x[:, :2], y


class TestCDK(EstimatorLaws):
    unit_free = True

    def make(self) -> Any:
        return CDK(2, hidden=(8,), steps=5, batch=32, progress=False)

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return pairs(rng)


def test_columns_of_data_frames_have_names(rng: np.random.Generator, tmp_path: Path) -> None:
    x, y = pairs(rng)
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1] > 0, "c": pd.array(x[:, 2].round(1))})
    frame["d"] = pd.array(np.arange(120) % 3, dtype="Int64")
    other = pd.DataFrame(y, columns=["u", "v"])
    model = LinearCDK(2).fit(frame, other)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"]
    wanted = model.transform_x(frame)
    np.testing.assert_array_equal(model.transform_x(frame[["d", "b", "a", "c"]]), wanted)
    again = LinearCDK.load(model.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again.transform_x(frame[["d", "b", "a", "c"]]), wanted)
    assert again.ridge_ == model.ridge_
    with pytest.raises(ValueError, match=r"columns of X are not those of the fit.*missing"):
        model.transform_x(frame[["a", "b"]].assign(e=1, f=2))
    with pytest.raises(ValueError, match=r"no numbers: e;.*get_dummies"):
        LinearCDK(2).fit(frame.assign(e="red"), other)
    missing = frame.copy()
    missing.loc[3, "d"] = pd.NA
    with pytest.raises(ValueError, match="x of the pairs contain NaN"):
        LinearCDK(2).fit(missing, other)


def test_labels_of_different_kinds_are_refused(rng: np.random.Generator) -> None:
    x = rng.normal(size=(6, 2))
    numbers, words = [0, 0, 1, 1, 2, 2], list("aabbcc")
    with pytest.raises(ValueError, match="classes of x are numbers, those of y strings"):
        ClassPairs(x, numbers, x, words)
    with pytest.raises(ValueError, match="2 items y have no class"):
        ClassPairs(x, words, x, ["a", None, "b", "b", "c", None])
    with pytest.raises(ValueError, match="all numbers or all strings, got int, str"):
        ClassPairs(x, [0, "a", "b", "b", 1, 1], x, words)
    assert ClassPairs(x, pd.Series(words, dtype="category"), x, words).classes.tolist() == [*"abc"]


def test_what_cannot_be_meant_is_said(rng: np.random.Generator) -> None:
    x, y = pairs(rng)
    model = CDK(2, hidden=(8,), steps=5, progress=False)
    with pytest.raises(ValueError, match="given as a tuple"):
        model.fit([x, np.arange(120)], [y, np.arange(120)])
    with pytest.raises(ValueError, match="only once"):
        model.fit((x, y) for _ in range(3))
    with pytest.raises(ValueError, match="needs CUDA"):
        CDK(2, device="cuda").fit(x, y)
    with pytest.raises(TypeError, match="modes must be a whole number"):
        CDK(modes="2").fit(x, y)
    with pytest.raises(ValueError, match="modes must be a whole number"):
        CDK(modes=2.0).fit(x, y)
    with pytest.raises(ValueError, match="x is complex"):
        model.fit(x + 1j, y)
