"""A finished full fine-tune as a LoRA adapter: the best one of its rank (Eckart and Young 1936)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from schmidt.adapters.start import untie, write_adapter
from schmidt.certificate import Bound, Certificate
from schmidt.factorization import Factorization
from schmidt.linalg import leading
from schmidt.parameters import Choice, check
from schmidt.rank import ROUNDING, RankRule, rank_rule

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel


METHODS = Choice("auto", "lapack", "gram", "projection")
"""Ways to the singular triplets, see :func:`schmidt.linalg.leading`."""


@dataclass(frozen=True, kw_only=True)
class LayerDelta:
    """W1 − W0 of one weight, cut to its best rank.

    Attributes:
        factorization: U (m, r), σ (r,), V (n, r).
        norm: ‖W1 − W0‖_F.
        error: ‖W1 − W0 − BA‖_F / ‖W1 − W0‖_F, measured on the factors as they are. Of the best
            ones it is √(Σ_{i>r} σ_i²) / norm; ``factorization.error`` bounds it absolutely.
        kind: "linear", "transposed" (``Conv1D`` of GPT-2) or "embedding"; the latter two store (n,
            m).
        tied: other layers with the same weight, by name their kind: output layers that are tied to
            the embeddings.
    """

    factorization: Factorization
    norm: float
    error: float
    kind: str = "linear"
    tied: Mapping[str, str] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """r."""
        return self.factorization.rank

    @property
    def known(self) -> Certificate:
        """The certificate of the factorization."""
        return self.factorization.certificate or Certificate()

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
            (biases, norms, convolutions, buffers, new parameters). The adapter is not the
            fine-tuned model where this is not empty.
    """

    layers: Mapping[str, LayerDelta]
    left_out: Mapping[str, float]

    @property
    def error(self) -> float:
        """The relative error in the Frobenius norm over all layers together, tied ones once."""
        total = sum(d.norm**2 for d in self.layers.values())
        return math.sqrt(sum((d.error * d.norm) ** 2 for d in self.layers.values()) / total)

    @property
    def parameters(self) -> int:
        """Numbers in the adapter, Σ r(m + n), tied ones once."""
        return sum(d.A.numel() + d.B.numel() for d in self.layers.values())

    @property
    def certificate(self) -> Certificate:
        """Of all layers together: ‖ΔW‖_F, ‖ΔW − BA‖_F and the share of Σσ² that is kept."""
        norm = math.hypot(*(d.norm for d in self.layers.values()))
        known = [d.known["frobenius"] for d in self.layers.values()]
        low = math.hypot(*(float(bound.low) for bound in known))
        high = math.hypot(*(float(bound.high) for bound in known))
        notes = [f"not in the adapter: {name}" for name in self.left_out]
        return Certificate(
            bounds={
                "norm": Bound.around(norm, ROUNDING * norm),
                "frobenius": Bound(low, high),
                "energy": Bound(1 - min(1.0, (high / norm) ** 2), 1 - (low / norm) ** 2),
            },
            met=not notes and all(d.known.met for d in self.layers.values()),
            asked="the best adapter of a full fine-tune",
            notes=notes,
        )

    def config(self) -> LoraConfig:
        """The configuration of the adapter; ranks may differ from layer to layer."""
        from peft import LoraConfig

        ranks = {n: d.rank for name, d in self.layers.items() for n in (name, *d.tied)}
        most = max(ranks.values())
        others = {f"^{re.escape(n)}": r for n, r in ranks.items() if r != most}
        return LoraConfig(
            r=most,
            lora_alpha=most,
            rank_pattern=others,
            alpha_pattern=dict(others),
            target_modules="|".join(re.escape(name) for name in ranks),
            fan_in_fan_out=any(d.kind == "transposed" for d in self.layers.values()),
        )

    def tensors(self) -> dict[str, Tensor]:
        """The factors by PEFT's names; each end of tied weights has them."""
        found = {}
        for name, d in self.layers.items():
            for end, kind in {name: d.kind, **d.tied}.items():
                same = (kind == "linear") == (d.kind == "linear")
                A, B = (d.A, d.B) if same else (d.B.mT, d.A.mT)
                middle, tail = (
                    ("lora_embedding", "") if kind == "embedding" else ("lora", ".weight")
                )
                found[f"base_model.model.{end}.{middle}_A{tail}"] = A.contiguous()
                found[f"base_model.model.{end}.{middle}_B{tail}"] = B.contiguous()
        return found

    def save(self, folder: str | Path, base: str | None = None) -> Path:
        """Write the adapter for ``PeftModel.from_pretrained(model, folder)``.

        Where weights are tied, merge with :func:`~schmidt.adapters.merge`: PEFT's own
        ``merge_and_unload`` adds the changes of both ends to the one weight.

        Args:
            base: name or path of the base model, noted in the configuration.
        """
        config = self.config()
        config.base_model_name_or_path = base
        return write_adapter(Path(folder), self.tensors(), config)

    def apply(self, base: nn.Module) -> PeftModel:
        """``base`` (changed in place, as PEFT does) with the adapter on it.

        Where weights that changed are tied, they are copied first
        (:func:`~schmidt.adapters.untie`), so that PEFT can merge the ends one by one.
        """
        import peft

        if any(d.tied for d in self.layers.values()):
            untie(base)
        model: Any = peft.get_peft_model(base, self.config())
        peft.set_peft_model_state_dict(model, self.tensors())
        assert isinstance(model, peft.PeftModel)
        return model


