"""The ground floor of linear algebra: what more than one room needs, written once."""

from schmidt.linalg.bases import Span, extend, orthonormalize, random_normal, span
from schmidt.linalg.leading import leading, whitener
from schmidt.linalg.signs import fix_signs

__all__ = [
    "Span",
    "extend",
    "fix_signs",
    "leading",
    "orthonormalize",
    "random_normal",
    "span",
    "whitener",
]
