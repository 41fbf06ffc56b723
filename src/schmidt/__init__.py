"""The best low-rank approximation of whatever linear thing you have."""

from importlib.metadata import version

from schmidt import compare, nesting, operators
from schmidt.factorization import Factorization

__version__ = version("schmidt")
__all__ = ["Factorization", "__version__", "compare", "nesting", "operators"]
