"""A small language model of bytes, trained from scratch on Python, moved to C++."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from schmidt.experiments.finetune.classification import transformers
from schmidt.experiments.finetune.task import Batch, Evaluation, Network, Part, Task, shuffled

VOCABULARY = 128
"""ASCII; other bytes become the last one."""
PYTHON = ("sklearn", "", "**/*.py")
CPP = ("torch", "include/ATen", "*.h")


def text(package: str, folder: str, pattern: str, most: int) -> bytes:
    """The first ``most`` bytes of the files of a package, in order of their names.

    Tests and files with "generated" in them are left out.

    Raises:
        FileNotFoundError: the package has too few of them.
    """
    spec = find_spec(package)
    root = Path(spec.origin).parent / folder if spec and spec.origin else Path(package)
    found, size = [], 0
    for path in sorted(root.glob(pattern)):
        if "tests" in path.parts:
            continue
        content = path.read_bytes()
        if b"generated" in content[:2000]:
            continue
        found.append(content)
        size += len(content)
        if size >= most:
            return b"".join(found)[:most]
    raise FileNotFoundError(
        f"{root} holds {size} bytes of {pattern}, {most} are needed; is {package} a usual build?"
    )


def windows(content: bytes, length: int) -> Tensor:
    """(n, length) numbers of characters, one window after the other."""
    numbers = torch.frombuffer(bytearray(content), dtype=torch.uint8).long()
    numbers = numbers.clamp(max=VOCABULARY - 1)
    return numbers[: len(numbers) // length * length].view(-1, length)


def parts(of: Tensor, sizes: Sequence[int], block: int = 64) -> list[Tensor]:
    """Disjoint parts, in blocks of neighbouring windows, chosen at random but always the same."""
    blocks = of[: len(of) // block * block].view(-1, block, of.shape[1])
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0))
    found, at = [], 0
    for size in sizes:
        count = -(-size // block)
        if at + count > len(blocks):
            raise ValueError(f"{len(of)} windows are too few for parts of {list(sizes)}")
        found.append(blocks[order[at : at + count]].flatten(0, 1)[:size])
        at += count
    return found


def python(most: int) -> bytes:
    """Python sources of scikit-learn."""
    return text(*PYTHON, most)


def cpp(most: int) -> bytes:
    """C++ headers of PyTorch."""
    return text(*CPP, most)


TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CHUNK = 64


@dataclass(frozen=True)
class Pretraining:
    """How the small model is made: a Llama of these sizes, AdamW with a cosine schedule."""

    width: int = 96
    inner: int = 256
    layers: int = 2
    heads: int = 4
    length: int = 64
    steps: int = 700
    batch: int = 16
    lr: float = 3e-3
    characters: int = 1_500_000
    seed: int = 0


@dataclass(frozen=True)
class Language(Task):
    """The next character, of windows (n, length) of text.

    Args:
        model: pretrained, on another domain.
        train, validation, test: windows.
    """

    model: nn.Module
    train: Tensor
    validation: Tensor
    test: Tensor
    name: str = "code"
    title: str = "a small language model, from Python to C++"
    score: str = "next-character accuracy"
    targets: tuple[str, ...] = TARGETS

    def network(self, seed: int) -> Network:
        return Network(copy.deepcopy(self.model))

    def batches(self, seed: int, steps: int, size: int) -> Iterator[Batch]:
        chosen = shuffled(len(self.train), seed, steps, size)
        return ({"input_ids": self.train[i]} for i in chosen)

    def loss(self, network: Network, batch: Batch) -> Tensor:
        return _losses(network.body, batch["input_ids"])[0].mean()

    @torch.no_grad()
    def judge(self, network: Network, part: Part) -> Evaluation:
        data = self.test if part == "test" else self.validation
        found = [_losses(network.body, data[i : i + CHUNK]) for i in range(0, len(data), CHUNK)]
        losses, right = (torch.cat(x) for x in zip(*found, strict=True))
        return Evaluation(right.double().mean(1), float(losses.mean()))

    def sized(self, examples: int) -> Language:
        if not 1 <= examples <= len(self.train):
            raise ValueError(f"there are {len(self.train)} windows, {examples} were asked for")
        return replace(self, train=self.train[:examples])

    @property
    def examples(self) -> int:
        return len(self.train)


def python_to_cpp(
    train: int, validation: int, test: int, pretraining: Pretraining | None = None
) -> Language:
    """A model of Python (sources of scikit-learn), to be moved to C++ (headers of PyTorch).

    Args:
        train, validation, test: numbers of windows of C++.
        pretraining: how the model is made; about half a minute on one core.

    Raises:
        MissingExample: transformers is not installed.
    """
    how = pretraining or Pretraining()
    model = pretrained(windows(python(how.characters), how.length), how)
    total = (train + validation + test + 4 * 64) * how.length
    new = windows(cpp(2 * total), how.length)
    tested, validated, trained = parts(new, (test, validation, train))
    return Language(model, trained, validated, tested)


def pretrained(data: Tensor, how: Pretraining) -> nn.Module:
    """A transformer trained on windows (n, length) from random weights."""
    library = transformers()
    config = library.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=how.width,
        intermediate_size=how.inner,
        num_hidden_layers=how.layers,
        num_attention_heads=how.heads,
        max_position_embeddings=how.length,
        use_cache=False,
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(how.seed)
        model: nn.Module = library.LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=how.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.lr, how.steps, pct_start=0.1)
    for index in shuffled(len(data), how.seed, how.steps, how.batch):
        optimizer.zero_grad()
        _losses(model, data[index])[0].mean().backward()
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


def _losses(model: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of every next character, and whether the likeliest was right: (n, length −
    1)."""
    logits: Tensor = model(input_ids=ids).logits[:, :-1]
    ahead = ids[:, 1:]
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), ahead.flatten(), reduction="none")
    return losses.view(ahead.shape), logits.argmax(-1) == ahead
