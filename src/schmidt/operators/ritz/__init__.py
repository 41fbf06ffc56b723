"""The Ritz solver: features, a well-conditioned basis, least squares, and an honest error."""

from schmidt.operators.ritz.collocation import relative_scale
from schmidt.operators.ritz.count import Count, count_below
from schmidt.operators.ritz.in_span import InSpan, galerkin
from schmidt.operators.ritz.result import AlarmWarning, Ritz
from schmidt.operators.ritz.solver import bound_states, eigenfunctions
from schmidt.operators.ritz.spaces import (
    BoxSpace,
    CoulombSpace,
    EuclideanSpace,
    FeatureChoice,
    LineSpace,
    NormalSpace,
    Space,
    TorusSpace,
    confining,
)
from schmidt.operators.ritz.trunk import TrunkFeatures, TrunkTraining, train_trunk

__all__ = [
    "AlarmWarning",
    "BoxSpace",
    "CoulombSpace",
    "Count",
    "EuclideanSpace",
    "FeatureChoice",
    "InSpan",
    "LineSpace",
    "NormalSpace",
    "Ritz",
    "Space",
    "TorusSpace",
    "TrunkFeatures",
    "TrunkTraining",
    "bound_states",
    "confining",
    "count_below",
    "eigenfunctions",
    "galerkin",
    "relative_scale",
    "train_trunk",
]
