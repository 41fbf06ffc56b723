"""The best low-rank approximation of whatever linear thing you have."""

from importlib.metadata import version

from schmidt import compare, nesting, operators, problems
from schmidt.factorization import Factorization
from schmidt.problems import solve

__version__ = version("schmidt")
__all__ = ["Factorization", "__version__", "compare", "nesting", "operators", "problems", "solve"]
