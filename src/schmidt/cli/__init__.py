"""The command line: one small file per command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``schmidt …``; errors become one clear line and exit status 2."""
    import tyro

    from schmidt.cli.compare import compare
    from schmidt.cli.complete import complete
    from schmidt.cli.compress import compress_command
    from schmidt.cli.finetune import finetune
    from schmidt.cli.problems import problems
    from schmidt.cli.reproduce import reproduce
    from schmidt.cli.retrieve import retrieve
    from schmidt.cli.search import search
    from schmidt.cli.solve import solve
    from schmidt.cli.svd import svd_command

    try:
        status = tyro.extras.subcommand_cli_from_dict(
            {
                "solve": solve,
                "compare": compare,
                "reproduce": reproduce,
                "retrieve": retrieve,
                "finetune": finetune,
                "svd": svd_command,
                "compress": compress_command,
                "complete": complete,
                "search": search,
                "problems": problems,
            },
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
