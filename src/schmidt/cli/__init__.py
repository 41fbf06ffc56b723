"""The command line: one small file per command, loaded when it is called."""

from __future__ import annotations

import codecs
import io
import os
import re
import signal
import sys
import threading
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial, wraps
from importlib import import_module
from types import FrameType
from typing import Any

from schmidt.parameters import suggestion
from schmidt.progress import SIGNALS

COMMANDS = {
    "solve": ("schmidt.cli.solve", "solve", "leading functions of an operator"),
    "compare": ("schmidt.cli.compare", "compare", "one problem by several methods"),
    "svd": ("schmidt.cli.svd", "svd_command", "a matrix in a file, with a certificate"),
    "compress": ("schmidt.cli.compress", "compress_command", "a picture from few terms"),
    "complete": ("schmidt.cli.complete", "complete", "a table of ratings full of holes"),
    "search": ("schmidt.cli.search", "search", "a folder of text files, by meaning"),
    "report": ("schmidt.cli.report", "report", "the page of a folder that a command filled"),
    "problems": ("schmidt.cli.problems", "problems", "what `solve` knows by name"),
    "retrieve": (
        "schmidt.experiments.retrieval.command",
        "retrieve",
        "items of one domain by items of another",
    ),
    "finetune": (
        "schmidt.experiments.finetune.command",
        "finetune",
        "LoRA and its variants beside full fine-tuning",
    ),
    "reproduce": (
        "schmidt.experiments.reproduce.command",
        "reproduce",
        "the experiments of the NeuralSVD paper",
    ),
}
"""Name → (module, function, what it is about)."""
MAY_BE_NEGATIVE = ("--potential",)
"""Flags whose value may begin with a minus."""


def load(name: str) -> Callable[..., Any]:
    """The function of a command; nothing else is imported."""
    module, function, _ = COMMANDS[name]
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``schmidt …``; errors become one clear line and exit status 2, a signal 130."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        _readable(stream)
    try:
        with _signals(), _enduring():
            return _run(given)
    except KeyboardInterrupt:
        print("schmidt: interrupted", file=sys.stderr)
        return 130
    except MemoryError:
        print("schmidt: error: not enough memory for this", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if not _ours(error):
            raise
        print(f"schmidt: error: {error}", file=sys.stderr)
        return 2


def _run(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if given[0] in ("--version", "-V"):
        from schmidt import __version__

        print(f"schmidt {__version__}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        near = suggestion(name, COMMANDS)
        raise ValueError(f"unknown command {name!r}{near}; `schmidt --help` lists them")
    from schmidt.report.terminal import session

    call = parsed(name, rest)
    began = time.time()
    with session() as folders:
        status = int(call() or 0)
        if folders:
            from schmidt.report.run import record

            printed = getattr(sys.stdout, "printed", "")
            record(folders[0], given, printed, status, time.time() - began, began)
        return status


def parsed(name: str, given: Sequence[str]) -> Callable[[], Any]:
    """The command with its options, to be called; what cannot be understood is one line."""
    import tyro

    command, said = load(name), io.StringIO()

    @wraps(command)
    def bound(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return partial(command, *args, **kwargs)

    try:
        with redirect_stderr(said):
            call: Callable[[], Any] = tyro.cli(bound, prog=f"schmidt {name}", args=_joined(given))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_misunderstood(said.getvalue(), name)) from None
    return call


def _misunderstood(box: str, name: str) -> str:
    """What the parser says in a box, in a line."""
    inside = [line for line in box.splitlines() if not line.startswith(("╭", "╰", "+"))]
    lines = [line.strip("│| ") for line in inside]
    lines = [line for line in lines if line]
    rules = [i for i, line in enumerate(lines) if line[:2] in ("──", "--") and len(set(line)) == 1]
    if rules[:1] == [1]:  # without a box the title stands on a rule
        lines, rules = lines[2:], [i - 2 for i in rules[1:]]
    first = " ".join(lines[: rules[0] if rules else None])
    more = f"; `schmidt {name} --help` explains every flag"
    value = re.search(r"Error parsing (\S+): .*?from (\[.*?\])\.", first)
    if value:
        what = re.search(rf"{value[1]} (\S+)", " ".join(lines[rules[0] :]) if rules else "")
        return f"{value[1]} takes {what[1] if what else 'another value'}, got {value[2]}{more}"
    choice = re.search(r"invalid choice '(.*?)' for argument '(\S+?)'.*?\((.*)\)", first)
    if choice:
        known = sorted({c.strip(" '") for c in choice[3].split(",")} - {"None", ""})
        near = suggestion(choice[1], known)
        return f"{choice[2]} cannot be {choice[1]!r}{near}; one of {', '.join(known)}"
    meant = re.search(r"Perhaps you meant: (--\S+)", " ".join(lines))
    missing = re.match(r"Missing from .*?: (\S+)", first)
    if missing:
        return f"{missing[1]} is missing{more}"
    near = f" – did you mean {meant[1]}?" if meant else ""
    return first.strip() + near + more


def _overview() -> str:
    from schmidt import __version__

    lines = [
        "usage: schmidt COMMAND [--help] …",
        "",
        "The best low-rank approximation of whatever linear thing you have.",
        "",
        *(f"  {name:<10} {about}" for name, (_, _, about) in COMMANDS.items()),
        "",
        f"schmidt COMMAND --help explains every flag. Version {__version__}.",
    ]
    return "\n".join(lines)


def _joined(given: Sequence[str]) -> list[str]:
    """``--potential -x^4`` as ``--potential=-x^4``: the value of a flag, not a flag."""
    out: list[str] = []
    for word in given:
        value = word.startswith("-") and not word.startswith("--")
        if out and out[-1] in MAY_BE_NEGATIVE and value:
            out[-1] += "=" + word
        else:
            out.append(word)
    return out


def _ours(error: Exception) -> bool:
    """Whether the message was written for users: errors of values and files always, others where
    this library raised them."""
    if isinstance(error, RuntimeError):
        return type(error).__module__.split(".")[0] == "schmidt"
    if isinstance(error, TypeError):
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{os.sep}schmidt{os.sep}" in last.filename
    return True


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP like Ctrl-C, unless they are ignored (nohup)."""
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Enduring:
    """Standard output that a reader may leave (``| head -1``): the work goes on to its files; what
    was printed is kept for the report."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._said: list[str] = []

    @property
    def printed(self) -> str:
        """Everything that was written."""
        return "".join(self._said)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._said.append(text)
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._silence()

    def _silence(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)


@contextmanager
def _enduring() -> Iterator[None]:
    stream, sys.stdout = sys.stdout, _Enduring(sys.stdout)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = stream


PLAIN = {
    "−": "-", "–": "-", "±": "+-", "‖": "||", "σ": "sigma", "Σ": "sum ", "≤": "<=", "≥": ">=",
    "→": "->", "·": "*", "×": "x", "λ": "lambda", "ε": "eps", "∇": "grad", "√": "sqrt ", "≈": "~",
    "Δ": "D", "²": "^2", "³": "^3", "₂": "_2",
    "∞": "inf", "⟨": "<", "⟩": ">", "κ": "kappa", "π": "pi", "ℓ": "l", "ψ": "psi",
}  # fmt: skip
"""How characters are written where a terminal has only ASCII."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    near = "".join(PLAIN.get(c) or unicodedata.normalize("NFKD", c) for c in text)
    return near.encode("ascii", "replace").decode(), error.end


codecs.register_error("schmidt.plain", _plainly)


def _readable(stream: Any) -> None:
    """No character ends a command on a terminal that cannot show it."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="schmidt.plain")