@overload
def lowrank_delta(
    W0: Tensor,
    W1: Tensor,
    *,
    rank: int | None = None,
    energy: float | None = None,
    svd: str = "auto",
    seed: int = 0,
) -> LayerDelta: ...
@overload
def lowrank_delta(
    W0: nn.Module,
    W1: nn.Module | Mapping[str, Tensor],
    *,
    rank: int | None = None,
    energy: float | None = None,
    svd: str = "auto",
    seed: int = 0,
) -> Delta: ...
def lowrank_delta(
    W0: Tensor | nn.Module,
    W1: Tensor | nn.Module | Mapping[str, Tensor],
    *,
    rank: int | None = None,
    energy: float | None = None,
    svd: str = "auto",
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
        svd: see :func:`schmidt.linalg.leading`; by energy all values are needed, and "auto" and
            "projection" mean "lapack". What "projection" finds need not be the best.

    Returns:
        :class:`LayerDelta` for two weights, :class:`Delta` for two models: linear layers,
        ``Conv1D`` of transformers and embeddings. Weights that are tied before and after are cut
        once. Their error is measured, not inferred from the values that were kept.

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
            # attention reads the weight of its last layer past the layer itself
            inside = type(layer).__name__ == "NonDynamicallyQuantizableLinear"
            if not inside:
                yield name, "linear", layer
        elif isinstance(layer, nn.Embedding):
            yield name, "embedding", layer
        elif type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):
            yield name, "transposed", layer


def _models(
    before: nn.Module,
    after: nn.Module | Mapping[str, Tensor],
    rule: RankRule,
    svd: str,
    seed: int,
) -> Delta:
    layers: dict[str, LayerDelta] = {}
    left_out: dict[str, float] = {}
    for change in changed(before, after):
        if change.kind == "other":
            left_out[change.name] = change.relative
            continue
        cut = _cut(change.before, change.after, rule, svd, seed, change.kind)
        layers[change.name.removesuffix(".weight")] = replace(
            cut, tied={n.removesuffix(".weight"): kind for n, kind in change.tied.items()}
        )
    if not layers:
        raise ValueError(
            "no weight matrix changed, so there is no adapter to make"
            + (f"; other changes: {', '.join(left_out)}" if left_out else "")
        )
    return Delta(layers, left_out)


@dataclass(frozen=True)
class Change:
    """A tensor of a model that fine-tuning changed.

    Attributes:
        name: of the tensor, for example ``layer.weight``.
        kind: of its layer, see :func:`weight_matrices`; "other" where a LoRA adapter has no place
            for it.
        before, after: its values; ``before`` is empty where there was no such tensor.
        tied: other names of the same tensor, before and after, with their kinds.
    """

    name: str
    kind: str
    before: Tensor
    after: Tensor
    tied: Mapping[str, str] = field(default_factory=dict)

    @property
    def relative(self) -> float:
        """‖after − before‖ / ‖before‖, infinite for what is new."""
        if not self.before.numel():
            return math.inf
        size = float(self.before.detach().double().norm())
        moved = float((self.after.detach().double() - self.before.detach().double()).norm())
        return moved / size if size else math.inf


