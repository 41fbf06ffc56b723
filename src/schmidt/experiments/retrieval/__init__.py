"""Zero-shot cross-domain retrieval: data sets, measures, and the methods side by side."""

from schmidt.domains import DomainPair, Items, ZeroShot, arrays, folders, split
from schmidt.experiments.retrieval import report
from schmidt.experiments.retrieval.glyphs import Jitter, glyphs
from schmidt.experiments.retrieval.methods import (
    QUICK,
    SKETCHY,
    TITLES,
    TRAINED,
    Embedded,
    RetrievalInputs,
    RetrievalSettings,
    embed,
)
from schmidt.experiments.retrieval.protocol import (
    Outcome,
    RetrievalResults,
    chance,
    outcome,
    run,
    source,
)
from schmidt.experiments.retrieval.sketchy import sketchy
from schmidt.ranking import (
    SIMILARITIES,
    Judgement,
    TruncationCurve,
    judge,
    judge_scores,
    score_blocks,
    truncation_curve,
)

__all__ = [
    "QUICK",
    "SIMILARITIES",
    "SKETCHY",
    "TITLES",
    "TRAINED",
    "DomainPair",
    "Embedded",
    "Items",
    "Jitter",
    "Judgement",
    "Outcome",
    "RetrievalInputs",
    "RetrievalResults",
    "RetrievalSettings",
    "TruncationCurve",
    "ZeroShot",
    "arrays",
    "chance",
    "embed",
    "folders",
    "glyphs",
    "judge",
    "judge_scores",
    "outcome",
    "report",
    "run",
    "score_blocks",
    "sketchy",
    "source",
    "split",
    "truncation_curve",
]
