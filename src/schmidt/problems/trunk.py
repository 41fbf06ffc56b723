"""The two kinds of trunks that every problem offers."""

from __future__ import annotations

from collections.abc import Sequence

from schmidt.operators.networks import DisjointMLP, SharedMLP


def trunk(
    kind: str,
    features: int,
    modes: int,
    *,
    disjoint: Sequence[int] = (32, 32),
    shared: Sequence[int] = (128, 128),
) -> DisjointMLP | SharedMLP:
    """One perceptron per function (kind "disjoint"), or one for all of them ("shared")."""
    if kind == "shared":
        return SharedMLP(features, modes, shared)
    return DisjointMLP(features, modes, disjoint)