@torch.no_grad()
def changed(before: nn.Module, after: nn.Module | Mapping[str, Tensor]) -> Iterator[Change]:
    """What differs between a model and its fine-tuned copy, one tensor at a time.

    Raises:
        ValueError: tensors of other names or shapes, or quantised ones.
    """
    old = before.state_dict(keep_vars=True)
    new = after.state_dict(keep_vars=True) if isinstance(after, nn.Module) else after
    groups: dict[int, list[str]] = {}
    for name, value in old.items():
        if isinstance(value, Tensor):
            groups.setdefault(id(value), []).append(name)
    missing = [names[0] for names in groups.values() if not any(n in new for n in names)]
    if missing:
        raise ValueError(
            f"the fine-tuned model has no {missing[0]} ({len(missing)} of {len(groups)} are "
            "missing); both must be the same architecture, without adapters"
        )
    kinds = {f"{name}.weight": kind for name, kind, _ in weight_matrices(before)}
    for names in groups.values():
        W0 = old[names[0]]
        present = [n for n in names if n in new]  # files keep one of several tied tensors
        for name in present:
            if W0.shape != new[name].shape:
                raise ValueError(
                    f"{name} was {tuple(W0.shape)} and is {tuple(new[name].shape)} now; for added "
                    "tokens resize the embeddings of both models alike"
                )
        values = [new[n].to(W0.device) for n in present]
        together = all(torch.equal(v, values[0]) for v in values[1:])
        apart = [([name], value) for name, value in zip(present, values, strict=True)]
        for members, W1 in [(names, values[0])] if together else apart:
            if torch.equal(W0, W1):
                continue
            found = {n: kinds.get(n, "other") for n in members}
            first, *others = sorted(members, key=lambda n: found[n] == "other")
            adapted = found[first] != "other"
            if adapted and not (W0.is_floating_point() and W1.is_floating_point()):
                raise ValueError(
                    f"{first} is {W0.dtype} and {W1.dtype}: the difference of quantised weights "
                    "says nothing; dequantise both models first"
                )
            tied = {n: found[n] for n in others} if adapted else {}
            yield Change(first, found[first], W0, W1, tied)
    for name, value in new.items():
        if name not in old and isinstance(value, Tensor):
            yield Change(name, "other", value.new_empty(0), value)


@torch.no_grad()
def _cut(W0: Tensor, W1: Tensor, rule: RankRule, svd: str, seed: int, kind: str) -> LayerDelta:
    check({"svd": METHODS}, svd=svd)
    dtype = torch.promote_types(W0.dtype, torch.float32)
    exact = W1.double() - W0.double()
    exact = exact if kind == "linear" else exact.mT
    size = min(exact.shape)
    by_energy = rule.kind == "energy"
    wanted = size if by_energy else min(int(rule.amount), size)
    method = "lapack" if by_energy and svd in ("auto", "projection") else svd
    U, s, V = leading(exact.to(dtype), wanted, method=method, seed=seed)
    norm = float(exact.norm())
    r = rule.choose(s.double().cpu().numpy(), norm**2, 0) if by_energy else wanted
    assert r is not None
    known = Factorization(
        U[:, :r], s[:r], V[:, :r], certificate=None, settings={"rule": str(rule), "svd": svd}
    )
    found = LayerDelta(factorization=known, norm=norm, error=0.0, kind=kind)
    B, A = found.B.double(), found.A.double()
    rest = float(torch.addmm(exact, B, A, alpha=-1).norm())
    # B·A against U Σ Vᵀ, and sums of products in float64
    eps = torch.finfo(dtype).eps
    width = 4 * eps * math.sqrt(r) * float(s[:r].double().norm()) + ROUNDING * norm
    frobenius = Bound(max(0.0, rest - width), rest + width)
    share = (rest / norm) ** 2 if norm else 0.0
    best = method != "projection"
    certificate = Certificate(
        bounds={"norm": Bound.around(norm, ROUNDING * norm), "frobenius": frobenius},
        met=best and (not by_energy or 1 - share >= rule.amount - 1e-12),
        asked=f"the best approximation by {rule}",
        notes=[] if best else ["found by projection: not proven to be the best of its rank"],
        estimates={"energy": 1 - share},
    )
    error = rest / norm if norm else 0.0
    return LayerDelta(
        factorization=replace(known, certificate=certificate), norm=norm, error=error, kind=kind
    )
