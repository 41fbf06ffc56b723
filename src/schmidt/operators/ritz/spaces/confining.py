"""Which space holds the bound states of a potential; the line, where no search is needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.operators.measures import Points
from schmidt.operators.measures.measure import Field, evaluate
from schmidt.operators.ritz import line
from schmidt.operators.ritz.elements import EndlessLineError
from schmidt.operators.ritz.spaces.euclidean import CoulombSpace, EuclideanSpace
from schmidt.operators.ritz.spaces.space import Space
from schmidt.operators.ritz.weyl import EndlessError, all_scales, region

NODES = 2 * line.DEGREE
WALL = 1e150
POLES = 12
"""Low points from which V is followed downwards."""


def confining(
    potential: Any,
    dim: int,
    modes: int,
    *,
    kinetic: float = 1.0,
    extent: float | None = None,
) -> Space:
    """The space of the lowest ``modes`` bound states of −κ∇² + V.

    In one dimension V is looked at everywhere and the states are found by elements: a
    :class:`LineSpace`. Else by Weyl's law: a potential that grows like −Z/|x| towards the origin
    gets a :class:`CoulombSpace`, any other a :class:`EuclideanSpace`.

    Raises:
        ValueError: V has fewer bound states, none at all, or is not finite; the message says which.
    """
    potential = scalar_field(potential, dim)
    if modes < 1 or not kinetic > 0 or not (extent is None or extent > 0):
        raise ValueError(
            "need at least one state, a positive kinetic factor and a positive extent, got "
            f"{modes}, {kinetic} and {extent}"
        )
    if dim == 1:
        try:
            return LineSpace(potential, modes, kinetic=kinetic, extent=extent)
        except EndlessLineError as endless:
            try:  # a well from which states leak out, perhaps
                found = region(potential, dim, modes, kinetic=kinetic, extent=extent)
            except EndlessError:
                raise endless from None
        centre = torch.zeros(1, dtype=torch.float64)
    else:
        centre = coulomb_centre(potential, dim, extent)
        around = _moved(potential, centre) if bool(centre.any()) else potential
        found = region(around, dim, modes, kinetic=kinetic, extent=extent)
    space: Space
    if found.charge and dim > 1:
        space = CoulombSpace(dim, found.radius, charge=found.charge / kinetic, centre=centre)
    else:
        space = EuclideanSpace.of(found)
    if found.leaks:
        space.remarks = (
            "the potential falls below these energies again further out, so these are states of "
            f"the inner well, within about {found.radius:.3g}, that leak out: resonances, whose "
            "energies have a width",
        )
    return space


def _moved(potential: Field, centre: Tensor) -> Field:
    return lambda x: potential(x + centre.to(x))


def coulomb_centre(potential: Field, dim: int, extent: float | None) -> Tensor:
    """The point, away from the origin, towards which V falls without end; (d,), zero if none does.

    Raises:
        ValueError: V falls without end at several points, or on a whole line or surface: no space
            of this solver has functions for that.
    """
    here = torch.zeros(dim, dtype=torch.float64)
    x = all_scales(dim, extent)[0]
    v = evaluate(potential, x, "the potential").double()
    v = v.nan_to_num(math.inf, posinf=math.inf, neginf=-math.inf)
    typical = v[v.isfinite()].abs().median() if bool(v.isfinite().any()) else v.new_ones(())
    poles: list[Tensor] = []
    for start in x[v.argsort()[:POLES]]:
        pole = _pole(potential, start, float(typical))
        if pole is not None and all(
            (pole - known).norm() > 1e-6 * (1 + pole.norm()) for known in poles
        ):
            poles.append(pole)
    away = [pole for pole in poles if float(pole.norm()) > 1e-6 * float(x.norm(dim=1).median())]
    if not away:
        return here
    if len(poles) > 1:
        raise ValueError(
            "the potential falls without end at several points, or along lines or surfaces: the "
            "Ritz solver knows one such centre. Several nuclei, or electrons that each meet a "
            "nucleus, want a method made for them"
        )
    return away[0]


def _pole(potential: Field, start: Tensor, typical: float) -> Tensor | None:
    """Where V falls without end near a point: by a search that halves its step."""
    dim = len(start)
    step = 0.3 * float(start.norm()) + 1e-3
    best, lowest = start, float(evaluate(potential, start[None], "the potential"))
    generator = torch.Generator().manual_seed(2)
    deep = []
    while step > 1e-11 * (1 + float(best.norm())):
        for _ in range(3):
            u = torch.randn(24, dim, generator=generator, dtype=torch.float64)
            near = best + step * u / math.sqrt(dim)
            v = (
                evaluate(potential, near, "the potential")
                .double()
                .nan_to_num(math.inf, neginf=-1e300)
            )
            i = int(v.argmin())
            if float(v[i]) < lowest:
                best, lowest = near[i], float(v[i])
        deep.append(lowest)
        step /= 2
    if not (len(deep) > 16 and lowest < -1e4 * (1 + typical) and deep[-1] < 8 * min(deep[-9], 0.0)):
        return None
    rounded = torch.round(best, decimals=8)
    return rounded if float((rounded - best).norm()) < 1e-7 * (1 + float(best.norm())) else best


class LineSpace(EuclideanSpace):
    """The lowest bound states of −κu″ + Vu on the line, found by elements that fit V.

    Args:
        potential: V.
        modes: how many states.
        kinetic: κ.
        extent: look no further than three times this from the origin.

    Attributes:
        found: energies, functions and elements.
        kinetic_energy: the largest kinetic energy, about, that the states have.
    """

    def __init__(
        self,
        potential: Field,
        modes: int,
        *,
        kinetic: float = 1.0,
        extent: float | None = None,
    ) -> None:
        self.potential, self.kinetic, self.extent = potential, kinetic, extent
        self.found = line.lowest(on_the_line(potential), modes, kinetic=kinetic, extent=extent)
        x, w = (torch.from_numpy(a.ravel()) for a in self.found.elements.rule(NODES))
        jet = self.found.functions.jet(x[:, None], 1)
        density = (jet.value[:, :modes] ** 2).mean(1) * w
        centre = float(density @ x / density.sum())
        spread = float(density @ (x - centre) ** 2 / density.sum())
        momentum = float((jet.gradient[:, :modes, 0] ** 2).mean(1) @ w / density.sum())
        self.kinetic_energy = 3 * kinetic * momentum
        length = (spread / momentum) ** 0.25
        reach = math.sqrt(4 * spread) / length
        super().__init__(1, centre=centre, lengths=length, reach=reach)

    def states(self, modes: int) -> line.States:
        """At least so many states, found again if there were fewer."""
        known = self.found
        if len(known.energies) < modes:
            known = line.lowest(
                on_the_line(self.potential), modes, kinetic=self.kinetic, extent=self.extent
            )
        return known

    def rule(self, n: int) -> Points:
        nodes = max(NODES, math.ceil(n / len(self.found.elements)))
        x, w = self.found.elements.rule(min(nodes, 64))
        return Points(torch.from_numpy(x.reshape(-1, 1)), torch.from_numpy(w.ravel()))

    def fresh(self, n: int, generator: torch.Generator) -> Points:
        return self.independent(n, generator)

    def independent(self, n: int, generator: torch.Generator) -> Points:
        """Random points, one in each of equal parts of every element, and on the rest of the
        line."""
        elements = self.found.elements
        parts = max(8, math.ceil(n / len(elements)))
        u = torch.rand(len(elements), parts, generator=generator, dtype=torch.float64)
        size = torch.from_numpy(elements.size)[:, None]
        low = torch.from_numpy(elements.low)[:, None]
        x = low + size * (torch.arange(parts) + u) / parts
        w = (size / parts).expand_as(x)
        outside = self._outside(generator)
        return Points(
            torch.cat([x.reshape(-1, 1), outside.x]), torch.cat([w.reshape(-1), outside.weight])
        )

    def _outside(self, generator: torch.Generator, count: int = 64) -> Points:
        """Points beyond the elements and in the gaps between them."""
        elements = self.found.elements
        low, high = float(elements.low[0]), float(elements.high[-1])
        side = high - low
        u = (torch.arange(count) + torch.rand(count, generator=generator).double()) / count
        out = side * (1 / (1 - u) - 1)
        weight = side / (1 - u) ** 2 / count
        x, w = [low - out, high + out], [weight, weight]
        ends = zip(elements.high[:-1], elements.low[1:], strict=True)
        for a, b in ((a, b) for a, b in ends if b > a):
            t = torch.rand(count, generator=generator).double()
            x.append(a + (b - a) * t)
            w.append(torch.full_like(t, (b - a) / count))
        points = torch.cat(x)[:, None]
        # behind infinite walls there is nothing
        open_ = torch.from_numpy(on_the_line(self.potential)(points[:, 0].numpy()) < WALL)
        return Points(points[open_], torch.cat(w)[open_])


def on_the_line(potential: Field) -> Callable[[np.ndarray], np.ndarray]:
    """A field in one dimension as a function of numpy arrays (N,)."""

    def values(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            v = potential(torch.from_numpy(np.ascontiguousarray(x, dtype=float))[:, None])
        return np.broadcast_to(torch.as_tensor(v, dtype=torch.float64).numpy(), x.shape).copy()

    return values


class ScalarField:
    """A potential that was written for numpy, or for numbers, as a field of tensors (B, d)."""

    def __init__(self, function: Callable[[Any], Any], *, numpy: bool, column: bool) -> None:
        self.function, self.numpy, self.column = function, numpy, column
        self.__name__ = getattr(function, "__name__", "V")

    def __call__(self, x: Tensor) -> Tensor:
        given: Any = x.detach().cpu().numpy() if self.numpy else x
        v = torch.as_tensor(self.function(given)).to(x)
        return v[:, 0] if self.column else v


def scalar_field(potential: Any, dim: int) -> Field:
    """A potential, written with torch or with numpy, as points (B, d) → (B,).

    In one dimension (B, 1) is taken as well, so that ``lambda x: x**2`` will do.

    Raises:
        ValueError: it gives anything else.
        TypeError: it is not a function, or fails for tensors and for arrays.
    """
    if not callable(potential):
        raise TypeError(
            "a potential is a function of points (B, d), such as lambda x: (x**2).sum(1), or a "
            f"formula by schmidt.problems.formula, got {type(potential).__name__}"
        )
    if hasattr(potential, "enclose"):
        return potential
    x = torch.linspace(0.3, 0.9, 7, dtype=torch.float64)[:, None].repeat(1, dim)
    x = x + 0.01 * torch.arange(dim)
    numpy = False
    try:
        v = potential(x)
    except Exception as torch_error:
        try:
            v = potential(x.numpy())
        except Exception as error:
            raise TypeError(
                f"the potential fails for points of shape (7, {dim}), as tensor "
                f"({type(torch_error).__name__}: {torch_error}) and as numpy array "
                f"({type(error).__name__}: {error})"
            ) from error
        numpy = True
    shape = tuple(np.shape(v))
    column = dim == 1 and shape == (7, 1)
    if shape not in ((), (7,)) and not column:
        raise ValueError(
            f"the potential must map points (B, {dim}) to values (B,): it gave {shape} for points "
            f"(7, {dim})"
        )
    if not numpy and not column and (isinstance(v, Tensor) or shape == ()):
        return potential
    return ScalarField(potential, numpy=numpy or not isinstance(v, Tensor), column=column)
