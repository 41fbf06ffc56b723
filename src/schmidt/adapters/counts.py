"""How many parameters an adapter has, and the memory that training needs: from shapes alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from schmidt.adapters.delta import weight_matrices

Shape = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that training takes, without activations.

    Attributes:
        method: who trains.
        trained: number of trained parameters.
        weights: bytes of the weights, adapters included.
        gradients: bytes of the gradients.
        state: bytes of the optimizer's state.
    """

    method: str
    trained: int
    weights: int
    gradients: int
    state: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.state


def linear_shapes(model: nn.Module, targets: Iterable[str] | None = None) -> dict[str, Shape]:
    """(out, in) of the linear layers of a model that has no adapters.

    Args:
        targets: ends of their names, as ``target_modules`` of PEFT has them; all of them by
            default.

    Raises:
        ValueError: no layer matches.
    """
    ends = None if targets is None else tuple(targets)
    found = {}
    for name, kind, layer in weight_matrices(model):
        if kind == "embedding":
            continue
        if ends is None or any(name == e or name.endswith(f".{e}") for e in ends):
            rows, columns = layer.weight.shape  # type: ignore[misc]
            found[name] = (columns, rows) if kind == "transposed" else (rows, columns)
    if not found:
        raise ValueError(f"no linear layer is named {ends}" if ends else "no linear layers")
    return found


def decoder_shapes(
    hidden: int, intermediate: int, *, layers: int, kv: int | None = None
) -> dict[str, Shape]:
    """The seven matrices per layer of a decoder in the manner of Llama.

    Llama-2-7B is ``decoder_shapes(4096, 11008, layers=32)``. With grouped queries, ``kv`` is
    the width of keys and values.
    """
    kv = hidden if kv is None else kv
    one = {
        "q_proj": (hidden, hidden),
        "k_proj": (kv, hidden),
        "v_proj": (kv, hidden),
        "o_proj": (hidden, hidden),
        "gate_proj": (intermediate, hidden),
        "up_proj": (intermediate, hidden),
        "down_proj": (hidden, intermediate),
    }
    return {f"layers.{i}.{name}": shape for i in range(layers) for name, shape in one.items()}


def adapter_parameters(shapes: Mapping[str, Shape] | Sequence[Shape], rank: int) -> int:
    """Σ r(out + in)."""
    return rank * sum(m + n for m, n in _sizes(shapes, rank))


def memory_table(
    shapes: Mapping[str, Shape] | Sequence[Shape],
    rank: int,
    *,
    base_bytes: float = 2,
    adapter_bytes: int = 4,
    state_bytes: int = 4,
) -> list[Memory]:
    """Memory of full fine-tuning, of LoRA and of each mode of LoRA-Pro, for weights of these
    shapes.

    Other weights, activations and temporary arrays are not counted. ``adamw-factored`` holds the
    momentum as a pair of factors, and row and column sums of the second moments.

    Args:
        shapes: (out, in) of each adapted matrix; see :func:`linear_shapes`, :func:`decoder_shapes`.
        rank: r.
        base_bytes: of an entry of a base weight: 2 for bfloat16, 0.5 for four bits. Full
            fine-tuning trains weights and keeps gradients in this precision, at least 2 bytes.
        adapter_bytes: of an entry of A, B and their gradients.
        state_bytes: of an entry of the optimizer's state.

    Raises:
        ValueError: no shapes, or a rank outside 1 … min(out, in).
    """
    sizes = _sizes(shapes, rank)
    dense = sum(m * n for m, n in sizes)
    edges = sum(m + n for m, n in sizes)
    pair = rank * edges
    frozen, whole = round(base_bytes * dense), round(max(base_bytes, 2) * dense)
    states = {
        "LoRA, AdamW": 2 * pair,
        "LoRA-Pro, sgd": 0,
        "LoRA-Pro, adamw-efficient": 2 * pair,
        "LoRA-Pro, adamw-factored": pair + edges,
        "LoRA-Pro, adamw-full": 2 * dense,
    }
    adapted = [
        Memory(
            method=name,
            trained=pair,
            weights=frozen + adapter_bytes * pair,
            gradients=adapter_bytes * pair,
            state=state_bytes * numbers,
        )
        for name, numbers in states.items()
    ]
    return [
        Memory(
            method="full, AdamW",
            trained=dense,
            weights=whole,
            gradients=whole,
            state=2 * state_bytes * dense,
        ),
        *adapted,
    ]


def _sizes(shapes: Mapping[str, Shape] | Sequence[Shape], rank: int) -> list[Shape]:
    sizes = list(shapes.values() if isinstance(shapes, Mapping) else shapes)
    if not sizes:
        raise ValueError("no shapes were given")
    most = min(min(s) for s in sizes)
    if not 1 <= rank <= most:
        raise ValueError(f"rank must lie between 1 and {most}, the smallest side, got {rank}")
    return sizes
