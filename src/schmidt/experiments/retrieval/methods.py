"""An embedding of both domains per method – raw, closed-form linear, trained – and settings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from schmidt.compare import gram
from schmidt.dependence import CDK, ClassPairs, LinearCDK
from schmidt.dependence.inputs import input_maps
from schmidt.domains import DomainPair, Items, ZeroShot
from schmidt.experiments.keeping import Kept
from schmidt.operators.checkpoint import exists
from schmidt.ranking import judge


@dataclass(frozen=True)
class RetrievalSettings:
    """How networks are fed and trained; see :class:`~schmidt.dependence.CDK`.

    Attributes:
        components, damping: see :class:`~schmidt.experiments.retrieval.methods.RetrievalInputs`.
        share: one network for both domains, where their features allow it.
        skip: whether to begin at the closed-form linear solution. It is ordered, and networks that
            are not nested keep some of its order: then they show less what nesting is worth.
        optimizer: "adamw", or "sgd" with momentum 0.9.
        polish: of nested modes, at the end.
        epochs: if given, decides the steps: so many times the items of X.
    """

    components: int | None = 256
    damping: float = 0.1
    modes: int = 64
    hidden: tuple[int, ...] = (1024,)
    activation: str = "gelu"
    share: bool = True
    skip: bool = False
    cap: float | None = 16.0
    steps: int = 1600
    batch: int = 512
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 50
    ema: float = 0.99
    polish: str | None = "auto"
    epochs: int | None = None

    def steps_for(self, data: ZeroShot) -> int:
        if self.epochs is None:
            return self.steps
        return self.epochs * math.ceil(len(data.train.x) / self.batch)


SKETCHY = RetrievalSettings(
    components=None,
    modes=512,
    hidden=(8192,),
    activation="relu",
    share=False,
    cap=16.0,
    batch=4096,
    optimizer="sgd",
    lr=5e-3,
    warmup=0,
    ema=0.0,
    epochs=10,
)
"""Ryu et al. (2024), E.2. It speaks of a single network; the public code has one per domain, as
here, and leaky rectifiers, clipped gradients and a cap on the norm of √16."""


BLOCK = 8192
Map = Callable[[Items], np.ndarray]


class RetrievalInputs:
    """Items of all parts as rows of numbers, made once for all methods.

    Where features of both domains have one length, they share their components, so that a direction
    means the same in both. Each domain loses its own mean, and with it what tells them apart.

    Args:
        components: principal components of training items; None for features as they are.
        damping: of the whitening, see :class:`~schmidt.dependence.CDK`.

    Attributes:
        train, valid, test: pairs of arrays (n, d), single precision.
        shared: whether coordinates of X and Y mean the same.
    """

    def __init__(self, data: ZeroShot, components: int | None = 256, damping: float = 0.1) -> None:
        self.data = data
        self.shared = data.comparable
        self._maps: tuple[Map, Map] = (_values, _values)
        if components is not None:
            self._maps = _whitening(data.train, components, damping, self.shared)
        self.train, self.valid, self.test = (
            self._mapped(pair) for pair in (data.train, data.valid, data.test)
        )

    def _mapped(self, pair: DomainPair) -> tuple[np.ndarray, np.ndarray]:
        return self._maps[0](pair.x), self._maps[1](pair.y)


def _values(items: Items) -> np.ndarray:
    return items.values


def _whitening(train: DomainPair, components: int, damping: float, shared: bool) -> tuple[Map, Map]:
    sides = [(torch.from_numpy(items.features), items.classes) for items in (train.x, train.y)]
    pairs = ClassPairs(*sides[0], *sides[1])
    found = input_maps(pairs, "whiten", components, damping, shared=shared, scale=False)
    return _mapping(found[0]), _mapping(found[1])


def _mapping(map: nn.Module) -> Map:
    def mapped(items: Items) -> np.ndarray:
        blocks = torch.from_numpy(items.features).split(BLOCK)
        return torch.cat([map(block) for block in blocks]).numpy()

    return mapped


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


def embed(
    method: str,
    inputs: RetrievalInputs,
    settings: RetrievalSettings,
    seed: int = 0,
    kept: Kept | None = None,
) -> Embedded:
    """Embed the test items by one of the methods of ``TITLES``.

    Args:
        kept: where training keeps its state and goes on from it, and where embeddings are kept.
    """
    before = None if kept is None else kept.read(method)
    if before is not None:
        return _unpacked(before)
    start = time.perf_counter()
    if method == "raw":
        test = inputs.data.test
        found = Embedded(method, test.x.values, test.y.values, 0.0)
    elif method in ("linear", "tied"):
        found = _closed_form(method, inputs)
    elif method in TRAINED:
        found = _trained(method, inputs, settings, seed, kept)
    else:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(TITLES)}")
    found = replace(found, seconds=found.seconds or time.perf_counter() - start)
    if kept is not None and not found.interrupted:
        kept.write(method, _packed(found))
        kept.remove_folder(method)
    return found


def _packed(found: Embedded) -> dict[str, Any]:
    """Arrays as tensors."""

    def packed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(packed, value))
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    return {k: packed(v) for k, v in vars(found).items()}


def _unpacked(kept: dict[str, Any]) -> Embedded:
    def unpacked(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(unpacked, value))
        return value.numpy() if isinstance(value, torch.Tensor) else value

    return Embedded(**{k: unpacked(v) for k, v in kept.items()})


def possible(methods: Sequence[str], inputs: RetrievalInputs) -> list[str]:
    """Leave out methods that compare X and Y directly where these have different features."""
    out = [m for m in methods if m != "raw" or inputs.data.comparable]
    return [m for m in out if m != "tied" or inputs.shared]


def _closed_form(method: str, inputs: RetrievalInputs) -> Embedded:
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


def _validated(model: LinearCDK, count: int, inputs: RetrievalInputs) -> float:
    valid = inputs.data.valid
    f = model.transform_x(inputs.valid[0], count)
    g = model.transform_y(inputs.valid[1], count)
    return judge(f, g, valid.x.classes, valid.y.classes, k=1).mean_average_precision


def _trained(
    method: str,
    inputs: RetrievalInputs,
    settings: RetrievalSettings,
    seed: int,
    kept: Kept | None,
) -> Embedded:
    """Without nesting nothing is polished: the closed form would put the modes in order."""
    data = inputs.data
    folder = None if kept is None else kept.folder / method
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
        checkpoint=folder,
        resume=folder is not None and exists(folder),
        checkpoint_seconds=60.0 if kept is None else kept.seconds,
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
