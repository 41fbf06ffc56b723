"""A finished full fine-tune as a LoRA adapter: the best one of its rank (Eckart and Young 1936)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn

from schmidt.adapters.start import write_adapter
from schmidt.certificate import Certificate
from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs
from schmidt.rank import RankRule, rank_rule

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel


Method = Literal["auto", "exact", "randomized"]
EXACT_UP_TO = 1024
"""The smaller side up to which ``auto`` is exact: there it takes well under a second."""
POWER_ITERATIONS = 4


def leading(
    matrix: Tensor, rank: int, method: Method = "auto", seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, k), σ (k,), V (n, k) with k = min(rank, m, n), in descending order of σ.

    ``randomized`` is :func:`torch.svd_lowrank` with twice as many directions as asked for and four
    power iterations; its columns are those of a random projection that ``seed`` fixes, and torch's
    global generators stay as they were. Signs follow the library's one rule, on U.

    Args:
        matrix: (m, n), in float32 or float64; lower precisions are raised to float32.
        rank: number of triplets.
        method: "auto" is exact where min(m, n) ≤ 1024.

    Raises:
        ValueError: entries that are not finite; an unknown method.
    """
    if method not in ("auto", "exact", "randomized"):
        raise ValueError(f"svd must be auto, exact or randomized, got {method!r}")
    if not torch.isfinite(matrix).all():
        raise ValueError("the matrix has entries that are not finite")
    matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    k = min(rank, *matrix.shape)
    directions = min(2 * k + 8, *matrix.shape)
    exact = method == "exact" or (method == "auto" and min(matrix.shape) <= EXACT_UP_TO)
    if exact or directions == min(matrix.shape):
        U, s, Vh = torch.linalg.svd(matrix, full_matrices=False)
        U, s, V = U[:, :k], s[:k], Vh[:k].mT
    else:
        devices = [matrix.device] if matrix.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            U, s, V = torch.svd_lowrank(matrix, q=directions, niter=POWER_ITERATIONS)
        U, s, V = U[:, :k], s[:k], V[:, :k]
    signs = fix_signs(U)
    return U * signs, s, V * signs


@dataclass(frozen=True)
class LayerDelta:
    """W1 − W0 of one weight, cut to its best rank.

    Attributes:
        factorization: U (m, r), σ (r,), V (n, r).
        norm: ‖W1 − W0‖_F.
        error: ‖W1 − W0 − BA‖_F / ‖W1 − W0‖_F = √(Σ_{i>r} σ_i²) / norm.
        kind: "linear", "transposed" (``Conv1D`` of GPT-2) or "embedding"; the latter two store (n,
            m).
    """

    factorization: Factorization
    norm: float
    error: float
    kind: str = "linear"

    @property
    def rank(self) -> int:
        """r."""
        return self.factorization.rank

    @property
    def B(self) -> Tensor:
        """U √Σ, (m, r): the two factors share the singular values evenly."""
        left: Tensor = self.factorization.left
        return left * self.factorization.values.sqrt()

    @property
    def A(self) -> Tensor:
        """√Σ Vᵀ, (r, n)."""
        right: Tensor = self.factorization.right
        return (right * self.factorization.values.sqrt()).mT


@dataclass(frozen=True)
class Delta:
    """What fine-tuning changed, as a LoRA adapter with scaling 1.

    Attributes:
        layers: the changed matrices by name.
        left_out: by name, ‖change‖ / ‖before‖ of what changed and has no place in a LoRA adapter
            (biases, norms, convolutions). The adapter is not the fine-tuned model where this is not
            empty.
    """

    layers: Mapping[str, LayerDelta]
    left_out: Mapping[str, float]

    @property
    def error(self) -> float:
        """The relative error in the Frobenius norm over all layers together."""
        total = sum(d.norm**2 for d in self.layers.values())
        return math.sqrt(sum((d.error * d.norm) ** 2 for d in self.layers.values()) / total)

    @property
    def parameters(self) -> int:
        """Numbers in the adapter, Σ r(m + n)."""
        return sum(d.A.numel() + d.B.numel() for d in self.layers.values())

    def config(self) -> LoraConfig:
        """The configuration of the adapter; ranks may differ from layer to layer."""
        from peft import LoraConfig

        most = max(d.rank for d in self.layers.values())
        others = {f"^{re.escape(n)}": d.rank for n, d in self.layers.items() if d.rank != most}
        return LoraConfig(
            r=most,
            lora_alpha=most,
            rank_pattern=others,
            alpha_pattern=dict(others),
            target_modules="|".join(re.escape(name) for name in self.layers),
            fan_in_fan_out=any(d.kind == "transposed" for d in self.layers.values()),
        )

    def tensors(self) -> dict[str, Tensor]:
        """The factors by PEFT's names."""
        found = {}
        for name, d in self.layers.items():
            middle, end = ("lora_embedding", "") if d.kind == "embedding" else ("lora", ".weight")
            found[f"base_model.model.{name}.{middle}_A{end}"] = d.A.contiguous()
            found[f"base_model.model.{name}.{middle}_B{end}"] = d.B.contiguous()
        return found

    def save(self, folder: str | Path, base: str | None = None) -> Path:
        """Write the adapter for ``PeftModel.from_pretrained(model, folder)``.

        Args:
            base: name or path of the base model, noted in the configuration.
        """
        config = self.config()
        config.base_model_name_or_path = base
        return write_adapter(Path(folder), self.tensors(), config)

    def apply(self, base: nn.Module) -> PeftModel:
        """``base`` (changed in place, as PEFT does) with the adapter on it."""
        import peft

        model: Any = peft.get_peft_model(base, self.config())
        peft.set_peft_model_state_dict(model, self.tensors())
        assert isinstance(model, peft.PeftModel)
        return model


