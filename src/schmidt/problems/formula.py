"""Formulas typed by a user, such as ``x**2 + y**2 + x**2*y**2``, as functions of points.

The text is cut into numbers, names and signs, put in order by Python's grammar (:mod:`ast`) and
turned into nested torch functions. Whatever is not on the lists of this file is refused, and no
text ever becomes Python code.
"""

from __future__ import annotations

import ast
import operator
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import e, isfinite, pi
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from schmidt.problems.interval import Interval, IntervalPoints, interval, polynomial

MAX_LENGTH = 2000
MAX_DEPTH = 50

Part = float | Callable[[Tensor], Tensor | float]
"""A piece of a formula: a constant, or a function of points (B, d) → (B,)."""

CONSTANTS = {"pi": pi, "e": e}


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A function of two tensors that also takes a tensor and a number."""

    def pair(a: Any, b: Any) -> Any:
        if isinstance(a, Interval) or isinstance(b, Interval):
            return function(interval(a), interval(b))  # type: ignore[arg-type]
        like = a if isinstance(a, Tensor) else b
        assert isinstance(like, Tensor)
        return function(_like(a, like), _like(b, like))

    return pair


def _like(value: Tensor | float, other: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=other.dtype, device=other.device)


FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    **{f.__name__: (1, f) for f in (torch.sqrt, torch.exp, torch.log, torch.sin, torch.cos)},
    **{f.__name__: (1, f) for f in (torch.tan, torch.sinh, torch.cosh, torch.tanh, torch.abs)},
    "min": (2, _pair(torch.minimum)),
    "max": (2, _pair(torch.maximum)),
}
"""Name → (number of arguments, function)."""

OPERATORS: dict[type[ast.AST], Callable[..., Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}

_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[a-zA-Z_]\w*)"
    r"|(?P<sign>\*\*|[-+*/^(),])",
    re.ASCII,
)
_COORDINATE = re.compile(r"x([1-9]\d{0,8})", re.ASCII)
_MEANT = dict(zip("−–·×÷[{]}", "--**/(())", strict=True))
_MEANT |= {"²": "**2", "³": "**3", "π": "pi", "√": "sqrt(…)", "|": "abs(…)"}


@dataclass(frozen=True)
class Formula:
    """A formula as a function: points (B, dim) → values (B,), in their precision, on their device.

    Values are differentiable in the points, unless the formula is constant. Formulas are equal
    when text and dimension are, and can be pickled. The language is that of :func:`formula`.
    """

    text: str
    dim: int
    _part: Part = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"a formula must be a string, got {type(self.text).__name__}")
        if operator.index(self.dim) < 1:
            raise ValueError(f"the dimension must be positive, got {self.dim}")
        object.__setattr__(self, "_part", _Reader(self.text, self.dim).read())

    def __call__(self, points: Tensor) -> Tensor:
        if points.ndim != 2 or points.shape[1] != self.dim or points.is_complex():
            raise ValueError(
                f"a formula in {self.dim} coordinates expects real points (B, {self.dim}), got "
                f"{tuple(points.shape)} of {points.dtype}"
            )
        if not points.is_floating_point():
            points = points.double()
        return _like(_at(self._part, points), points).expand(len(points)).clone()

    @cached_property
    def _polynomial(self) -> np.ndarray | None:
        """Coefficients, ascending, if this is a polynomial of degree ≤ 60 in one coordinate."""
        with np.errstate(all="ignore"):
            try:
                found = _at(self._part, IntervalPoints(Polynomial([0.0, 1.0])))
            except Exception:
                return None
        known = isinstance(found, Polynomial) and found.degree() <= 60
        return found.coef if known and np.isfinite(found.coef).all() else None

    def enclose(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the formula on intervals of the line, by interval arithmetic: guaranteed.

        Args:
            low, high: (n,) ends, which may be infinite; one coordinate only.

        Returns:
            (n,), (n,): numbers below and above every value; NaN where nothing is known.
        """
        if self.dim != 1:
            raise ValueError(f"intervals of a line, but the formula has {self.dim} coordinates")
        with np.errstate(all="ignore"):
            x = Interval(low, high)
            found: Any
            # Horner's scheme of a polynomial holds at infinity, where x⁴ − x² is ∞ − ∞
            if self._polynomial is not None:
                found = polynomial(self._polynomial, x)
            else:
                found = _at(self._part, IntervalPoints(x))
        if not isinstance(found, Interval):
            found = Interval(float(found), float(found))
        return np.broadcast_to(found.low, low.shape), np.broadcast_to(found.high, low.shape)

    def __reduce__(self) -> tuple[type[Formula], tuple[str, int]]:
        return type(self), (self.text, self.dim)


