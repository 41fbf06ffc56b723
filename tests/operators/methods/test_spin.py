"""The masked gradient (12) as corrected, its averages (13) and (14), and what they cost."""

import pytest
import torch
from torch import nn

from schmidt.operators import DisjointMLP, Matrix, SharedMLP
from schmidt.operators.methods import DivergedError, SpIN, spin
from schmidt.operators.methods.spin import Owner, owners


def eigenvalues(u, a):
    """Λ_ll of the functions in the columns of u."""
    factor = torch.linalg.cholesky(u.T @ u)
    inner = torch.linalg.solve_triangular(factor, u.T @ a @ u, upper=False)
    return torch.linalg.solve_triangular(factor, inner.T, upper=False).diagonal()


def equation_12(u, a, averaged):
    """−2 T f L⁻ᵀ diag(L)⁻¹ + 2 f̄ L⁻ᵀ triu(L⁻¹ΠL⁻ᵀ diag(L)⁻¹), with L and f̄ of the average."""
    factor = torch.linalg.cholesky(averaged.gram)
    inverse = torch.linalg.inv(factor)
    scale = torch.diag(1 / factor.diagonal())
    pi = u.T @ a @ u
    second = averaged.functions @ inverse.T @ (inverse @ pi @ inverse.T @ scale).triu()
    return 2 * (second - a @ u @ inverse.T @ scale)


class Averaged:
    """Moving averages of Σ and of the functions, which are J̄ for a table."""

    def __init__(self, tables, decay):
        weights = torch.tensor([decay**k for k in range(len(tables))][::-1], dtype=torch.float64)
        weights = weights / weights.sum()
        self.gram = sum(w * u.T @ u for w, u in zip(weights, tables, strict=True))
        self.functions = sum(w * u for w, u in zip(weights, tables, strict=True))


def test_gradient_is_equation_12_and_that_of_the_masked_trace(case):
    """Λ_ll differentiated in f_l alone: finite differences."""
    found = case.gradient(case.prepare(SpIN(4)))
    u = case.u.detach()
    expected = equation_12(u, case.a, Averaged([u], 0.9))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    wanted = case.differences(lambda v: -eigenvalues(v, case.a))
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-8)
    total = case.prepare(SpIN(4))
    case.gradient(total)
    objective = total.objective(case.form, *case.batches())
    torch.testing.assert_close(objective, -eigenvalues(u, case.a).sum(), rtol=1e-10, atol=0)


def test_as_printed_equation_12_is_not_that_gradient(case):
    u = case.u.detach()
    factor = torch.linalg.cholesky(u.T @ u)
    inverse, scale = torch.linalg.inv(factor), torch.diag(1 / factor.diagonal())
    a = inverse.T @ (inverse @ u.T @ case.a @ u @ inverse.T @ scale).triu()
    printed = u @ a - case.a @ u @ inverse @ scale
    wanted = case.differences(lambda v: -eigenvalues(v, case.a))
    assert (printed - wanted).norm() > 0.1 * wanted.norm()


def test_averages_are_those_of_the_steps_before_and_forget_their_start(case):
    """Σ̄ and J̄ of all earlier tables with weights ∝ β^age; at the first step, of that step."""
    method, decay = case.prepare(SpIN(4, decay=0.7)), 0.7
    seen = []
    for _ in range(4):
        before = seen or [case.u.detach().clone()]
        expected = equation_12(case.u.detach(), case.a, Averaged(before, decay))
        found = case.gradient(method)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
        seen.append(case.u.detach().clone())
        with torch.no_grad():
            case.u.add_(0.1 * torch.randn_like(case.u))


class Settled(SpIN):
    """With the averages at what they converge to."""

    def settle(self, case):
        case.prepare(self)
        case.gradient(self)
        self.update = lambda first, second: None
        return self


def test_gradient_is_unbiased_given_the_averages_and_biased_without(pointwise, standard_errors):
    case = pointwise
    method = Settled(4).settle(case)
    exact = case.gradient(method)
    off = standard_errors(case.draws(method, 600, 7), exact, None)
    assert off.abs().max() < 4
    assert off.square().mean() < 1.5

    class Forgetful(SpIN):
        started = False

        def update(self, first, second):
            self.average.reset()
            self.jacobian["table"].zero_()
            super().update(first, second)

    naive = case.prepare(Forgetful(4))
    assert standard_errors(case.draws(naive, 600, 7), exact, None).abs().max() > 6


