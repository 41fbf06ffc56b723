"""Zero-shot cross-domain retrieval: data sets, measures, and the methods side by side."""

from schmidt.domains import DomainPair, Items, ZeroShot, arrays, folders, split
from schmidt.experiments.retrieval import report
from schmidt.experiments.retrieval.glyphs import Jitter, glyphs
from schmidt.experiments.retrieval.methods import QUICK, SKETCHY, TITLES, TRAINED, RetrievalSettings
from schmidt.experiments.retrieval.protocol import Outcome, RetrievalResults, chance, run, source
from schmidt.experiments.retrieval.sketchy import sketchy
from schmidt.ranking import judge, judge_scores, score_blocks, truncation_curve

__all__ = [
    "QUICK",
    "SKETCHY",
    "TITLES",
    "TRAINED",
    "DomainPair",
    "Items",
    "Jitter",
    "Outcome",
    "RetrievalResults",
    "RetrievalSettings",
    "ZeroShot",
    "arrays",
    "chance",
    "folders",
    "glyphs",
    "judge",
    "judge_scores",
    "report",
    "run",
    "score_blocks",
    "sketchy",
    "source",
    "split",
    "truncation_curve",
]