@overload
def lowrank_delta(
    W0: Tensor,
    W1: Tensor,
    rank: int | None = None,
    energy: float | None = None,
    *,
    svd: Method = "auto",
    seed: int = 0,
) -> LayerDelta: ...
@overload
def lowrank_delta(
    W0: nn.Module,
    W1: nn.Module | Mapping[str, Tensor],
    rank: int | None = None,
    energy: float | None = None,
    *,
    svd: Method = "auto",
    seed: int = 0,
) -> Delta: ...
def lowrank_delta(
    W0: Tensor | nn.Module,
    W1: Tensor | nn.Module | Mapping[str, Tensor],
    rank: int | None = None,
    energy: float | None = None,
    *,
    svd: Method = "auto",
    seed: int = 0,
) -> LayerDelta | Delta:
    """The best adapter of a full fine-tune: W1 − W0 cut to a rank, matrix by matrix.

    No adapter of the same ranks, however trained, comes closer to the fine-tuned weights in the
    Frobenius norm.

    Args:
        W0: a weight (m, n) before fine-tuning, or the model.
        W1: the same after it; for a model also its ``state_dict()``.
        rank: r, for every matrix; where min(m, n) is smaller, that.
        energy: instead: for each matrix the smallest r with Σ_{i≤r} σ_i² ≥ energy · Σ σ_i².
        svd: see :func:`~schmidt.adapters.delta.leading`; by energy it is always exact.

    Returns:
        :class:`LayerDelta` for two weights, :class:`Delta` for two models: linear layers,
        ``Conv1D`` of transformers and embeddings.

    Raises:
        TypeError: a weight and a model, or neither.
        ValueError: shapes or names that do not fit, entries that are not finite, no change at all,
            not exactly one of rank and energy.

    Cost: one SVD per matrix, O(mn min(m, n)) if exact; one matrix at a time is held beside the
        models.
    """
    rule = rank_rule(rank=rank, energy=energy)
    if isinstance(W0, Tensor) and isinstance(W1, Tensor):
        if W0.ndim != 2 or W0.shape != W1.shape:
            raise ValueError(
                f"W0 and W1 must be matrices of one shape, got {tuple(W0.shape)} and "
                f"{tuple(W1.shape)}"
            )
        return _cut(W0, W1, rule, svd, seed, "linear")
    if isinstance(W0, nn.Module) and isinstance(W1, nn.Module | Mapping):
        return _models(W0, W1, rule, svd, seed)
    raise TypeError(
        f"W0 and W1 must be two tensors or two models, got {type(W0).__name__} and "
        f"{type(W1).__name__}"
    )


def weight_matrices(model: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """(name, kind, layer) of what a LoRA adapter of a plain model can change."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            yield name, "linear", layer
        elif isinstance(layer, nn.Embedding):
            yield name, "embedding", layer
        elif type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):
            yield name, "transposed", layer


def _models(
    before: nn.Module,
    after: nn.Module | Mapping[str, Tensor],
    rule: RankRule,
    svd: Method,
    seed: int,
) -> Delta:
    old = dict(before.named_parameters(remove_duplicate=False))
    state = after.state_dict(keep_vars=True) if isinstance(after, nn.Module) else after
    missing = [name for name in old if name not in state]
    if missing:
        raise ValueError(
            f"the fine-tuned model has no {missing[0]} ({len(missing)} of {len(old)} are missing); "
            "both must be the same architecture, without adapters"
        )
    kinds = {f"{name}.weight": kind for name, kind, _ in weight_matrices(before)}
    layers: dict[str, LayerDelta] = {}
    left_out: dict[str, float] = {}
    for name, W0 in old.items():
        W1 = state[name].to(W0.device)
        if W0.shape != W1.shape:
            raise ValueError(f"{name} was {tuple(W0.shape)} and is {tuple(W1.shape)} now")
        if torch.equal(W0, W1):
            continue
        if name in kinds:
            layers[name.removesuffix(".weight")] = _cut(W0, W1, rule, svd, seed, kinds[name])
        else:
            left_out[name] = float((W1 - W0).norm().detach() / W0.norm().detach().clamp_min(1e-30))
    if not layers:
        raise ValueError("no weight matrix changed, so there is no adapter to make")
    return Delta(layers, left_out)


@torch.no_grad()
def _cut(W0: Tensor, W1: Tensor, rule: RankRule, svd: Method, seed: int, kind: str) -> LayerDelta:
    dtype = torch.promote_types(W0.dtype, torch.float32)
    delta = W1.to(dtype) - W0.to(dtype)
    if kind != "linear":
        delta = delta.mT
    size = min(delta.shape)
    by_energy = rule.kind == "energy"
    wanted = size if by_energy else min(int(rule.amount), size)
    U, s, V = leading(delta, wanted, "exact" if by_energy else svd, seed)
    norm = float(delta.double().norm())
    known = s.double().cpu().numpy()
    r = rule.choose(known, norm**2, 0) if by_energy else wanted
    assert r is not None
    tail = float((known[r:] ** 2).sum()) if by_energy else norm**2 - float((known**2).sum())
    tail = 0.0 if r == size else max(tail, 0.0)
    error = math.sqrt(tail) / norm if norm else 0.0
    settings = {"rule": str(rule), "svd": svd}
    known_error = Certificate(estimates={"frobenius": math.sqrt(tail)})
    found = Factorization(U[:, :r], s[:r], V[:, :r], known_error, settings)
    return LayerDelta(found, norm, error, kind)
