"""The laws of the tangent space, in float64, against dense least squares."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from schmidt.adapters import tangent
from schmidt.adapters.tangent import GAUGES, Directions, Gauge, frames, minimisers

M, N, R, S = 9, 7, 3, 1.7
EYE = torch.eye


def near(found: Tensor, expected: Tensor, tol: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=tol, atol=tol)


class Case:
    """Random factors and a gradient of the weight, with what backpropagation would give."""

    def __init__(self, m: int = M, n: int = N, r: int = R, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.A, self.B, self.G = draw(r, n), draw(m, r), draw(m, n)

    @property
    def grad_A(self) -> Tensor:
        return S * self.B.T @ self.G

    @property
    def grad_B(self) -> Tensor:
        return S * self.G @ self.A.T

    def solve(self, gauge: Gauge = "symmetric", damping: float = 0.0) -> Directions:
        return minimisers(self.A, self.B, self.grad_A, self.grad_B, S, gauge, damping)

    def step(self, H: Directions) -> Tensor:
        """s(B H_A + H_B A)."""
        return S * (self.B @ H.A + H.B @ self.A)

    def system(self) -> Tensor:
        """The matrix of (H_A, H_B) ↦ s(B H_A + H_B A), on vectors of rows."""
        m, n = self.G.shape
        of_A = torch.kron(self.B, EYE(n, dtype=torch.float64))
        of_B = torch.kron(EYE(m, dtype=torch.float64), self.A.T.contiguous())
        return S * torch.cat([of_A, of_B], 1)

    def least_squares(self) -> Directions:
        """Of least norm."""
        found = torch.linalg.pinv(self.system()) @ self.G.flatten()
        cut = self.A.numel()
        return Directions(found[:cut].view_as(self.A), found[cut:].view_as(self.B))


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.mark.parametrize("gauge", GAUGES)
def test_minimises_the_distance_to_the_gradient(case: Case, gauge: Gauge) -> None:
    near(case.step(case.solve(gauge)), case.step(case.least_squares()))


def test_zero_gauge_is_the_closed_form(case: Case) -> None:
    A, B = case.A, case.B
    P_A = A.T @ torch.linalg.solve(A @ A.T, A)
    H = case.solve("zero")
    near(H.B, case.grad_B @ torch.linalg.inv(A @ A.T) / S**2)
    near(H.A, torch.linalg.inv(B.T @ B) @ case.grad_A @ (EYE(N) - P_A) / S**2)


def test_sylvester_is_the_pair_of_least_norm(case: Case) -> None:
    H, best = case.solve("sylvester"), case.least_squares()
    near(H.A, best.A)
    near(H.B, best.B)


def test_sylvester_equation_is_solved(case: Case) -> None:
    """BᵀB C + C AAᵀ = BᵀG_B(AAᵀ)⁻¹/s², with C = (H_A − H_A(zero)) A⁺."""
    A, B, H, Z = case.A, case.B, case.solve("sylvester"), case.solve("zero")
    C = (H.A - Z.A) @ torch.linalg.pinv(A)
    right = B.T @ case.grad_B @ torch.linalg.inv(A @ A.T) / S**2
    residual = B.T @ B @ C + C @ A @ A.T - right
    assert residual.norm() < 1e-10 * right.norm()
    near(Z.B - B @ C, H.B)


def minimum_over_gauges(case: Case, loss: object) -> Tensor:
    """The C that minimises a quadratic ``loss(H)``, by one Newton step from 0."""
    zero = case.solve("zero")

    def value(c: Tensor) -> Tensor:
        C = c.view(R, R)
        return loss(Directions(zero.A + C @ case.A, zero.B - case.B @ C))  # type: ignore[operator]

    start = torch.zeros(R * R, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(value, start)
    gradient = torch.autograd.functional.jacobian(value, start)
    return -torch.linalg.solve(hessian, gradient).view(R, R)


def test_symmetric_gauge_solves_both_of_its_problems(case: Case) -> None:
    A, B, G = case.A, case.B, case.G
    zero, H = case.solve("zero"), case.solve("symmetric")
    for loss in (
        lambda H: (B @ H.A - H.B @ A).square().sum(),
        lambda H: (S * B @ H.A - G).square().sum() + (S * H.B @ A - G).square().sum(),
    ):
        C = minimum_over_gauges(case, loss)
        near(H.A, zero.A + C @ A)
        near(H.B, zero.B - B @ C)


def test_sylvester_gauge_is_nearest_to_the_factors_gradients(case: Case) -> None:
    zero, H = case.solve("zero"), case.solve("sylvester")
    C = minimum_over_gauges(
        case,
        lambda H: (H.A - case.grad_A).square().sum() + (H.B - case.grad_B).square().sum(),
    )
    near(H.A, zero.A + C @ case.A)


def test_any_gauge_gives_the_same_step(case: Case, generator: torch.Generator) -> None:
    H = case.solve("zero")
    C = torch.randn(R, R, generator=generator, dtype=torch.float64)
    near(case.step(Directions(H.A + C @ case.A, H.B - case.B @ C)), case.step(H))


def test_step_is_the_projection_on_the_tangent_space(case: Case) -> None:
    """Ĝ is a tangent, G − Ĝ is orthogonal to all tangents, and projecting twice changes nothing."""
    f = frames(case.A, case.B)
    G_hat = case.step(case.solve())
    near(G_hat, tangent.project(f, case.G))
    near(tangent.project(f, G_hat), G_hat)
    near(case.system().T @ (case.G - G_hat).flatten(), torch.zeros(N * R + M * R).double())


def test_error_is_the_part_outside_both_spans(case: Case) -> None:
    error = tangent.alignment_error(case.A, case.B, case.G)
    near(error, (case.step(case.solve()) - case.G).norm())
    P_A = torch.linalg.pinv(case.A) @ case.A
    P_B = case.B @ torch.linalg.pinv(case.B)
    near(error, ((EYE(M) - P_B) @ case.G @ (EYE(N) - P_A)).norm())


@pytest.mark.parametrize("gauge", GAUGES)
def test_norm_of_the_projection_from_the_factors_gradients(case: Case, gauge: Gauge) -> None:
    H = case.solve(gauge)
    square = tangent.projected_square(H, case.grad_A, case.grad_B)
    near(square, case.step(H).square().sum())
    f = frames(case.A, case.B)
    near(S * tangent.tangent_norm(f, H), square.sqrt())
    near(tangent.product_norm(H), (H.B @ H.A).norm())


@pytest.mark.parametrize("gauge", ["zero", "symmetric"])
def test_step_is_independent_of_the_factorisation(
    case: Case, gauge: Gauge, generator: torch.Generator
) -> None:
    """(B Q, Q⁻¹ A) gives (H_B Q, Q⁻¹ H_A), and the same new weight to all orders."""
    Q = torch.randn(R, R, generator=generator, dtype=torch.float64)
    check_equivariance(case, gauge, Q)


def test_sylvester_step_is_independent_of_rotations_only(
    case: Case, generator: torch.Generator
) -> None:
    Q = torch.randn(R, R, generator=generator, dtype=torch.float64)
    check_equivariance(case, "sylvester", torch.linalg.qr(Q)[0])
    with pytest.raises(AssertionError):
        check_equivariance(case, "sylvester", Q)


def check_equivariance(case: Case, gauge: Gauge, Q: Tensor) -> None:
    other = Case()
    other.A, other.B = torch.linalg.inv(Q) @ case.A, case.B @ Q
    H, K = case.solve(gauge), other.solve(gauge)
    near(K.A, torch.linalg.inv(Q) @ H.A, 1e-8)
    near(K.B, H.B @ Q, 1e-8)
    eta = 0.3
    near((other.B - eta * K.B) @ (other.A - eta * K.A), (case.B - eta * H.B) @ (case.A - eta * H.A))


@pytest.mark.parametrize(("m", "n"), [(3, 7), (9, 3)])
def test_full_rank_follows_the_gradient_exactly(m: int, n: int) -> None:
    """r = min(m, n): Ĝ = G, and to first order the step is that of full fine-tuning."""
    case = Case(m, n)
    H = case.solve()
    near(case.step(H), case.G)
    errors = []
    for eta in (1e-3, 1e-4):
        B, A = case.B - eta * H.B, case.A - eta * H.A
        errors.append((S * (B @ A - case.B @ case.A) + eta * case.G).norm())
    near(errors[0] / errors[1], torch.tensor(100.0, dtype=torch.float64), 1e-5)


def test_more_columns_than_rows_allow() -> None:
    """r > m: still a minimiser, as the pseudo-inverse has it."""
    case = Case(2, 7, 3)
    for gauge in GAUGES:
        near(case.step(case.solve(gauge)), case.G)


@pytest.mark.parametrize("gauge", GAUGES)
def test_small_steps_descend(case: Case, gauge: Gauge) -> None:
    """dL = −η(⟨G_A, H_A⟩ + ⟨G_B, H_B⟩) = −η‖Ĝ‖² for L = ⟨G, W⟩."""
    H, eta = case.solve(gauge), 1e-6
    change = S * (((case.B - eta * H.B) @ (case.A - eta * H.A) - case.B @ case.A) * case.G).sum()
    near(change / -eta, case.step(H).square().sum(), 1e-4)


@pytest.mark.parametrize("gauge", GAUGES)
@pytest.mark.parametrize("zero", ["A", "B"])
def test_a_zero_factor_leaves_all_to_its_partner(gauge: Gauge, zero: str) -> None:
    case = Case()
    setattr(case, zero, torch.zeros_like(getattr(case, zero)))
    H = case.solve(gauge)
    assert getattr(H, "B" if zero == "A" else "A").abs().max() == 0
    near(case.step(H), case.step(case.least_squares()))
    if zero == "B":
        near(case.step(H), case.G @ torch.linalg.pinv(case.A) @ case.A)


@pytest.mark.parametrize("gauge", GAUGES)
def test_a_factor_of_lower_rank(gauge: Gauge) -> None:
    case = Case()
    case.B[:, 2] = case.B[:, 0] - 2 * case.B[:, 1]
    near(case.step(case.solve(gauge)), case.step(case.least_squares()), 1e-8)


def test_both_factors_zero() -> None:
    case = Case()
    case.A.zero_()
    case.B.zero_()
    for gauge in GAUGES:
        assert all(h.abs().max() == 0 for h in case.solve(gauge))


def test_damping_shrinks_and_vanishes(case: Case) -> None:
    exact = case.solve("zero")
    norms = [case.solve("zero", damping).B.norm() for damping in (1e-1, 1e-3, 1e-12)]
    assert norms[0] < norms[1] < norms[2] <= exact.B.norm() * (1 + 1e-9)
    near(case.solve("zero", 1e-12).B, exact.B, 1e-8)
    # relative: scaling a factor scales the answer
    other = Case()
    other.A = 100 * case.A
    near(other.solve("zero", 1e-2).A, case.solve("zero", 1e-2).A)


def test_stacks_are_their_members() -> None:
    cases = [Case(seed=seed) for seed in range(3)]
    for gauge in GAUGES:
        together = minimisers(
            *(torch.stack([getattr(c, name) for c in cases]) for name in "AB"),
            torch.stack([c.grad_A for c in cases]),
            torch.stack([c.grad_B for c in cases]),
            S,
            gauge,
        )
        for i, case in enumerate(cases):
            near(together.A[i], case.solve(gauge).A)
            near(together.B[i], case.solve(gauge).B)


def test_half_precision_factors_are_solved_in_single() -> None:
    """An ill-conditioned bfloat16 factor: its Gram matrix in bfloat16 would be noise."""
    case = Case(200, 150, 8)
    case.B = case.B * torch.logspace(0, -3, 8, dtype=torch.float64)
    low = [x.bfloat16() for x in (case.A, case.B)]
    case.A, case.B = (x.double() for x in low)
    H = minimisers(low[0], low[1], case.grad_A.float(), case.grad_B.float(), S)
    assert H.A.dtype == torch.float32
    exact = case.step(case.solve())
    assert (case.step(Directions(H.A.double(), H.B.double())) - exact).norm() < 1e-4 * exact.norm()


def test_unknown_gauges_are_named(case: Case) -> None:
    with pytest.raises(ValueError, match=r"gauge must be one of .* got 'none'"):
        case.solve("none")  # type: ignore[arg-type]


def test_norms_of_stacks_are_those_of_their_members() -> None:
    cases = [Case(seed=seed) for seed in range(3)]
    A, B = (torch.stack([getattr(c, name) for c in cases]) for name in ("A", "B"))
    steps = [case.solve() for case in cases]
    D = Directions(torch.stack([H.A for H in steps]), torch.stack([H.B for H in steps]))
    near(
        tangent.tangent_norm(frames(A, B), D),
        torch.stack([(c.B @ H.A + H.B @ c.A).norm() for c, H in zip(cases, steps, strict=True)]),
    )
    near(tangent.product_norm(D), torch.stack([(H.B @ H.A).norm() for H in steps]))
