"""Spaces of functions for the Ritz solver."""

from schmidt.operators.ritz.spaces.box import BoxSpace, TorusSpace
from schmidt.operators.ritz.spaces.confining import LineSpace, confining
from schmidt.operators.ritz.spaces.euclidean import CoulombSpace, EuclideanSpace, NormalSpace
from schmidt.operators.ritz.spaces.space import FeatureChoice, Space

__all__ = [
    "BoxSpace",
    "CoulombSpace",
    "EuclideanSpace",
    "FeatureChoice",
    "LineSpace",
    "NormalSpace",
    "Space",
    "TorusSpace",
    "confining",
]
