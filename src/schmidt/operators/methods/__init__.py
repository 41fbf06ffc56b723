"""Methods: each is one gradient in function space, written as a scalar surrogate."""

from collections.abc import Callable

from schmidt.operators.methods.batch import Batch, Method
from schmidt.operators.methods.nested import NestedLowRank

METHODS: dict[str, Callable[[int], Method]] = {
    "sequential": NestedLowRank.sequential,
    "joint": NestedLowRank.joint,
    "none": NestedLowRank.none,
}


def method(name: str, modes: int) -> Method:
    """The method of that name with its defaults; an unknown name lists the known ones."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name](modes)


__all__ = ["METHODS", "Batch", "Method", "NestedLowRank", "method"]
