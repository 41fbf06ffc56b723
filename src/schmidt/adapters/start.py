"""Adapters that start away from zero: W = W0 + s(BA − B0A0), with W0 as it was.

The start is part of the adapter itself, which becomes one of rank 2r with the factors

    [B, −B0]  and  [A; A0],      whose product is BA − B0A0.                                  (1)

So whatever copies, saves, loads, merges, casts or switches the adapter does the same to its start,
in any library and any process, on any base. What has to be taken care of is training alone: the
second half of both factors takes no gradient. A hook of the layer sees to that in every forward
pass; it survives ``copy.deepcopy``, ``torch.save`` and wrappers. Where it is lost, as in an adapter
that was read from a folder, the function stays right and both halves are trained; see
:func:`hold_start`.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from schmidt.adapters.pairs import START, blocks_of, factors_of
from schmidt.storage import write_bytes, write_tensors

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

Factors = tuple[Tensor, Tensor]


def peft_model(model: Any) -> PeftModel:
    """The model, if it is PEFT's.

    Raises:
        ImportError: PEFT is not installed.
        TypeError: another kind of model.
    """
    try:
        import peft
    except ImportError as error:
        message = (
            'this needs PEFT; install it with: pip install ".[adapters]" in the folder of schmidt'
        )
        raise ImportError(message) from error
    if not isinstance(model, peft.PeftModel):
        raise TypeError(
            f"expected the model that peft.get_peft_model(base, LoraConfig(...)) returns, "
            f"got {type(model).__name__}"
        )
    return model


def adapter_of(model: PeftModel, adapter: str | None) -> str:
    """The name of the adapter: the one given, or the only one.

    Raises:
        ValueError: there is no such adapter, more than one to choose from, or it is not LoRA.
    """
    present = list(model.peft_config)
    if adapter is None:
        if len(present) != 1:
            raise ValueError(f"the model has the adapters {present}; say which: adapter=…")
        adapter = present[0]
    if adapter not in present:
        raise ValueError(f"the model has no adapter {adapter!r}; it has {present}")
    kind = str(getattr(model.peft_config[adapter].peft_type, "value", ""))
    if kind != "LORA":
        raise ValueError(
            f"the adapter {adapter!r} is {kind}; only LoRA can be started or converted here"
            + (": AdaLoRA's rank masks would cut the start" if kind == "ADALORA" else "")
        )
    return adapter


@torch.no_grad()
def begin(model: PeftModel, adapter: str, starts: Mapping[nn.Module, Factors]) -> None:
    """Double the rank of an adapter: these layers get the factors (1), all others get zeros.

    The parameters stay the objects that they were, except where an earlier output of the model is
    alive. Zeros stay zero in training, because the gradient of either is a product with the other.

    Args:
        model: PEFT's.
        adapter: its name; neither merged nor started yet.
        starts: (A0, B0) by layer, in the shapes of the factors.
    """
    for module in model.modules():
        pair = factors_of(module, adapter)
        if not pair:
            continue
        layer: Any = module
        A, B = pair
        r, blocks = int(layer.r[adapter]), blocks_of(layer, adapter)
        if module in starts:
            A0, B0 = (x.to(p) for x, p in zip(starts[module], pair, strict=True))
            first, second = (A0, A0), (B0, -B0)
        else:
            first, second = (A, torch.zeros_like(A)), (B, torch.zeros_like(B))
        rows = [x.unflatten(0, (blocks, -1)) for x in first]
        _put(layer, adapter, 0, torch.cat(rows, 1).flatten(0, 1).contiguous())
        _put(layer, adapter, 1, torch.cat(second, 1).contiguous())
        layer.r[adapter] = 2 * r
        layer.lora_alpha[adapter] *= _alpha(layer.use_rslora[adapter])
        _mark(layer, adapter, r)
    model.peft_config[adapter] = _doubled(model.peft_config[adapter])


def hold_start(model: nn.Module, adapter: str | None = None) -> None:
    """Go on with a started adapter that was read from a folder: its second half is the start.

    ``PeftModel.from_pretrained(base, folder, is_trainable=True)`` reads an adapter of rank 2r, all
    of which would be trained. After this call the first r rows of A and columns of B are, as before
    it was saved. Call it before the optimizer is made. Where the run is repeated from its beginning
    – :func:`~schmidt.adapters.lora_ga` and then a checkpoint of the Trainer – it is not needed.

    Raises:
        ValueError: an odd rank, which no started adapter has; or as :func:`adapter_of`.
    """
    model = peft_model(model)
    adapter = adapter_of(model, adapter)
    layers: list[Any] = [m for m in model.modules() if factors_of(m, adapter)]
    odd = [layer.r[adapter] for layer in layers if layer.r[adapter] % 2]
    if odd:
        raise ValueError(
            f"the adapter {adapter!r} has rank {odd[0]}; one with a start has an even rank, and "
            "half of it is trained"
        )
    for layer in layers:
        _mark(layer, adapter, int(layer.r[adapter]) // 2)


def has_start(model: nn.Module, adapter: str) -> bool:
    """Whether half of the adapter's factors is held."""
    return any(adapter in getattr(m, START, {}) for m in model.modules())


