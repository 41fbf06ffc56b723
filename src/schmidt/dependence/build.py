"""The networks of a CDK: made from data and settings, or blank, to load parameters into."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.dependence.canonical import canonical
from schmidt.dependence.laws import mapped
from schmidt.dependence.moments import moments
from schmidt.dependence.networks import Capped, DisjointTrunk, Inputs, MLPTrunk, Tower
from schmidt.dependence.whitening import input_maps
from schmidt.operators.pairs import PairSampler

START_RIDGE = 0.1


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
    if s.share not in (False, True, "flag"):
        raise ValueError(f"share must be False, True or 'flag', got {s.share!r}")
    found = input_maps(pairs, s.inputs, s.components, s.damping, shared=bool(s.share))
    maps = tuple(Inputs(*side) for side in found)
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
        centre, map_ = (tensors[f"{name}.network.inputs.{k}"] for k in ("centre", "map"))
        sides.append(Inputs(torch.empty_like(centre), torch.empty_like(map_)))
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
    if s.network == "disjoint":
        return DisjointTrunk(inputs, s.modes, s.hidden)
    raise ValueError(f"network must be 'mlp', 'disjoint' or two modules, got {s.network!r}")
