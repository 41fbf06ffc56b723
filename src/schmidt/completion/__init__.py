"""Matrix completion: a matrix known at some places only."""

from schmidt.completion.estimator import MatrixCompletion
from schmidt.completion.fitting import Choice
from schmidt.completion.path import Path, Step
from schmidt.completion.unshrunk import Trial

__all__ = ["Choice", "MatrixCompletion", "Path", "Step", "Trial"]
