"""Zero-shot retrieval of colour icons by line icons: networks beside the closed-form linear CDK.

    python benchmarks/icons.py --data FOLDER            # the folder that holds icons.npz
    python benchmarks/icons.py --data FOLDER --splits 0 --seeds 1

98 classes: 20 to test with, 15 to choose settings by, 63 to train; three such splits. Features are
those of a small pretrained network: square roots, centred per domain and brought to 256 joint
principal components, all by means of the training classes. Whatever a method leaves open (ridge,
steps) is chosen by mAP on the validation classes. Means over the splits.

"Self-pairs": every item is paired with itself as well, as a class of its own in both domains.
Classes alone determine 62 modes, and what these leave out is lost; new classes may differ in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from schmidt.dependence import CDK, LinearCDK
from schmidt.domains import read_arrays
from schmidt.experiments.retrieval import judge
from schmidt.ranking import unit

TESTED, CHOOSING, COMPONENTS = 20, 15, 256
RIDGES = (0.1, 0.3, 1.0, 3.0)
STEPS = (25, 50, 100, 200, 400)
TIMES = 15
"""How often the items of a class count for one self-pair."""

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""X (n, d), its classes, Y, its classes."""
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Options:
    """The table of the icons' README."""

    data: Path
    """Folder with icons.npz: fx, cx, fy, cy."""
    splits: tuple[int, ...] = (0, 1, 2)
    """Seeds of the splits of the classes."""
    seeds: int = 4
    """Networks that are trained; also judged as one, their embeddings side by side."""
    hidden: int = 1024
    """Hidden units."""
    threads: int = 1
    """Threads of torch."""


@dataclass(frozen=True)
class Split:
    """Components of the features; the original features of the test classes."""

    train: Part
    valid: Part
    test: Part
    raw: Pair


def load(folder: Path, seed: int) -> Split:
    found = read_arrays(folder / "icons.npz", ("fx", "cx", "fy", "cy"))
    fx, fy = (found[k].astype(np.float32) for k in ("fx", "fy"))
    cx, cy = found["cx"], found["cy"]
    classes = np.random.RandomState(seed).permutation(int(cx.max()) + 1)
    parts = np.split(classes, [TESTED, TESTED + CHOOSING])
    rows = [(np.isin(cx, part), np.isin(cy, part)) for part in parts]
    train = rows[2]
    x, y = (np.sqrt(np.maximum(f, 0)) for f in (fx, fy))
    x, y = x - x[train[0]].mean(0), y - y[train[1]].mean(0)
    both = np.concatenate([x[train[0]], y[train[1]]]).astype(np.float64)
    _, directions = np.linalg.eigh(both.T @ both)
    kept = directions[:, ::-1][:, :COMPONENTS].astype(np.float32)
    x, y = x @ kept, y @ kept
    test, valid, training = ((x[i], cx[i], y[j], cy[j]) for i, j in rows)
    return Split(training, valid, test, (fx[rows[0][0]], fy[rows[0][1]]))


def with_self_pairs(part: Part) -> Part:
    x, cx, y, cy = part
    items = np.concatenate([x, y])
    own = 1000 + np.arange(len(items))
    sides = (
        (np.concatenate([side] * TIMES + [items]), np.concatenate([c] * TIMES + [own]))
        for side, c in ((x, cx), (y, cy))
    )
    (first, c), (second, d) = sides
    return first, c, second, d


def lengths_one(part: Part) -> Part:
    x, cx, y, cy = part
    return unit(x), cx, unit(y), cy


def measures(f: np.ndarray, g: np.ndarray, part: Part) -> np.ndarray:
    """P@10, R-precision and mAP by cosine, mAP by inner product."""
    cosine, inner = (
        judge(f, g, part[1], part[3], similarity=s) for s in ("cosine", "inner product")
    )
    return np.array(
        [
            cosine.mean_precision,
            cosine.mean_r_precision,
            cosine.mean_average_precision,
            inner.mean_average_precision,
        ]
    )


