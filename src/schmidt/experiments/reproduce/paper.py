"""What the paper reports (Ryu et al. 2024). Bars are read off its figures, to about ±20 %."""

from __future__ import annotations

# mean relative eigenvalue error, Fig. 4: (problem, method, batch) → value
ERROR = {
    ("hydrogen", "spin", 128): 0.9,  # 9 modes
    ("hydrogen", "neuralef", 128): 7e-2,
    ("hydrogen", "neuralef", 512): 3.5e-2,
    ("hydrogen", "joint", 128): 1.9e-2,
    ("hydrogen", "joint", 512): 1.2e-2,
    ("hydrogen", "sequential", 128): 9e-3,
    ("hydrogen", "sequential", 512): 6e-3,
    ("oscillator", "neuralef", 128): 1.0,
    ("oscillator", "neuralef", 512): 3e-2,
    ("oscillator", "sequential", 128): 4e-4,
    ("oscillator", "sequential", 512): 5e-5,
}

# distance of the span of 16 hydrogen functions from the exact one, A.2: mean and s.d. of 10 seeds
SUBSPACE = {
    "none": (3.56e-4, 6.60e-5),
    "joint": (2.12e-4, 2.09e-5),
    "sequential": (2.06e-4, 1.91e-5),
}

ERROR_ORDER = ("sequential", "joint", "neuralef", "spin")
"""From the smallest error to the largest (4.1)."""

SUBSPACE_ORDER = (("sequential", "none"), ("joint", "none"))
"""Nested spans are no worse than those without nesting (A.2)."""

NAMES = {
    "sequential": "sequential",
    "joint": "joint",
    "none": "no nesting",
    "neuralef": "NeuralEF",
    "spin": "SpIN",
}
"""Method → its name in verdicts and pictures."""

WHAT = (
    "sequential and joint: NeuralSVD with that nesting. No nesting: the plain low-rank objective, "
    "then a Rayleigh–Ritz step in the span it found (A.2). NeuralEF: its unbiased variant with "
    "batch normalisation, which the paper ran too. SpIN: with the moving averages of the original."
)
