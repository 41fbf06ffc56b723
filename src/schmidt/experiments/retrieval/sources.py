"""Whatever a user points at, as a data set with settings that suit it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from schmidt.experiments.retrieval.arrays import arrays
from schmidt.experiments.retrieval.dataset import ZeroShot
from schmidt.experiments.retrieval.folders import folders
from schmidt.experiments.retrieval.glyphs import glyphs
from schmidt.experiments.retrieval.settings import SKETCHY, Settings
from schmidt.experiments.retrieval.sketchy import features_folder, sketchy


def source(
    data: Path | str | None = None,
    *,
    seed: int = 0,
    query: str | None = None,
    sketchy_split: int = 1,
) -> tuple[ZeroShot, Settings]:
    """A data set and settings for it.

    Args:
        data: None for glyphs; an .npz file of feature arrays; a folder with Sketchy Extended; or
            a folder with two folders of pictures by class.
        query: folders: the domain that queries come from.
        sketchy_split: Sketchy Extended: 1 or 2.
    """
    if data is None:
        return glyphs(seed), Settings()
    path = Path(data)
    if path.suffix == ".npz" or path.is_file():
        found = arrays(path, seed=seed)
    elif path.is_dir() and features_folder(path) is not None:
        return sketchy(path, sketchy_split), SKETCHY
    else:
        found = folders(path, query=query, seed=seed)
    return found, sized(Settings(), found)


def sized(settings: Settings, data: ZeroShot) -> Settings:
    """Fewer modes where there are few classes: a class adds at most one mode."""
    modes = max(1, min(settings.modes, len(data.train.classes) - 1))
    return replace(settings, modes=modes)