Fitted = Callable[[Part], Pair]


def linear(train: Part, *, tied: bool, ridge: float) -> Fitted:
    x, cx, y, cy = train
    model = LinearCDK(ridge=ridge, tied=tied, scale=False).fit((x, cx), (y, cy))
    return lambda part: (model.transform_x(part[0]), model.transform_y(part[2]))


def network(train: Part, *, steps: int, seed: int, modes: int, hidden: int) -> Fitted:
    x, cx, y, cy = train
    model = CDK(
        modes,
        hidden=(hidden,),
        share=True,
        damping=1.0,
        scale=False,
        held_out=0,
        steps=steps,
        batch=512,
        lr=1e-3,
        seed=seed,
    ).fit((x, cx), (y, cy))
    return lambda part: (model.transform_x(part[0]), model.transform_y(part[2]))


def chosen(fits: list[Fitted], split: Split) -> Fitted:
    """The one of the best mAP on validation classes."""
    scores = [measures(*fitted(split.valid), split.valid)[2] for fitted in fits]
    return fits[int(np.argmax(scores))]


def side_by_side(fits: list[Fitted]) -> Fitted:
    def fitted(part: Part) -> Pair:
        f, g = zip(*(one(part) for one in fits), strict=True)
        return tuple(np.concatenate([unit(e) for e in side], 1) for side in (f, g))  # type: ignore[return-value]

    return fitted


def methods(split: Split, options: Options) -> dict[str, Callable[[], np.ndarray]]:
    """Name → its measures on the test classes."""
    short = Split(*(lengths_one(p) for p in (split.train, split.valid, split.test)), split.raw)
    test = split.test

    def closed(data: Split, train: Part, tied: bool) -> np.ndarray:
        fits = [linear(train, tied=tied, ridge=r) for r in RIDGES]
        return measures(*chosen(fits, data)(data.test), data.test)

    def trained(data: Split, train: Part, modes: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean over networks, and of all as one; the steps are chosen with the first."""

        def one(steps: int, seed: int) -> Fitted:
            return network(train, steps=steps, seed=seed, modes=modes, hidden=options.hidden)

        tried = [one(steps, 0) for steps in STEPS]
        best = chosen(tried, data)
        steps = STEPS[tried.index(best)]
        fits = [best, *(one(steps, seed) for seed in range(1, options.seeds))]
        single = np.mean([measures(*fitted(data.test), data.test) for fitted in fits], 0)
        return single, measures(*side_by_side(fits)(data.test), data.test)

    return {
        "chance": lambda: measures(np.zeros((len(test[0]), 1)), np.zeros((len(test[2]), 1)), test),
        "raw features": lambda: measures(*split.raw, test),
        "linear CDK": lambda: closed(split, split.train, False),
        "linear CDK, tied": lambda: closed(split, split.train, True),
        "  and length one": lambda: closed(short, short.train, True),
        "  and self-pairs": lambda: closed(short, with_self_pairs(short.train), True),
        "networks": lambda: np.stack(trained(split, split.train, 62)),
        "networks, length one, self-pairs": lambda: np.stack(
            trained(short, with_self_pairs(short.train), 128)
        ),
    }


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    splits = [load(options.data, seed) for seed in options.splits]
    print(f"{'':36}{'P@10':>8}{'R-prec':>8}{'mAP':>8}{'mAP ip':>8}   mAP per split{'s':>16}")
    for name in methods(splits[0], options):
        start = time.perf_counter()
        found = np.stack([methods(split, options)[name]() for split in splits])
        seconds = time.perf_counter() - start
        rows = {name: found}
        if found.ndim == 3:
            rows = {name: found[:, 0], f"  {options.seeds} side by side": found[:, 1]}
        for title, row in rows.items():
            means = "".join(f"{v:8.3f}" for v in row.mean(0))
            each = " ".join(f"{v:.3f}" for v in row[:, 2])
            print(f"{title:36}{means}   {each}{seconds:12.0f}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
