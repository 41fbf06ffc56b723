"""Matrices: the best rank-k approximation with a certificate, and what is built on it."""

from schmidt.matrices.certify import Certificate
from schmidt.matrices.nystrom import nystrom
from schmidt.matrices.solvers.krylov import NotConvergedError
from schmidt.matrices.svd import ToleranceError, svd

__all__ = [
    "Certificate",
    "NotConvergedError",
    "ToleranceError",
    "nystrom",
    "svd",
]
