"""Starts for LoRA: LoRA-GA (Wang, Yu, Li 2024, arXiv:2407.05000) and an orthogonal one.

In PEFT's letters W = W0 + s(BA − B0A0). One step of gradient descent on A and B changes W by
−η s²(B0 B0ᵀ G + G A0ᵀ A0) to first order. With G = U Σ Vᵀ and B0 ∝ U[:, r:2r], A0 ∝ V[:, :r]ᵀ the
sum is proportional to the best approximation of G of rank 2r, and no start does better (their
Theorem 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.adapters.delta import METHODS
from schmidt.adapters.gradients import Loss, as_batches, mean_gradients, unsupported
from schmidt.adapters.pairs import Pair, find_pairs
from schmidt.adapters.start import Factors, adapter_of, begin, has_start, peft_model
from schmidt.linalg import leading, orthogonal
from schmidt.parameters import SEED, Allowed, Number, check

GAMMA = 16.0
N_BATCHES = 8
"""Batches that are drawn from a loader, of which nobody knows how long it is."""
SETTINGS: dict[str, Allowed] = {
    "gamma": Number(0, open="low", none=True, advice="None makes factors of size 1/s"),
    "svd": METHODS,
    "seed": SEED,
    "n_batches": Number(1, whole=True, none=True),
    "at_once": Number(1, whole=True, none=True),
}


@dataclass(frozen=True)
class LayerStart:
    """How one layer was started.

    Attributes:
        rank: r.
        scale: c, with which orthonormal rows and columns were multiplied: B0ᵀB0 = A0A0ᵀ = c² I.
        captured: ‖best rank-2r approximation of G‖² / ‖G‖², between 0 and 1; None without a
            gradient.
    """

    rank: int
    scale: float
    captured: float | None = None


@dataclass(frozen=True)
class Start:
    """What a start did.

    Attributes:
        adapter: the adapter that is trained.
        layers: by name, the layers that were started.
        skipped: by name, why the others keep the start that they had.
    """

    adapter: str
    layers: Mapping[str, LayerStart]
    skipped: Mapping[str, str]


def model_loss(model: nn.Module, batch: Any) -> Tensor:
    """``model(**batch).loss``, as the models of transformers have it when a batch holds labels."""
    loss = model(**batch).loss
    if loss is None:
        raise ValueError("the model returned no loss: put labels into the batches, or pass loss=…")
    assert isinstance(loss, Tensor)
    return loss


def lora_ga(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss = model_loss,
    *,
    gamma: float | None = GAMMA,
    adapter: str | None = None,
    svd: str = "auto",
    seed: int = 0,
    n_batches: int | None = None,
    at_once: int | None = None,
    training: bool = False,
) -> Start:
    """Start the LoRA adapter of a PEFT model at the leading singular vectors of its gradient.

    Call it on a fresh adapter, before the optimizer is made. The function of the model does not
    change, and neither do the base weights, which may be quantised: the adapter becomes one of rank
    2r, [B, −B0][A; A0], of which the first halves are trained (:mod:`schmidt.adapters.start`). To
    everything else – PEFT, the Trainer, TRL – it is an ordinary adapter: it is saved, loaded,
    copied, merged and switched as a whole.

    Args:
        model: what ``peft.get_peft_model`` returns.
        batches: batches of the training data; the gradient is the mean of theirs. They are moved to
            the device of the model one at a time.
        loss: ``loss(model, batch)``, a scalar; its scale does not matter. Default
            ``model(**batch).loss``.
        gamma: γ: the factors are c times orthonormal with c = out^¼ / √γ, the paper's "stable"
            scaling, meant for rsLoRA. Smaller means a larger start, and faster training at first.
            The default is that of PEFT's LoRA-GA. None: c = 1/s, with which the first step of
            plain gradient descent is exactly that of the rank-2r gradient.
        adapter: its name, where there are several.
        svd: see :func:`schmidt.linalg.leading`.
        seed: of the random columns in "projection".
        n_batches: how many batches are used. By default all of a list or tuple, and the first 8 of
            anything else: a loader may be endless.
        at_once: how many gradients are held on the CPU at a time, default all; see
            :func:`~schmidt.adapters.gradients.mean_gradients`.
        training: whether dropout is on while the gradient is measured.

    Returns:
        What was done, layer by layer. Layers without a gradient, or with 2r > min(out, in), keep
        the start they had and are listed as skipped.

    Raises:
        TypeError: not a PEFT model.
        ValueError: no fresh LoRA adapter, DoRA, a merged adapter, a bad γ, no batches, a loss that
            is not finite or no scalar, or no layer that could be started.

    Cost: one forward and backward pass per batch, and per layer one out × in × tokens product and
        one SVD.
    """
    peft = peft_model(model)
    adapter = adapter_of(peft, adapter)
    check(SETTINGS, gamma=gamma, svd=svd, seed=seed, n_batches=n_batches, at_once=at_once)
    pairs = _fresh_pairs(peft, adapter)
    skipped = {n: why for n, p in pairs.items() if (why := _too_small(p) or unsupported(_layer(p)))}
    layers = {n: _layer(p) for n, p in pairs.items() if n not in skipped}
    factors: dict[str, Factors] = {}
    starts: dict[str, LayerStart] = {}
    found = mean_gradients(
        model,
        layers,
        as_batches(batches, n_batches, N_BATCHES),
        loss,
        at_once=at_once,
        training=training,
    )
    for name, gradient in found:
        pair = pairs[name]
        norm = float(gradient.norm())
        if norm == 0:
            continue
        if not torch.isfinite(gradient).all():
            raise ValueError(f"the gradient of {name} is not finite; lower the loss's scale")
        r = pair.rank
        U, s, V = leading(gradient.to(pair.A.device), 2 * r, method=svd, seed=seed)
        scale = _scale(pair, gamma)
        factors[name] = (scale * V[:, :r].mT, scale * U[:, r : 2 * r])
        captured = min(1.0, float(s.double().square().sum()) / norm**2)
        starts[name] = LayerStart(r, scale, captured)
    skipped |= {n: "no gradient reached it" for n in layers if n not in factors}
    return _begin(peft, adapter, pairs, factors, starts, skipped)


def orthogonal_start(
    model: nn.Module,
    *,
    gamma: float | None = GAMMA,
    adapter: str | None = None,
    seed: int = 0,
) -> Start:
    """Start the LoRA adapter of a PEFT model at random factors with B0ᵀB0 = A0A0ᵀ = c² I.

    No gradient is needed. Neither factor is zero, so gradients reach both from the first step on.
    Arguments, errors and what is returned are as in :func:`lora_ga`.
    """
    peft = peft_model(model)
    adapter = adapter_of(peft, adapter)
    check(SETTINGS, gamma=gamma, seed=seed)
    pairs = _fresh_pairs(peft, adapter)
    generator = torch.Generator().manual_seed(seed)
    factors: dict[str, Factors] = {}
    starts: dict[str, LayerStart] = {}
    skipped: dict[str, str] = {}
    for name, pair in pairs.items():
        m, n = pair.shape
        why = "factors of several weights" if pair.blocks > 1 else None
        if why or pair.rank > min(m, n):
            skipped[name] = why or f"rank {pair.rank} is above min(out, in) = {min(m, n)}"
            continue
        scale = _scale(pair, gamma)
        A, B = (_orthonormal(size, pair.rank, generator) for size in (n, m))
        factors[name] = (scale * A.mT, scale * B)
        starts[name] = LayerStart(pair.rank, scale)
    return _begin(peft, adapter, pairs, factors, starts, skipped)


def _begin(
    model: Any,
    adapter: str,
    pairs: Mapping[str, Pair],
    factors: Mapping[str, Factors],
    starts: Mapping[str, LayerStart],
    skipped: Mapping[str, str],
) -> Start:
    if not factors:
        raise ValueError(f"no layer could be started: {dict(skipped)}")
    placed = {}
    for name, (A, B) in factors.items():
        pair = pairs[name]
        placed[_layer(pair)] = pair.as_A(A.contiguous()), pair.as_B(B.contiguous())
    begin(model, adapter, placed)
    return Start(adapter, starts, skipped)


def _fresh_pairs(model: Any, adapter: str) -> dict[str, Pair]:
    """The trainable pairs of the adapter, by the names of their layers."""
    if has_start(model, adapter):
        raise ValueError(
            f"the adapter {adapter!r} has a start already; make a new one with peft.get_peft_model"
        )
    if getattr(model.peft_config[adapter], "use_dora", False):
        raise ValueError(
            "DoRA divides by the norm of the adapted weight, so a start cannot be taken away again "
            "without changing the model; use LoraConfig(use_dora=False)"
        )
    pairs = [p for p in find_pairs(model) if p.adapter == adapter]
    if not pairs:
        raise ValueError(
            f"the adapter {adapter!r} is not active; call model.set_adapter({adapter!r})"
        )
    for p in pairs:
        if bool(p.A.any()) and bool(p.B.any()):
            raise ValueError(
                f"{p.name} is not fresh: neither factor is zero, so a new start would change the "
                "model. Use LoraConfig(init_lora_weights=True) and call this before training"
            )
    return {p.name.removesuffix(f".{adapter}"): p for p in pairs}


def _scale(pair: Pair, gamma: float | None) -> float:
    return 1 / abs(pair.scaling) if gamma is None else pair.shape[0] ** 0.25 / gamma**0.5


def _too_small(pair: Pair) -> str | None:
    m, n = pair.shape
    if pair.blocks > 1:
        return "factors of several weights"
    return (
        f"2r = {2 * pair.rank} is above min(out, in) = {min(m, n)}"
        if 2 * pair.rank > min(m, n)
        else None
    )


def _layer(pair: Pair) -> nn.Module:
    assert pair.module is not None
    return pair.module


def _orthonormal(size: int, rank: int, generator: torch.Generator) -> Tensor:
    gaussian = torch.randn(size, rank, generator=generator, dtype=torch.float64)
    return orthogonal(gaussian)
