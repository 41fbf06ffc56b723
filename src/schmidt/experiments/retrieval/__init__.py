"""Zero-shot cross-domain retrieval: data sets, measures, and the methods side by side."""

from schmidt.experiments.retrieval import report
from schmidt.experiments.retrieval.arrays import arrays
from schmidt.experiments.retrieval.dataset import Items, Pair, ZeroShot, split
from schmidt.experiments.retrieval.embedded import QUICK, TITLES, TRAINED, Embedded, embed
from schmidt.experiments.retrieval.folders import folders
from schmidt.experiments.retrieval.glyphs import glyphs
from schmidt.experiments.retrieval.inputs import Inputs
from schmidt.experiments.retrieval.jitter import Jitter
from schmidt.experiments.retrieval.metrics import (
    SIMILARITIES,
    Judgement,
    judge,
    judge_scores,
    score_blocks,
)
from schmidt.experiments.retrieval.protocol import Outcome, Results, chance, outcome, run
from schmidt.experiments.retrieval.settings import SKETCHY, Settings
from schmidt.experiments.retrieval.sketchy import sketchy
from schmidt.experiments.retrieval.sources import source
from schmidt.experiments.retrieval.truncation import Curve, truncation_curve

__all__ = [
    "QUICK",
    "SIMILARITIES",
    "SKETCHY",
    "TITLES",
    "TRAINED",
    "Curve",
    "Embedded",
    "Inputs",
    "Items",
    "Jitter",
    "Judgement",
    "Outcome",
    "Pair",
    "Results",
    "Settings",
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
