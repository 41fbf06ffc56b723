"""Arrows run downwards only, in one order; the library never needs its experiments."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import schmidt

SOURCE = Path(schmidt.__file__).parent
ORDER = (
    ("",),  # root modules
    ("linalg", "tables"),
    ("matrices", "operators", "adapters"),
    ("completion", "semantic", "dependence"),
    ("dynamics", "graphs", "kernels"),
    ("problems", "plotting", "report"),
    ("experiments", "cli"),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# A result draws itself: plotting is imported when it is asked for, never before.
DRAWS = {("factorization.py", "plotting"), ("__main__.py", "cli")}


def room_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else ""


def imported(path: Path) -> set[str]:
    """Rooms of schmidt that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "schmidt":
                names = [f"schmidt.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "schmidt" and len(parts) > 1:
                rooms.add(parts[1] if (SOURCE / parts[1]).is_dir() else "")
    return rooms


FILES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "__init__.py" or p.parent != SOURCE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_arrows_run_downwards(path: Path) -> None:
    here = room_of(path)
    assert here in LEVEL, f"{here} has no place in the order of rooms"
    for other in imported(path) - {here}:
        if (str(path.relative_to(SOURCE)), other) in DRAWS:
            continue
        same = LEVEL[other] == LEVEL[here] and {here, other} <= {*ORDER[-1], *ORDER[-2]}
        assert LEVEL[other] < LEVEL[here] or same, f"{here} imports {other}"


def test_no_class_has_a_name_twice() -> None:
    places: dict[str, list[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_files_are_topics() -> None:
    """No file that cannot be read in one sitting."""
    long = {
        str(p.relative_to(SOURCE)): n
        for p in SOURCE.rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 450
    }
    assert long == {}
