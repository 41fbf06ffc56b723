"""Operators known only through ⟨g|Tf⟩ and samples: learned singular and eigen functions.

What a first page of code needs is here; more of a kind is in its room: ``measures``, ``networks``,
``methods``, ``ritz``, and ``jet``.
"""

from schmidt.operators.dependence import Dependence
from schmidt.operators.differential import ConvectionDiffusion, Schrodinger, SelfAdjointDifferential
from schmidt.operators.fit import Fit, fit
from schmidt.operators.form import Form, PointwiseForm, Sample, inner
from schmidt.operators.jet import FiniteDifferences, Hutchinson, Jet
from schmidt.operators.kernel import Kernel, Matrix
from schmidt.operators.measures import (
    Data,
    Distribution,
    Gaussian,
    Indices,
    Lebesgue,
    Mixture,
    Points,
    Radial,
    UniformBox,
)
from schmidt.operators.methods import DivergedError, NestedLowRank, NeuralEF, SpIN
from schmidt.operators.networks import (
    Ansatz,
    DisjointMLP,
    FourierFeatures,
    GaussianEnvelope,
    IndexTable,
    ScaledInputs,
    SharedMLP,
)
from schmidt.operators.nystrom import nystrom
from schmidt.operators.ritz import Ritz, bound_states, eigenfunctions
from schmidt.operators.run import Run
from schmidt.operators.spectrum import NotSelfAdjointError, Spectrum, spectrum
from schmidt.operators.training import Training

__all__ = [
    "Ansatz",
    "ConvectionDiffusion",
    "Data",
    "Dependence",
    "DisjointMLP",
    "Distribution",
    "DivergedError",
    "FiniteDifferences",
    "Fit",
    "Form",
    "FourierFeatures",
    "Gaussian",
    "GaussianEnvelope",
    "Hutchinson",
    "IndexTable",
    "Indices",
    "Jet",
    "Kernel",
    "Lebesgue",
    "Matrix",
    "Mixture",
    "NestedLowRank",
    "NeuralEF",
    "NotSelfAdjointError",
    "Points",
    "PointwiseForm",
    "Radial",
    "Ritz",
    "Run",
    "Sample",
    "ScaledInputs",
    "Schrodinger",
    "SelfAdjointDifferential",
    "SharedMLP",
    "SpIN",
    "Spectrum",
    "Training",
    "UniformBox",
    "bound_states",
    "eigenfunctions",
    "fit",
    "inner",
    "nystrom",
    "spectrum",
]
