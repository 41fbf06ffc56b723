"""The trainable pairs (A, B) of a model with LoRA adapters, and everything else it trains.

Layers are recognised by what they hold, as PEFT's LoRA layers hold it: ``lora_A`` and ``lora_B``
(or ``lora_embedding_A`` and ``lora_embedding_B``) and ``scaling``, one entry per adapter. PEFT
itself is never imported. In PEFT's letters the adapted weight is W = W0 + s·B·A, with B (m, r) and
A (r, n).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from torch import Tensor, nn


def is_sharded(x: Tensor) -> bool:
    return hasattr(x, "full_tensor")


def whole(x: Any) -> Tensor:
    """The whole tensor, dense, on every process."""
    x = x.full_tensor() if is_sharded(x) else x
    return x.to_dense() if x.is_sparse else x


def write(target: Any, value: Tensor) -> None:
    """``target`` ← ``value``, which is whole and the same on every process."""
    if is_sharded(target):
        from torch.distributed.tensor import DTensor, Replicate

        everywhere = [Replicate()] * target.device_mesh.ndim
        value = DTensor.from_local(value, target.device_mesh, everywhere, run_check=False)
        value = value.redistribute(placements=target.placements)
    target.copy_(value)


Kind = Literal["linear", "convolution", "embedding", "experts", "manual"]
FACTORS = (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"))
START = "lora_start"
"""The attribute of a layer that says, by adapter, how many rows of a started A are trained."""


@dataclass(frozen=True)
class Pair:
    """The two factors of one adapted weight, W = W0 + scaling·B·A.

    Args:
        name: where the pair is in the model; ``layer.adapter`` for pairs found in one.
        A: (r, n), or what :meth:`right` makes such matrices of.
        B: (m, r), or what :meth:`left` makes such matrices of.
        scaling: s. PEFT's is alpha / r, with rsLoRA alpha / √r.
        kind: "linear" (also the ``Conv1D`` of GPT-2), "convolution" (a kernel is a matrix of size
            out × in·k·k), "embedding", "experts" (one parameter that holds a stack of weights), or
            "manual".
        blocks: number of weights that the factors hold: the groups of a grouped convolution, the
            experts of a stack; 1 otherwise.
        transposed: whether the layer stores its weight as (n, m): embeddings and ``Conv1D``.
        adapter: name of the adapter.
        module: the layer, if the pair comes from a model.
        start: rows of A and columns of B, the last ones of each block, that hold a start
            (:mod:`schmidt.adapters.start`): they belong to the adapter and are not trained. The
            rank, and the matrices of :meth:`left` and :meth:`right`, are those of what is trained.
    """

    name: str
    A: nn.Parameter
    B: nn.Parameter
    _: KW_ONLY
    scaling: float = 1.0
    kind: Kind = "manual"
    blocks: int = 1
    transposed: bool = False
    adapter: str = "default"
    module: nn.Module | None = field(default=None, repr=False, compare=False)
    start: int = 0

    @property
    def rank(self) -> int:
        """r, of each block."""
        return self.A.shape[0] // self.blocks - self.start

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n) of each block."""
        rows = self.B.shape[0] if self.kind == "experts" else self.B.shape[0] // self.blocks
        return rows, self.A.numel() // self.A.shape[0]

    def right(self, like_A: Tensor) -> Tensor:
        """A, its gradient, or anything of its shape, as matrices (blocks, r, n)."""
        return self._rows(like_A)[:, : self.rank]

    def left(self, like_B: Tensor) -> Tensor:
        """B, its gradient, or anything of its shape, as matrices (blocks, m, r)."""
        return self._columns(like_B)[..., : self.rank]

    def as_A(self, right: Tensor) -> Tensor:
        """The inverse of :meth:`right`, of a pair without a start."""
        return right.reshape(self.A.shape)

    def as_B(self, left: Tensor) -> Tensor:
        """The inverse of :meth:`left`, of a pair without a start."""
        if self.kind == "experts":
            left = left.permute(1, 2, 0)
        return left.reshape(self.B.shape)

    def _rows(self, like_A: Tensor) -> Tensor:
        return like_A.reshape(self.blocks, self.rank + self.start, -1)

    def _columns(self, like_B: Tensor) -> Tensor:
        if self.kind == "experts":  # PEFT stores them as (m, r, experts)
            return like_B.reshape(-1, self.rank + self.start, self.blocks).permute(2, 0, 1)
        return like_B.reshape(self.blocks, -1, self.rank + self.start)


