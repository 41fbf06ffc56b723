"""Zero-shot retrieval of colour icons by line icons: networks beside the closed-form linear CDK.

    python benchmarks/icons.py --data FOLDER            # the folder that holds icons.npz
    python benchmarks/icons.py --data FOLDER --splits 0 --steps 200

98 classes: 20 to test with, 15 to choose settings by, the rest to train; three such splits. Features
are those of a small pretrained network: square roots, centred per domain and brought to 256 joint
principal components, both on training classes only. Means over the splits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from schmidt.retrieval import Items, Pair, ZeroShot
from schmidt.retrieval.arrays import read_arrays

TESTED, CHOOSING = 20, 15
COMPONENTS = 256
