"""The command line: one small file per command, loaded when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

COMMANDS = {
    "solve": ("schmidt.cli.solve", "solve"),
    "compare": ("schmidt.cli.compare", "compare"),
    "reproduce": ("schmidt.experiments.reproduce.command", "reproduce"),
    "retrieve": ("schmidt.experiments.retrieval.command", "retrieve"),
    "finetune": ("schmidt.experiments.finetune.command", "finetune"),
    "svd": ("schmidt.cli.svd", "svd_command"),
    "compress": ("schmidt.cli.compress", "compress_command"),
    "complete": ("schmidt.cli.complete", "complete"),
    "search": ("schmidt.cli.search", "search"),
    "problems": ("schmidt.cli.problems", "problems"),
}
"""Name → (module, function)."""


def load(name: str) -> Callable[..., Any]:
    """The function of a command; nothing else is imported."""
    module, function = COMMANDS[name]
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``schmidt …``; errors become one clear line and exit status 2."""
    import tyro

    try:
        status = tyro.extras.subcommand_cli_from_dict(
            {name: load(name) for name in COMMANDS},
            prog="schmidt",
            description="The best low-rank approximation of whatever linear thing you have.",
            args=arguments,
        )
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough; files are written before
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("schmidt: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and type(error).__module__.split(".")[0] != "schmidt":
            raise
        print(f"schmidt: error: {error}", file=sys.stderr)
        return 2
    return int(status or 0)
