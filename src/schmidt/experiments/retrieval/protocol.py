"""The experiment: several methods on one zero-shot data set, judged alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from schmidt.experiments.retrieval.dataset import ZeroShot
from schmidt.experiments.retrieval.embedded import TITLES, TRAINED, Embedded, embed, possible
from schmidt.experiments.retrieval.inputs import Inputs
from schmidt.experiments.retrieval.metrics import SIMILARITIES, Judgement, judge
from schmidt.experiments.retrieval.settings import Settings
from schmidt.experiments.retrieval.truncation import Curve, truncation_curve


@dataclass(frozen=True)
class Outcome:
    """A method on a data set.

    Attributes:
        judgements: by similarity.
        most, least: truncation curves by cosine, for trained methods.
    """

    embedding: Embedded
    judgements: dict[str, Judgement]
    most: Curve | None = None
    least: Curve | None = None

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
class Results:
    """Outcomes of all methods on one data set, in order."""

    data: ZeroShot
    settings: Settings
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
    settings: Settings | None = None,
    *,
    seed: int = 0,
    watch: Callable[[Outcome], None] = lambda outcome: None,
) -> Results:
    """Embed and judge by every method that the data allow.

    Ctrl-C ends the training at hand, judges what it has learned, and leaves out the methods after.

    Args:
        methods: of ``TITLES``.
        settings: of the networks; default those for glyphs.
        seed: of networks and batches.
        watch: told of every outcome as it comes.
    """
    settings = settings or Settings()
    inputs = Inputs(data, settings.components, settings.damping)
    outcomes: dict[str, Outcome] = {}
    for method in possible(methods, inputs):
        outcomes[method] = outcome(embed(method, inputs, settings, seed), data)
        watch(outcomes[method])
        if outcomes[method].embedding.interrupted:
            break
    return Results(data, settings, seed, chance(data), outcomes)


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
