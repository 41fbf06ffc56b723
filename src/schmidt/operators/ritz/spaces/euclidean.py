"""Functions on R^d: bound states, cusps at a Coulomb centre, L² of a normal law."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from schmidt.operators.jet import Function, Jet, JetModule
from schmidt.operators.measures import (
    Affine,
    Gaussian,
    Lebesgue,
    Measure,
    Points,
    Proposal,
    Radial,
    UniformBox,
    Weighted,
)
from schmidt.operators.measures.measure import Field, evaluate
from schmidt.operators.networks import (
    BoundedInputs,
    ExponentialEnvelope,
    Factor,
    GaussianEnvelope,
)
from schmidt.operators.ritz.spaces.space import (
    VIOLATION,
    FeatureChoice,
    Frame,
    Space,
    listed,
    seen,
    square,
    vector,
)
from schmidt.operators.ritz.weyl import Region


class EuclideanSpace(Space):
    """Smooth functions on R^d that decay, in coordinates z with x = centre + A z.

    Args:
        dim: d.
        centre: middle of the states; number or (d,).
        lengths: A: a number, one per axis, or (d, d): the size of the lowest state, such that in z
            its position and momentum spread alike.
        reach: how far the states extend, in units of z.
        spread: standard deviation of the Gaussian that draws points, in units of z.
        density: functions are in L²(density dx).
        factor: (B, d) → (B, 1) or (B,), a known factor of all functions (a stationary density,
            say) that brings their decay; Gaussian envelopes if None.
    """

    def __init__(
        self,
        dim: int,
        *,
        centre: float | Sequence[float] | Tensor = 0.0,
        lengths: float | Sequence[float] | Tensor = 1.0,
        reach: float = 4.0,
        spread: float | None = None,
        density: Field | None = None,
        factor: Function | None = None,
    ) -> None:
        super().__init__(dim, density)
        self.factor = None if factor is None else _column(factor)
        self.centre = vector(centre, dim, "the centre")
        self.lengths = square(lengths, dim, "the lengths")
        if not reach > 0:
            raise ValueError(f"the reach must be positive, got {reach}")
        self.reach = float(reach)
        self.spread = float(spread or (1.1 if self.accurate else max(0.75, reach / 4)))
        if factor is not None:
            self.ladders = (("scale", 1.8), ("gain", 1.6))
            return
        more = ("envelopes", 1.4) if self.accurate else ("points", 2.0)
        self.ladders = (("scale", 1.8), ("gain", 1.6), ("decay", 1.2), more)

    @classmethod
    def of(cls, found: Region) -> EuclideanSpace:
        lengths = found.lengths
        z = torch.linalg.solve(lengths, found.covariance) @ torch.linalg.inv(lengths)
        dim = len(found.centre)
        reach = math.sqrt(float(z.diagonal().mean()) * (2 * dim + 2))
        return cls(dim, centre=found.centre, lengths=lengths, reach=reach)

    def start(self, modes: int) -> FeatureChoice:
        if self.accurate:
            per_axis = modes ** (1 / self.dim)  # oscillations of the last mode, about
            rough = max(1.0, per_axis / 8)
            return FeatureChoice(
                width=max(24, round(3 * per_axis)),
                points=max(600, round(60 * per_axis)) if self.dim == 1 else 2000,
                gain=rough,
                decay=1 / rough,
                envelopes=3,
            )
        return FeatureChoice(width=max(96, 3 * modes), points=4096, scale=3.0, gain=0.5)

    def inputs(self, choice: FeatureChoice) -> JetModule:
        inner = BoundedInputs(self.dim, [choice.scale * self.reach], cusp=False)
        return Frame(inner, self.centre, self.lengths)

    def envelopes(self, choice: FeatureChoice) -> JetModule:
        if self.factor is not None:
            return Factor(self.factor)
        middle = (choice.envelopes - 1) / 2
        rates = [choice.decay * 2 ** ((m - middle) / 3) for m in range(choice.envelopes)]
        return Frame(GaussianEnvelope(rates, learn=False), self.centre, self.lengths)

    def proposal(self) -> Proposal:
        return Affine(Gaussian(self.spread, self.dim), self.centre, self.lengths)

    def independent(self, n: int, generator: torch.Generator) -> Points:
        if self.dim > 2:
            return super().independent(n, generator)
        # decaying functions are integrated to many digits by grids with random shifts; tails that
        # leave the box are seen by points beyond it, as far out as there is anything
        inner = self._box("lattice").sample(n, generator)
        outer = self._beyond(max(64, n // 8), generator)
        return Points(torch.cat([inner.x, outer.x]), torch.cat([inner.weight, outer.weight]))

    def _beyond(self, n: int, generator: torch.Generator) -> Points:
        """Points outside the box, in z at distances r > side with density side/r²; unbiased."""
        side = self.reach + 4.5
        u = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
        r = side / (1 - u).clamp_min(1e-9)
        direction = torch.randn(n, self.dim, generator=generator, dtype=torch.float64)
        z = r[:, None] * torch.nn.functional.normalize(direction, dim=1)
        sphere = 2 * math.pi ** (self.dim / 2) / math.gamma(self.dim / 2)
        weight = sphere * r ** (self.dim + 1) / side / n * float(torch.det(self.lengths))
        x = self.centre + z @ self.lengths.T
        if self.density is not None:
            weight = weight * evaluate(self.density, x, "the density")
        keep = z.abs().amax(1) > side
        return Points(x[keep], weight[keep])

    def violations(self, features: Function, mix: Tensor) -> list[str]:
        """Functions must decay."""
        if self.density is not None:
            return []
        generator = torch.Generator().manual_seed(6)
        direction = torch.randn(256, self.dim, generator=generator, dtype=torch.float64)
        direction = torch.nn.functional.normalize(direction, dim=1) @ self.lengths.T
        near = seen(features, mix, self.fresh(512, generator).x).abs().amax(0)
        bad = torch.zeros(len(near), dtype=torch.bool)
        for far in (1e2, 1e3, 1e4):
            at = seen(features, mix, self.centre + far * (self.reach + 4.5) * direction)
            bad |= ~(at.abs().amax(0) <= VIOLATION * near)
        if not bool(bad.any()):
            return []
        return [f"functions {listed(bad)} do not decay: they are not in L² of the whole space"]

    def rule(self, n: int) -> Points:
        if self.dim > 1:
            return super().rule(n)
        found = self._box().rule(n)
        assert found is not None
        return found

    def _box(self, sampling: str | None = None) -> Measure:
        side = self.reach + 4.5
        box = Affine(UniformBox(-side, side, self.dim), self.centre, self.lengths)
        plain = Lebesgue(box, sampling)
        return plain if self.density is None else Weighted(plain, self.density)

    def refocused(self, points: Points, states: Jet) -> Space:
        """Lengths A with AAᵀ = X # P⁻¹, the geometric mean of the states' covariances of position
        and inverse momentum, so that in z both are alike; exact for coupled oscillators."""
        if self.accurate:
            return self
        w, modes = points.weight, states.value.shape[1]
        norm = (w @ states.value.pow(2)) * modes
        density = (states.value.pow(2) / norm).sum(1) * w
        centre = density @ points.x
        x = points.x - centre
        position = x.T @ (density[:, None] * x)
        slopes = (states.gradient / norm.sqrt()[:, None]) * w.sqrt()[:, None, None]
        flat = slopes.reshape(-1, self.dim)
        lengths = _root(_geometric_mean(position, torch.linalg.inv(flat.T @ flat)))
        inverse = torch.linalg.inv(lengths)
        spread = float((inverse @ position @ inverse).diagonal().mean().sqrt())
        again = EuclideanSpace(
            self.dim,
            centre=centre,
            lengths=lengths,
            reach=self.reach,
            spread=spread,
            density=self.density,
            factor=self.factor,
        )
        again.remarks = self.remarks
        return again


class _Column:
    """A function that may give (B,) as one that gives (B, 1)."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, x: Tensor) -> Tensor:
        values = self.function(x)
        return values[:, None] if values.ndim == 1 else values