def formula(text: str, dim: int) -> Formula:
    """Read a formula in ``dim`` coordinates, for instance a potential.

    - Coordinates ``x1``, ``x2``, …; the first three also ``x``, ``y``, ``z``; ``r`` = |x|.
    - Numbers (``2``, ``.5``, ``1e-3``), ``pi`` and ``e``.
    - ``+  -  *  /``, the power ``**`` or ``^``, and parentheses. Powers bind strongest and from
      the right: ``-x^2`` is −(x²), ``2^3^2`` is 2⁹. Products need their ``*``.
    - ``sqrt exp log sin cos tan sinh cosh tanh abs`` of one argument, ``min max`` of two.

    Constant pieces are computed once, in float64. Nothing is checked for being finite: ``1/r`` is
    infinite at the origin.

    Raises:
        ValueError: the text is no such formula; the message says what is wrong and where.
    """
    return Formula(text, dim)


def _at(part: Part, points: Any) -> Any:
    return part if isinstance(part, float) else part(points)


def _apply(function: Callable[..., Tensor], *parts: Part) -> Part:
    """function(parts); constants at once, as tensors, for which 9**9**9 is just infinite."""
    if all(isinstance(part, float) for part in parts):
        values = torch.tensor(parts, dtype=torch.float64, device="cpu")
        return float(function(*values))
    return lambda points: function(*[_at(part, points) for part in parts])


def _chain(first: Part, rest: list[tuple[Callable[..., Tensor], Part]]) -> Part:
    """((first ∘ a) ∘ b) ∘ … in a loop: a sum of many terms is long, not deep."""
    while rest and isinstance(first, float) and isinstance(rest[0][1], float):
        (apply, part), *rest = rest
        first = _apply(apply, first, part)

    def chain(points: Tensor) -> Tensor | float:
        value = _at(first, points)
        for apply, part in rest:
            value = apply(value, _at(part, points))
        return value

    return chain if rest else first


def _variable(name: str, dim: int) -> Part | None:
    """A coordinate or r; None for other names."""
    if name == "r":
        return lambda points: points.norm(dim=1)
    found = _COORDINATE.fullmatch({"x": "x1", "y": "x2", "z": "x3"}.get(name, name))
    if found is None or int(found[1]) > dim:
        return None
    i = int(found[1]) - 1
    return lambda points: points[:, i]


class _Token(NamedTuple):
    kind: str  # number, word, sign, end
    text: str
    at: int


