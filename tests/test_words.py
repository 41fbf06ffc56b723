"""The public face: few names, settings by keyword, one word for one thing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import schmidt

ROOMS = (
    "",
    "adapters",
    "certificate",
    "compare",
    "completion",
    "dependence",
    "domains",
    "matrices",
    "nesting",
    "operators",
    "operators.measures",
    "operators.methods",
    "operators.networks",
    "operators.ritz",
    "plotting",
    "problems",
    "ranking",
    "semantic",
)
NAMES = 215
"""Of functions and classes that the library shows, each counted once."""
DATA = 4
"""Arguments that may be given by position: the data."""
SETTINGS = 2
"""Of these, such as have a default other than None."""
BY_POSITION = {"Bound"}
"""Bound(low, high, failure) is read like an interval."""
RANK = ("svd", "lowrank_delta", "MatrixCompletion", "SemanticIndex", "memory_table")
MODES = ("bound_states", "eigenfunctions", "CDK", "LinearCDK", "galerkin", "train_trunk")
COMPONENTS = ("PCA",)
OLD = {
    "n_modes", "num_modes", "n_singular", "n_eigs", "num_components", "tolerance", "rtol", "atol",
    "neigs", "ncomp", "n_factors", "nev",
}  # fmt: skip
FREE = {"degenerate_groups"}
"""How near two values are one level is no error asked for."""


def face() -> Iterator[tuple[str, Any]]:
    """(name, function or class) of every room, each once."""
    seen: set[int] = set()
    for room in ROOMS:
        module = importlib.import_module(f"schmidt.{room}".rstrip("."))
        own = [name for name, thing in vars(module).items() if _at_home(name, thing, module)]
        for name in getattr(module, "__all__", own):
            thing = getattr(module, name)
            home = getattr(thing, "__module__", "") or ""
            if isinstance(thing, ModuleType) or id(thing) in seen or not callable(thing):
                continue
            seen.add(id(thing))
            if home.startswith("schmidt"):
                yield name, thing


def _at_home(name: str, thing: Any, module: ModuleType) -> bool:
    return not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__


def calls() -> Iterator[tuple[str, inspect.Signature]]:
    """Everything that a user can call: functions, constructors, methods."""
    for name, thing in face():
        if inspect.isclass(thing) and issubclass(thing, BaseException):
            continue
        yield name, inspect.signature(thing)
        if inspect.isclass(thing):
            for method, function in vars(thing).items():
                function = getattr(function, "__func__", function)  # class methods
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", inspect.signature(function)


FACE = dict(face())
CALLS = dict(calls())


def by_position(signature: inspect.Signature) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        p
        for p in signature.parameters.values()
        if p.kind in kinds and p.name not in ("self", "cls")
    ]


def test_names_are_few() -> None:
    assert len(FACE) <= NAMES
    assert len(importlib.import_module("schmidt.operators").__all__) <= 45


def test_settings_are_given_by_keyword() -> None:
    many: dict[str, list[str]] = {}
    for name, signature in CALLS.items():
        found = by_position(signature)
        settings = [p for p in found if p.default not in (p.empty, None)]
        if len(found) > DATA or (len(settings) > SETTINGS and name not in BY_POSITION):
            many[name] = [p.name for p in found]
    assert many == {}


def test_one_word_for_one_thing() -> None:
    old = {name: OLD & set(s.parameters) for name, s in CALLS.items() if name not in FREE}
    assert {name: words for name, words in old.items() if words} == {}


def test_rank_modes_and_components() -> None:
    """Arrays are factored to a rank, functions are found as modes, PCA speaks scikit-learn's."""
    words = {"rank", "modes", "n_components"}
    for names, word in ((RANK, "rank"), (MODES, "modes"), (COMPONENTS, "n_components")):
        for name in names:
            assert words & set(CALLS[name].parameters) == {word}, name


def test_every_public_thing_says_what_it_is() -> None:
    for name, thing in FACE.items():
        assert inspect.getdoc(thing), name
    assert set(schmidt.__all__) >= {"svd", "PCA", "bound_states", "fit", "CDK", "LinearCDK"}
