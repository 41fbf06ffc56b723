"""Pictures as matrices: every channel by its best approximation of rank k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from schmidt.factorization import Factorization
from schmidt.matrices.svd import svd

ALL = 1500


@dataclass(frozen=True)
class Compressed:
    """A picture from k terms per channel.

    Attributes:
        rank: k.
        image: (m, n) or (m, n, channels), uint8.
        stored: numbers that the terms need: (m + n) k per channel (σ is multiplied into one side).
        pixels: numbers of the picture itself: m n per channel.
        energy: Σ_{i≤k} σ_i² / Σ σ_i² of all channels together.
        mass: a lower bound of Σ_{i≤k} σ_i / Σ σ_i, of the channel where it is least.
        psnr: peak signal-to-noise ratio in decibels, 10 log₁₀(255²/mean squared error), or inf.
    """

    rank: int
    image: np.ndarray
    stored: int
    pixels: int
    energy: float
    mass: float
    psnr: float


def compress(
    image: np.ndarray, ranks: Sequence[int] | None = None, *, energy: float | None = None
) -> tuple[list[Compressed], list[np.ndarray]]:
    """Low-rank versions of a picture.

    Args:
        image: uint8, (m, n) grey or (m, n, channels).
        ranks: k for each version.
        energy: instead, one version, with the smallest k at which every channel keeps this share of
            Σσ².

    Returns:
        The versions, and the singular values of every channel: all of them where the picture has at
        most ``ALL`` rows or columns, else those that were needed.

    Raises:
        ValueError: not a picture; ranks beyond min(m, n).
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f"expected a picture of bytes (m, n) or (m, n, channels), got {image.dtype} of shape "
            f"{image.shape}"
        )
    if (ranks is None) == (energy is None):
        raise ValueError("give either ranks or an energy")
    planes = image.reshape(*image.shape[:2], -1).astype(float)
    channels = [planes[:, :, c] for c in range(planes.shape[2])]
    if ranks is None:
        full = [plane for plane in channels if plane.any()]
        needed = [svd(plane, energy=energy, accuracy=1e-9).rank for plane in full]
        ranks = [max(needed, default=1)]
    elif not ranks or min(ranks) < 1 or max(ranks) > min(image.shape[:2]):
        m, n = image.shape[:2]
        raise ValueError(f"ranks must lie between 1 and min(m, n) = {min(m, n)}, got {list(ranks)}")
    found = [_terms(plane, max(ranks)) for plane in channels]
    versions = [_version(image, channels, found, k) for k in ranks]
    if min(image.shape[:2]) <= ALL:
        return versions, [scipy.linalg.svdvals(plane) for plane in channels]
    return versions, [np.asarray(f.values) for f in found]


def _terms(plane: np.ndarray, rank: int) -> Factorization:
    """The leading triplets of a channel; an empty one has zeros."""
    if plane.any():
        return svd(plane, rank=rank, accuracy=1e-9)
    m, n = plane.shape
    return Factorization(np.eye(m, rank), np.zeros(rank), np.eye(n, rank))


def _version(
    image: np.ndarray, channels: list[np.ndarray], found: list[Factorization], k: int
) -> Compressed:
    planes = [f.truncate(k).reconstruct() for f in found]
    picture = np.stack(planes, -1).round().clip(0, 255).astype(np.uint8).reshape(image.shape)
    m, n = image.shape[:2]
    whole = sum(float(np.square(plane).sum()) for plane in channels)
    kept = sum(float(np.square(f.values[:k]).sum()) for f in found)
    masses = [_mass(f, k) for f in found]
    return Compressed(
        rank=k,
        image=picture,
        stored=(m + n) * k * len(channels),
        pixels=m * n * len(channels),
        energy=min(kept / whole, 1.0) if whole else 1.0,
        mass=min(masses),
        psnr=psnr(image, picture),
    )


def _mass(found: Factorization, k: int) -> float:
    """A lower bound of the share of Σσ that the first k terms have."""
    kept, all_kept = float(found.values[:k].sum()), float(found.values.sum())
    if found.certificate is None or all_kept == 0:
        return 1.0
    return kept / all_kept * found.certificate["mass"].low


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """10 log₁₀(255²/mean squared difference) of two pictures of bytes."""
    error = float(np.square(image.astype(float) - other.astype(float)).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf
