"""Matrix completion: a matrix known at some places only."""

from schmidt.completion.entries import roles
from schmidt.completion.estimator import MatrixCompletion
from schmidt.completion.path import PathStep, PenaltyPath, RankFit
from schmidt.completion.selection import Selection

__all__ = ["MatrixCompletion", "PathStep", "PenaltyPath", "RankFit", "Selection", "roles"]
