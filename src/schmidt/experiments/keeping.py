"""The runs of an experiment on disk: those that are finished, and the one at hand."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schmidt import identity
from schmidt.storage import read_json, read_tree, write_json, write_tree

WHAT = "experiment.json"
KIND = "schmidt.run"


class Kept:
    """What a killed experiment goes on from, to the same result.

    Args:
        folder: of its own; whoever calls holds the folder above it.
        seconds: between checkpoints of the run at hand.
    """

    def __init__(self, folder: Path, seconds: float = 60.0) -> None:
        self.folder, self.seconds = folder, seconds
        self._last = time.monotonic()

    def begin(self, what: Mapping[str, Any], *, resume: bool) -> bool:
        """Say what the experiment is, before its first step, so that an unwritable folder shows.

        Args:
            what: settings and evidence of the data, see :mod:`schmidt.identity`.
            resume: go on from what is there; otherwise it is removed.

        Returns:
            Whether there was something to go on from.

        Raises:
            ValueError: what is there is another experiment.
            DamagedFileError: it was altered.
        """
        file, what = self.folder / WHAT, identity.plain_settings(what)
        if resume and file.exists():
            lines = identity.differences(read_json(file)["experiment"], what)
            if lines:
                identity.refuse(self.folder, "experiment", lines, "settings and data")
            return True
        file.unlink(missing_ok=True)  # first: whatever follows is without it nothing to resume
        for path in self.folder.glob("*.safetensors"):
            path.unlink()
        for path in self.folder.glob("*/checkpoint.json"):
            shutil.rmtree(path.parent)
        write_json(file, {"experiment": what})
        return False

    def read(self, name: str) -> Any:
        """What was kept under a name, or None."""
        path = self._file(name)
        return read_tree(path, KIND) if path.exists() else None

    def write(self, name: str, content: Any) -> None:
        """Keep nested dictionaries and lists of tensors, numbers and texts."""
        write_tree(self._file(name), content, {"kind": KIND})
        self._last = time.monotonic()

    def remove(self, name: str) -> None:
        """Forget what was kept under a name."""
        self._file(name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """Remove the checkpoints of a run that is finished."""
        if (self.folder / name).is_dir():
            shutil.rmtree(self.folder / name)

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._last >= self.seconds

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"
