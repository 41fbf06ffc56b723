"""Packages that only the examples need, and a clear error where they are missing."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class MissingExample(RuntimeError):
    """A package of the extras is not installed."""


def folder_of(package: str, distribution: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises:
        MissingExample: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(distribution)
    return Path(spec.origin).parent


def transformers() -> Any:
    """The module, kept from looking anything up on the network."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import transformers
    except ImportError as error:
        raise _missing("transformers") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def peft() -> Any:
    """The module."""
    transformers()
    try:
        import peft
    except ImportError as error:
        raise _missing("peft") from error
    return peft


def _missing(distribution: str) -> MissingExample:
    return MissingExample(
        f"schmidt finetune needs {distribution}, which is not installed; install it with: "
        'pip install "schmidt[adapters,examples]"'
    )
