"""Arrays of every type, shape and layout, beside a plain copy of the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

TYPES = ("f8", ">f8", "f4", ">f4", "f2", "i1", "i2", ">i4", "i8", "u1", "u8", "?", "c8", "c16")
LAYOUTS = (
    "C",
    "F",
    "steps",
    "backwards",
    "read only",
    "unaligned",
    "turned",
    "subclass",
)


class Sub(np.ndarray):
    """What pandas, xarray or units make of arrays."""


def laid_out(A: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers, elsewhere in memory."""
    if layout == "F":
        return np.asfortranarray(A)
    if layout == "steps":
        out = np.zeros((2 * A.shape[0], 3 * A.shape[1]), A.dtype)[::2, ::3]
        out[...] = A
        return out
    if layout == "backwards":
        return A[::-1, ::-1].copy()[::-1, ::-1]
    if layout == "unaligned":
        raw = np.zeros(A.nbytes + 1, np.uint8)
        out = raw[1:].view(A.dtype).reshape(A.shape) if A.size else A
        out[...] = A
        return out
    if layout == "turned":
        return A.T.copy().T
    out = A.copy()
    if layout == "subclass":
        return out.view(Sub)
    out.setflags(write=layout != "read only")
    return out


@st.composite
def arrays(
    draw: Any, rows: tuple[int, int] = (1, 9), columns: tuple[int, int] = (1, 9), real: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """An array, and its numbers in double precision in the plain layout."""
    kinds = [kind for kind in TYPES if not real or kind[0] != "c"]
    kind, layout = draw(st.sampled_from(kinds)), draw(st.sampled_from(LAYOUTS))
    m, n = draw(st.integers(*rows)), draw(st.integers(*columns))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    A = rng.standard_normal((m, n)) * 40
    if "c" in kind:
        A = A + 1j * rng.standard_normal((m, n))
    A = (np.abs(A) if "u" in kind else A > 0 if kind == "?" else A).astype(kind)
    given = laid_out(A, layout)
    return given, np.array(given, complex if "c" in kind else float)
