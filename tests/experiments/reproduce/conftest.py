"""Recipes that take no time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schmidt.experiments.reproduce.model import Contender, Recipe
from schmidt.experiments.reproduce.study import Options


@pytest.fixture
def tiny() -> Recipe:
    """The paper's kind of network for four hydrogen states."""
    return Recipe(
        problem="hydrogen",
        modes=4,
        judged=4,
        scale=100.0,
        frequencies=8,
        kappa=0.1,
        hidden=(8, 8),
        steps=12,
        batch=32,
        lr=1e-3,
    )


@pytest.fixture
def tiny_oscillator(tiny: Recipe) -> Recipe:
    """Six states of which three are positive."""
    return replace(
        tiny, problem="oscillator", modes=6, judged=3, shift=5.0, scale=1.0, width=2.0, decay=10.0
    )


@pytest.fixture
def contenders(tiny: Recipe):
    """(methods…) → one contender each."""

    def make(*methods: str, recipe: Recipe = tiny) -> list[Contender]:
        return [Contender(m, m, recipe) for m in methods]

    return make


@pytest.fixture
def options(tmp_path) -> Options:
    return Options("quick", seeds=2, out=tmp_path, workers=0, progress=False)
