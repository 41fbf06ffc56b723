"""Networks as functions on points: inputs, trunks and envelopes, freely composed."""

from schmidt.operators.networks.ansatz import Ansatz, Hidden, IndexTable
from schmidt.operators.networks.maps import (
    BoundedInputs,
    BoxMask,
    ExponentialEnvelope,
    Factor,
    FourierFeatures,
    GaussianEnvelope,
    PeriodicInputs,
    ScaledInputs,
)
from schmidt.operators.networks.mlp import DisjointMLP, SharedMLP

__all__ = [
    "Ansatz",
    "BoundedInputs",
    "BoxMask",
    "DisjointMLP",
    "ExponentialEnvelope",
    "Factor",
    "FourierFeatures",
    "GaussianEnvelope",
    "Hidden",
    "IndexTable",
    "PeriodicInputs",
    "ScaledInputs",
    "SharedMLP",
]
