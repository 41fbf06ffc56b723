"""Every Python block of the README runs as printed; only training is cut short."""

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
TITLES = re.findall(r"## ([^\n]*)\n(?:(?!##).)*?```python", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize(("title", "code"), list(zip(TITLES, BLOCKS, strict=True)))
def test_block_runs(title, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = re.sub(r"steps=\d+", "steps=20", code)
    assert short != code or "Training" not in code
    exec(compile(short, title, "exec"), {"__name__": "readme"})


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
