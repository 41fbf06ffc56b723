"""The best low-rank approximation of whatever linear thing you have."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from schmidt import compare, matrices, nesting, operators, problems
from schmidt.factorization import Factorization
from schmidt.matrices import nystrom, svd
from schmidt.problems import solve

if TYPE_CHECKING:
    from schmidt.completion import MatrixCompletion
    from schmidt.dependence import CDK, LinearCDK
    from schmidt.matrices.pca import PCA
    from schmidt.semantic import SemanticIndex

__version__ = version("schmidt")
__all__ = [
    "CDK",
    "PCA",
    "Factorization",
    "LinearCDK",
    "MatrixCompletion",
    "SemanticIndex",
    "__version__",
    "compare",
    "matrices",
    "nesting",
    "nystrom",
    "operators",
    "problems",
    "solve",
    "svd",
]


def __getattr__(name: str) -> Any:
    """Estimators, imported when first asked for: they bring scikit-learn along."""
    if name in ("CDK", "LinearCDK"):
        from schmidt import dependence

        return getattr(dependence, name)
    if name == "MatrixCompletion":
        from schmidt import completion

        return completion.MatrixCompletion
    if name == "SemanticIndex":
        from schmidt import semantic

        return semantic.SemanticIndex
    if name == "PCA":
        from schmidt.matrices.pca import PCA

        return PCA
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
