"""How many small mistakes the tests notice: mutants of the files that prove things.

``pip install cosmic-ray coverage``, then ``python benchmarks/mutants.py [target …] [--sample 150]
[--seed 0]``; ``--named`` tries the mistakes of ``mutations.NAMED`` instead, each of which a law
must catch. cosmic-ray proposes one operator, number, comparison or branch at a time. Per target the
tests run once under coverage; a mutant is then shown only to the tests that reach its line,
quickest first, in a child forked from a process that has the heavy libraries loaded. It is never
written anywhere: the child imports its text in place of the file's. Limits are processor seconds,
so that a busy machine gives the same answer. Prints the diffs of survivors and a table (aim: below
5 %). Mutants that no test can notice are listed with the reason in ``mutations.EQUIVALENT``; those
of annotations, messages, and of sizes by one (see :func:`_tuned`) are not tried.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import gc
import importlib.abc
import importlib.util
import os
import pickle
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutations import EQUIVALENT, NAMED, TARGETS

ROOT = Path(__file__).parents[1]
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Pow")
ORDER = ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE", "Is", "IsNot", "In", "NotIn")
HEAVY = ("numpy", "scipy.sparse.linalg", "scipy.stats", "torch", "sklearn.base", "pytest")


@dataclass(frozen=True)
class Mutant:
    """A file with one mistake in it."""

    path: str
    line: int
    text: str
    diff: str


@dataclass
class Reach:
    """Which tests run which lines, and how long each takes."""

    lines: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def tests(self, mutant: Mutant, limit: float) -> list[str]:
        """The tests that reach a mutant, quickest first, up to so many seconds; lines that run at
        import, and lines that tools attribute to no test, are everybody's."""
        near = self.lines.get((mutant.path, mutant.line), set())
        known = sorted(near & self.seconds.keys() or self.seconds, key=self.seconds.__getitem__)
        chosen, total = [], 0.0
        for name in known:
            total += self.seconds[name]
            if chosen and total > limit:
                break
            chosen.append(name)
        return chosen


class _Loader(importlib.abc.InspectLoader):
    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    def get_source(self, fullname: str) -> str:
        return self.text

    def is_package(self, fullname: str) -> bool:
        return self.path.name == "__init__.py"

    def get_filename(self, fullname: str) -> str:
        return str(self.path)


class _Finder(importlib.abc.MetaPathFinder):
    """Gives the mutant's text for the file's module."""

    def __init__(self, path: str, text: str) -> None:
        self.file, self.text = ROOT / path, text
        parts = Path(path).with_suffix("").parts[1:]
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        loader = _Loader(self.file, self.text)
        spec = importlib.util.spec_from_file_location(fullname, self.file, loader=loader)  # type: ignore[arg-type]
        return spec


def forked(work: Callable[[], Any], cpu: float) -> Any:
    """What ``work`` returns in a child with so many processor seconds; None if it dies."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.close(read)
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(silent, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 3))
        status = 1
        with contextlib.suppress(BaseException):
            answer = pickle.dumps(work())
            with os.fdopen(write, "wb") as out:
                out.write(answer)
            status = 0
        os._exit(status)
    os.close(write)
    deadline, data = time.monotonic() + 60 + 10 * cpu, b""
    with os.fdopen(read, "rb") as pipe:
        os.set_blocking(pipe.fileno(), False)
        while True:
            with contextlib.suppress(BlockingIOError):
                data += pipe.read() or b""
            if os.waitpid(child, os.WNOHANG)[0]:
                data += pipe.read() or b""
                break
            if time.monotonic() > deadline:  # it sleeps
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.01)
    return pickle.loads(data) if data else None


def _pytest(tests: list[str], *plugins: object) -> int:
    import pytest

    sys.path.insert(0, str(ROOT / "src"))
    options = ["-x", "-p", "no:cacheprovider", "--assert=plain", "--tb=no"]
    return int(pytest.main([*options, *tests], plugins=list(plugins)))


def reach(files: list[str], tests: str) -> Reach:
    """Run the tests of a target once, unmutated."""

    def work() -> tuple[int, Reach]:
        import coverage
        import pytest

        cover = coverage.Coverage(
            data_file=None, include=[str(ROOT / f) for f in files], config_file=False
        )
        found = Reach()

        class Watch:
            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
                cover.switch_context(item.nodeid)
                before = time.process_time()
                try:
                    return (yield)
                finally:
                    found.seconds[item.nodeid] = time.process_time() - before
                    cover.switch_context("")

        cover.start()
        code = _pytest(tests.split(), Watch())
        cover.stop()
        data = cover.get_data()
        for file in files:
            by_line = data.contexts_by_lineno(str(ROOT / file))
            for line, names in by_line.items():
                found.lines[file, line] = set() if "" in names else set(names)
        return code, found

    code, found = forked(work, 900) or (-1, Reach())
    if code:
        raise SystemExit(f"without a mutation {tests} fails already ({code})")
    return found


def noticed(path: str, text: str, tests: list[str], cpu: float) -> bool:
    """Whether any of the tests fails, or does not end, with this text in place of the file."""

    def work() -> int:
        sys.dont_write_bytecode = True
        sys.meta_path.insert(0, _Finder(path, text))
        return _pytest(tests)

    return forked(work, cpu) != 0


class _Plain(ast.NodeTransformer):
    """The program without what says nothing about mathematics: annotations, texts, messages."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        names = node.args
        names.args = [*names.posonlyargs, *names.args, *names.kwonlyargs]
        names.defaults = [d for d in (*names.defaults, *names.kw_defaults) if d is not None]
        names.posonlyargs, names.kwonlyargs, names.kw_defaults = [], [], []  # a star, a stroke
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(0)
        self.generic_visit(node)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return ast.Pass()  # for the type checker


