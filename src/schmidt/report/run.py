"""What a command was asked, printed and wrote, and the one page that shows it.

A command that holds an output folder leaves two more files there: ``run.json``, the record, and
``report.html``, a page that needs nothing but itself.
"""

from __future__ import annotations

import base64
import html
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from schmidt.storage import read_json, write_bytes, write_json

RECORD, PAGE = "run.json", "report.html"
TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PICTURES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
LOADED = {
    ".npz": "numpy.load({name!r})",
    ".npy": "numpy.load({name!r})",
    ".json": "json.load(open({name!r}))",
    ".csv": "polars.read_csv({name!r})",
}
"""How files are read, by their ending."""
ORDER = ("side-by-side", "functions", "levels", "spectrum", "map", "bounds", "errors")
"""What is looked at first."""
STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --back: #fff; --line: #cbd2d9; --faint: #f3f5f7 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --back: #14181d; --line: #3e4c59; --faint: #1f2933 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 60rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
pre { background: var(--faint); padding: .75rem; overflow-x: auto; font-size: .85rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line) }
img { max-width: 100%; background: #fff } figure { margin: 1rem 0 }
figcaption { font-size: .85rem } .alarm { border-left: 4px solid #d9730d; padding-left: .75rem }
"""


def record(
    out: Path, given: Sequence[str], printed: str, status: int, seconds: float, since: float
) -> Path:
    """Write ``run.json`` and ``report.html``.

    Args:
        out: the command's folder.
        given: its words, without ``schmidt``.
        printed: what it printed.
        status: its exit status.
        seconds: how long it took.
        since: when it began; files that are older belong to earlier runs.

    Returns:
        The page.
    """
    import platform

    import numpy
    import torch

    from schmidt import __version__

    files = [
        file
        for file in sorted(out.rglob("*"))
        if file.is_file() and not file.name.startswith(".") and file.stat().st_mtime >= since - 1
    ]
    run = {
        "command": shlex.join(["schmidt", *given]),
        "printed": TERMINAL.sub("", printed).strip(),
        "status": status,
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M"),
        "versions": {
            "schmidt": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "files": [file.relative_to(out).as_posix() for file in files],
    }
    write_json(out / RECORD, run)
    return write_page(out, run)


def write_page(out: Path, run: Mapping[str, Any] | None = None) -> Path:
    """Build ``report.html`` from a folder that a command filled.

    Args:
        out: the folder.
        run: its record; read from ``run.json`` by default.

    Returns:
        The page.

    Raises:
        ValueError: the folder holds no ``run.json``.
    """
    if run is None:
        if not (out / RECORD).is_file():
            raise ValueError(f"{out} holds no {RECORD}: it was not filled by a schmidt command")
        run = read_json(out / RECORD)
    write_bytes(out / PAGE, _page(out, run).encode())
    return out / PAGE


def write_index(folder: Path, inside: Sequence[Path]) -> Path:
    """Build one page of several folders: of each what was asked, printed and drawn first."""
    parts = [f"<h1>{html.escape(folder.resolve().name)}</h1>"]
    for out in inside:
        run = read_json(out / RECORD)
        name = html.escape(out.name)
        parts.append(f'<h2><a href="{name}/{PAGE}">{name}</a></h2>')
        parts += [_command(run), *_said(out, run["files"])]
        parts += [_figure(out / shown) for shown in _shown(out, run)[:1]]
        parts.append(f"<pre>{html.escape(run['printed'])}</pre>")
    write_bytes(folder / PAGE, _document(folder.resolve().name, parts).encode())
    return folder / PAGE


def _page(out: Path, run: Mapping[str, Any]) -> str:
    parts = [f"<h1>{html.escape(out.resolve().name)}</h1>", _command(run)]
    if run["status"]:
        parts.append('<p class="alarm">The command was interrupted: this is what there was.</p>')
    parts += _said(out, run["files"])
    parts += ["<h2>Printed</h2>", f"<pre>{html.escape(run['printed'])}</pre>"]
    shown = _shown(out, run)
    parts += ["<h2>Pictures</h2>"] if shown else []
    parts += [_figure(out / name) for name in shown]
    parts += ["<h2>Files</h2>", *_files(out, run["files"])]
    versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
    parts.append(
        f"<p>{html.escape(run['finished'])}, {run['seconds']} seconds; {html.escape(versions)}.</p>"
    )
    return _document(out.resolve().name, parts)


def _document(title: str, parts: Iterable[str]) -> str:
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>schmidt: {html.escape(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _command(run: Mapping[str, Any]) -> str:
    return f"<pre>{html.escape(run['command'])}</pre>"


def _shown(out: Path, run: Mapping[str, Any]) -> list[str]:
    """The pictures that are there, those that say most first."""
    found = [n for n in run["files"] if Path(n).suffix in PICTURES and (out / n).is_file()]
    return sorted(found, key=_rank)


def _rank(name: str) -> tuple[int, str]:
    stem = Path(name).stem
    return (ORDER.index(stem) if stem in ORDER else len(ORDER), name)


def _said(out: Path, files: Iterable[str]) -> list[str]:
    """Whether what was asked for is proven, and what looks wrong, from the certificates."""
    rows: list[str] = []
    for name in files:
        if Path(name).suffix != ".json" or name == RECORD or not (out / name).is_file():
            continue
        for known in _certificates(read_json(out / name, by_hand=True)):
            met = "met" if known["met"] else "not proven"
            rows.append(f"<p><b>{html.escape(known.get('asked') or 'asked')}: {met}</b></p>")
            rows += [f'<p class="alarm">{html.escape(text)}</p>' for text in known["alarms"]]
    return list(dict.fromkeys(rows))


def _certificates(plain: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(plain, dict):
        if {"met", "bounds", "alarms"} <= plain.keys():
            yield plain
        for value in plain.values():
            yield from _certificates(value)


def _figure(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    name = html.escape(path.name)
    source = f"data:{PICTURES[path.suffix]};base64,{data}"
    return f'<figure><img alt="{name}" src="{source}"><figcaption>{name}</figcaption></figure>'


def _files(out: Path, files: Iterable[str]) -> list[str]:
    rows = []
    for name in files:
        there = (out / name).is_file()
        how = LOADED.get(Path(name).suffix, "").format(name=name)
        if there and Path(name).suffix == ".safetensors":
            how = _loaded(out / name, name)
        code = f"<code>{html.escape(how)}</code>" if how else ""
        size = f"{(out / name).stat().st_size / 1e3:,.0f} kB" if there else "gone"
        rows.append(f"<tr><td>{html.escape(name)}</td><td>{size}</td><td>{code}</td></tr>")
    return ["<table>", *rows, "</table>"]


def _loaded(path: Path, name: str) -> str:
    """How a file of tensors is read: by the class that its header names."""
    import safetensors

    import schmidt

    with safetensors.safe_open(path, framework="pt") as file:
        kind = (file.metadata() or {}).get("kind", "").removeprefix("schmidt.")
    if kind in schmidt.__all__:
        return f"schmidt.{kind}.load({name!r})"
    return f"safetensors.torch.load_file({name!r})"
