"""Text that ships with packages: Python of scikit-learn, C++ of PyTorch, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

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
