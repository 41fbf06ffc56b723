"""Files that are whole or absent: atomic writes, checksums, locks, and clear errors."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

CHECKSUM = "checksum"
"""The key of the checksum, in headers and in JSON files."""
LOCK = ".schmidt.lock"


class DamagedFileError(RuntimeError):
    """A file exists but cannot be read as what it should be."""


class FolderInUseError(RuntimeError):
    """Another run is writing into the folder."""


_HELD: dict[Path, int] = {}
"""Folders that this process holds, and the thread that does."""


@contextmanager
def exclusive(folder: str | Path) -> Iterator[Path]:
    """Hold a folder for one run; made if it is missing.

    The lock is the operating system's: it dies with the process, however that ends. Who holds a
    folder may ask for it again.

    Raises:
        FolderInUseError: another process or thread holds it.
        OSError: the folder cannot be made or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key, owner = folder.resolve(), threading.get_ident()
    if _HELD.get(key) == owner:
        yield folder
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(
            f"another run is writing into {folder}: wait for it, or choose another folder"
        ) from None
    _HELD[key] = owner
    try:
        _remove_orphans(folder)
        yield folder
    finally:
        del _HELD[key]
        lock.release()  # the file stays: removing it would let two runs in at once


def _remove_orphans(folder: Path) -> None:
    """What killed writes left behind; only called by the one that holds the folder."""
    for path in folder.glob(".*" + PART):
        path.unlink(missing_ok=True)


PART = ".part"
"""How files are called while they are being written."""


def write_bytes(path: Path, data: bytes) -> Path:
    """Write ``data`` so that ``path`` holds either its old content or all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
        _sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _sync_folder(folder: Path) -> None:
    """The new name itself reaches the disk; not every system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def plain(value: Any) -> Any:
    """What json cannot hold: numpy numbers and arrays as numbers, anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def canonical(content: Any) -> str:
    """One text for one content: JSON with sorted keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=plain)


def write_json(path: Path, content: Any) -> Path:
    """Write ``content`` as strict JSON (no NaN), atomically; a dict gets a checksum of its own."""
    if isinstance(content, dict):
        inside = json.loads(json.dumps(content, allow_nan=False, default=plain))
        content = content | {CHECKSUM: _sum(canonical(inside).encode())}
    text = json.dumps(content, indent=2, allow_nan=False, default=plain)
    return write_bytes(path, (text + "\n").encode())


def read_json(path: Path, *, by_hand: bool = False) -> Any:
    """Read JSON; the checksum that :func:`write_json` added is checked and taken off.

    Args:
        path: the file.
        by_hand: it may have been written by somebody else, without a checksum.

    Raises:
        DamagedFileError: not JSON, or not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged: not valid JSON ({error})") from error
    if isinstance(content, dict) and not (by_hand and CHECKSUM not in content):
        written = content.pop(CHECKSUM, None)
        if written != _sum(canonical(content).encode()):
            raise DamagedFileError(f"{path} was changed or damaged after it was written")
    return content


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    """Write named tensors and a header of strings as safetensors with a checksum, atomically."""
    # copies, because safetensors refuses tensors that share memory
    copies = {
        k: v.detach().cpu().resolve_conj().clone(memory_format=torch.contiguous_format)
        for k, v in tensors.items()
    }
    whole = dict(header) | {CHECKSUM: _tensor_sum(copies, header)}
    return write_bytes(path, save(copies, whole))


def read_tensors(path: Path, kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a safetensors file, whose ``kind`` must be the one given.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: not a safetensors file, or not what was written.
        ValueError: the file is whole but holds something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    with path.open("rb") as start:
        first = start.read(6)
    if first == b"\x93NUMPY" or first[:4] == b"PK\x03\x04":
        raise ValueError(
            f"{path} holds arrays of numpy, nothing that schmidt saved: numpy.load reads it"
        )
    try:
        with safe_open(path, framework="pt") as file:
            # clones: memory as the file has it is not aligned, and products of unaligned
            # vectors differ in the last bit
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            header = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, UnicodeDecodeError) as error:
        what = "" if kind is None else f" as {kind.removeprefix('schmidt.')}"
        raise DamagedFileError(f"{path} is damaged: it cannot be read{what} ({error})") from error
    written = header.pop(CHECKSUM, None)
    if written is not None and written != _tensor_sum(tensors, header):
        raise DamagedFileError(f"{path} was changed or damaged after it was written")
    if kind is not None and header.get("kind") != kind:
        raise ValueError(f"{path} does not hold a {kind.removeprefix('schmidt.')}")
    if kind is not None and written is None:
        raise DamagedFileError(f"{path} has lost its checksum: it is damaged")
    return tensors, header


def write_tree(path: Path, content: Any, header: Mapping[str, str]) -> Path:
    """Write nested dictionaries, lists and tuples of tensors, numbers and texts, such as the state
    of an optimizer, atomically and with a checksum; :func:`read_tree` gives the same back.

    Raises:
        TypeError: something else is in it.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_packed(content, tensors), allow_nan=False)
    return write_tensors(path, tensors, {**header, TREE: text})


def read_tree(path: Path, kind: str) -> Any:
    """What :func:`write_tree` wrote: equal types and bits.

    Raises:
        FileNotFoundError, DamagedFileError, ValueError: as :func:`read_tensors`.
    """
    tensors, header = read_tensors(path, kind)
    return _unpacked(json.loads(header[TREE]), tensors)


TREE = "tree"
"""The key of the header that says how tensors are nested."""


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}  # inf and nan too
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[_packed(k, tensors), _packed(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(v, tensors) for v in value]}
    raise TypeError(f"{type(value).__name__} is no tensor, number, text, dict, list or tuple")


def _unpacked(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, inside),) = node.items()
    if kind == "float":
        return float.fromhex(inside)
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in inside}
    return (tuple if kind == "tuple" else list)(_unpacked(v, tensors) for v in inside)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tensor_sum(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """Of names, types, shapes, bytes, and of the header."""
    total = hashlib.sha256(canonical(dict(header)).encode())
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f"{name}:{value.dtype}:{tuple(value.shape)}".encode())
        total.update(value.flatten().view(torch.uint8).numpy().data if value.numel() else b"")
    return total.hexdigest()
