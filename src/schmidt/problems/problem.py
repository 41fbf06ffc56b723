"""What a problem is: an operator, networks for it, and the exact answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from schmidt.operators.form import Form
from schmidt.operators.networks import DisjointMLP, SharedMLP
from schmidt.operators.ritz import Space
from schmidt.operators.training import Training

NETWORKS = ("disjoint", "shared")


@dataclass(frozen=True)
class ExactSpectrum:
    """The exact leading spectrum.

    Attributes:
        values: L → the L leading values of the form, shift included, descending; complex for some
            operators that are not self-adjoint, then by real part, equal ones by imaginary part.
        right: (points (N, d), L) → exact right functions (N, L), normalised in the problem's
            measure; None where they are not known in closed form.
        left: the same for left functions of a non-self-adjoint problem.
    """

    values: Callable[[int], np.ndarray]
    right: Callable[[np.ndarray, int], np.ndarray] | None = None
    left: Callable[[np.ndarray, int], np.ndarray] | None = None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An operator with everything needed to solve it and to judge the answer.

    Attributes:
        name, summary: for people.
        form: T, wanted modes on top.
        modes: default number of modes.
        network: (kind, modes) → right network, or (right, left) networks for an SVD; ``kind`` is
            "disjoint" or "shared". None if T is not self-adjoint: then the problem is one for the
            Ritz solver.
        training: default settings.
        exact: the exact spectrum; None where there is none.
        energy: value of T → physical energy; None where there is none.
        extent: (low, high) of the window for pictures, for functions of one or two coordinates;
            None on an index set and in more dimensions.
        whole: the window is the whole domain: there is nothing beyond it.
        zoom: show each level in a window of its own size, inside ``extent``.
        max_modes: the most modes that make sense; None for no limit.
        space: modes → where the functions live, for the Ritz solver; None for operators that do
            not act pointwise.
    """

    name: str
    summary: str
    form: Form
    modes: int
    network: Callable[[str, int], nn.Module | tuple[nn.Module, nn.Module]] | None
    exact: ExactSpectrum | None
    training: Training = field(default_factory=Training)
    energy: Callable[[np.ndarray], np.ndarray] | None = None
    extent: tuple[float, float] | None = None
    zoom: bool = False
    whole: bool = False
    max_modes: int | None = None
    space: Callable[[int], Space] | None = None

    def checked_modes(self, modes: int | None) -> int:
        """The number of modes asked for, or the default; refuses what makes no sense."""
        count = self.modes if modes is None else modes
        if count < 1:
            raise ValueError(f"the number of modes must be positive, got {count}")
        if self.max_modes is not None and count > self.max_modes:
            raise ValueError(f"{self.name} has at most {self.max_modes} modes, got {count}")
        return count

    def networks(
        self, kind: str = "disjoint", modes: int | None = None, *, seed: int = 0
    ) -> tuple[nn.Module, nn.Module | None]:
        """Freshly drawn (right, left) networks; ``left`` is None for eigenvalue problems."""
        if self.network is None:
            raise ValueError(
                f"{self.name} is a problem for the Ritz solver: its operator is not self-adjoint, "
                "and NeuralSVD learns eigenfunctions of self-adjoint operators only"
            )
        if kind not in NETWORKS:
            raise ValueError(f"unknown network {kind!r}; known: {', '.join(NETWORKS)}")
        count = self.checked_modes(modes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = self.network(kind, count)
        right, left = made if isinstance(made, tuple) else (made, None)
        return right, left


def by_level(level: Callable[[int], tuple[float, int]], count: int) -> np.ndarray:
    """The first ``count`` values of a spectrum given as n → (value, multiplicity)."""
    values: list[float] = []
    n = 0
    while len(values) < count:
        value, multiplicity = level(n)
        values += [value] * multiplicity
        n += 1
    return np.array(values[:count])


def trunk(
    kind: str,
    features: int,
    modes: int,
    *,
    disjoint: Sequence[int] = (32, 32),
    shared: Sequence[int] = (128, 128),
) -> DisjointMLP | SharedMLP:
    """One perceptron per function (kind "disjoint"), or one for all of them ("shared")."""
    if kind == "shared":
        return SharedMLP(features, modes, shared)
    return DisjointMLP(features, modes, disjoint)


def signed(value: float) -> str:
    """A number as a term of a sum: "+ 3", "− 3"."""
    return f"{'−' if value < 0 else '+'} {abs(value):g}"
