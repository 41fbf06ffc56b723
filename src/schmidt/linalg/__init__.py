"""The ground floor of linear algebra: what more than one room needs, written once."""

from schmidt.linalg.bases import Span, extend, orthogonal, orthonormalize, random_normal, span
from schmidt.linalg.leading import leading, leading_eigenpairs, whitener
from schmidt.linalg.signs import fix_signs

__all__ = [
    "Span",
    "extend",
    "fix_signs",
    "leading",
    "leading_eigenpairs",
    "orthogonal",
    "orthonormalize",
    "random_normal",
    "span",
    "whitener",
]