@dataclass(frozen=True)
class Trainable:
    """What a model trains: pairs, and by name everything else (biases, heads, magnitudes, …)."""

    pairs: tuple[Pair, ...]
    rest: tuple[tuple[str, nn.Parameter], ...]


def find_pairs(model: nn.Module) -> tuple[Pair, ...]:
    """The trainable pairs of the active LoRA adapters, in the order of ``model.named_modules()``.

    Works through wrappers (DDP, ``torch.compile``). Adapters that are not active, and those that
    are wholly frozen, are left out.

    Raises:
        ValueError: there is no LoRA layer; no pair is trainable; one factor is frozen and its
            partner is not; a layer is merged; the factors lie on different devices; two pairs share
            a parameter; a variant of LoRA in which the change of the weight is not s·B·A.
    """
    layers = [(name, m) for name, m in model.named_modules() if _is_lora(m)]
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no LoRA layers; wrap it first with "
            "peft.get_peft_model(model, LoraConfig(...)), or pass a list of schmidt.adapters.Pair"
        )
    pairs = [pair for name, layer in layers for pair in _pairs_of(name, layer)]
    if not pairs:
        present = sorted({a for _, layer in layers for a in _adapters(layer)})
        raise ValueError(
            f"no trainable pair: the adapters {present} are all inactive or frozen; call "
            "model.set_adapter(name) and load adapters with is_trainable=True"
        )
    return check_pairs(pairs)


def split_parameters(model: nn.Module) -> Trainable:
    """The trainable pairs of ``model`` and the rest of what it trains.

    Factors of adapters that are not active are in neither part: they take no part in the model's
    output, and they would be trained as ordinary LoRA once they did.

    Raises:
        ValueError: as :func:`find_pairs`.
    """
    pairs = find_pairs(model)
    factors = {id(p) for m in model.modules() if _is_lora(m) for p in _factor_weights(m)}
    rest = [
        (name, p)
        for name, p in model.named_parameters()
        if p.requires_grad and id(p) not in factors
    ]
    return Trainable(pairs, tuple(rest))


