"""Adapters that start away from zero: W = W0 + s(BA − B0A0), with W0 as it was.

The start is kept as a second adapter that is frozen, holds A0 and −B0, and is active together with
the trained one. So PEFT itself adds it, merges it and switches it off, and the base may be
quantised.
"""

from __future__ import annotations

import copy
import math
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from schmidt.adapters.pairs import Pair
from schmidt.storage import write_bytes, write_tensors

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

SUFFIX = "_start"
FACTORS = (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"))


def peft_model(model: Any) -> PeftModel:
    """The model, if it is PEFT's.

    Raises:
        ImportError: PEFT is not installed.
        TypeError: another kind of model.
    """
    try:
        import peft
    except ImportError as error:
        message = 'this needs PEFT; install it with: pip install "schmidt[adapters]"'
        raise ImportError(message) from error
    if not isinstance(model, peft.PeftModel):
        raise TypeError(
            f"expected the model that peft.get_peft_model(base, LoraConfig(...)) returns, "
            f"got {type(model).__name__}"
        )
    return model


def adapter_of(model: PeftModel, adapter: str | None) -> str:
    """The name of the trained adapter: the one given, or the only one.

    Raises:
        ValueError: there is no such adapter, more than one to choose from, or it is not LoRA.
    """
    trained = [a for a in model.peft_config if not a.endswith(SUFFIX)]
    if adapter is None:
        if len(trained) != 1:
            raise ValueError(f"the model has the adapters {trained}; say which: adapter=…")
        adapter = trained[0]
    if adapter not in trained:
        raise ValueError(f"the model has no adapter {adapter!r}; it has {trained}")
    kind = str(getattr(model.peft_config[adapter].peft_type, "value", ""))
    if kind != "LORA":
        raise ValueError(
            f"the adapter {adapter!r} is {kind}; only LoRA can be started or converted here"
            + (": AdaLoRA's rank masks would cut the start" if kind == "ADALORA" else "")
        )
    return adapter


def carry(model: PeftModel, adapter: str, pairs: Iterable[Pair]) -> str:
    """Freeze −B·A of these pairs, as they are now, as a second active adapter; returns its name."""
    from peft import PeftModel

    name = adapter + SUFFIX
    pairs = list(pairs)
    config: Any = copy.deepcopy(model.peft_config[adapter])
    config.target_modules = _exactly(model, [p.module for p in pairs])
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
    config.modules_to_save = config.trainable_token_indices = config.layer_replication = None
    config.target_parameters = config.lora_ga_config = None
    config.init_lora_weights, config.bias, config.lora_dropout = True, "none", 0.0
    # not model.add_adapter: for classifiers that would make a second head
    PeftModel.add_adapter(model, name, config)
    with torch.no_grad():
        for pair in pairs:
            A, B = weights(pair.module, name)
            A.data, B.data = pair.A.detach().clone(), -pair.B.detach()
            layer: Any = pair.module
            layer.scaling[name] = layer.scaling[adapter]
            # PEFT trains what is active, and looks here for exceptions
            exceptions = getattr(layer, "frozen_peft_weight_names", {})
            layer.frozen_peft_weight_names = {**exceptions, name: sum(FACTORS, ())}
    tuner: Any = model.base_model
    tuner.set_adapter([adapter, name])
    for pair in pairs:  # releases of PEFT before 0.20 do not look there
        for factor in weights(pair.module, name):
            factor.requires_grad_(False)
    return name


def weights(layer: Any, adapter: str) -> tuple[nn.Parameter, ...]:
    """(A, B) of an adapter of a layer, or nothing."""
    for a, b in FACTORS:
        right, left = getattr(layer, a, {}), getattr(layer, b, {})
        if adapter in right and adapter in left:
            return tuple(getattr(f[adapter], "weight", f[adapter]) for f in (right, left))
    return ()


def fold(model: nn.Module, adapter: str | None = None) -> PeftModel:
    """Turn an adapter and its start into one ordinary adapter of rank 2r, in place and exactly.

    s(BA − B0A0) = s[B, −B0][A; A0]. Afterwards nothing of the start is left: ``save_pretrained``,
    ``merge_and_unload`` and further training are those of any adapter. The factors are new
    parameters, so an optimizer made before does not know them. Without a start nothing happens.
    """
    model = peft_model(model)
    adapter = adapter_of(model, adapter)
    start = adapter + SUFFIX
    if start not in model.peft_config:
        return model
    _refuse_merged(model)
    for module in model.modules():
        pair = weights(module, adapter)
        if not pair:
            continue
        layer: Any = module
        A, B = _joined(pair, weights(layer, start), _blocks(layer, adapter))
        pair[0].data, pair[1].data = A, B
        pair[0].grad = pair[1].grad = None
        layer.r[adapter] *= 2
        layer.lora_alpha[adapter] *= _alpha(layer.use_rslora[adapter])
    model.peft_config[adapter] = _doubled(model.peft_config[adapter])
    model.delete_adapter(start)
    model.set_adapter(adapter)
    return model


def merge(model: nn.Module, adapter: str | None = None) -> nn.Module:
    """The base model with W0 + s(BA − B0A0) in its weights, and without adapters.

    The two products are first joined (:func:`fold`), so that a base in low precision is rounded
    once. The PEFT model must not be used afterwards. Cost: one m × n × 2r product per layer.
    """
    model = fold(model, adapter)
    tuner: Any = model.base_model
    merged = tuner.merge_and_unload(adapter_names=[adapter_of(model, adapter)])
    assert isinstance(merged, nn.Module)
    return merged


def save_adapter(model: nn.Module, folder: str | Path, adapter: str | None = None) -> Path:
    """Write an adapter with its start as one ordinary PEFT adapter of rank 2r; the model stays as
    it is.

    ``PeftModel.from_pretrained(base, folder)`` reads it, without this library. It trains on with
    rank 2r; to go on with a run of rank r, keep ``model.state_dict()``. An adapter without a start
    is written as it is. Each file is whole or absent.
    """
    from peft import get_peft_model_state_dict

    model = peft_model(model)
    adapter = adapter_of(model, adapter)
    start = adapter + SUFFIX
    _refuse_merged(model)
    found: dict[str, Tensor] = get_peft_model_state_dict(
        model, adapter_name=adapter, save_embedding_layers=False
    )
    config = copy.deepcopy(model.peft_config[adapter])
    if start in model.peft_config:
        config = _doubled(config)
        for name, module in model.named_modules():
            pair = weights(module, adapter)
            if pair:
                joined = _joined(pair, weights(module, start), _blocks(module, adapter))
                found |= dict(zip(_keys(name, found), joined, strict=True))
    return write_adapter(Path(folder), found, config)


def write_adapter(folder: Path, tensors: dict[str, Tensor], config: PeftConfig) -> Path:
    """adapter_model.safetensors and adapter_config.json, as PEFT reads them."""
    config.inference_mode = True
    with tempfile.TemporaryDirectory() as scratch:
        config.save_pretrained(scratch)
        text = (Path(scratch) / "adapter_config.json").read_bytes()
    write_tensors(folder / "adapter_model.safetensors", tensors, {"format": "pt"})
    write_bytes(folder / "adapter_config.json", text)
    return folder


def _joined(
    pair: tuple[Tensor, ...], start: tuple[Tensor, ...], blocks: int
) -> tuple[Tensor, Tensor]:
    """[A; A0] and [B, −B0]; zeros where a layer has no start, because the rank is one for all."""
    A, B = (p.detach() for p in pair)
    A0, B0 = start or (torch.zeros_like(A), torch.zeros_like(B))
    rows = [a.unflatten(0, (blocks, -1)) for a in (A, A0.to(A))]
    return torch.cat(rows, 1).flatten(0, 1), torch.cat([B, B0.to(B)], 1)


def _blocks(layer: Any, adapter: str) -> int:
    """How many weights one pair of factors holds: the rows of A are ordered by them."""
    if hasattr(layer, "parameter_name"):
        return int(layer.num_experts)
    left = dict(layer.lora_B.items()).get(adapter)  # embeddings have none here
    return int(getattr(left, "groups", 1))


def _doubled(config: Any) -> Any:
    """The configuration with twice the rank everywhere, and the same scaling."""
    config = copy.deepcopy(config)
    more = _alpha(config.use_rslora)
    config.r *= 2
    config.lora_alpha *= more
    config.rank_pattern = {k: 2 * v for k, v in (config.rank_pattern or {}).items()}
    config.alpha_pattern = {k: more * v for k, v in (config.alpha_pattern or {}).items()}
    config.init_lora_weights = True
    return config


def _alpha(rslora: bool) -> float:
    """The scaling is alpha / r, with rsLoRA alpha / √r."""
    return math.sqrt(2) if rslora else 2


def _keys(layer: str, state: dict[str, Tensor]) -> tuple[str, str]:
    for a, b in FACTORS:
        for end in (".weight", ""):
            if f"{layer}.{a}{end}" in state:
                return f"{layer}.{a}{end}", f"{layer}.{b}{end}"
    raise ValueError(f"PEFT's state of the adapter has no factors of {layer}")


def _exactly(model: PeftModel, layers: list[nn.Module | None]) -> str:
    """A pattern that matches the names of these layers and no others."""
    chosen = {id(layer) for layer in layers}
    base: Any = model.base_model.model
    names = [n for n, m in base.named_modules() if id(m) in chosen]
    return "|".join(re.escape(name) for name in names)


def _refuse_merged(model: nn.Module) -> None:
    merged = [n for n, m in model.named_modules() if getattr(m, "merged_adapters", None)]
    if merged:
        raise ValueError(f"{merged[0]} is merged; call model.unmerge_adapter() first")
