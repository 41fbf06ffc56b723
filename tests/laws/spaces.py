"""The laws of spaces of the Ritz solver. A new domain inherits them all::

class TestMine(SpaceLaws):
    tolerance = 1e-8               # of the rule, relative

    def space(self):
        return MySpace(...)

    def integrand(self, x):        # (N, d) → (N,), positive in the mean
        return ...

    def integral(self):            # ∫ integrand over the space, exactly
        return ...
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from schmidt.operators.jet import forward_mode
from schmidt.operators.ritz import FeatureChoice, Space


def choices(space: Space) -> list[FeatureChoice]:
    """Where the search begins, and one step up every ladder."""
    start = space.start(3)
    more = [start.scaled(name, 2.0) for name, _ in space.ladders]
    return [c for c in (start, *more) if space.allows(c)]


class SpaceLaws:
    """What every :class:`Space` does, whatever its domain."""

    tolerance = 1e-8

    def space(self) -> Space:
        raise NotImplementedError

    def integrand(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def integral(self) -> float:
        raise NotImplementedError

    def test_its_rule_integrates(self):
        points = self.space().rule(2000)
        assert bool(points.weight.isfinite().all())
        assert 700 < len(points) < 5000
        found = float(points.weight @ self.integrand(points.x))
        assert found == pytest.approx(self.integral(), rel=self.tolerance)

    @pytest.mark.parametrize("kind", ["fresh", "independent"])
    def test_random_points_are_unbiased_and_repeated_by_the_seed(self, kind: str):
        exact, draw = self.integral(), getattr(self.space(), kind)
        generator = torch.Generator().manual_seed(3)
        sums = []
        for _ in range(60):
            points = draw(128, generator)
            assert bool((points.weight >= 0).all())
            sums.append(float(points.weight @ self.integrand(points.x)))
        found = torch.tensor(sums, dtype=torch.float64)
        error = float(found.std()) / math.sqrt(60)
        assert abs(float(found.mean()) - exact) < 4 * error + 1e-6 * exact
        assert error < 0.05 * exact
        again = [draw(128, torch.Generator().manual_seed(seed)).x for seed in (8, 8, 9)]
        assert torch.equal(again[0], again[1])
        assert not torch.equal(again[0], again[2])

    def test_features_have_exact_jets(self):
        space = self.space()
        x = space.fresh(4, torch.Generator().manual_seed(0)).x
        for choice in choices(space):
            features = space.features(replace(choice, width=6))
            found, wanted = features.jet(x, 2), forward_mode(features, x, 2)
            torch.testing.assert_close(found.streams, wanted.streams, rtol=1e-8, atol=1e-8)

    def test_its_own_features_keep_its_conditions(self):
        """Walls, periods, decay: what the space asks of features that a user brings."""
        space = self.space()
        for choice in choices(space):
            features = space.features(replace(choice, width=6))
            count = features(space.fresh(2, torch.Generator().manual_seed(0)).x).shape[1]
            assert space.violations(features, torch.eye(count).double()) == []

    def test_the_search_starts_inside_and_stays_there(self):
        space = self.space()
        start = space.start(5)
        assert space.allows(start)
        for name, _ in space.ladders:
            assert not space.allows(start.scaled(name, 1e4)) or name in ("decay", "points")

    def test_every_neighbour_has_a_way_back(self):
        """Up and down, by the same step; points only become more."""
        for fineness in (1.0, 0.5):
            steps = list(self.space().neighbours(fineness))
            assert steps
            for name, factor in steps:
                back = [f for other, f in steps if other == name and f * factor == pytest.approx(1)]
                assert back or (name == "points" and factor > 1)
