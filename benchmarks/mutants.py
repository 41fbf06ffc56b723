"""How many small mistakes the tests notice: mutants of the files that prove things.

``pip install cosmic-ray``, then ``python benchmarks/mutants.py [name …] [--sample 60] [--seed 0]``.
For every target a copy of the project is mutated, one operator, number or branch at a time, and its
tests are run; a mutant that they do not notice survives. Prints the diffs of survivors and their
share (aim: below 5 %). Targets, with the tests that guard each, are in TARGETS. One mutant costs
one run of those tests, so a sample of 60 takes minutes to an hour.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGETS: dict[str, tuple[str, str]] = {
    "certificate": ("src/schmidt/certificate.py", "tests/test_certificate.py"),
    "factorization": ("src/schmidt/factorization.py", "tests/test_factorization.py"),
    "parameters": ("src/schmidt/parameters.py", "tests/test_parameters.py"),
    "completeness": (
        "src/schmidt/matrices/completeness.py",
        "tests/matrices/test_completeness.py tests/matrices/test_svd.py",
    ),
    "certify": (
        "src/schmidt/matrices/certify.py",
        "tests/matrices/test_rounding.py tests/matrices/test_svd.py tests/test_factorization.py",
    ),
    "spectrum": (
        "src/schmidt/operators/spectrum.py",
        "tests/operators/test_views.py tests/operators/test_fit.py",
    ),
    "nested": ("src/schmidt/operators/methods/nested.py", "tests/operators/test_nested.py"),
    "bounds": (
        "src/schmidt/operators/ritz/certify.py",
        "tests/operators/ritz/test_bounds.py tests/operators/ritz/test_certificate.py",
    ),
    "tangent": ("src/schmidt/adapters/tangent.py", "tests/adapters/test_tangent.py"),
    "soft-impute": (
        "src/schmidt/completion/soft_impute.py",
        "tests/completion/test_soft_impute.py",
    ),
    "storage": ("src/schmidt/storage.py", "tests/test_storage.py tests/test_factorization.py"),
}
# Mutations of annotations and of text say nothing about the mathematics.
WITHOUT = ("core/ReplaceBinaryOperator_BitOr_", "core/AddNot", "core/RemoveDecorator")


def mutate(name: str, sample: int, seed: int, timeout: float) -> tuple[int, list[str]]:
    """How many mutants were tried, and the diffs of those that survived."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    source, tests = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "*cache*", "schmidt-out")
        )
        config, session = copy / "mutants.toml", copy / "mutants.sqlite"
        run = f"env PYTHONPATH=src OMP_NUM_THREADS=1 {sys.executable} -m pytest -x -q {tests}"
        config.write_text(
            f'[cosmic-ray]\nmodule-path = "{source}"\ntimeout = {timeout}\nexcluded-modules = []\n'
            f'test-command = "{run} -p no:cacheprovider"\n'
            '[cosmic-ray.distributor]\nname = "local"\n'
        )
        tool = [sys.executable, "-m", "cosmic_ray.cli"]
        subprocess.run([*tool, "baseline", config.name], cwd=copy, check=True)
        subprocess.run([*tool, "init", config.name, session.name], cwd=copy, check=True)
        with use_db(str(session), WorkDB.Mode.open) as work:
            items = [item for item in work.work_items if not skipped(item, copy / source)]
            kept = {
                item.job_id for item in random.Random(seed).sample(items, min(sample, len(items)))
            }
            for item in list(work.work_items):
                if item.job_id not in kept:
                    work.set_result(item.job_id, WorkResult(WorkerOutcome.SKIPPED))
        subprocess.run([*tool, "exec", config.name, session.name], cwd=copy, check=True)
        with use_db(str(session), WorkDB.Mode.open) as work:
            results = [(j, r) for j, r in work.results if j in kept]
        survived = [r.diff or "" for _, r in results if r.test_outcome == TestOutcome.SURVIVED]
        return len(results), survived


def skipped(item: object, path: Path) -> bool:
    """Annotations, text and decorators."""
    lines = path.read_text().splitlines()
    for mutation in item.mutations:  # type: ignore[attr-defined]
        line = lines[mutation.start_pos[0] - 1].strip()
        if mutation.operator_name.startswith(WITHOUT) or line.startswith(("def ", "@", '"', "f'")):
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(TARGETS), help="targets; all by default")
    parser.add_argument("--sample", type=int, default=60, help="mutants of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one mutant")
    options = parser.parse_args()
    rows = []
    for name in options.names:
        tried, survived = mutate(name, options.sample, options.seed, options.timeout)
        rows.append((name, tried, len(survived)))
        for diff in survived:
            print(f"--- survived in {name}\n{diff}")
    print("| file | mutants | survived | share |\n|---|---|---|---|")
    for name, tried, alive in rows:
        print(f"| {name} | {tried} | {alive} | {alive / max(tried, 1):.0%} |")


if __name__ == "__main__":
    main()
