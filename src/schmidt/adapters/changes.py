"""What a fine-tune changed: the spectrum of ΔW, layer by layer, and which rank would have done."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.adapters.delta import changed
from schmidt.adapters.pairs import blocks_of, factors_of

SHARES = (0.9, 0.99)


@dataclass(frozen=True)
class LayerChange:
    """ΔW of one layer.

    Attributes:
        values: its singular values that can be other than 0, descending. Of dense changes those
            below 10⁻⁸ of the largest are rounding.
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
    """ΔW of all layers that changed; printed, a table.

    Attributes:
        layers: by name. Each expert of a stack and each group of a grouped convolution is a matrix
            of its own, ``name[i]``; tied weights are one.
        left_out: what changed and is no such matrix: biases, norms, modules that are trained whole.
    """

    layers: Mapping[str, LayerChange]
    left_out: tuple[str, ...] = ()

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
        lines.append(f"one rank for all layers, by energy: {ranks}")
        if self.left_out:
            lines.append(f"changed, and not in the table: {', '.join(self.left_out)}")
        return "\n".join(lines)


@torch.no_grad()
def merge_report(model: nn.Module, base: nn.Module | None = None) -> MergeReport:
    """The spectrum of what fine-tuning changed.

    Args:
        model: a PEFT model, of which ΔW of its active adapters is taken: LoRA and its variants,
            AdaLoRA, DoRA, whatever PEFT can merge; or, with ``base``, a fully fine-tuned model.
        base: the model before full fine-tuning.

    Raises:
        ValueError: no active adapter, a merged one, quantised weights beside a ``base``, or no
            weight matrix that changed.

    Cost: for s·B·A, QR factorisations of the factors, O((m + n) r²) per layer; nothing of size
    m × n is formed. For changes of full rank (DoRA; two models) a Gram matrix in float64 and its
    eigenvalues, m n² + n³ flops for the smaller side n.
    """
    if base is None:
        layers, left_out = _of_adapters(model)
    else:
        layers, left_out = _of_models(base, model)
    if not layers:
        raise ValueError(
            "nothing to report: "
            + (
                "the model has no active adapters; pass base=… for a full fine-tune"
                if base is None
                else "no weight matrix changed"
            )
            + (f"; left out: {', '.join(left_out)}" if left_out else "")
        )
    return MergeReport(layers, tuple(left_out))


def _of_models(before: nn.Module, after: nn.Module) -> tuple[dict[str, LayerChange], list[str]]:
    layers: dict[str, LayerChange] = {}
    left_out = []
    for change in changed(before, after):
        if change.kind == "other":
            left_out.append(change.name)
            continue
        W0 = change.before.double()
        values = _spectrum(change.after.double() - W0)
        layers[change.name.removesuffix(".weight")] = _change(values, float(W0.norm()))
    return layers, left_out


def _of_adapters(model: nn.Module) -> tuple[dict[str, LayerChange], list[str]]:
    layers: dict[str, LayerChange] = {}
    left_out: list[str] = []
    for full_name, module in model.named_modules():
        layer: Any = module
        name = full_name.removeprefix("base_model.model.")
        if hasattr(layer, "modules_to_save") and hasattr(layer, "original_module"):
            left_out.append(name)
        if not (hasattr(layer, "merged_adapters") and hasattr(layer, "get_base_layer")):
            continue  # whole models have active_adapters, too
        if getattr(layer, "disable_adapters", False):
            continue
        held = {a for kind in layer.adapter_layer_names for a in getattr(layer, kind, {})}
        active = [a for a in layer.active_adapters if a in held]
        if not active:
            continue
        if layer.merged_adapters:
            raise ValueError(f"{name} is merged; call model.unmerge_adapter() first")
        if any(getattr(layer, "lora_bias", {}).get(a) for a in active):
            left_out.append(f"{name}.bias")
        thin = _thin(layer, active)
        if thin is not None:
            left, right = thin
            values = torch.linalg.svdvals(_triangle(left) @ _triangle(right.mT).mT)
            sizes = _sizes(layer, len(left))
            for i, of_block in enumerate(values):
                title = name if len(left) == 1 else f"{name}[{i}]"
                layers[title] = _change(of_block, sizes[i])
        elif (dense := _dense(layer)) is not None:
            W0, delta = dense
            layers[name] = _change(_spectrum(delta.flatten(1)), float(W0.norm()))
        else:
            left_out.append(name)
    return layers, left_out


def _thin(layer: Any, active: list[str]) -> tuple[Tensor, Tensor] | None:
    """(blocks, m, R) and (blocks, R, n) whose product is ΔW; None where it is no such product."""
    left, right = [], []
    for adapter in active:
        variant = type(getattr(layer, "lora_variant", {}).get(adapter)).__name__
        plain = variant.startswith(("NoneType", "ALora"))
        if getattr(layer, "use_dora", {}).get(adapter) or not plain:
            return None
        pair = factors_of(layer, adapter)
        if not pair:
            return None
        A, B = (x.detach().double() for x in pair)
        scaling = float(layer.scaling[adapter])
        if hasattr(layer, "lora_E"):  # AdaLoRA: B·diag(E)·A
            A = A * layer.lora_E[adapter].double()
            scaling /= float(layer.ranknum[adapter]) + 1e-5
        blocks = blocks_of(layer, adapter) if hasattr(layer, "lora_B") else 1
        right.append(A.reshape(blocks, A.shape[0] // blocks, -1))
        if hasattr(layer, "parameter_name"):
            B = B.reshape(len(B), -1, blocks).permute(2, 0, 1)
        else:
            B = B.reshape(blocks, len(B) // blocks, -1)
        left.append(scaling * B)
    return torch.cat(left, -1), torch.cat(right, -2)


def _dense(layer: Any) -> tuple[Tensor, Tensor] | None:
    """W0 and ΔW in float64 as PEFT merges them, on a copy of the layer; None if it cannot."""
    try:
        twin = copy.deepcopy(layer).double()
        before = twin.get_base_layer().weight.detach().clone()
        twin.merge()
        after = twin.get_base_layer().weight.detach()
        return before, after.double() - before.double()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None


def _sizes(layer: Any, blocks: int) -> list[float | None]:
    """‖W0‖_F of each block; None where W0 is quantised or cannot be read."""
    base = layer.get_base_layer()
    name = getattr(layer, "parameter_name", "weight")
    W0: Any = getattr(base, name, None)
    if W0 is None:
        W0 = getattr(base, "in_proj_weight", None)  # attention
    try:
        W0 = W0.dequantize() if getattr(W0, "is_quantized", False) else W0
        if W0 is None or not W0.is_floating_point() or W0.dtype.itemsize < 2:
            return [None] * blocks
        return [float(part.norm()) for part in W0.detach().double().reshape(blocks, -1)]
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return [None] * blocks


def _triangle(columns: Tensor) -> Tensor:
    """R of the QR factorisation."""
    return torch.linalg.qr(columns, mode="r").R


def _spectrum(matrix: Tensor) -> Tensor:
    """All singular values in float64, from the Gram matrix of the smaller side."""
    matrix = matrix.double()
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError("the weights have entries that are not finite")
    gram = matrix.mT @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.mT
    squares = torch.linalg.eigvalsh(gram).flip(0)
    rounding = len(squares) * torch.finfo(torch.float64).eps * squares[0].abs()
    return torch.where(squares > rounding, squares, 0).sqrt()


def _change(values: Tensor, size: float | None) -> LayerChange:
    array = values.cpu().numpy()
    norm = math.sqrt(float(np.square(array).sum()))
    return LayerChange(array, norm / size if size else None)