def _column(function: Function) -> Function:
    own = hasattr(function, "jet") or isinstance(function, _Column)
    return function if own else _Column(function)


def _root(matrix: Tensor, power: float = 0.5) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(1e-300).pow(power)) @ vectors.T


def _geometric_mean(a: Tensor, b: Tensor) -> Tensor:
    """A # B = A^½ (A^−½ B A^−½)^½ A^½."""
    root, inverse = _root(a), _root(a, -0.5)
    return root @ _root(inverse @ b @ inverse) @ root


class CoulombSpace(Space):
    """Bound states around a Coulomb singularity −Z/|x − centre|, d ≥ 2.

    Features may have a cusp at the centre; that of the solutions is imposed.

    Args:
        dim: d.
        radius: classical radius of the outermost state.
        charge: Z over the kinetic factor: the innermost state decays like e^{−Zr/(d−1)}.
        centre: number or (d,).
    """

    ladders: tuple[tuple[str, float], ...] = (("scale", 1.8), ("gain", 1.6), ("decay", 1.5))

    def __init__(
        self,
        dim: int,
        radius: float,
        charge: float = 1.0,
        *,
        centre: float | Sequence[float] | Tensor = 0.0,
    ) -> None:
        super().__init__(dim)
        self.centre = vector(centre, dim, "the centre")
        if dim < 2 or not radius > 0:
            raise ValueError(f"need dim ≥ 2 and a positive radius, got {dim} and {radius}")
        self.radius, self.charge = float(radius), abs(float(charge))

    def start(self, modes: int) -> FeatureChoice:
        return (
            FeatureChoice(width=24, points=3000, envelopes=5)
            if self.accurate
            else FeatureChoice(96, 4096, envelopes=4)
        )

    def inputs(self, choice: FeatureChoice) -> JetModule:
        outer = choice.scale * self.radius
        return self._centred(BoundedInputs(self.dim, [outer / 3, 4 * outer / 3], cusp=True))

    def _centred(self, module: JetModule) -> JetModule:
        if not bool(self.centre.any()):
            return module
        return Frame(module, self.centre, torch.eye(self.dim, dtype=torch.float64))

    def envelopes(self, choice: FeatureChoice) -> JetModule:
        low = 4 / self.radius
        high = max(0.8 * self.charge / (self.dim - 1), 4 * low)
        rates = torch.logspace(math.log10(low), math.log10(high), choice.envelopes)
        return self._centred(ExponentialEnvelope(choice.decay * rates, learn=False))

    def proposal(self) -> Proposal:
        around = Radial(self.dim, scale=self.radius / 16, outer=2.5 * self.radius)
        if not bool(self.centre.any()):
            return around
        return Affine(around, self.centre, torch.eye(self.dim, dtype=torch.float64))

    def per_axis(self, n: int) -> int:
        angles = {2: 0.4, 3: 0.25 * 0.5}.get(self.dim, 1.0)
        return max(8, round((n / angles) ** (1 / self.dim)))

    def singularities(self) -> Tensor:
        return self.centre[None]


