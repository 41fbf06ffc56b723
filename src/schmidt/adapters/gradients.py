"""Gradients of the weights under adapters, which are frozen and have none of their own.

For y = W x the gradient is ∂L/∂W = Σ (∂L/∂y) xᵀ, so the input of a layer and the gradient of its
output are enough: the weight may be frozen, quantised, or of any precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

Loss = Callable[[nn.Module, Any], Tensor]
Sink = Callable[[str, Tensor], None]


def unsupported(layer: nn.Module) -> str | None:
    """Why the gradient of this layer's weight cannot be taken, or None."""
    if hasattr(layer, "parameter_name"):
        return "an adapter on a bare parameter, which has no input of its own"
    base = _base(layer)
    if isinstance(base, nn.MultiheadAttention):
        return "attention, whose weights are used past their layers"
    if isinstance(base, nn.modules.conv._ConvNd):
        if base.groups != 1:
            return "a grouped convolution"
        if base.padding_mode != "zeros" or isinstance(base.padding, str):
            return "a convolution with padding other than by a number of zeros"
    return None


def weight_gradient(layer: nn.Module, inputs: Tensor, upstream: Tensor) -> Tensor:
    """∂L/∂W in the orientation of the product B·A: (out, in), for convolutions (out, in·k).

    Args:
        layer: a linear layer (also ``Conv1D`` of GPT-2, also quantised), a convolution or an
            embedding.
        inputs: what the layer was called with.
        upstream: ∂L/∂(its output), of the shape of the output.

    Returns:
        In float32, or float64 if the upstream gradient is. For an embedding (dimension, entries).
    """
    dtype = torch.promote_types(upstream.dtype, torch.float32)
    upstream = upstream.to(dtype)
    base = _base(layer)
    if isinstance(base, nn.Embedding):
        gradient = upstream.new_zeros(base.num_embeddings, base.embedding_dim)
        return gradient.index_add_(0, inputs.flatten(), upstream.flatten(0, -2)).mT
    inputs = inputs.to(dtype)
    if isinstance(base, nn.modules.conv._ConvNd):
        of = (conv1d_weight, conv2d_weight, conv3d_weight)
        kernel: Callable[..., Tensor] = of[len(base.kernel_size) - 1]
        shape = (base.out_channels, base.in_channels, *base.kernel_size)
        sizes = (base.stride, base.padding, base.dilation)
        return kernel(inputs, shape, upstream, *sizes).flatten(1)
    return upstream.flatten(0, -2).mT @ inputs.flatten(0, -2)


class GradientHooks(AbstractContextManager["GradientHooks"]):
    """While open, hands the weight gradients of some layers to ``sink(name, gradient)``, layer by
    layer.

    Each gradient is formed in the backward pass, when the layer's turn comes, and belongs to the
    sink; nothing else keeps it. A layer that is used twice in a forward pass reports twice.
    """

    def __init__(self, layers: Mapping[str, nn.Module], sink: Sink) -> None:
        self._sink = sink
        self._handles = [m.register_forward_hook(self._watch(name)) for name, m in layers.items()]

    def _watch(self, name: str) -> Callable[..., None]:
        def forward(layer: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
            if not output.requires_grad:  # evaluation, or a first pass of gradient checkpointing
                return
            inputs = arguments[0].detach()

            @torch.no_grad()
            def backward(upstream: Tensor) -> None:
                self._sink(name, weight_gradient(layer, inputs, upstream))

            output.register_hook(backward)

        return forward

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()


def mean_gradients(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    batches: Sequence[Any],
    loss: Loss,
    *,
    at_once: int | None = None,
    training: bool = False,
) -> Iterator[tuple[str, Tensor]]:
    """The mean over batches of ∂loss/∂W, one layer after the other, on the CPU.

    On the device there is never more than one of these gradients; on the CPU there are ``at_once``
    of them. The parameters' own ``.grad`` and the modes of all modules are as before afterwards.

    Args:
        layers: what to differentiate by, by name; their outputs must need gradients.
        loss: ``loss(model, batch)``, a scalar.
        at_once: layers per pass over the batches: all of them by default. Fewer need less memory
            and ⌈layers / at_once⌉ times the passes.
        training: whether the model is in training mode, with its dropout, meanwhile. Gradient
            checkpointing of transformers needs it.

    Raises:
        ValueError: the loss is no scalar, does not depend on the adapters, or is not finite.
    """
    names = list(layers)
    device = next(model.parameters()).device
    size = len(names) if at_once is None else at_once
    for start in range(0, len(names), max(size, 1)):
        group = {name: layers[name] for name in names[start : start + size]}
        sums: dict[str, Tensor] = {}
        with _as_before(model, training), GradientHooks(group, _adder(sums)):
            for batch in batches:
                _backward(model, moved(batch, device), loss)
        for name in group:
            if name in sums:
                yield name, sums.pop(name).div_(len(batches))


def _adder(sums: dict[str, Tensor]) -> Sink:
    def add(name: str, gradient: Tensor) -> None:
        there = gradient.cpu()
        sums[name] = sums[name].add_(there) if name in sums else there

    return add


def _backward(model: nn.Module, batch: Any, loss: Loss) -> None:
    with torch.enable_grad():
        value = loss(model, batch)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"loss(model, batch) must return a scalar tensor, got {shape}")
        if not value.requires_grad:
            raise ValueError(
                "loss(model, batch) does not depend on the adapters; is the adapter active and "
                "trainable, and is the loss computed without torch.no_grad()?"
            )
        if not torch.isfinite(value):
            raise ValueError(
                f"the loss is {float(value.detach())}; the start needs finite gradients"
            )
        value.backward()


@contextmanager
def _as_before(model: nn.Module, training: bool) -> Iterator[None]:
    """Modes and gradients of the model are put back."""
    modes = [(m, m.training) for m in model.modules()]
    gradients = [(p, p.grad) for p in model.parameters()]
    try:
        model.train(training)
        for p, _ in gradients:
            p.grad = None
        yield
    finally:
        for m, mode in modes:
            m.training = mode
        for p, gradient in gradients:
            p.grad = gradient


def _base(layer: Any) -> nn.Module:
    base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    assert isinstance(base, nn.Module)
    return base


def as_batches(batches: Iterable[Any], count: int | None, of_loaders: int) -> list[Any]:
    """A list, because batches may be needed more than once.

    Args:
        batches: any iterable; one without an end is not exhausted.
        count: how many; None takes all of a list or tuple.
        of_loaders: how many are taken of anything else then.
    """
    if isinstance(batches, Tensor | Mapping):
        raise ValueError(
            f"batches must be an iterable of batches, got one {type(batches).__name__}; "
            "pass [batch]"
        )
    most = count
    if count is None and not isinstance(batches, list | tuple):
        most = of_loaders
    found = list(islice(batches, most))
    if not found:
        raise ValueError("batches is empty; the gradient needs at least one batch")
    return found


def moved(batch: Any, device: torch.device) -> Any:
    """The tensors of a batch on the device, in the containers that they were in."""
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {k: moved(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(v, device) for v in batch))
    return type(batch)(moved(v, device) for v in batch) if type(batch) in (list, tuple) else batch
