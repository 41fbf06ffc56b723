"""Functions on an index set: the gradient in function space is that in a table's entries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt.operators import Form, Indices, Jet, Matrix, PointwiseForm, Sample, inner
from schmidt.operators.methods import Batch, Method
from schmidt.operators.step import pulled

SIZE = 14
MODES = 4


def _positive(size: int = SIZE, seed: int = 0) -> Tensor:
    """A symmetric positive definite matrix with eigenvalues 1, 0.8, 0.6, …"""
    torch.manual_seed(seed)
    q = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q
    return (q * 0.8 ** torch.arange(size)) @ q.T


def _batch(table: Tensor, sample: Sample) -> Batch:
    f = Jet(table[sample.x.x][None], 1, 0)
    g = f if sample.shared else Jet(table[sample.y.x][None], 1, 0)
    return Batch(sample, f, g, True)


class Multiplication(PointwiseForm):
    """f ↦ (1 + x) f on an index set: both functions are seen at the same points."""

    self_adjoint = True

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        return inner(g.value, f.value, sample.x.weight * (1 + sample.x.x))


class Case:
    """A positive matrix, a table of functions that are neither orthogonal nor normalised, and the
    gradient that a method has there."""

    def __init__(self, size: int = SIZE) -> None:
        self.a = _positive(size)
        self.form: Form = Matrix(self.a)
        self.whole = self.form.evaluation()
        self.u = torch.nn.Parameter(0.6 * torch.randn(size, MODES, dtype=torch.float64))

    def prepare(self, method: Method) -> Method:
        method.prepare(self.form, _batch(self.u, self.whole), {"table": self.u})
        return method

    def gradient(self, method: Method, samples: tuple[Sample, Sample] | None = None) -> Tensor:
        """On all points, or on the two halves given."""
        first, second = samples or (self.whole, self.whole)
        batches = (_batch(self.u, first), _batch(self.u, second))
        return torch.autograd.grad(pulled(method, self.form, *batches), self.u)[0]

    def batches(self) -> tuple[Batch, Batch]:
        return _batch(self.u, self.whole), _batch(self.u, self.whole)

    def differences(self, masked: Callable[[Tensor], Tensor], step: float = 1e-5) -> Tensor:
        """Central differences of L objectives in the table, objective l in function l alone."""
        out = torch.zeros_like(self.u)
        for row in range(self.u.shape[0]):
            for mode in range(self.u.shape[1]):
                at = [self.u.detach().clone() for _ in range(2)]
                at[0][row, mode] += step
                at[1][row, mode] -= step
                out[row, mode] = (masked(at[0])[mode] - masked(at[1])[mode]) / (2 * step)
        return out

    def draws(self, method: Method, n: int, points: int) -> Tensor:
        """Gradients on ``n`` pairs of independent small samples."""
        generator = torch.Generator().manual_seed(7)

        def pair() -> tuple[Sample, Sample]:
            return self.form.sample(points, generator), self.form.sample(points, generator)

        return torch.stack([self.gradient(method, pair()) for _ in range(n)])


@pytest.fixture
def pointwise() -> Case:
    """The same functions under an operator whose estimates of ⟨f|T f⟩ are never negative."""
    out = Case()
    out.form = Multiplication(Indices(SIZE))
    return out


def _standard_errors(draws: Tensor, exact: Tensor, along: Tensor | None) -> Tensor:
    if along is not None:
        unit = along / along.norm(dim=0)
        draws = draws - unit * (unit * draws).sum(1, keepdim=True)
        exact = exact - unit * (unit * exact).sum(0)
    spread = draws.std(0).clamp_min(1e-12) / len(draws) ** 0.5
    return (draws.mean(0) - exact) / spread


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.fixture
def standard_errors() -> Callable[..., Tensor]:
    """(draws, exact, functions or None): by how many standard errors the mean of the draws is off;
    with functions given, of the part orthogonal to each."""
    return _standard_errors