def save_adapter(
    model: nn.Module,
    folder: str | Path,
    adapter: str | None = None,
    *,
    embeddings: bool | str = "auto",
) -> Path:
    """Write one adapter as ``model.save_pretrained`` does, each file whole or absent.

    ``PeftModel.from_pretrained(base, folder)`` reads it, without this library. A started adapter
    is an ordinary one of rank 2r.

    Args:
        model: PEFT's; it stays as it is.
        folder: where adapter_model.safetensors and adapter_config.json go.
        adapter: its name, where there are several.
        embeddings: PEFT's ``save_embedding_layers``: whether the embeddings go with it. "auto"
            does so where their size is not that of the pretrained base, or an adapter is on them.
    """
    model = peft_model(model)
    adapter = adapter_of(model, adapter)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(
            scratch, selected_adapters=[adapter], save_embedding_layers=embeddings
        )
        written = Path(scratch) if adapter == "default" else Path(scratch) / adapter
        return _place(written, load_file(written / WEIGHTS), Path(folder))


@torch.no_grad()
def untie(model: nn.Module) -> list[list[str]]:
    """Give tied weights, as those of embeddings and output layers, a copy each, in place.

    Returns:
        The names that were tied, group by group. ``config.tie_word_embeddings`` is False then.
    """
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    tied = [names for names in groups.values() if len(names) > 1]
    for names in tied:
        for name in names[1:]:
            where, _, last = name.rpartition(".")
            layer = model.get_submodule(where)
            old = getattr(layer, last)
            setattr(layer, last, nn.Parameter(old.detach().clone(), old.requires_grad))
    if tied:
        _say_tied(model, False)
    return tied


def _say_tied(model: Any, value: bool) -> None:
    config: Any = getattr(model, "config", None)
    if getattr(config, "tie_word_embeddings", None) is not None:
        config.tie_word_embeddings = value


def merge(model: nn.Module) -> nn.Module:
    """The base model with all active adapters in its weights, and without adapters.

    As ``model.merge_and_unload()``, which must not be used where embeddings and output layer are
    tied and adapted: it changes the one weight once for each end. Here each end gets a weight of
    its own; where both come out the same, they are tied again. The PEFT model must not be used
    afterwards.
    """
    model = peft_model(model)
    base: Any = model.get_base_model()
    was_tied = untie(base)
    merged: Any = model.merge_and_unload()
    again = True
    for names in was_tied:
        ends = [name.replace(".base_layer", "") for name in names]
        first, *others = (merged.get_parameter(name) for name in ends)
        if all(torch.equal(first, other) for other in others):
            for name in ends[1:]:
                where, _, last = name.rpartition(".")
                setattr(merged.get_submodule(where), last, first)
        else:
            again = False
    if was_tied and again:
        _say_tied(merged, True)
    assert isinstance(merged, nn.Module)
    return merged


def write_adapter(folder: Path, tensors: dict[str, Tensor], config: PeftConfig) -> Path:
    """adapter_model.safetensors and adapter_config.json, as PEFT reads them."""
    config.inference_mode = True
    with tempfile.TemporaryDirectory() as scratch:
        config.save_pretrained(scratch)
        return _place(Path(scratch), tensors, folder)


WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def _place(written: Path, tensors: dict[str, Tensor], folder: Path) -> Path:
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    write_bytes(folder / CONFIG, (written / CONFIG).read_bytes())
    return folder


def _put(layer: Any, adapter: str, side: int, value: Tensor) -> None:
    """Give A (side 0) or B (side 1) another size."""
    factor = factors_of(layer, adapter)[side]
    factor.grad, factor.data = None, value
    bare = "lora_embedding_A", "lora_embedding_B"
    if adapter in getattr(layer, bare[side], {}):
        if _in_a_graph(factor):
            getattr(layer, bare[side])[adapter] = nn.Parameter(value)
        return
    module = getattr(layer, ("lora_A", "lora_B")[side])[adapter]
    if _in_a_graph(factor):
        module.weight = nn.Parameter(value)
    end, groups = ("in", int(getattr(module, "groups", 1))) if side else ("out", 1)
    for kind in ("features", "channels"):
        if hasattr(module, f"{end}_{kind}"):
            setattr(module, f"{end}_{kind}", value.shape[side] * groups)


def _in_a_graph(factor: Tensor) -> bool:
    """Whether a graph that is still alive has remembered the size that the factor had."""
    with torch.enable_grad():
        edge: Any = factor.view_as(factor).grad_fn
    remembered = getattr(edge.next_functions[0][0], "_input_metadata", None)
    return remembered is None or tuple(remembered[0].shape) != tuple(factor.shape)


def _mark(layer: Any, adapter: str, r: int) -> None:
    """The first r rows of A and columns of B, of each block, are trained; the others are held."""
    if not hasattr(layer, START):
        setattr(layer, START, {})
        # so that PEFT forgets it together with the adapter
        layer.other_param_names = (*layer.other_param_names, START)
        layer.register_forward_pre_hook(_hold)
    getattr(layer, START)[adapter] = r


class _FirstRows:
    """A gradient hook: nothing beyond the first r entries of a dimension."""

    __torch_unserializable__ = True

    def __init__(self, dim: int, r: int) -> None:
        self.dim, self.r = dim, r

    def __call__(self, gradient: Tensor) -> Tensor:
        kept = gradient.to_dense() if gradient.is_sparse else gradient.clone()
        kept.narrow(self.dim, self.r, kept.shape[self.dim] - self.r).zero_()
        return kept


def _hold(layer: Any, arguments: Any) -> None:
    """Before every forward pass: the factors know that their second half takes no gradient.

    Copied, pickled and sharded parameters lose their hooks, modules do not.
    """
    for adapter, r in getattr(layer, START).items():
        if blocks_of(layer, adapter) > 1:
            continue  # the second half is zero, and so is its gradient
        for dim, factor in enumerate(factors_of(layer, adapter)):
            hooks = factor._backward_hooks or {}
            if factor.requires_grad and not any(isinstance(h, _FirstRows) for h in hooks.values()):
                factor.register_hook(_FirstRows(dim, r))


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