def check_pairs(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs, if all of them can be trained.

    Raises:
        ValueError: see :func:`find_pairs`; also shapes that do not fit, and a scaling that is zero.
    """
    pairs = tuple(pairs)
    if not pairs:
        raise ValueError("no pairs were given; pass at least one schmidt.adapters.Pair(name, A, B)")
    owner: dict[int, str] = {}
    for pair in pairs:
        _check(pair)
        for factor in (pair.A, pair.B):
            # the memory rather than the object: tied adapters wrap the same memory twice
            no_memory = factor.device.type == "meta" or is_sharded(factor)
            key = id(factor) if no_memory else factor.data_ptr()
            if key in owner:
                raise ValueError(
                    f"{pair.name} shares a parameter with {owner[key]}; each pair needs factors of "
                    "its own. For tied embeddings set ensure_weight_tying=False in the LoraConfig, "
                    "and merge with schmidt.adapters.merge, which changes the one weight once"
                )
            owner[key] = pair.name
    return pairs


def _check(pair: Pair) -> None:
    A, B, name = pair.A, pair.B, pair.name
    if A.requires_grad != B.requires_grad:
        frozen, free = ("A", "B") if B.requires_grad else ("B", "A")
        raise ValueError(
            f"{name}: {frozen} is frozen and its partner {free} is not; the step needs both "
            "gradients. Call requires_grad_(True) on it, or train this model with torch.optim.AdamW"
        )
    if not A.requires_grad:
        raise ValueError(f"{name}: both factors are frozen; call requires_grad_(True) on them")
    if A.device != B.device:
        raise ValueError(
            f"{name}: A is on {A.device} and B on {B.device}; move both to one device "
            "before the optimizer is made"
        )
    if not (A.is_floating_point() and B.is_floating_point()):
        raise ValueError(f"{name}: factors must be real floating-point, got {A.dtype}, {B.dtype}")
    fits = A.ndim >= 2 and B.ndim >= 2 and A.shape[0] % pair.blocks == 0 and A.numel() > 0
    if fits and pair.kind in ("linear", "embedding", "manual") and pair.blocks == 1:
        fits = A.ndim == B.ndim == 2 and A.shape[0] == B.shape[1]
    if not fits:
        raise ValueError(
            f"{name}: A must be (r, n) and B (m, r), got {tuple(A.shape)} and {tuple(B.shape)}"
        )
    if pair.scaling == 0:
        raise ValueError(
            f"{name}: the scaling is 0, so no gradient reaches the pair; set lora_alpha"
        )


def _is_lora(module: nn.Module) -> bool:
    return any(hasattr(module, a) and hasattr(module, b) for a, b in FACTORS) and hasattr(
        module, "scaling"
    )


def _adapters(layer: Any) -> Iterator[str]:
    for a, _ in FACTORS:
        yield from getattr(layer, a, {})


def _factor_weights(layer: Any) -> Iterator[nn.Parameter]:
    """The factors of all adapters of a layer, but not the biases that they may have."""
    for side in (name for names in FACTORS for name in names):
        for factor in getattr(layer, side, {}).values():
            yield getattr(factor, "weight", factor)


def _pairs_of(name: str, layer: Any) -> Iterator[Pair]:
    active = layer.active_adapters
    for names in FACTORS:
        left, right = getattr(layer, names[1], {}), getattr(layer, names[0], {})
        for adapter in active:
            if adapter not in left or adapter not in right:
                continue
            A, B = (getattr(f, "weight", f) for f in (right[adapter], left[adapter]))
            if not (A.requires_grad or B.requires_grad):
                continue
            if layer.merged_adapters:
                raise ValueError(
                    f"{name}: the adapter {layer.merged_adapters} is merged into the base weight, "
                    "and no gradient reaches it; call model.unmerge_adapter() first"
                )
            _refuse_other_formulas(name, layer, adapter)
            kind, blocks = _kind(layer, A, left[adapter])
            yield Pair(
                name=f"{name}.{adapter}",
                A=A,
                B=B,
                scaling=float(layer.scaling[adapter]),
                kind=kind,
                blocks=blocks,
                transposed=kind == "embedding" or bool(getattr(layer, "fan_in_fan_out", False)),
                adapter=adapter,
                module=layer,
                start=_held(layer, adapter, A.shape[0] // blocks),
            )


def _refuse_other_formulas(name: str, layer: Any, adapter: str) -> None:
    """Variants in which the factors do not act as W0 + s·B·A on what they are given."""
    if hasattr(layer, "lora_E"):
        raise ValueError(
            f"{name}: AdaLoRA trains B·diag(E)·A and masks its ranks as it goes, so B·A is not the "
            "change of the weight; use LoraConfig, if need be with a rank_pattern from AdaLoRA"
        )
    variant = type(getattr(layer, "lora_variant", {}).get(adapter)).__name__
    if not variant.startswith(("NoneType", "Dora", "ALora")):
        raise ValueError(
            f"{name}: {variant} changes how the factors act, so their gradients are not s·BᵀG and "
            "s·GAᵀ; use plain LoRA, rsLoRA, DoRA or aLoRA, or train it with torch.optim.AdamW"
        )


def factors_of(layer: Any, adapter: str) -> tuple[nn.Parameter, ...]:
    """(A, B) of an adapter of a layer, or nothing."""
    for a, b in FACTORS:
        right, left = getattr(layer, a, {}), getattr(layer, b, {})
        if adapter in right and adapter in left:
            return tuple(getattr(f[adapter], "weight", f[adapter]) for f in (right, left))
    return ()


def blocks_of(layer: Any, adapter: str) -> int:
    """How many weights one pair of factors holds: the rows of A are ordered by them."""
    if hasattr(layer, "parameter_name"):
        return int(layer.num_experts)
    left = dict(layer.lora_B.items()).get(adapter)  # embeddings have none here
    return int(getattr(left, "groups", 1))


def _held(layer: Any, adapter: str, rows: int) -> int:
    """How many of the rows of A (of each block) hold a start."""
    return rows - int(getattr(layer, START, {}).get(adapter, rows))


def _kind(layer: Any, A: Tensor, left: Any) -> tuple[Kind, int]:
    if not isinstance(left, nn.Module):
        return "embedding", 1
    if A.ndim > 2:
        return "convolution", int(getattr(left, "groups", 1))
    experts = hasattr(layer, "parameter_name")
    return ("experts", int(layer.num_experts)) if experts else ("linear", 1)
