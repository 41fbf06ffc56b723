"""What rounding can do to an answer and to what is measured of it."""

from __future__ import annotations

import math

import numpy as np
import torch

from schmidt.matrices.sources.source import Source


def rounding(source: Source, s: np.ndarray) -> float:
    """What rounding can do to A − A_k and to its products: 8 ε √min(m, n) ‖A‖_F.

    A x carries an error of about ε ‖A‖_F, of which there are three; the rotations of LAPACK's
    decomposition add up like √n. For an operator √min(m, n) σ₁ replaces ‖A‖_F. What the source
    knows of its own comes on top: many updates, or columns that nearly cancel with their means.
    """
    norm = math.sqrt(source.norm2 if source.norm2 is not None else min(source.shape)) * (
        1.0 if source.norm2 is not None else float(s[0])
    )
    own = 8 * math.sqrt(min(source.shape)) * float(torch.finfo(source.dtype).eps) * norm
    return own + source.noise


def cancelled(source: Source) -> float:
    """What rounding can do to ‖A‖_F² − Σs²: noise N does 2 ‖A‖_F N, without its √min(m, n)."""
    assert source.norm2 is not None
    own = 16 * float(torch.finfo(source.dtype).eps) * source.norm2
    return own + 2 * math.sqrt(source.norm2 / min(source.shape)) * source.noise
