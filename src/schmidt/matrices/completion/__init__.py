"""Matrix completion: a matrix known at some places only."""

from schmidt.matrices.completion.estimator import MatrixCompletion
from schmidt.matrices.completion.fitting import Choice
from schmidt.matrices.completion.path import Path, Step
from schmidt.matrices.completion.unshrunk import Trial

__all__ = ["Choice", "MatrixCompletion", "Path", "Step", "Trial"]
