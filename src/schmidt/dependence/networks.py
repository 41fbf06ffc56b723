"""Networks of co-embeddings: inputs → hidden units → linear readout → cap on the norm."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.dependence.canonical import canonical
from schmidt.dependence.inputs import Inputs, Scales, input_maps
from schmidt.dependence.moments import CHUNK, Features, moments
from schmidt.dependence.rows import WeightedPairs
from schmidt.operators.jet import Jet
from schmidt.operators.networks import DisjointMLP
from schmidt.operators.pairs import ClassPairs, GivenPairs, PairSampler

START_RIDGE = 0.1
"""Of the linear solution that training starts from."""
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLPTrunk(nn.Module):
    """A perceptron with L outputs that are linear in its inputs and its last hidden units.

    Args:
        inputs: k.
        modes: L.
        hidden: widths.
        activation: "gelu", "relu", "silu" or "tanh".
        skip: whether the readout sees the inputs too.
        spread: scale of the random readout of hidden units, relative to 1/√width.

    Parameters are drawn from torch's global generator.
    """

    def __init__(
        self,
        inputs: int,
        modes: int,
        hidden: Sequence[int] = (1024,),
        *,
        activation: str = "gelu",
        skip: bool = True,
        spread: float = 1.0,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1 or modes < 1:
            raise ValueError(f"need modes ≥ 1 and hidden widths ≥ 1, got {modes} and {hidden}")
        sizes = [inputs, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]()
        self.inputs, self.modes, self.skip = inputs, modes, skip
        self.flags = int(hidden[0])
        self.units = sizes[-1] + inputs * skip
        self.readout = nn.Linear(self.units, modes)
        with torch.no_grad():
            nn.init.normal_(self.readout.weight, std=spread / sizes[-1] ** 0.5)
            nn.init.zeros_(self.readout.bias)
            self.readout.weight[:, : inputs * skip] = 0

    def features(self, z: Tensor, flag: Tensor | None = None) -> Tensor:
        """(B, k + units): what the outputs are linear combinations of."""
        h = z
        for i, layer in enumerate(self.layers):
            u = layer(h)
            h = self.activation(u if flag is None or i else u + flag)
        return torch.cat([z, h], 1) if self.skip else h

    def read(self, features: Tensor) -> Tensor:
        return self.readout(features)

    @torch.no_grad()
    def start_linear(self, mix: Tensor) -> None:
        """Begin at z @ mix, (k, L′ ≤ L), plus what the random hidden units give."""
        if self.skip:
            self.readout.weight[: mix.shape[1], : self.inputs] = mix.T.to(self.readout.weight)


class DisjointTrunk(nn.Module):
    """L separate perceptrons, for sequential nesting; settings as in ``DisjointMLP``."""

    def __init__(self, inputs: int, modes: int, hidden: Sequence[int] = (32, 32)) -> None:
        super().__init__()
        self.mlp = DisjointMLP(inputs, modes, tuple(hidden))
        self.inputs, self.modes, self.flags = inputs, modes, 0
        self.units = modes * hidden[-1]

    def features(self, z: Tensor, flag: Tensor | None = None) -> Tensor:
        return self.mlp.hidden(Jet.coordinates(z, 0))[0].flatten(1)

    def read(self, features: Tensor) -> Tensor:
        units = features.view(len(features), self.modes, -1)
        return torch.einsum("blu,luo->bl", units, self.mlp.readout)

    def start_linear(self, mix: Tensor) -> None:
        """There is nothing linear to begin with."""


class Tower(nn.Module):
    """f(x) = cap(trunk(inputs(x))), (B, …) → (B, L).

    Args:
        inputs: map of the items.
        trunk: ``features`` and ``read``; two towers may share one.
        cap: μ, the largest norm of f(x) over all modes (E.2); None for no cap.
        flag: whether this tower has a learned bias of its own in the first hidden layer: a flag
            that tells a shared trunk the domain.
    """

    def __init__(
        self, inputs: nn.Module, trunk: nn.Module, *, cap: float | None = 16.0, flag: bool = False
    ) -> None:
        super().__init__()
        if cap is not None and not cap > 0:
            raise ValueError(f"cap must be positive or None, got {cap}")
        self.inputs = inputs
        self.trunk: Any = trunk
        self.cap = cap
        size: int = getattr(trunk, "flags", 0)
        self.flag = nn.Parameter(0.1 * torch.randn(size)) if flag and size else None

    @property
    def units(self) -> int:
        """K, the number of :meth:`features`."""
        return self.trunk.units

    def features(self, x: Tensor) -> Tensor:
        """(B, K): what the outputs, before the cap, are linear combinations of."""
        return self.trunk.features(self.inputs(x), self.flag)

    def forward(self, x: Tensor) -> Tensor:
        return capped(self.trunk.read(self.features(x)), self.cap)


class Capped(nn.Module):
    """Any module (B, …) → (B, L) with a cap on the norm of its output."""

    def __init__(self, module: nn.Module, cap: float | None) -> None:
        super().__init__()
        self.module, self.cap = module, cap

    def forward(self, x: Tensor) -> Tensor:
        return capped(self.module(x), self.cap)


def capped(values: Tensor, cap: float | None) -> Tensor:
    """ScaledRows longer than ``cap`` shortened to it."""
    if cap is None:
        return values
    norm = values.norm(dim=1, keepdim=True)
    return values * (cap / norm.clamp_min(cap))


@dataclass(frozen=True)
class Prepared:
    """Networks to train, and on what.

    Attributes:
        right, left: networks of both domains.
        pairs: the law to train on, of mapped items if they all fit in memory;
        maps: the input maps of right and left that were taken out of the networks for that.
    """

    right: nn.Module
    left: nn.Module
    pairs: PairSampler
    maps: tuple[nn.Module, ...] = ()


def prepare(settings: Any, pairs: PairSampler) -> Prepared:
    """The networks that the settings of a CDK ask for."""
    if isinstance(settings.network, str):
        return _towers(settings, pairs)
    return Prepared(*blank(settings, {}), pairs)


def _towers(s: Any, pairs: PairSampler) -> Prepared:
    """Networks for both domains, started at the linear solution if they have a skip."""
    maps = input_maps(pairs, s.inputs, s.components, s.damping, shared=bool(s.share), scale=s.scale)
    ready = mapped(pairs, *maps)
    inside = maps if ready is None else (nn.Identity(), nn.Identity())
    trunks = [_trunk(s, maps[0].map.shape[1])]
    trunks.append(trunks[0] if s.share else _trunk(s, maps[1].map.shape[1]))
    if s.skip and s.network == "mlp":
        m = moments(pairs if ready is None else ready, *inside)
        linear = canonical(m, ridge=START_RIDGE, tied=bool(s.share)).truncate(s.modes)
        trunks[0].start_linear(linear.mix_f)
        if not s.share:
            trunks[1].start_linear(linear.mix_g)
    right, left = (
        Tower(inputs, trunk, cap=s.cap, flag=s.share == "flag")
        for inputs, trunk in zip(inside, trunks, strict=True)
    )
    return Prepared(right, left, pairs) if ready is None else Prepared(right, left, ready, maps)


def blank(settings: Any, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, nn.Module]:
    """Networks of the right shapes; the user's own are copied, with a cap put on."""
    s = settings
    if not isinstance(s.network, str):
        f, g = copy.deepcopy(tuple(s.network))
        return Capped(f, s.cap), Capped(g, s.cap)
    sides = []
    for name in ("right", "left"):
        centre, factor, map_ = (
            torch.empty_like(tensors[f"{name}.network.inputs.{k}"])
            for k in ("centre", "factor", "map")
        )
        sides.append(Inputs(Scales(centre, factor), map_))
    first = _trunk(s, sides[0].map.shape[1])
    second = first if s.share else _trunk(s, sides[1].map.shape[1])
    right, left = (
        Tower(inputs, trunk, cap=s.cap, flag=s.share == "flag")
        for inputs, trunk in zip(sides, (first, second), strict=True)
    )
    return right, left


def _trunk(s: Any, inputs: int) -> Any:
    if s.network == "mlp":
        return MLPTrunk(inputs, s.modes, s.hidden, activation=s.activation, skip=s.skip)
    return DisjointTrunk(inputs, s.modes, s.hidden)


@torch.no_grad()
def mapped(pairs: PairSampler, f: Features, g: Features) -> PairSampler | None:
    """The law of (f(x), g(y)), computed once; None where items do not lie in memory."""
    if isinstance(pairs, GivenPairs):
        x, y = _all(f, pairs.x), _all(g, pairs.y)
        if isinstance(pairs, WeightedPairs):
            return pairs.with_items(x, y)
        out = GivenPairs(x, y, pairs.weight)
        out.independent = pairs.independent
        return out
    if isinstance(pairs, ClassPairs):
        x, y = _all(f, pairs.x), _all(g, pairs.y)
        return ClassPairs(x, pairs.code_x, y, pairs.code_y, prior=pairs.prior)
    return None


def _all(features: Features, items: Tensor) -> Tensor:
    return torch.cat([features(part) for part in items.split(CHUNK)])
