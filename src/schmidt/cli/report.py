"""``schmidt report``: the page of what a command found, built again; or one page of several."""

from __future__ import annotations

from pathlib import Path

import tyro

from schmidt.report.run import RECORD, write_index, write_page


def report(folder: tyro.conf.Positional[Path]) -> int:
    """Build report.html again in a folder that a command filled.

    A folder of such folders gets one page that links to all of theirs.

    Args:
        folder: the --out of a command, or a folder that holds several.
    """
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    inside = sorted(run.parent for run in folder.glob(f"*/{RECORD}"))
    if (folder / RECORD).is_file() or not inside:
        print(write_page(folder))
    else:
        print(write_index(folder, inside))
    return 0
