"""A recipe: everything that makes a training run but the method and the seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PROBLEMS = ("hydrogen", "oscillator")
NETWORKS = ("fourier", "bounded")
SAMPLINGS = ("plain", "radial")


@dataclass(frozen=True)
class Recipe:
    """How one of the paper's two problems is trained.

    Attributes:
        problem: "hydrogen", T = ∇² + 1/|x|, or "oscillator", T = ∇² − |x|² + shift, in the plane.
        modes: functions that are learned.
        judged: leading ones that enter the numbers.
        shift: c, of the oscillator.
        scale: training sees scale · T.
        network: "fourier", the paper's: random Fourier features, then one perceptron per function,
            times the root of the sampling density; or "bounded", this library's: bounded inputs at
            several lengths, one perceptron per function, times an envelope.
        frequencies, kappa: of the Fourier features: K rows of standard deviation 2πκ.
        hidden: widths of the hidden layers.
        activation: "softplus" or "tanh".
        sampling: "plain", independent points of N(0, width²); or "radial", randomly shifted grids
            in polar coordinates, this library's.
        width: of that normal law.
        decay: start of the learned length s in a factor exp(−r/s); None for no such factor.
        form: "strong", with second derivatives as in the paper, or "weak".
        steps, batch, optimizer, lr, warmup, ema, extra_shift, shift_until: as in
            :class:`schmidt.operators.Training`; optimizer "paper" is RMSprop as in the scripts.
    """

    problem: str
    modes: int
    judged: int
    shift: float = 0.0
    scale: float = 1.0
    network: str = "fourier"
    frequencies: int = 0
    kappa: float = 0.0
    hidden: tuple[int, ...] = (128, 128, 128)
    activation: str = "softplus"
    sampling: str = "plain"
    width: float = 16.0
    decay: float | None = None
    form: str = "strong"
    steps: int = 1000
    batch: int = 512
    optimizer: str = "paper"
    lr: float = 1e-4
    warmup: int = 0
    ema: float = 0.995
    extra_shift: float = 0.0
    shift_until: float = 0.75

    def __post_init__(self) -> None:
        for name, known in (
            ("problem", PROBLEMS),
            ("network", NETWORKS),
            ("sampling", SAMPLINGS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if not 1 <= self.judged <= self.modes:
            raise ValueError(f"judged must lie between 1 and {self.modes}, got {self.judged}")

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "hidden": list(self.hidden)}


def differences(ours: Recipe, theirs: Recipe) -> dict[str, tuple[Any, Any]]:
    """The settings in which two recipes differ: name → (ours, theirs)."""
    mine, other = ours.plain(), theirs.plain()
    return {k: (mine[k], other[k]) for k in mine if mine[k] != other[k]}
