"""Documents for ``schmidt search``: files, folders, paragraphs of a file, an embedded example."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

KINDS = (".txt", ".md", ".rst")


def read_documents(paths: Sequence[Path]) -> dict[str, str]:
    """Names and texts.

    A folder stands for all its .txt, .md and .rst files, at any depth. One single file is taken
    apart into its paragraphs, named by their first lines.

    Raises:
        ValueError: a path that does not exist, a folder without texts, fewer than two documents.
    """
    found: list[Path] = []
    for path in paths:
        if not exists(path):
            raise ValueError(f"no such file or folder: {path}; the query comes last, in quotes")
        if path.is_file():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix in KINDS and p.is_file())
        if not inside:
            raise ValueError(f"{path} contains no {', '.join(KINDS)} files")
        found += inside
    found = list(dict.fromkeys(path.absolute() for path in found))
    texts = {path: _read(path) for path in found}
    if len(texts) == 1:
        ((path, text),) = texts.items()
        documents = _paragraphs(text)
        if len(documents) < 2:
            raise ValueError(
                f"{path} has fewer than two paragraphs: give several files, or a longer one"
            )
        return documents
    common = Path(*_common([p.parts[:-1] for p in found]))
    return {str(p.relative_to(common)): text for p, text in texts.items()}


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; names that no file can have are none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _read(path: Path) -> str:
    """UTF-8, and else the western code page, in which every byte is a character."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def embedded_documents() -> dict[str, str]:
    """The descriptions of data sets that scikit-learn ships."""
    folder = files("sklearn.datasets.descr")
    return {
        Path(entry.name).stem: entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".rst")
    }


def snippets(text: str) -> list[str]:
    """The sentences and lines of a text, without markup, in order."""
    parts = re.split(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*[-*:|=])", text)
    cleaned = (re.sub(r"[\s*`|=_:#]+", " ", part).strip() for part in parts)
    return [part for part in cleaned if len(part) > 3]


def _paragraphs(text: str) -> dict[str, str]:
    documents: dict[str, str] = {}
    for number, part in enumerate(re.split(r"\n\s*\n", text), 1):
        if part.strip():
            first = " ".join(part.split())[:40]
            documents[f"{number}: {first}"] = part
    return documents


def _common(parts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    shared: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return tuple(shared)
