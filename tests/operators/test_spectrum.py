"""Values from functions: on matrices, where all of it is linear algebra with a known answer."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from schmidt.linalg import fix_signs
from schmidt.operators import (
    Distribution,
    Form,
    Gaussian,
    Indices,
    Kernel,
    Matrix,
    Sample,
    inner,
    spectrum,
)
from schmidt.operators.jet import Derivatives, Exact
from schmidt.operators.spectrum import Functions

module = import_module("schmidt.operators.spectrum")
SIZE = 12


class Table(nn.Module):
    """Functions on an index set, as the columns of a matrix."""

    def __init__(self, values: np.ndarray | Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.as_tensor(values).clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.values[x]


class Multiplication(Form):
    """(T f)(i) = (1 + i/5) f(i): f and g meet at the same points, and sums come in chunks."""

    self_adjoint, additive = True, True

    def __init__(self, size: int) -> None:
        self.measure = Indices(size)

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        points = self.measure.sample(n, generator)
        return Sample(points, points)

    def evaluation(self, n: int | None = None) -> Sample:
        points = self.measure.evaluation()
        return Sample(points, points)

    def matrix(self, g: object, f: object, sample: Sample) -> Tensor:
        return inner(g.value, f.value, sample.x.weight * (1 + sample.x.x.double() / 5))  # type: ignore


def symmetric(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return (q * values) @ q.T


def test_values_of_a_span_are_those_of_the_compression(rng: np.random.Generator) -> None:
    A = symmetric(rng, np.linspace(3, 0.5, SIZE))
    F = rng.standard_normal((SIZE, 4)) * [1.0, 3.0, 0.5, 2.0]
    found = spectrum(Matrix(A), Table(F))
    Q = np.linalg.qr(F)[0]
    wanted = np.linalg.eigvalsh(Q.T @ A @ Q)[::-1]
    np.testing.assert_allclose(found.ritz, wanted, rtol=1e-10)
    size = np.linalg.norm(F, axis=0)
    np.testing.assert_allclose(found.norm, size**2)
    np.testing.assert_allclose(found.rayleigh, np.diag(F.T @ A @ F) / size**2)
    V = F @ found.mix_f.numpy()
    np.testing.assert_allclose(V.T @ V, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(V.T @ A @ V, np.diag(wanted), atol=1e-10)
    np.testing.assert_array_equal(found.mix_f, found.mix_g)
    for functions in (V, F @ found.own_f.numpy()):
        np.testing.assert_array_equal(fix_signs(functions), 1)
    np.testing.assert_allclose(np.linalg.norm(F @ found.own_f.numpy(), axis=0), 1)
    assert found.rank == 4
    assert not found.vanished.any()


def test_values_of_two_spans_are_singular_values(rng: np.random.Generator) -> None:
    A = rng.standard_normal((9, SIZE))
    F, G = rng.standard_normal((SIZE, 3)) * [1.0, 4.0, 2.0], rng.standard_normal((9, 3))
    found = spectrum(Matrix(A), Table(F), Table(G))
    QF, QG = np.linalg.qr(F)[0], np.linalg.qr(G)[0]
    wanted = np.linalg.svd(QG.T @ A @ QF, compute_uv=False)
    np.testing.assert_allclose(found.ritz, wanted, rtol=1e-10)
    V, U = F @ found.mix_f.numpy(), G @ found.mix_g.numpy()
    np.testing.assert_allclose(U.T @ A @ V, np.diag(wanted), atol=1e-10)
    np.testing.assert_allclose(U.T @ U, np.eye(3), atol=1e-10)
    np.testing.assert_array_equal(fix_signs(V), 1)
    f, g = np.linalg.norm(F, axis=0), np.linalg.norm(G, axis=0)
    np.testing.assert_allclose(found.norm, f * g)
    np.testing.assert_allclose(found.rayleigh, np.diag(G.T @ A @ F) / f / g)
    own_f, own_g = F @ found.own_f.numpy(), G @ found.own_g.numpy()
    np.testing.assert_allclose(np.diag(own_g.T @ A @ own_f), found.rayleigh)
    np.testing.assert_array_equal(fix_signs(own_f), 1)


def test_a_span_of_fewer_dimensions_has_fewer_values(rng: np.random.Generator) -> None:
    A = symmetric(rng, np.linspace(3, 0.5, SIZE))
    F = rng.standard_normal((SIZE, 3))
    F = np.concatenate([F, F[:, :1] * 0.9], 1)
    found = spectrum(Matrix(A), Table(F))
    assert found.rank == 3
    assert np.isnan(found.ritz).tolist() == [False] * 3 + [True]
    assert not found.vanished.any()
    # the cut is relative, and the user's: nearly parallel columns, at 1e-3
    F[:, 3] = F[:, 0] + 1e-3 * rng.standard_normal(SIZE)
    assert spectrum(Matrix(A), Table(F)).rank == 4
    assert spectrum(Matrix(A), Table(F), tolerance=1e-4).rank == 3
    assert spectrum(Matrix(A), Table(F[:, [0, 3]]), tolerance=1e-4).rank == 1


@pytest.mark.parametrize("small", [1e-9, 0.009, 0.011, 1.0])
def test_functions_without_a_value_of_their_own_have_vanished(
    small: float, rng: np.random.Generator
) -> None:
    """T has two positive values: a third function is nothing once its norm is below a tenth of the
    smaller one."""
    A = np.diag(np.r_[3.0, 0.1, -np.ones(SIZE - 2)])
    F = np.eye(SIZE)[:, [2, 0, 1]] * np.sqrt([small, 3.0, 0.1])
    found = spectrum(Matrix(A), Table(F))
    assert found.vanished.tolist() == [small < 0.01, False, False]
    assert found.rank == 3 - (small < 0.01)
    np.testing.assert_allclose(found.ritz[:2], [3.0, 0.1], atol=1e-10)
    assert np.isnan(found.ritz[2]) == (small < 0.01)


def test_where_norms_mean_nothing_they_are_not_told() -> None:
    class Unit:
        normalised = True

        def readout(self, gram: Tensor) -> Tensor | None:
            return None

    A = np.diag(np.r_[3.0, 1.0, -np.ones(SIZE - 2)])
    for small, gone in ((0.9e-2, True), (1.1e-2, False)):
        F = np.eye(SIZE)[:, :3] * [1.0, 1.0, small]
        found = spectrum(Matrix(A), Table(F), method=Unit())  # type: ignore[arg-type]
        assert np.isnan(found.norm).all()
        assert found.vanished.tolist() == [False, False, gone]
        np.testing.assert_allclose(found.rayleigh, [3.0, 1.0, -1.0])


def test_a_method_reads_its_functions_out(rng: np.random.Generator) -> None:
    F = np.linalg.qr(rng.standard_normal((SIZE, 3)))[0]
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]

    class Turned:
        normalised = False

        def readout(self, gram: Tensor) -> Tensor | None:
            return turn

    A = symmetric(rng, np.linspace(3, 0.5, SIZE))
    found = spectrum(Matrix(A), Table(F), method=Turned())  # type: ignore[arg-type]
    V = F @ turn.numpy()
    V = V * fix_signs(V)
    np.testing.assert_allclose(F @ found.own_f.numpy(), V, atol=1e-12)
    np.testing.assert_allclose(found.rayleigh, np.diag(V.T @ A @ V))


def test_sums_in_chunks_are_sums(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    F, form = rng.standard_normal((SIZE, 3)), Multiplication(SIZE)
    whole = module.overlaps(form, Table(F), None, form.evaluation().to("cpu", torch.float64))
    sizes: list[int] = []

    class Watched(Exact):
        def __call__(self, function: object, x: Tensor, order: int) -> object:  # type: ignore
            sizes.append(len(x))
            return super().__call__(function, x, order)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "CHUNK", 5)
    watched: Derivatives = Watched()
    sample = form.evaluation().to("cpu", torch.float64)
    parts = module.overlaps(form, Table(F), None, sample, watched)
    assert sizes == [5, 5, 2]
    np.testing.assert_allclose(whole.gram_f, F.T @ F)
    np.testing.assert_allclose(whole.pi, F.T @ np.diag(1 + np.arange(SIZE) / 5) @ F)
    for name in ("gram_f", "gram_g", "pi"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    other = module.overlaps(form, Table(F), Table(2 * F), sample)
    torch.testing.assert_close(other.gram_g, 4 * other.gram_f)
    torch.testing.assert_close(other.pi, 2 * whole.pi)


def test_zero_functions_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing was learned"):
        spectrum(Matrix(np.eye(SIZE)), Table(np.zeros((SIZE, 2))))
    one = np.eye(SIZE)[:, :2] * [1.0, 0.0]
    assert spectrum(Matrix(np.eye(SIZE)), Table(one)).rank == 1


class TestFunctions:
    def network(self) -> nn.Module:
        torch.manual_seed(1)
        return nn.Linear(1, 3).double()

    @pytest.mark.parametrize("complex_", [False, True])
    def test_they_are_combinations_of_outputs(self, complex_: bool) -> None:
        mix = torch.randn(3, 2, dtype=torch.complex128 if complex_ else torch.float64)
        network, x = self.network(), torch.randn(5, 1, dtype=torch.float64)
        f = Functions(network, mix)
        wanted = network(x).to(mix.dtype) @ mix
        torch.testing.assert_close(f(x), wanted)
        torch.testing.assert_close(f(x[:, 0]), wanted)  # points on a line
        torch.testing.assert_close(f.truncate(1)(x), wanted[:, :1])
        torch.testing.assert_close(f.select([1, 0])(x), wanted[:, [1, 0]])
        np.testing.assert_allclose(f(x.numpy()), wanted.detach())
        np.testing.assert_allclose(f(x[:, 0].tolist()), wanted.detach())
        if not complex_:
            assert f(x.float()).dtype == torch.float32
            assert f(x.numpy().astype(np.float32)).dtype == np.float32

    def test_integers_are_indices_in_one_axis_and_coordinates_in_two(self) -> None:
        mix = torch.eye(3, dtype=torch.float64)
        table = torch.randn(4, 3, dtype=torch.float64)
        torch.testing.assert_close(
            Functions(Table(table), mix)(torch.tensor([2, 0])), table[[2, 0]]
        )
        network = self.network()
        whole = Functions(network, mix)(np.array([[2], [0]]))
        assert whole.dtype == np.float64
        np.testing.assert_allclose(whole, network(torch.tensor([[2.0], [0.0]]).double()).detach())

    def test_several_outputs_per_function(self) -> None:
        table = torch.randn(4, 3, 2, dtype=torch.float64)
        mix = torch.randn(3, 2, dtype=torch.float64)
        found = Functions(Table(table), mix)(torch.arange(4))
        torch.testing.assert_close(found, torch.einsum("bio,il->blo", table, mix))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_asymmetry_is_the_share_of_the_antisymmetric_part(
    share: float, rng: np.random.Generator
) -> None:
    A = rng.standard_normal((SIZE, SIZE))
    S, K = A + A.T, A - A.T
    T = (1 - share) * S + share * K
    F = rng.standard_normal((SIZE, 3))
    pi = F.T @ T @ F
    wanted = np.linalg.norm(pi - pi.T) / 2 / np.linalg.norm(pi)
    settings = {"batches": 8, "dtype": torch.float64}
    found, surely = module.asymmetry(Matrix(T), Table(F), Exact(), n=SIZE, **settings)
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert (surely > 4) == (share > 0)
    # from half of the rows at a time, with noise of which the square is taken off
    found, surely = module.asymmetry(
        Matrix(T), Table(F), Exact(), n=6, **settings | {"batches": 99}
    )
    assert found == pytest.approx(wanted, rel=0.3, abs=0.15)
    assert (surely > 4) == (share > 0.1)
    # a multiple of the identity is symmetric, and is left out
    shifted = module.asymmetry(
        Multiplication(SIZE) + 100.0, Table(F), Exact(), n=50, dtype=torch.float64
    )
    assert shifted[0] < 1e-10


def test_only_what_is_measurably_not_self_adjoint_is_refused(rng: np.random.Generator) -> None:
    A = rng.standard_normal((SIZE, SIZE))
    F = Table(rng.standard_normal((SIZE, 3)))
    settings = {"n": 1000, "dtype": torch.float64, "device": "cpu"}

    def refused(T: np.ndarray) -> bool:
        try:
            module.require_self_adjoint(Matrix(T), F, Exact(), **settings)  # type: ignore
        except module.NotSelfAdjointError:
            return True
        return False

    assert not refused(A + A.T)
    assert refused(A - A.T + 0.1 * np.eye(SIZE))
    with pytest.raises(module.NotSelfAdjointError, match="different spaces"):
        module.require_self_adjoint(Matrix(A[:5]), F, Exact(), **settings)  # type: ignore


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
@pytest.mark.parametrize("odd", [False, True])
def test_plane_waves_show_an_asymmetry_that_one_function_cannot(
    odd: bool, scale: float, outputs: int
) -> None:
    """⟨p|Tp⟩ of a single function is a number, which is always symmetric."""

    def kernel(y: Tensor, x: Tensor) -> Tensor:
        apart = (y[:, None] - x) / scale
        value = (-apart.square().sum(-1)).exp()
        return value * apart[..., 0] if odd else value

    def even(x: Tensor) -> Tensor:
        value = (-(x / scale).square().sum(1, keepdim=True)).exp()
        return value if outputs == 1 else torch.stack([value, 2 * value], 2)

    law = Distribution(Gaussian(scale, 2))
    found, surely = module.asymmetry(
        Kernel(kernel, law, law), even, Exact(), n=200, batches=20, dtype=torch.float64
    )
    assert (found > 0.5) == odd
    assert (surely > 4) == odd


def test_functions_of_several_outputs_have_signs_too(rng: np.random.Generator) -> None:
    """The first of half the largest, over points and outputs in this order."""
    F = torch.from_numpy(rng.standard_normal((6, 2, 2)))
    A = torch.from_numpy(np.kron(symmetric(rng, np.linspace(3, 1, 6)), np.eye(2)))
    found = spectrum(Matrix(A, block=2), Table(F))
    V = torch.einsum("bio,il->bol", F, found.mix_f).reshape(12, 2)
    np.testing.assert_allclose(fix_signs(V), 1)
    np.testing.assert_allclose(V.T @ V, np.eye(2), atol=1e-12)
    own = torch.einsum("bio,il->bol", F, found.own_f).reshape(12, 2)
    np.testing.assert_allclose(fix_signs(own), 1)


def test_networks_that_mix_by_themselves_are_asked_for_values_only() -> None:
    asked: list[int] = []

    class Mixing(nn.Module):
        def mixed(self, x: Tensor, order: int, mix: Tensor) -> object:
            asked.append(order)
            return type("Jet", (), {"value": x @ torch.ones(1, 3).to(x) @ mix})

    mix = torch.eye(3, dtype=torch.float64)[:, :2]
    x = torch.ones(4, 1, dtype=torch.float64)
    torch.testing.assert_close(Functions(Mixing(), mix)(x), torch.ones(4, 2).double())
    assert asked == [0]


@pytest.mark.parametrize(
    ("known", "order", "measured"),
    [(True, 0, False), (True, 1, False), (True, 2, True), (None, 1, True), (False, 0, True)],
)
def test_what_is_known_is_not_measured_unless_walls_may_break_it(
    known: bool | None, order: int, measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = Multiplication(SIZE)
    form.self_adjoint, form.order = known, order  # type: ignore[assignment]
    calls: list[int] = []

    def refused(relative: float, significance: float) -> bool:
        monkeypatch.setattr(
            module, "asymmetry", lambda *a, **k: calls.append(1) or (relative, significance)
        )
        settings = {"n": 9, "dtype": torch.float64, "device": "cpu"}
        try:
            module.require_self_adjoint(form, Table(np.eye(SIZE)), Exact(), **settings)
        except module.NotSelfAdjointError as error:
            return ("boundary conditions" in str(error)) == (order == 2)
        return False

    assert refused(0.011, 4.1) == measured
    assert bool(calls) == measured
    assert refused(0.009, 99.0) == (known is False)
    assert refused(0.9, 3.9) == (known is False)
