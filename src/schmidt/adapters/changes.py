"""What a fine-tune changed: the spectrum of ΔW, layer by layer, and which rank would have done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.adapters.delta import weight_matrices
from schmidt.adapters.pairs import factors_of

SHARES = (0.9, 0.99)


@dataclass(frozen=True)
class LayerChange:
    """ΔW of one layer.

    Attributes:
        values: its singular values that can be other than 0, descending.
        relative: ‖ΔW‖_F / ‖W0‖_F, or None where W0 is quantised.
    """

    values: np.ndarray
    relative: float | None

    @property
    def norm(self) -> float:
        """‖ΔW‖_F."""
        return float(np.sqrt(np.square(self.values).sum()))

    def energy(self, rank: int) -> float:
        """Σ_{i≤rank} σ_i² / Σ σ_i², the share that the best adapter of this rank would keep."""
        squares = np.square(self.values)
        return float(squares[:rank].sum() / squares.sum()) if squares.sum() else 1.0

    def rank_for(self, energy: float) -> int:
        """The smallest rank that keeps this share."""
        squares = np.square(self.values)
        missing = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
        return int(np.flatnonzero(missing <= (1 - energy) * missing[0])[0])


@dataclass(frozen=True)
class MergeReport:
    """ΔW of all layers that changed; printed, a table."""

    layers: Mapping[str, LayerChange]

    def energy(self, rank: int) -> float:
        """The share of Σ‖ΔW‖² that the best adapters of one rank for all layers would keep."""
        total = sum(c.norm**2 for c in self.layers.values())
        kept = sum(c.energy(rank) * c.norm**2 for c in self.layers.values())
        return kept / total if total else 1.0

    def rank_for(self, energy: float) -> int:
        """The smallest rank, one for all layers, that keeps this share of Σ‖ΔW‖².

        Raises:
            ValueError: the share is not in (0, 1].
        """
        if not 0 < energy <= 1:
            raise ValueError(f"energy is a share and must lie in (0, 1], got {energy}")
        most = max(len(c.values) for c in self.layers.values())
        short = 1 - energy + 4 * np.finfo(float).eps
        return next(r for r in range(most + 1) if 1 - self.energy(r) <= short)

    def rows(self) -> list[list[str]]:
        """Layer, ‖ΔW‖, relative to W0, stable rank, and the rank for each share."""
        return [
            [
                name,
                f"{c.norm:.3g}",
                "–" if c.relative is None else f"{c.relative:.2%}",
                f"{c.norm**2 / c.values[0] ** 2:.1f}" if c.norm else "–",
                *(str(c.rank_for(share)) for share in SHARES),
            ]
            for name, c in self.layers.items()
        ]

    def __str__(self) -> str:
        head = ["layer", "‖ΔW‖", "of ‖W0‖", "stable rank", *(f"r({s:.0%})" for s in SHARES)]
        table = [head, *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.rjust(w) if i else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ]
        ranks = ", ".join(f"{s:.0%} needs rank {self.rank_for(s)}" for s in SHARES)
        return "\n".join([*lines, f"one rank for all layers, by energy: {ranks}"])


@torch.no_grad()
def merge_report(model: nn.Module, base: nn.Module | None = None) -> MergeReport:
    """The spectrum of what fine-tuning changed.

    Args:
        model: a PEFT model, of which ΔW = Σ s·B·A over its active LoRA adapters is taken; or, with
            ``base``, a fully fine-tuned model.
        base: the model before full fine-tuning.

    Raises:
        ValueError: no LoRA layer, a merged one, or no weight matrix that changed.

    Cost: for adapters, QR factorisations of the factors, O((m + n) r²) per layer; nothing of size
    m × n is formed. For two models an SVD per matrix.
    """
    found = dict(_of_adapters(model) if base is None else _of_models(base, model))
    if not found:
        raise ValueError(
            "nothing to report: "
            + (
                "the model has no active LoRA layers; pass base=… for a full fine-tune"
                if base is None
                else "no weight matrix changed"
            )
        )
    return MergeReport(found)


def _of_adapters(model: nn.Module) -> Iterator[tuple[str, LayerChange]]:
    for name, module in model.named_modules():
        layer: Any = module
        if not hasattr(layer, "merged_adapters"):  # whole models have active_adapters, too
            continue
        active = [a for a in layer.active_adapters if factors_of(layer, a)]
        if not active:
            continue
        if layer.merged_adapters:
            raise ValueError(f"{name} is merged; call model.unmerge_adapter() first")
        pairs = [(layer.scaling[a], *factors_of(layer, a)) for a in active]
        if any(B.flatten(1).shape[1] != len(A) for _, A, B in pairs):
            continue  # factors of several weights: groups, experts
        right = torch.cat([A.flatten(1).double() for _, A, _ in pairs])
        left = torch.cat([s * B.flatten(1).double() for s, _, B in pairs], 1)
        values = torch.linalg.svdvals(_triangle(left) @ _triangle(right.mT).mT)
        W0 = layer.get_base_layer().weight
        size = float(W0.double().norm()) if W0.is_floating_point() else None
        yield name.removeprefix("base_model.model."), _change(values, size)


def _triangle(columns: Tensor) -> Tensor:
    """R of the QR factorisation."""
    return torch.linalg.qr(columns, mode="r").R


def _of_models(before: nn.Module, after: nn.Module) -> Iterator[tuple[str, LayerChange]]:
    state = after.state_dict()
    for name, _, layer in weight_matrices(before):
        W0: Any = layer.weight
        if f"{name}.weight" not in state or state[f"{name}.weight"].shape != W0.shape:
            raise ValueError(f"the fine-tuned model has no {name} of shape {tuple(W0.shape)}")
        W1 = state[f"{name}.weight"].to(W0.device)
        if not torch.equal(W0, W1):
            values = torch.linalg.svdvals(W1.double() - W0.double())
            yield name, _change(values, float(W0.double().norm()))


def _change(values: Tensor, size: float | None) -> LayerChange:
    array = values.cpu().numpy()
    norm = math.sqrt(float(np.square(array).sum()))
    return LayerChange(array, norm / size if size else None)