class _Reader:
    """Reads one text, and knows where in it everything stands."""

    def __init__(self, text: str, dim: int) -> None:
        self.text, self.dim = text, dim
        self.origins: list[int] = []

    def read(self) -> Part:
        if len(self.text) > MAX_LENGTH:
            raise ValueError(
                f"a formula has at most {MAX_LENGTH} characters, this one has {len(self.text)}"
            )
        if not self.text.strip():
            raise ValueError("the formula is empty")
        try:
            tree = ast.parse(self._translated(), mode="eval")
        except SyntaxError as error:  # parentheses; the rest is checked in _translated
            raise self._error(error.msg, self._origin((error.offset or 1) - 1)) from None
        except (RecursionError, MemoryError):
            raise self._error(_TOO_DEEP, 0) from None
        return self._build(tree.body, 0)

    def _tokens(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text):
            char, found = self.text[at], _TOKEN.match(self.text, at)
            if found:
                yield _Token(str(found.lastgroup), found.group(), at)
            elif not char.isspace():
                name = "" if char.isascii() else f" ({unicodedata.name(char, 'unnamed')})"
                hint = f"; write {_MEANT[char]}" if char in _MEANT else ""
                raise self._error(f"{char!r}{name} has no meaning in a formula{hint}", at)
            at = found.end() if found else at + 1
        yield _Token("end", "", at)

    def _translated(self) -> str:
        """Python's spelling: only known names, plain floats and signs, a blank between them.

        Fills ``origins``: for every character of it, the place in the text it stands for.
        """
        pieces: list[str] = []
        before = _Token("sign", "", 0)
        for token in self._tokens():
            begins = token.kind in ("number", "word") or token.text == "("
            ended = before.kind in ("number", "word") or before.text == ")"
            here = f"before {_short(token.text)}" if token.text else "here"
            if before.text in FUNCTIONS:
                if token.text != "(":
                    problem = f"{before.text} needs parentheses: {before.text}(…)"
                    raise self._error(problem, before.at)
            elif begins and ended:
                problem = f"an operator is missing {here} (a product needs its *)"
                raise self._error(problem, token.at)
            elif not (begins or ended or token.text in ("+", "-")):
                raise self._error(f"a value is missing {here}", token.at)
            piece = "**" if token.text == "^" else token.text
            if token.kind == "number":
                if not isfinite(float(piece)):
                    raise self._error("a number is too large", token.at)
                piece = repr(float(piece))
            elif token.kind == "word":
                self._check(token)
            pieces.append(piece)
            self.origins += [token.at] * (len(piece) + 1)
            before = token
        return " ".join(pieces)

    def _check(self, word: _Token) -> None:
        name, shown = word.text, _short(word.text)
        if name in FUNCTIONS or self._named(name) is not None:
            return
        numbered = _COORDINATE.fullmatch({"y": "x2", "z": "x3"}.get(name, name))
        if numbered:
            problem = f"{name} needs --dim {numbered[1]} or more, the dimension is {self.dim}"
        elif self.text[word.at + len(name) :].lstrip().startswith("("):
            problem = f"unknown function {shown}; known: {', '.join(FUNCTIONS)}"
        else:
            numbers = (
                [f"x{i + 1}" for i in range(self.dim)] if self.dim <= 3 else [f"x1 … x{self.dim}"]
            )
            known = ", ".join([*"xyz"[: self.dim], *numbers, "r", *CONSTANTS])
            problem = f"unknown name {shown}; known: {known}"
        raise self._error(problem, word.at)

    def _named(self, name: str) -> Part | None:
        return CONSTANTS.get(name) or _variable(name, self.dim)

    def _build(self, node: ast.AST, depth: int) -> Part:
        at = self._origin(getattr(node, "col_offset", 0))
        if depth > MAX_DEPTH:
            raise self._error(_TOO_DEEP, at)
        match node:
            case ast.Constant(value=float(value)):
                return value
            case ast.Name(id=name) if (part := self._named(name)) is not None:
                return part
            case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
                return _apply(OPERATORS[type(op)], self._build(operand, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                count, function = FUNCTIONS[name]
                parts = [self._build(argument, depth + 1) for argument in args]
                if len(parts) != count:
                    problem = f"{name} takes {count} argument{'s' * (count > 1)}, got {len(parts)}"
                    raise self._error(problem, at)
                return _apply(function, *parts)
            case ast.BinOp(op=op) if type(op) in OPERATORS:
                return self._build_chain(node, depth)
            case ast.Tuple():
                raise self._error("a formula is one value, ',' stands only in min and max", at)
        raise self._error(f"{type(node).__name__} has no meaning in a formula", at)

    def _build_chain(self, node: ast.AST, depth: int) -> Part:
        rest: list[tuple[Callable[..., Tensor], Part]] = []
        while isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            rest.append((OPERATORS[type(node.op)], self._build(node.right, depth + 1)))
            node = node.left
        return _chain(self._build(node, depth + 1), rest[::-1])

    def _origin(self, offset: int) -> int:
        return self.origins[min(max(offset, 0), len(self.origins) - 1)]

    def _error(self, problem: str, at: int) -> ValueError:
        where = f"at character {at + 1}" if at < len(self.text) else "at the end"
        return ValueError(f"formula {_short(self.text)} {where}: {problem}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
