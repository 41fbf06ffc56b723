"""Small data sets on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("arrow", "box", "cross", "disc", "edge", "fan")


@pytest.fixture
def two_folders(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Noisy pictures: the class is where the square lies, the domain how bright it is."""
    for domain in ("photos", "drawings"):
        for c, name in enumerate(CLASSES):
            folder = tmp_path / "data" / domain / name
            folder.mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 60, (40, 30))
                row, column = divmod(c, 3)
                pixels[4 + 18 * row : 16 + 18 * row, 2 + 9 * column : 9 + 9 * column] += 180
                if domain == "photos":
                    pixels = pixels // 2
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "data"
