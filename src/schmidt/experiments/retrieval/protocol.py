"""The experiment: several methods on one zero-shot data set, judged alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from schmidt.domains import ZeroShot, arrays, folders
from schmidt.experiments.keeping import Kept
from schmidt.experiments.retrieval.glyphs import glyphs
from schmidt.experiments.retrieval.methods import (
    SKETCHY,
    TITLES,
    TRAINED,
    Embedded,
    RetrievalInputs,
    RetrievalSettings,
    embed,
    possible,
)
from schmidt.experiments.retrieval.sketchy import features_folder, sketchy
from schmidt.identity import data_of
from schmidt.ranking import SIMILARITIES, Judgement, TruncationCurve, judge, truncation_curve
from schmidt.storage import exclusive


def source(
    data: Path | str | None = None,
    *,
    seed: int = 0,
    query: str | None = None,
    sketchy_split: int = 1,
) -> tuple[ZeroShot, RetrievalSettings]:
    """A data set and settings for it.

    Args:
        data: None for glyphs; an .npz file of feature arrays; a folder with Sketchy Extended; or
            a folder with two folders of pictures by class.
        query: folders: the domain that queries come from.
        sketchy_split: Sketchy Extended: 1 or 2.
    """
    if data is None:
        return glyphs(seed), RetrievalSettings()
    path = Path(data)
    if path.suffix == ".npz" or path.is_file():
        found = arrays(path, seed=seed)
    elif path.is_dir() and features_folder(path) is not None:
        return sketchy(path, sketchy_split), SKETCHY
    else:
        found = folders(path, query=query, seed=seed)
    return found, sized(RetrievalSettings(), found)


def sized(settings: RetrievalSettings, data: ZeroShot) -> RetrievalSettings:
    """Fewer modes where there are few classes: a class adds at most one mode."""
    modes = max(1, min(settings.modes, len(data.train.classes) - 1))
    return replace(settings, modes=modes)


@dataclass(frozen=True)
class Outcome:
    """A method on a data set.

    Attributes:
        judgements: by similarity.
        most, least: truncation curves by cosine, for trained methods.
    """

    embedding: Embedded
    judgements: dict[str, Judgement]
    most: TruncationCurve | None = None
    least: TruncationCurve | None = None

    @property
    def overlap(self) -> list[float] | None:
        """Mean squared deviations from orthogonality, of f and of g."""
        grams = self.embedding.overlaps
        return None if grams is None else [float(((g - np.eye(len(g))) ** 2).mean()) for g in grams]

    def report(self) -> dict[str, Any]:
        """Everything measured, as plain numbers."""
        e = self.embedding
        out: dict[str, Any] = {
            "title": e.title,
            "seconds": e.seconds,
            "chosen": e.settings or None,
            "dimensions": e.queries.shape[1],
        }
        out |= {name: judged.summary() for name, judged in self.judgements.items()}
        if e.values is not None:
            out["singular_values"] = e.values.tolist()
        if self.overlap is not None:
            out["orthogonality"] = self.overlap
        if self.most is not None and self.least is not None:
            out["most_significant"] = self.most.summary()
            out["least_significant"] = self.least.summary()
        return out


@dataclass(frozen=True)
class RetrievalResults:
    """Outcomes of all methods on one data set, in order."""

    data: ZeroShot
    settings: RetrievalSettings
    seed: int
    chance: Judgement
    outcomes: dict[str, Outcome]

    @property
    def interrupted(self) -> bool:
        return any(o.embedding.interrupted for o in self.outcomes.values())

    def report(self) -> dict[str, Any]:
        return {
            "data": self.data.name,
            "sizes": self.data.sizes(),
            "seed": self.seed,
            "settings": asdict(self.settings),
            "interrupted": self.interrupted,
            "chance": self.chance.summary(),
            "methods": {name: outcome.report() for name, outcome in self.outcomes.items()},
        }

    def embeddings(self) -> dict[str, np.ndarray]:
        """What to save: the classes of queries and gallery, and both as every method sees them."""
        test = self.data.test
        out = {
            "names": np.array(list(self.data.names)),
            "query_classes": test.x.classes,
            "gallery_classes": test.y.classes,
        }
        for name, outcome in self.outcomes.items():
            if name != "raw":
                out[f"{name}_queries"] = outcome.embedding.queries.astype(np.float32)
                out[f"{name}_gallery"] = outcome.embedding.gallery.astype(np.float32)
        return out


def run(
    data: ZeroShot,
    methods: Sequence[str] = tuple(TITLES),
    settings: RetrievalSettings | None = None,
    *,
    seed: int = 0,
    watch: Callable[[Outcome], None] = lambda outcome: None,
    folder: Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 60.0,
) -> RetrievalResults:
    """Embed and judge by every method that the data allow.

    A signal ends the training at hand, judges what it has learned, and leaves out the methods
    after.

    Args:
        methods: of ``TITLES``.
        settings: of the networks; default those for glyphs.
        seed: of networks and batches.
        watch: told of every outcome as it comes.
        folder: where embeddings are kept, and checkpoints of the training at hand every
            ``checkpoint_seconds``. Held for this experiment alone.
        resume: go on from what is there, to the same numbers; only the methods may differ.

    Raises:
        ValueError: the folder holds another experiment.
    """
    settings = settings or RetrievalSettings()
    outcomes: dict[str, Outcome] = {}
    with nullcontext() if folder is None else exclusive(folder):
        kept = None
        if folder is not None:
            kept = Kept(folder, checkpoint_seconds)
            what = {"settings": asdict(settings), "seed": seed, "data": data_of(data)}
            kept.begin(what, resume=resume)
        inputs = RetrievalInputs(data, settings.components, settings.damping)
        for method in possible(methods, inputs):
            outcomes[method] = outcome(embed(method, inputs, settings, seed, kept), data)
            watch(outcomes[method])
            if outcomes[method].embedding.interrupted:
                break
    return RetrievalResults(data, settings, seed, chance(data), outcomes)


def outcome(embedding: Embedded, data: ZeroShot) -> Outcome:
    """Judge an embedding of the test items."""
    test, k = data.test, data.k
    items = (embedding.queries, embedding.gallery, test.x.classes, test.y.classes)
    judgements = {name: judge(*items, k=k, similarity=name) for name in SIMILARITIES}
    if embedding.method not in TRAINED:
        return Outcome(embedding, judgements)
    curves = [truncation_curve(*items, k=k, least=least) for least in (False, True)]
    return Outcome(embedding, judgements, *curves)


def chance(data: ZeroShot) -> Judgement:
    """What a random order earns: all scores are equal."""
    test = data.test
    queries, gallery = np.zeros((len(test.x), 1)), np.zeros((len(test.y), 1))
    return judge(queries, gallery, test.x.classes, test.y.classes, k=data.k)
