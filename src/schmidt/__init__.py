"""The best low-rank approximation of whatever linear thing you have."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from schmidt import compare, nesting, operators, problems
from schmidt.factorization import Factorization
from schmidt.problems import solve

if TYPE_CHECKING:
    from schmidt.dependence import CDK, LinearCDK
    from schmidt.matrices.completion import MatrixCompletion

__version__ = version("schmidt")
__all__ = [
    "CDK",
    "Factorization",
    "LinearCDK",
    "MatrixCompletion",
    "__version__",
    "compare",
    "nesting",
    "operators",
    "problems",
    "solve",
]


def __getattr__(name: str) -> Any:
    """Estimators, imported when first asked for: they bring scikit-learn along."""
    if name in ("CDK", "LinearCDK"):
        from schmidt import dependence

        return getattr(dependence, name)
    if name == "MatrixCompletion":
        from schmidt.matrices import completion

        return completion.MatrixCompletion
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
