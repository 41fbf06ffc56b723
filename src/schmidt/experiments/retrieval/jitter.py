"""Small random affine maps of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 256


@dataclass(frozen=True)
class Jitter:
    """Ranges of uniformly random rotation, shear, scale and shift.

    Attributes:
        rotation: largest angle, degrees.
        shear: largest shear, as a share of the height.
        scale: largest logarithm of the two scales.
        shift: largest shift, pixels of the result.
    """

    rotation: float = 15.0
    shear: float = 0.2
    scale: float = 0.15
    shift: float = 2.0

    def maps(self, n: int, side: int, rng: np.random.Generator) -> Tensor:
        """n matrices (2, 3), in units of half the side, that take places of the result to places
        of the original."""
        angle = rng.uniform(-1, 1, n) * np.deg2rad(self.rotation)
        shear = rng.uniform(-1, 1, n) * self.shear
        wide, high = np.exp(rng.uniform(-1, 1, (2, n)) * self.scale)
        shift = rng.uniform(-1, 1, (n, 2)) * self.shift * 2 / side
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
        slant = np.zeros((n, 2, 2))
        slant[:, 0, 0], slant[:, 1, 1], slant[:, 0, 1] = 1 / wide, 1 / high, shear
        linear = slant @ turn
        return torch.from_numpy(np.concatenate([linear, shift[:, :, None]], 2)).float()


def jittered(
    pictures: np.ndarray, copies: int, side: int, jitter: Jitter, rng: np.random.Generator
) -> np.ndarray:
    """Each picture so many times, every copy moved at random and sampled down.

    Args:
        pictures: (n, N, N) bytes.
        side: of the results, at most N.

    Returns:
        (n · copies, side, side) bytes; copies of a picture follow one another.
    """
    n, size = pictures.shape[:2]
    maps = jitter.maps(n * copies, side, rng)
    # a mean over what one pixel of the result covers, at every place
    width = max(1, size // side)
    margin = ((width - 1) // 2, width // 2) * 2
    parts = []
    for block, some in zip(
        torch.from_numpy(pictures).split(BLOCK), maps.split(BLOCK * copies), strict=True
    ):
        smooth = F.avg_pool2d(F.pad(block.float()[:, None], margin), width, 1)
        grid = F.affine_grid(some, [len(some), 1, side, side], align_corners=False)
        moved = F.grid_sample(smooth.repeat_interleave(copies, 0), grid, align_corners=False)
        parts.append(moved[:, 0].round().clamp(0, 255).byte())
    return torch.cat(parts).numpy()