WIDER = 1.5


class NormalSpace(Space):
    """L²(N(mean, covariance)): functions that may grow like polynomials.

    Args:
        dim: d.
        mean: number or (d,).
        covariance: number, or (d, d).
    """

    ladders: tuple[tuple[str, float], ...] = (("scale", 1.8), ("gain", 1.6))

    def __init__(
        self,
        dim: int,
        *,
        mean: float | Sequence[float] | Tensor = 0.0,
        covariance: float | Tensor = 1.0,
    ) -> None:
        self.mean = vector(mean, dim, "the mean")
        self.covariance = square(covariance, dim, "the covariance")
        root, info = torch.linalg.cholesky_ex(self.covariance)
        if int(info):
            raise ValueError("the covariance must be positive definite")
        self.root = root
        # points spread wider than the law, for functions that grow
        super().__init__(dim, self._density)
        if not self.accurate:
            self.ladders = (*self.ladders, ("points", 2.0))

    def _density(self, x: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(self.root.to(x), (x - self.mean.to(x)).T, upper=False)
        volume = float(self.root.diagonal().prod()) * (2 * math.pi) ** (self.dim / 2)
        return (-0.5 * z.pow(2).sum(0)).exp() / volume

    def start(self, modes: int) -> FeatureChoice:
        if self.accurate:
            return FeatureChoice(width=32, points=1500, scale=2.0)
        return FeatureChoice(width=96, points=4096, scale=3.0, gain=0.5)

    def inputs(self, choice: FeatureChoice) -> JetModule:
        inner = BoundedInputs(self.dim, [4 * choice.scale], cusp=False)
        return Frame(inner, self.mean, self.root)

    def envelopes(self, choice: FeatureChoice) -> None:
        return None

    def proposal(self) -> Proposal:
        return Affine(Gaussian(WIDER, self.dim), self.mean, self.root)
