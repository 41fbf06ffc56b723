"""The ground floor of linear algebra: what more than one room needs, written once."""

from schmidt.linalg.signs import fix_signs

__all__ = ["fix_signs"]
