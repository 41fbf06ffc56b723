"""Operators known only through ⟨g|Tf⟩ and samples: learned singular and eigen functions."""

from schmidt.operators.derivatives import Exact, FiniteDifferences, Hutchinson, JetModule
from schmidt.operators.differential import Schrodinger, SelfAdjointDifferential
from schmidt.operators.fit import Fit, fit
from schmidt.operators.form import Form, PointwiseForm, Sample, inner
from schmidt.operators.functions import Functions
from schmidt.operators.jet import Jet
from schmidt.operators.kernel import Kernel
from schmidt.operators.matrix_form import Matrix
from schmidt.operators.measures import (
    Data,
    Distribution,
    Gaussian,
    Indices,
    Lebesgue,
    Measure,
    Mixture,
    Points,
    Product,
    Proposal,
    Radial,
    SmoothBox,
    UniformBox,
    Weighted,
)
from schmidt.operators.methods import Batch, Method, NestedLowRank
from schmidt.operators.networks import (
    Ansatz,
    BoundedInputs,
    BoxMask,
    DisjointMLP,
    ExponentialEnvelope,
    Factor,
    FourierFeatures,
    GaussianEnvelope,
    IndexTable,
    PeriodicInputs,
    ScaledInputs,
    SharedMLP,
)
from schmidt.operators.run import DivergedError, Run
from schmidt.operators.self_adjoint import NotSelfAdjointError
from schmidt.operators.soap import SOAP
from schmidt.operators.spectrum import Spectrum, spectrum
from schmidt.operators.training import Training

__all__ = [
    "SOAP",
    "Ansatz",
    "Batch",
    "BoundedInputs",
    "BoxMask",
    "Data",
    "DisjointMLP",
    "Distribution",
    "DivergedError",
    "Exact",
    "ExponentialEnvelope",
    "Factor",
    "FiniteDifferences",
    "Fit",
    "Form",
    "FourierFeatures",
    "Functions",
    "Gaussian",
    "GaussianEnvelope",
    "Hutchinson",
    "IndexTable",
    "Indices",
    "Jet",
    "JetModule",
    "Kernel",
    "Lebesgue",
    "Matrix",
    "Measure",
    "Method",
    "Mixture",
    "NestedLowRank",
    "NotSelfAdjointError",
    "PeriodicInputs",
    "Points",
    "PointwiseForm",
    "Product",
    "Proposal",
    "Radial",
    "Run",
    "Sample",
    "ScaledInputs",
    "Schrodinger",
    "SelfAdjointDifferential",
    "SharedMLP",
    "SmoothBox",
    "Spectrum",
    "Training",
    "UniformBox",
    "Weighted",
    "fit",
    "inner",
    "spectrum",
]
