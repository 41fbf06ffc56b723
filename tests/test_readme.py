"""Every Python block of the README and of the tutorials runs as printed; only training is cut
short."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PYTHON = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
BLOCKS = PYTHON.findall(README.read_text())
TUTORIALS = ("completion", "dependence", "matrices", "search")
TITLES = re.findall(r"## ([^\n]*)\n(?:(?!##).)*?```python", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize(("title", "code"), list(zip(TITLES, BLOCKS, strict=True)))
def test_block_runs(title, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = re.sub(r"steps=\d+", "steps=20", code)
    assert short != code or "Training" not in code
    exec(compile(short, title, "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("page", TUTORIALS)
def test_tutorial_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = PYTHON.findall((ROOT / "docs" / f"{page}.md").read_text())
    space = {"__name__": page}
    for code in blocks:
        exec(compile(re.sub(r"steps=\d+", "steps=20", code), page, "exec"), space)
    assert blocks


def test_the_ten_line_operator_gives_the_known_spectrum():
    """The README's Ornstein–Uhlenbeck generator: 3.5 − k."""
    (code,) = [c for t, c in zip(TITLES, BLOCKS, strict=True) if t == "Your operator in ten lines"]
    space = {"__name__": "readme"}
    exec(compile(code, "README", "exec"), space)
    np.testing.assert_allclose(
        space["result"].factorization.values, [3.5, 2.5, 1.5, 0.5], atol=0.02
    )
    lines = code[code.index("class ") : code.index("network =")].strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= 10
