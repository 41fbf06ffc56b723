"""Measures μ: where points come from, and the weights that make sums over them integrals."""

from schmidt.operators.measures.cube import SAMPLINGS
from schmidt.operators.measures.measure import (
    Data,
    Distribution,
    Indices,
    Lebesgue,
    Measure,
    Points,
    Product,
    Weighted,
)
from schmidt.operators.measures.proposals import (
    Affine,
    Gaussian,
    Mixture,
    Periodic,
    Proposal,
    Radial,
    SmoothBox,
    UniformBox,
)

__all__ = [
    "SAMPLINGS",
    "Affine",
    "Data",
    "Distribution",
    "Gaussian",
    "Indices",
    "Lebesgue",
    "Measure",
    "Mixture",
    "Periodic",
    "Points",
    "Product",
    "Proposal",
    "Radial",
    "SmoothBox",
    "UniformBox",
    "Weighted",
]
