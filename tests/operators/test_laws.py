"""Every form and every method of the library under the laws of its kind."""

import math

import numpy as np
import torch

from laws.forms import FormLaws
from laws.methods import MethodLaws
from schmidt.operators import (
    ConvectionDiffusion,
    Data,
    Dependence,
    Distribution,
    Gaussian,
    Kernel,
    Lebesgue,
    Matrix,
    NestedLowRank,
    NeuralEF,
    Radial,
    Schrodinger,
    SelfAdjointDifferential,
    SpIN,
    UniformBox,
)
from schmidt.operators.dependence import JointTable
from schmidt.operators.measures import Product, SmoothBox, Weighted
from schmidt.operators.methods import GHA, SpINX

RNG = np.random.default_rng(0)
SQUARE = RNG.standard_normal((12, 12))
WIDE = RNG.standard_normal((9, 15))
CLOUD = RNG.standard_normal((80, 2))
LEFT = CLOUD + 0.5 * RNG.standard_normal((80, 2))


def decaying(x):
    r2 = x.pow(2).sum(1)
    return torch.stack([(-r2 / 2).exp(), (x[:, 0] + 0.3) * (-r2 / 2.5).exp()], 1)


def vanishing(x):
    wave = torch.sin(math.pi * x).prod(1)
    return torch.stack([wave, wave * (1 + x.sum(1)), wave * x[:, 0] ** 2], 1)


def waves(x):
    flat = x.reshape(len(x), -1)
    return torch.stack([flat[:, 0].cos(), (flat.sum(1) - 0.5).sin(), 1 + 0 * flat[:, 0]], 1)


class Decaying(FormLaws):
    def functions(self, x):
        return decaying(x)


class TestWeakSchrodinger(Decaying):
    def form(self):
        return Schrodinger(lambda x: x.pow(2).sum(1), Lebesgue(Gaussian(1.2, 2)), kinetic=0.5)


class TestStrongSchrodinger(Decaying):
    def form(self):
        return Schrodinger(lambda x: x.cos().sum(1), Lebesgue(Gaussian(1.2, 2)), form="strong")


class TestRadialPoints(Decaying):
    def form(self):
        return (
            Schrodinger(lambda x: -1 / x.norm(dim=1), Lebesgue(Radial(2, scale=0.7, outer=12.0)))
            + 2.0
        )


class TestPlainPoints(Decaying):
    def form(self):
        measure = Lebesgue(Gaussian(1.2, 2), "plain")
        return 3 * (Schrodinger(lambda x: x.pow(4).sum(1), measure) + 1.5)


class TestBox(FormLaws):
    def form(self):
        return SelfAdjointDifferential(
            Lebesgue(SmoothBox(0.0, 1.0, 2)),
            diffusion=lambda x: 1 + x[:, 0],
            potential=lambda x: x[:, 1],
        )

    def functions(self, x):
        return vanishing(x)


class TestWeightedBox(FormLaws):
    def form(self):
        measure = Weighted(Lebesgue(UniformBox(0.0, 1.0, 1)), lambda x: 1 + x[:, 0])
        matrix = lambda x: (2 + x[:, 0])[:, None, None] * torch.eye(1, dtype=x.dtype)  # noqa: E731
        return SelfAdjointDifferential(measure, diffusion=matrix)

    def functions(self, x):
        return vanishing(x)


class TestDrift(Decaying):
    def form(self):
        return ConvectionDiffusion(
            Lebesgue(Gaussian(1.2, 2)), lambda x: -x, 0.5, potential=lambda x: x[:, 0].cos()
        )


class TestProductOfMeasures(Decaying):
    def form(self):
        measure = Product(Lebesgue(Gaussian(1.2, 1)), Lebesgue(Gaussian(1.0, 1)))
        return Schrodinger(lambda x: x.pow(2).sum(1), measure)


class TestSum(Decaying):
    def form(self):
        measure = Lebesgue(Gaussian(1.2, 2))
        return Schrodinger(lambda x: x[:, 0], measure) + Schrodinger(
            lambda x: x[:, 1] ** 2, measure, form="strong"
        )


class TestSymmetricKernel(FormLaws):
    def form(self):
        law = Distribution(Gaussian(1.0, 1))
        return Kernel(lambda y, x: (-((y - x.T) ** 2)).exp(), law, symmetric=True)

    def functions(self, x):
        return waves(x)


class TestKernelBetweenSpaces(FormLaws):
    def form(self):
        domain, codomain = Distribution(Gaussian(1.0, 2)), Distribution(UniformBox(0.0, 1.0, 1))
        return Kernel(lambda y, x: (y - x.sum(1)).sin(), domain, codomain)

    def functions(self, x):
        return waves(x)


class TestKernelOnData(FormLaws):
    def form(self):
        return Kernel(lambda y, x: (1 + y @ x.T).square(), Data(CLOUD), symmetric=True)

    def functions(self, x):
        return waves(x)


class TestMatrix(FormLaws):
    def form(self):
        return Matrix(WIDE)

    def functions(self, x):
        return torch.stack([torch.cos(1.0 * x.double()), 1 + 0.1 * x.double()], 1)


class TestPartOfAMatrix(TestMatrix):
    """Rows and columns in batches."""

    def sample(self, form, n=5, seed=0):
        return super().sample(form, min(n, 5), seed)


class TestSymmetricMatrix(TestMatrix):
    def form(self):
        return Matrix(SQUARE + SQUARE.T)


class TestPairs(FormLaws):
    def form(self):
        return Dependence((CLOUD, LEFT))

    def functions(self, x):
        return waves(x)[:, :2]


class TestWeightedPairs(TestPairs):
    def form(self):
        return Dependence((CLOUD, LEFT, np.linspace(0.2, 2.0, len(CLOUD))))


class TestPairsWithTheConstant(TestPairs):
    def form(self):
        return Dependence((CLOUD, LEFT), centred=False)


class TestJointTable(FormLaws):
    def form(self):
        return JointTable(np.abs(WIDE))

    def functions(self, x):
        return torch.stack([x.double().flatten().cos(), 1 + 0.1 * x.double().flatten()], 1)


class TestSequential(MethodLaws):
    eigen = False

    def method(self, modes):
        return NestedLowRank.sequential(modes)

    def fixed_point(self, vectors, values):
        return vectors * values.sqrt()


class TestJoint(TestSequential):
    def method(self, modes):
        return NestedLowRank.joint(modes)


class TestWithoutNesting(TestSequential):
    def method(self, modes):
        return NestedLowRank.none(modes)


class TestGHA(MethodLaws):
    def method(self, modes):
        return GHA()

    def fixed_point(self, vectors, values):
        return vectors


class TestSpIN(TestGHA):
    def method(self, modes):
        return SpIN(modes, decay=0.8)


class TestSpINX(TestGHA):
    def method(self, modes):
        return SpINX()


class TestNeuralEF(TestGHA):
    def method(self, modes):
        return NeuralEF()


class TestOriginalNeuralEF(TestGHA):
    def method(self, modes):
        return NeuralEF.original()


class TestDeflation(TestGHA):
    def method(self, modes):
        return NeuralEF.deflation()


class TestEigenGame(TestGHA):
    def method(self, modes):
        return NeuralEF.eigengame()


class TestMuEigenGame(TestGHA):
    def method(self, modes):
        return NeuralEF.mu_eigengame()


class TestBiasedNorms(TestGHA):
    def method(self, modes):
        return NeuralEF(penalty="overlap", normalisation="biased", decay=0.9)
