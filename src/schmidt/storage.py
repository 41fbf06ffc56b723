"""Files that are whole or absent: atomic writes, and clear errors for damaged files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


class DamagedFileError(RuntimeError):
    """A file exists but cannot be read as what it should be."""


def write_bytes(path: Path, data: bytes) -> Path:
    """Write ``data`` so that ``path`` holds either its old content or all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def plain(value: Any) -> Any:
    """What json cannot hold: numpy numbers and arrays as numbers, anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def write_json(path: Path, content: Any) -> Path:
    """Write ``content`` as strict JSON (no NaN), atomically."""
    text = json.dumps(content, indent=2, allow_nan=False, default=plain)
    return write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file raises :class:`DamagedFileError` that names it."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not valid JSON ({error}); delete it to start anew"
        raise DamagedFileError(message) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    """Write named tensors and a header of strings as safetensors, atomically."""
    # copies, because safetensors refuses tensors that share memory
    copies = {
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()
    }
    return write_bytes(path, save(copies, dict(header)))


def read_tensors(path: Path, kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a safetensors file, whose ``kind`` must be the one given."""
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            # clones: memory as the file has it is not aligned, and products of unaligned
            # vectors differ in the last bit
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            header = dict(file.metadata() or {})
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is damaged ({error}); delete it to start anew") from error
    if kind is not None and header.get("kind") != kind:
        raise ValueError(f"{path} does not hold a {kind.removeprefix('schmidt.')}")
    return tensors, header
