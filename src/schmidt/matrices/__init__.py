"""Matrices: the best rank-k approximation with a certificate, and what is built on it."""

from schmidt.matrices.eigh import eigh
from schmidt.matrices.nystrom import nystrom
from schmidt.matrices.solvers.triplets import NotConvergedError
from schmidt.matrices.svd import ToleranceError, svd

__all__ = [
    "NotConvergedError",
    "ToleranceError",
    "eigh",
    "nystrom",
    "svd",
]
