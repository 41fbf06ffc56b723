"""The best low-rank approximation of whatever linear thing you have.

Everything here is imported when it is first asked for: ``import schmidt`` itself is quick, and an
estimator brings scikit-learn along only when it is used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schmidt.certificate import Bound, Certificate
    from schmidt.completion import MatrixCompletion
    from schmidt.dependence import CDK, LinearCDK
    from schmidt.factorization import Eigenpairs, Factorization
    from schmidt.matrices.eigh import eigh
    from schmidt.matrices.nystrom import nystrom
    from schmidt.matrices.pca import PCA
    from schmidt.matrices.svd import svd
    from schmidt.operators import bound_states, eigenfunctions
    from schmidt.operators.fit import fit
    from schmidt.problems.solve import solve
    from schmidt.semantic import SemanticIndex

__version__ = version("schmidt")
__all__ = [
    "CDK",
    "PCA",
    "Bound",
    "Certificate",
    "Eigenpairs",
    "Factorization",
    "LinearCDK",
    "MatrixCompletion",
    "SemanticIndex",
    "__version__",
    "adapters",
    "bound_states",
    "compare",
    "completion",
    "dependence",
    "domains",
    "eigenfunctions",
    "eigh",
    "fit",
    "matrices",
    "nesting",
    "nystrom",
    "operators",
    "plotting",
    "problems",
    "ranking",
    "semantic",
    "solve",
    "svd",
]

_PLACES = {
    "Bound": "schmidt.certificate",
    "CDK": "schmidt.dependence",
    "Certificate": "schmidt.certificate",
    "Eigenpairs": "schmidt.factorization",
    "Factorization": "schmidt.factorization",
    "LinearCDK": "schmidt.dependence",
    "MatrixCompletion": "schmidt.completion",
    "PCA": "schmidt.matrices.pca",
    "SemanticIndex": "schmidt.semantic",
    "bound_states": "schmidt.operators",
    "eigenfunctions": "schmidt.operators",
    "eigh": "schmidt.matrices",
    "fit": "schmidt.operators",
    "nystrom": "schmidt.matrices",
    "solve": "schmidt.problems",
    "svd": "schmidt.matrices",
}
"""Name → where it is; every other public name is a module."""


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        found = getattr(import_module(_PLACES[name]), name)
        globals()[name] = found
        return found
    if name in __all__:
        return import_module(f"schmidt.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
