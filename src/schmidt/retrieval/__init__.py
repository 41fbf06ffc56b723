"""Zero-shot cross-domain retrieval: data sets, measures, and the methods side by side."""

from schmidt.retrieval import report
from schmidt.retrieval.arrays import arrays
from schmidt.retrieval.dataset import Items, Pair, ZeroShot, split
from schmidt.retrieval.embedded import QUICK, TITLES, TRAINED, Embedded, embed
from schmidt.retrieval.folders import folders
from schmidt.retrieval.glyphs import glyphs
from schmidt.retrieval.inputs import Inputs
from schmidt.retrieval.jitter import Jitter
from schmidt.retrieval.metrics import SIMILARITIES, Judgement, judge, judge_scores, score_blocks
from schmidt.retrieval.protocol import Outcome, Results, chance, outcome, run
from schmidt.retrieval.settings import SKETCHY, Settings
from schmidt.retrieval.sketchy import sketchy
from schmidt.retrieval.sources import source
from schmidt.retrieval.truncation import Curve, truncation_curve

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
