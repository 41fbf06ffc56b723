"""One embedding of both domains per method: raw, closed-form linear, and trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from schmidt.compare import gram
from schmidt.dependence import CDK, LinearCDK
from schmidt.experiments.retrieval.inputs import Inputs
from schmidt.experiments.retrieval.metrics import judge
from schmidt.experiments.retrieval.settings import Settings

TITLES = {
    "raw": "raw features",
    "linear": "linear CDK, closed form",
    "tied": "linear CDK, tied",
    "joint": "NeuralSVD, joint",
    "sequential": "NeuralSVD, sequential",
    "none": "not nested, as learned",
}
TRAINED = ("joint", "sequential", "none")
QUICK = ("raw", "linear", "tied", "joint")
RIDGES, COUNTS = (0.01, 0.1, 1.0, 10.0), (16, 32, 64, 128)
"""Of the linear methods, to choose from on validation classes."""
OVERLAPS = 20_000
"""Training items that orthogonality is measured on."""


@dataclass(frozen=True)
class Embedded:
    """Queries and gallery as a method sees them.

    Attributes:
        queries: (q, L); gallery: (n, L).
        values: singular values, where the method has any.
        overlaps: ⟨f_i|f_j⟩ and ⟨g_i|g_j⟩ of normalised functions on training items, for trained
            methods.
        settings: what was chosen, and how.
        interrupted: whether Ctrl-C cut the training short.
    """

    method: str
    queries: np.ndarray
    gallery: np.ndarray
    seconds: float
    values: np.ndarray | None = None
    overlaps: tuple[np.ndarray, np.ndarray] | None = None
    settings: str = ""
    interrupted: bool = False

    @property
    def title(self) -> str:
        return TITLES[self.method]


def embed(method: str, inputs: Inputs, settings: Settings, seed: int = 0) -> Embedded:
    """Embed the test items by one of the methods of ``TITLES``."""
    start = time.perf_counter()
    if method == "raw":
        test = inputs.data.test
        found = Embedded(method, test.x.values, test.y.values, 0.0)
    elif method in ("linear", "tied"):
        found = _linear(method, inputs)
    elif method in TRAINED:
        found = _trained(method, inputs, settings, seed)
    else:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(TITLES)}")
    return replace(found, seconds=time.perf_counter() - start)


def possible(methods: Sequence[str], inputs: Inputs) -> list[str]:
    """Leave out methods that compare X and Y directly where these have different features."""
    out = [m for m in methods if m != "raw" or inputs.data.comparable]
    return [m for m in out if m != "tied" or inputs.shared]


def _linear(method: str, inputs: Inputs) -> Embedded:
    """The closed form, its ridge and number of modes chosen on the validation classes."""
    (x, y), data = inputs.train, inputs.data
    best: tuple[float, float, int, LinearCDK] | None = None
    ridges = RIDGES if len(data.valid.x) else RIDGES[2:3]
    for ridge in ridges:
        model = LinearCDK(ridge=ridge, tied=method == "tied", scale=False)
        model.fit((x, data.train.x.classes), (y, data.train.y.classes))
        for count in sorted({min(count, model.modes_) for count in COUNTS}):
            score = _validated(model, count, inputs) if len(ridges) > 1 else float(count)
            if best is None or score > best[0]:
                best = (score, ridge, count, model)
    assert best is not None
    _, ridge, count, model = best
    queries = model.transform_x(inputs.test[0], count)
    gallery = model.transform_y(inputs.test[1], count)
    how = ", chosen on validation classes" if len(ridges) > 1 else ""
    chosen = f"ridge {ridge:g}, {count} modes{how}"
    return Embedded(method, queries, gallery, 0.0, model.singular_values_[:count], settings=chosen)


def _validated(model: LinearCDK, count: int, inputs: Inputs) -> float:
    valid = inputs.data.valid
    f = model.transform_x(inputs.valid[0], count)
    g = model.transform_y(inputs.valid[1], count)
    return judge(f, g, valid.x.classes, valid.y.classes, k=1).mean_average_precision


def _trained(method: str, inputs: Inputs, settings: Settings, seed: int) -> Embedded:
    """Without nesting nothing is polished: the closed form would put the modes in order."""
    data = inputs.data
    model = CDK(
        settings.modes,
        nesting=method,
        hidden=settings.hidden,
        activation=settings.activation,
        share=settings.share and inputs.shared,
        inputs="none",
        held_out=0,
        skip=settings.skip,
        cap=settings.cap,
        steps=settings.steps_for(data),
        batch=settings.batch,
        lr=settings.lr,
        optimizer=settings.optimizer,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        ema=settings.ema,
        seed=seed,
        polish=None if method == "none" else settings.polish,
    )
    model.fit((inputs.train[0], data.train.x.classes), (inputs.train[1], data.train.y.classes))
    rng = np.random.default_rng(seed)
    functions = (model.transform_x, model.transform_y)
    overlaps = [
        gram(f(part[rng.permutation(len(part))[:OVERLAPS]]))
        for f, part in zip(functions, inputs.train, strict=True)
    ]
    return Embedded(
        method,
        model.transform_x(inputs.test[0]),
        model.transform_y(inputs.test[1]),
        0.0,
        model.singular_values_,
        (overlaps[0], overlaps[1]),
        interrupted=model.interrupted_,
    )
