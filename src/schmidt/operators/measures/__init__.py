"""Measures μ: where points come from, and the weights that make sums over them integrals."""

from schmidt.operators.measures.affine import Affine
from schmidt.operators.measures.cube import SAMPLINGS
from schmidt.operators.measures.measure import (
    Data,
    Distribution,
    Indices,
    Lebesgue,
    Measure,
)
from schmidt.operators.measures.periodic import Periodic
from schmidt.operators.measures.points import Points
from schmidt.operators.measures.product import Product
from schmidt.operators.measures.proposals import (
    Gaussian,
    Mixture,
    Proposal,
    SmoothBox,
    UniformBox,
)
from schmidt.operators.measures.radial import Radial
from schmidt.operators.measures.weighted import Weighted

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
