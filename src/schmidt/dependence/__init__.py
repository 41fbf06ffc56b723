"""Dependence between two variables: ordered co-embeddings, and what they say about p(x, y)."""

from schmidt.dependence.cdk import CDK
from schmidt.dependence.linear import LinearCDK
from schmidt.dependence.moments import moments
from schmidt.dependence.networks import DisjointTrunk, MLPTrunk, Tower
from schmidt.dependence.objective import PairedLowRank
from schmidt.operators.dependence import Dependence, JointTable
from schmidt.operators.pairs import Augmented, ClassPairs, GivenPairs, LoaderPairs

__all__ = [
    "CDK",
    "Augmented",
    "ClassPairs",
    "Dependence",
    "DisjointTrunk",
    "GivenPairs",
    "JointTable",
    "LinearCDK",
    "LoaderPairs",
    "MLPTrunk",
    "PairedLowRank",
    "Tower",
    "moments",
]
