"""The Ritz solver: features, a well-conditioned basis, least squares, and an honest error."""

from schmidt.operators.ritz.certify import Certificate
from schmidt.operators.ritz.collocation import relative_scale
from schmidt.operators.ritz.in_span import InSpan, galerkin
from schmidt.operators.ritz.result import Ritz
from schmidt.operators.ritz.solver import bound_states, eigenfunctions
from schmidt.operators.ritz.spaces import (
    BoxSpace,
    FeatureChoice,
    CoulombSpace,
    EuclideanSpace,
    NormalSpace,
    Space,
    TorusSpace,
    confining,
)
from schmidt.operators.ritz.trunk import TrunkFeatures, TrunkTraining, train_trunk

__all__ = [
    "BoxSpace",
    "Certificate",
    "FeatureChoice",
    "CoulombSpace",
    "EuclideanSpace",
    "InSpan",
    "NormalSpace",
    "Ritz",
    "Space",
    "TorusSpace",
    "TrunkFeatures",
    "TrunkTraining",
    "bound_states",
    "confining",
    "eigenfunctions",
    "galerkin",
    "relative_scale",
    "train_trunk",
]