def test_multiples_of_the_identity_change_nothing(case):
    expected = case.gradient(case.prepare(SpIN(4)))
    case.form = case.form + 30.0
    found = case.gradient(case.prepare(SpIN(4)))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_readout_orthonormalises_one_by_one(case):
    u = case.u.detach()
    gram = u.T @ u
    mix = SpIN(4).readout(gram)
    torch.testing.assert_close(mix.T @ gram @ mix, torch.eye(4).double(), rtol=0, atol=1e-12)
    assert torch.equal(mix, mix.triu())
    assert SpIN(2).readout(torch.ones(2, 2, dtype=torch.float64)) is None


def test_owners_of_parameters():
    """By an axis of length L, wherever it is, or as a whole; shared ones are named."""
    x = torch.randn(9, 2)
    disjoint, shared = DisjointMLP(2, 3, (3, 5)), SharedMLP(2, 3, (4,))
    found, none = owners(disjoint(x), dict(disjoint.named_parameters()))
    assert not none
    assert set(found.values()) == {Owner(axis=0)}
    found, named = owners(shared(x), dict(shared.named_parameters()))
    assert named == ["weights.0", "biases.0"]
    assert found == {"readout": Owner(axis=1)}
    parts = nn.ModuleList(nn.Linear(2, 1) for _ in range(3))
    values = torch.cat([part(x) for part in parts], 1)
    found, none = owners(values, dict(parts.named_parameters()))
    assert not none
    assert [found[f"{i}.weight"].mode for i in range(3)] == [0, 1, 2]
    matrix = torch.arange(9.0).reshape(3, 3)
    assert torch.equal(Owner(axis=1).spread(matrix, 2), matrix.reshape(3, 1, 3))
    assert torch.equal(Owner(mode=2).spread(matrix, 2), matrix[:, 2].reshape(3, 1, 1))


def test_separate_modules_train_like_one_batched_network(case):
    """Parameters owned as a whole give the same gradient as slices of one table."""
    expected = case.gradient(case.prepare(SpIN(4)))
    columns = [nn.Parameter(c.detach().clone()) for c in case.u.T]
    case.u = torch.stack(columns, 1)
    first, second = case.batches()
    method = SpIN(4)
    method.prepare(case.form, first, {str(i): c for i, c in enumerate(columns)})
    found = torch.autograd.grad(method.surrogate(case.form, first, second), columns)
    torch.testing.assert_close(torch.stack(found, 1), expected, rtol=1e-12, atol=1e-12)


def test_shared_parameters_too_little_memory_and_dependent_functions_are_refused(case, monkeypatch):
    mix = nn.Parameter(torch.randn(4, 4, dtype=torch.float64))
    plain = case.u.detach()
    case.u = plain @ mix
    first, second = case.batches()
    case.u = plain @ (mix @ mix)
    both, _ = case.batches()
    SpIN(4).prepare(case.form, first, {"mix": mix})
    with pytest.raises(ValueError, match=r"several share mix: .*L² × parameters"):
        SpIN(4).prepare(case.form, both, {"mix": mix})
    with pytest.raises(ValueError, match="made for 3 modes, not for 4"):
        SpIN(3).prepare(case.form, first, {"mix": mix})
    monkeypatch.setattr(spin, "available", lambda device: 100)
    with pytest.raises(ValueError, match=r"L × parameters = 4 × 16 numbers, .* cpu has .* free"):
        SpIN(4).prepare(case.form, first, {"mix": mix})
    monkeypatch.undo()
    method = SpIN(4)
    method.prepare(case.form, first, {"mix": mix})
    few = Matrix(case.a).sample(1, torch.Generator().manual_seed(0))
    case.u = plain @ mix
    small = type(first)(
        few, *(type(first.f)(case.u[p.x][None], 1, 0) for p in (few.x, few.y)), True
    )
    with pytest.raises(DivergedError, match="as many points in half a batch as there are modes"):
        method.surrogate(case.form, small, small)
    assert second.evd
