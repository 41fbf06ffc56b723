"""Dependence between two variables: ordered co-embeddings, and what they say about p(x, y)."""

from schmidt.dependence.cdk import CDK
from schmidt.dependence.correspondence import (
    Correspondence,
    correspondence_analysis,
    multiple_correspondence_analysis,
)
from schmidt.dependence.linear import LinearCDK
from schmidt.dependence.moments import moments
from schmidt.dependence.networks import DisjointTrunk, MLPTrunk, Tower
from schmidt.dependence.objective import PairedLowRank
from schmidt.dependence.rows import WeightedPairs
from schmidt.dependence.testing import IndependenceTest, independence_test
from schmidt.operators.dependence import Dependence, JointTable
from schmidt.operators.pairs import Augmented, ClassPairs, GivenPairs, LoaderPairs

__all__ = [
    "CDK",
    "Augmented",
    "ClassPairs",
    "Correspondence",
    "Dependence",
    "DisjointTrunk",
    "GivenPairs",
    "IndependenceTest",
    "JointTable",
    "LinearCDK",
    "LoaderPairs",
    "MLPTrunk",
    "PairedLowRank",
    "Tower",
    "WeightedPairs",
    "correspondence_analysis",
    "independence_test",
    "moments",
    "multiple_correspondence_analysis",
]
