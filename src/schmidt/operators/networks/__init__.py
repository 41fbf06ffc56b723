"""Networks as functions on points: inputs, trunks and envelopes, freely composed."""

from schmidt.operators.networks.ansatz import Ansatz, IndexTable
from schmidt.operators.networks.envelopes import (
    BoxMask,
    ExponentialEnvelope,
    Factor,
    GaussianEnvelope,
)
from schmidt.operators.networks.hidden import Hidden
from schmidt.operators.networks.inputs import (
    BoundedInputs,
    FourierFeatures,
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