def _plain(text: str) -> str:
    return ast.dump(_Plain().visit(ast.parse(text)))


def proposals(path: str) -> list[tuple[str, int, int]]:
    """(operator, occurrence, line) of everything that cosmic-ray would change."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    tree = list(ast_nodes(get_ast((ROOT / path).read_text())))
    found = []
    for name in sorted(operator_names()):
        kind, *replaced = name.removeprefix("core/").split("_")
        if kind == "ReplaceBinaryOperator" and replaced[1] not in ARITHMETIC:
            continue
        if kind == "ReplaceBinaryOperator" and replaced[0] == "BitOr":
            continue
        if kind == "ReplaceComparisonOperator" and (
            replaced[1] not in ORDER or ("Is" in replaced[1]) != ("Is" in replaced[0])
        ):
            continue
        if kind in ("RemoveDecorator", "VariableReplacer", "VariableInserter"):
            continue
        operator, occurrence = get_operator(name)(), 0
        for node in tree:
            for (line, _), _ in operator.mutation_positions(node):
                found.append((name, occurrence, line))
                occurrence += 1
    return found


def _diff(before: str, after: str, path: str) -> str:
    a, b = before.splitlines(), after.splitlines()
    return "\n".join(difflib.unified_diff(a, b, path, "", n=1, lineterm=""))


def _tuned(before: str, after: str) -> bool:
    """Whether only a whole number of at least 7 has changed, by one: the size of a block, the
    factor before a rounding error, a limit between two ways. No test can know it to the last unit.
    """
    was, now = (re.findall(r"(?<![\w.])\d+(?![\w.])", text) for text in (before, after))
    if re.sub(r"\d+|\s", "", before) != re.sub(r"\d+|\s", "", after) or len(was) != len(now):
        return False
    apart = [(int(a), int(b)) for a, b in zip(was, now, strict=True) if a != b]
    return len(apart) == 1 and apart[0][0] >= 7 and abs(apart[0][1] - apart[0][0]) == 1


def _equivalent(target: str, diff: str) -> bool:
    for old, new, _ in EQUIVALENT.get(target, ()):
        lines = [line.strip() for line in diff.splitlines()]
        if any(line[0:1] == "-" and old in line for line in lines[2:]) and any(
            line[0:1] == "+" and new in line for line in lines[2:]
        ):
            return True
    return False


def mutants(target: str, sample: int, seed: int) -> tuple[list[Mutant], int]:
    """A sample of mutants that change what the program does, and how many more are equivalent."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    files = TARGETS[target][0].split()
    every = [(file, *p) for file in files for p in proposals(file)]
    random.Random(seed).shuffle(every)
    found: list[Mutant] = []
    seen, same = set(), 0
    for file, name, occurrence, line in every:
        before = (ROOT / file).read_text()
        after = mutate_code(before, get_operator(name)(), occurrence)
        if after is None or after in seen:
            continue
        seen.add(after)
        with contextlib.suppress(SyntaxError):
            if _plain(before) == _plain(after):
                continue
            diff = _diff(before, after, file)
            if _tuned(before, after) or _equivalent(target, diff):
                same += 1
                continue
            found.append(Mutant(file, line, after, diff))
        if len(found) == sample:
            break
    return found, same


def attack(target: str, options: argparse.Namespace) -> tuple[int, int, list[str]]:
    """How many mutants were tried, how many were known to be equivalent, diffs of survivors."""
    files, tests = TARGETS[target]
    known = reach(files.split(), tests)
    tried, same = mutants(target, options.sample, options.seed)
    alive = []
    for number, mutant in enumerate(tried):
        chosen = known.tests(mutant, options.limit)
        cpu = 20 + 5 * sum(known.seconds[t] for t in chosen)
        if not noticed(mutant.path, mutant.text, chosen, cpu):
            alive.append(mutant.diff)
            print(f"--- survived {number + 1}/{len(tried)} in {target}\n{mutant.diff}", flush=True)
    print(f"{target}: {len(tried)} mutants, {len(alive)} survive", flush=True)
    return len(tried), same, alive


def named() -> int:
    """Try every mistake by name; the number that nothing caught."""
    missed = 0
    print("| mistake | file | caught by |\n|---|---|---|")
    for name, path, old, new, tests in NAMED:
        text = (ROOT / path).read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{name}: {path} has {old!r} {text.count(old)} times, not once")
        if noticed(path, text, tests.split(), 300) or not noticed(
            path, text.replace(old, new), tests.split(), 300
        ):
            missed += 1
            tests = "NOTHING"
        print(f"| {name} | {path} | {tests} |", flush=True)
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help="all by default")
    parser.add_argument("--named", action="store_true", help="the mistakes that have names")
    parser.add_argument("--sample", type=int, default=150, help="mutants of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds of tests per mutant")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name in HEAVY:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    gc.freeze()
    if options.named:
        raise SystemExit(named())
    rows = [(target, *attack(target, options)) for target in options.targets]
    print("| target | mutants | survive | share | known to be equivalent |\n|---|---|---|---|---|")
    for target, tried, same, alive in rows:
        share = len(alive) / max(tried, 1)
        print(f"| {target} | {tried} | {len(alive)} | {share:.1%} | {same} |")


if __name__ == "__main__":
    main()
