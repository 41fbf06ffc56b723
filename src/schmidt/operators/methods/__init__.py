"""Methods: each is one gradient in function space, written as a scalar surrogate."""

from collections.abc import Callable

from schmidt.operators.methods.nested import Batch, DivergedError, Method, NestedLowRank
from schmidt.operators.methods.neuralef import GHA, NeuralEF
from schmidt.operators.methods.spin import SpIN, SpINX
from schmidt.parameters import Choice, check

METHODS: dict[str, Callable[[int], Method]] = {
    "sequential": NestedLowRank.sequential,
    "joint": NestedLowRank.joint,
    "none": NestedLowRank.none,
    "spin": SpIN,
    "spin-x": lambda modes: SpINX(),
    "neuralef": lambda modes: NeuralEF(),
    "neuralef-original": lambda modes: NeuralEF.original(),
    "neuralef-deflation": lambda modes: NeuralEF.deflation(),
    "eigengame": lambda modes: NeuralEF.eigengame(),
    "mu-eigengame": lambda modes: NeuralEF.mu_eigengame(),
    "gha": lambda modes: GHA(),
}


def method(name: str, modes: int) -> Method:
    """The method of that name with its defaults; an unknown name lists the known ones."""
    check({"method": Choice(*METHODS)}, method=name)
    return METHODS[name](modes)


__all__ = [
    "GHA",
    "METHODS",
    "Batch",
    "DivergedError",
    "Method",
    "NestedLowRank",
    "NeuralEF",
    "SpIN",
    "SpINX",
    "method",
]
