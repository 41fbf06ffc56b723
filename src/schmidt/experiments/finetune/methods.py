"""The ways to fine-tune that are compared, each as a start, a LoRA configuration and an
optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.optim import Optimizer

from schmidt.adapters import create_lorapro_optimizer, find_pairs, lora_ga
from schmidt.experiments.finetune.classification import peft
from schmidt.experiments.finetune.task import Batch, Network, Task, TuningSettings


@dataclass(frozen=True)
class TuningMethod:
    """One way to fine-tune.

    Attributes:
        name: short name, for the command line.
        title: name in tables.
        lora: settings of LoraConfig that differ from plain LoRA; None trains the weights
            themselves.
        start: "zero", PEFT's own, or "gradient" (LoRA-GA).
        optimizer: "adamw", "lora+", or a mode of LoRA-Pro.
    """

    name: str
    title: str
    lora: Mapping[str, Any] | None = field(default_factory=dict)
    start: Literal["zero", "gradient"] = "zero"
    optimizer: str = "adamw"

    @property
    def full(self) -> bool:
        """Whether the weights themselves are trained."""
        return self.lora is None


METHODS = {
    m.name: m
    for m in (
        TuningMethod("full", "full fine-tuning", None),
        TuningMethod("lora", "LoRA"),
        TuningMethod("rslora", "rsLoRA", {"use_rslora": True}),
        TuningMethod("lora-plus", "LoRA+", optimizer="lora+"),
        TuningMethod("dora", "DoRA", {"use_dora": True}),
        TuningMethod("lora-ga", "LoRA-GA", {"use_rslora": True}, "gradient"),
        TuningMethod("pro-sgd", "LoRA-Pro sgd", optimizer="sgd"),
        TuningMethod("pro-efficient", "LoRA-Pro efficient", optimizer="adamw-efficient"),
        TuningMethod("pro-factored", "LoRA-Pro factored", optimizer="adamw-factored"),
        TuningMethod("pro-full", "LoRA-Pro full", optimizer="adamw-full"),
        TuningMethod(
            "ga-pro", "LoRA-GA + Pro factored", {"use_rslora": True}, "gradient", "adamw-factored"
        ),
    )
}
REFUSED = {
    "adalora": "AdaLoRA multiplies each rank by a trained value and masks ranks out while it "
    "trains, so W0 + s·B·A, of which starts and steps are computed here, is not its weight; use "
    "rank_pattern of LoraConfig for ranks that differ from layer to layer"
}
LORA_PLUS_RATIO = 16.0
"""Learning rate of B over that of A, the value that its paper recommends (Hayou et al. 2024)."""


def method(name: str) -> TuningMethod:
    """A method by its name.

    Raises:
        ValueError: it is unknown, or refused, with the reason.
    """
    if name in REFUSED:
        raise ValueError(REFUSED[name])
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


@dataclass(frozen=True)
class PreparedNetwork:
    """A network that is ready to train.

    Attributes:
        network: the network.
        layers: the adapted linear layers by name, PEFT's or plain ones.
        optimizer: of these layers.
        others: of the rest: the head.
    """

    network: Network
    layers: Mapping[str, nn.Module]
    optimizer: Optimizer
    others: Optimizer | None


def prepare(
    task: Task, method: TuningMethod, settings: TuningSettings, seed: int
) -> PreparedNetwork:
    """The task's network with the method's adapters, start and optimizer."""
    network = task.network(seed)
    network.body.requires_grad_(False)
    if method.full:
        layers = dict(_targets(network.body, task.targets))
        for layer in layers.values():
            layer.weight.requires_grad_(True)
    else:
        _adapt(network, task, method, settings, seed)
        layers = {_plain(p.name): p.module for p in find_pairs(network.body) if p.module}
    head = [] if network.head is None else list(network.head.parameters())
    others = torch.optim.AdamW(head, lr=settings.head_lr, weight_decay=0.0) if head else None
    return PreparedNetwork(network, layers, _optimizer(network, method, settings), others)


def _adapt(
    network: Network, task: Task, method: TuningMethod, settings: TuningSettings, seed: int
) -> None:
    library = peft()
    config = library.LoraConfig(
        **{
            "r": settings.rank,
            "lora_alpha": settings.alpha,
            "target_modules": list(task.targets),
            **(method.lora or {}),
        }
    )
    with torch.random.fork_rng([]), warnings.catch_warnings():
        # PEFT asks transformers by names that transformers is about to change
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        network.body = library.get_peft_model(network.body, config)
    if method.start == "gradient":
        batches = list(task.batches(seed, settings.start_batches, settings.batch))

        def loss(_: nn.Module, batch: Batch) -> torch.Tensor:
            return task.loss(network, batch)

        lora_ga(network.body, batches, loss, gamma=settings.gamma, seed=seed)
        if network.head is not None:
            network.head.zero_grad(set_to_none=True)


def _optimizer(network: Network, method: TuningMethod, settings: TuningSettings) -> Optimizer:
    body, decay = network.body, settings.weight_decay
    trained = [p for p in body.parameters() if p.requires_grad]
    if method.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=settings.lr, weight_decay=decay)
    if method.optimizer == "lora+":
        peft()
        from peft.optimizers import create_loraplus_optimizer

        return create_loraplus_optimizer(
            cast(Any, body),
            torch.optim.AdamW,
            lr=settings.lr,
            loraplus_lr_ratio=LORA_PLUS_RATIO,
            weight_decay=decay,
        )
    lr = settings.sgd_lr if method.optimizer == "sgd" else settings.lr
    return create_lorapro_optimizer(
        body, lr=lr, mode=cast(Any, method.optimizer), weight_decay=decay
    )


def _targets(body: nn.Module, targets: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, layer in body.named_modules():
        if isinstance(layer, nn.Linear) and any(
            name == t or name.endswith(f".{t}") for t in targets
        ):
            yield name, layer


def _plain(pair: str) -> str:
    return pair.removeprefix("base_model.model.").rpartition(".")[0]
