"""A linear operator as a bilinear form on sampled points.

To learn singular functions of T : L²(X, μ) → L²(Y, ν) one only needs ⟨g|Tf⟩ and inner products
(Ryu et al. 2024, sec. 3.3). A form says how to sample points, and how to estimate ⟨g_i|T f_j⟩ from
the jets of f and g there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.identity import Described
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Measure, Points

MOST_POINTS = 2**14
"""Of a quadrature: finer ones take minutes where features are many, and give no digits."""


@dataclass(frozen=True)
class Sample:
    """Points of the domain X (for f) and of the codomain Y (for g).

    ``y is x`` means that both functions are evaluated at the same points, as every pointwise
    operator needs.
    """

    x: Points
    y: Points

    @property
    def shared(self) -> bool:
        return self.y is self.x

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> Sample:
        x = self.x.to(device, dtype)
        return Sample(x, x if self.shared else self.y.to(device, dtype))


def inner(u: Tensor, v: Tensor, weight: Tensor) -> Tensor:
    """Σ_b weight_b u_i(x_b)·v_j(x_b), all axes after the first two being components.

    Args:
        u: (B, L, …), v: (B, L', …), weight: (B,).

    Returns:
        (L, L'). Used for values, and for gradients (B, L, d) alike.
    """
    if u.ndim > 2:
        u, v = (t.flatten(2).movedim(2, 0) for t in (u, v))
    weighted = (u * weight[:, None]).reshape(-1, u.shape[-1])
    return weighted.T @ v.reshape(-1, v.shape[-1])


class Form(Described, ABC):
    """T : L²(X, μ) → L²(Y, ν). Subclasses write :meth:`sample`, :meth:`matrix` and perhaps more.

    Forms are combined by plain Python operators: ``T + 16.0`` adds 16 times the identity,
    ``2 * T``, ``-T``, ``T / 3``, ``S + T`` and ``S - T`` are what they say.

    Attributes:
        order: derivatives of f that :meth:`matrix` needs (0: values, 1: weak form, 2: strong form).
            Of g it may use values and, from order 1 on, gradients.
        left_order: derivatives of g that it does use; default 1 if ``order`` ≥ 1. Say 0 in a strong
            form, whose training steps are then much cheaper.
        self_adjoint: True if known, False if known not to be, None if it is to be measured.
        one_space: whether f and g are functions on one space.
        additive: whether :meth:`matrix` is a sum over points, so that points may come in chunks.
        repeatable: whether the same generator draws the same points again; False where randomness
            comes from elsewhere, as from a loader.
        solving_points: random points for a closed-form solution, where there is no quadrature.
    """

    order: int = 0
    left_order: int | None = None
    self_adjoint: bool | None = None
    one_space: bool = True
    additive: bool = True
    repeatable: bool = True
    solving_points: int = 2**13

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Sample:
        """About ``n`` random points on each side."""

    @abstractmethod
    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        """Unbiased estimate of ⟨g_i | T f_j⟩, shape (L, L'), from jets at the sample's points."""

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """(T f)(y) at the sample's points of Y, shape (B, L, …), where T acts pointwise."""
        raise NotImplementedError(
            f"{type(self).__name__} has no pointwise action: it is known only as a bilinear form"
        )

    def evaluation(self, n: int | None = None) -> Sample:
        """Fixed points to judge results on."""
        return self.sample(n or 2**14, torch.Generator().manual_seed(20240721))

    def quadrature(self) -> Sample | None:
        """Points on which :meth:`matrix` is exact for all practical purposes, where there are."""
        return None

    def solving(self, generator: torch.Generator) -> tuple[Sample, Sample]:
        """Points to solve on in closed form, the quadrature if there is one, and other points to
        judge the solution on."""
        exact = self.quadrature()
        first = self.sample(self.solving_points, generator) if exact is None else exact
        return first, self.sample(self.solving_points, generator)

    def orders(self) -> tuple[int, int]:
        """The derivatives of f and of g that :meth:`matrix` needs."""
        return self.order, min(self.order, 1) if self.left_order is None else self.left_order

    @property
    def unshifted(self) -> Form:
        """The form without multiples of the identity that were added to it."""
        return self

    @property
    def offset(self) -> float:
        """The multiple of the identity that was added to it."""
        return 0.0

    def __add__(self, other: Form | float) -> Form:
        if isinstance(other, Form):
            return _Sum(self, other)
        return _Shifted(self, float(other))

    __radd__ = __add__

    def __mul__(self, factor: float) -> Form:
        return _Scaled(self, float(factor))

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> Form:
        return self * (1 / factor)

    def __neg__(self) -> Form:
        return self * -1.0

    def __sub__(self, other: Form | float) -> Form:
        return self + (-other)


class PointwiseForm(Form):
    """A form on one space whose functions meet at the same points of one measure."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        points = self.measure.sample(n, generator)
        return Sample(points, points)

    def evaluation(self, n: int | None = None) -> Sample:
        points = self.measure.evaluation(n)
        return Sample(points, points)

    def quadrature(self) -> Sample | None:
        points = self.measure.rule()
        return None if points is None or len(points) > MOST_POINTS else Sample(points, points)


class _Derived(Form):
    def __init__(self, base: Form) -> None:
        self.base = base
        self.order, self.left_order = base.orders()
        self.self_adjoint = base.self_adjoint
        self.one_space = base.one_space
        self.additive = base.additive
        self.repeatable = base.repeatable
        self.solving_points = base.solving_points

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        return self.base.sample(n, generator)

    def evaluation(self, n: int | None = None) -> Sample:
        return self.base.evaluation(n)

    def quadrature(self) -> Sample | None:
        return self.base.quadrature()

    def solving(self, generator: torch.Generator) -> tuple[Sample, Sample]:
        return self.base.solving(generator)


class _Scaled(_Derived):
    def __init__(self, base: Form, factor: float) -> None:
        super().__init__(base)
        self.factor = factor

    @property
    def unshifted(self) -> Form:
        return self.base.unshifted * self.factor

    @property
    def offset(self) -> float:
        return self.base.offset * self.factor

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        return self.factor * self.base.matrix(g, f, sample)

    def action(self, f: Jet, sample: Sample) -> Tensor:
        return self.factor * self.base.action(f, sample)


class _Shifted(_Derived):
    """T + c: adds c⟨g|f⟩, so f and g must meet at the same points (paper, E.1.2)."""

    def __init__(self, base: Form, shift: float | Tensor) -> None:
        super().__init__(base)
        self.shift = shift

    @property
    def unshifted(self) -> Form:
        return self.base.unshifted

    @property
    def offset(self) -> float:
        return self.base.offset + float(self.shift)

    def _check(self, sample: Sample) -> None:
        if not sample.shared:
            raise ValueError(
                "cannot add a multiple of the identity: this form evaluates f and g at different "
                "points. For a matrix add it to the matrix; for a kernel sample all points at once"
            )

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        self._check(sample)
        identity = inner(g.value, f.value, sample.x.weight)
        return self.base.matrix(g, f, sample) + self.shift * identity

    def action(self, f: Jet, sample: Sample) -> Tensor:
        self._check(sample)
        return self.base.action(f, sample) + self.shift * f.value


def shifted(form: Form, shift: float | Tensor) -> Form:
    """T + shift; the shift may be a tensor of no axes, which stays on its device."""
    return _Shifted(form, shift)


class _Sum(_Derived):
    def __init__(self, first: Form, second: Form) -> None:
        super().__init__(first)
        self.second = second
        self.order = max(first.order, second.order)
        self.left_order = max(first.orders()[1], second.orders()[1])
        self.additive = first.additive and second.additive
        self.repeatable = first.repeatable and second.repeatable
        both = {first.self_adjoint, second.self_adjoint}
        self.self_adjoint = True if both == {True} else None
        if not _same_points(first, second):
            raise ValueError("forms can be added only over one measure: build both from the same "
                             "measure object")  # fmt: skip

    @property
    def unshifted(self) -> Form:
        return self.base.unshifted + self.second.unshifted

    @property
    def offset(self) -> float:
        return self.base.offset + self.second.offset

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        return self.base.matrix(g, f, sample) + self.second.matrix(g, f, sample)

    def action(self, f: Jet, sample: Sample) -> Tensor:
        return self.base.action(f, sample) + self.second.action(f, sample)


def _same_points(first: Form, second: Form) -> bool:
    def root(form: Form) -> Form:
        return root(form.base) if isinstance(form, _Derived) else form

    a, b = root(first), root(second)
    if a is b:
        return True
    spaces = [
        tuple(getattr(q, name, None) for name in ("measure", "domain", "codomain")) for q in (a, b)
    ]
    return any(m is not None for m in spaces[0]) and all(
        p is q for p, q in zip(*spaces, strict=True)
    )
