"""The semantic index keeps the laws of estimators; its rows are texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from laws.estimators import EstimatorLaws
from schmidt import SemanticIndex

WORDS = ("sea", "ship", "goat", "hill", "tree", "river", "boat", "grass", "stone", "wind", "rain")


class TestIndex(EstimatorLaws):
    unordered = 1e-7

    def make(self) -> Any:
        return SemanticIndex(3)

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return (np.array([" ".join(rng.choice(WORDS, 6)) for _ in range(20)], dtype=object),)

    def answer(self, fitted: Any, data: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        queries = ["goat on a hill", "ships", " ".join(WORDS[:3])]
        scores = fitted.scores(queries)
        points = fitted.transform(data[0])  # signs are those of the first documents
        return [np.sort(scores, axis=1), points @ points.T, fitted.factorization_.values]

    @pytest.mark.parametrize(
        "bad", [None, float("nan"), 3, b"bytes", ["a", "list"]], ids=lambda bad: str(bad)
    )
    def test_what_makes_no_sense_is_refused(  # type: ignore[override]
        self, bad: Any, rng: np.random.Generator
    ) -> None:
        documents = list(self.data(rng)[0])
        with pytest.raises((ValueError, TypeError)) as error:
            self.make().fit([*documents[:3], bad, *documents[3:]])
        assert len(str(error.value)) > 10
        for wrong in ("one text", [], documents[:1], ["", " "], 3.0):
            with pytest.raises((ValueError, TypeError)):
                self.make().fit(wrong)
        with pytest.raises((ValueError, TypeError)):
            self.make().fit(documents, names=range(3))
