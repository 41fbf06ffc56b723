"""Formulas typed by a user, such as ``x**2 + y**2 + x**2*y**2``, as functions of points.

The text is cut into numbers, names and signs, put in order by Python's grammar (:mod:`ast`) and
turned into nested torch functions. Whatever is not on the lists of this file is refused, and no
text ever becomes Python code.
"""

from __future__ import annotations

import ast
import keyword
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import e, isfinite, pi
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from schmidt.problems import interval as intervals
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


def _comparison(compare: Callable[[Any, Any], Any], *, swap: bool) -> Callable[..., Tensor]:
    """1 where it holds and 0 elsewhere, in the precision of the points."""

    def holds(a: Any, b: Any) -> Any:
        if isinstance(a, Interval) or isinstance(b, Interval):
            pair = (interval(b), interval(a)) if swap else (interval(a), interval(b))
            return intervals.less(*pair)
        like = a if isinstance(a, Tensor) else b
        return compare(a, b).to(like.dtype)

    return holds


def _heaviside(a: Any) -> Any:
    return (1.0 + torch.sign(a)) / 2.0


def _where(condition: Any, yes: Any, no: Any) -> Any:
    parts = (condition, yes, no)
    if any(isinstance(part, Interval) for part in parts):
        return intervals.where(*(interval(part) for part in parts))
    like = next(part for part in parts if isinstance(part, Tensor))
    condition, yes, no = (_like(part, like) for part in parts)
    return torch.where(condition != 0, yes, no)


FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    **{f.__name__: (1, f) for f in (torch.sqrt, torch.exp, torch.log, torch.sin, torch.cos)},
    **{f.__name__: (1, f) for f in (torch.tan, torch.sinh, torch.cosh, torch.tanh, torch.abs)},
    **{f.__name__: (1, f) for f in (torch.atan, torch.erf, torch.sign)},
    "heaviside": (1, _heaviside),
    "min": (2, _pair(torch.minimum)),
    "max": (2, _pair(torch.maximum)),
    "where": (3, _where),
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

COMPARISONS: dict[type[ast.AST], Callable[..., Tensor]] = {
    ast.Lt: _comparison(operator.lt, swap=False),
    ast.LtE: _comparison(operator.le, swap=False),
    ast.Gt: _comparison(operator.gt, swap=True),
    ast.GtE: _comparison(operator.ge, swap=True),
}

_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[a-zA-Z_]\w*)"
    r"|(?P<sign>\*\*|<=|>=|[-+*/^(),<>])",
    re.ASCII,
)
_NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_COORDINATE = re.compile(r"x([1-9]\d{0,8})", re.ASCII)
_MEANT = dict(zip("−–·×÷[{]}", "--**/(())", strict=True))
_MEANT |= {"≤": "<=", "≥": ">=", "&": "*, a product of comparisons"}
_MEANT |= {"²": "**2", "³": "**3", "π": "pi", "√": "sqrt(…)", "|": "abs(…)"}


@dataclass(frozen=True)
class Formula:
    """A formula as a function: points (B, dim) → values (B,), in their precision, on their device.

    Values are differentiable in the points, unless the formula is constant. Formulas are equal
    when text, dimension and parameters are, and can be pickled. The language is that of
    :func:`formula`.
    """

    text: str
    dim: int
    parameters: tuple[tuple[str, float], ...] = ()
    _part: Part = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"a formula must be a string, got {type(self.text).__name__}")
        if operator.index(self.dim) < 1:
            raise ValueError(f"the dimension must be positive, got {self.dim}")
        object.__setattr__(self, "_part", _Reader(self.text, self.dim, self.parameters).read())

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
        if self.dim != 1:
            return None
        with np.errstate(all="ignore"):
            try:
                found = _at(self._part, IntervalPoints(Polynomial([0.0, 1.0])))
            except Exception:
                return None
        known = isinstance(found, Polynomial) and found.degree() <= 60
        return found.coef if known and np.isfinite(found.coef).all() else None

    def enclose(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the formula on intervals or boxes, by interval arithmetic: guaranteed.

        Args:
            low, high: (n,) ends, which may be infinite; (n, dim) corners of boxes.

        Returns:
            (n,), (n,): numbers below and above every value; NaN where nothing is known.
        """
        low, high = (np.asarray(end, dtype=float) for end in (low, high))
        if low.ndim == 1:
            low, high = low[:, None], high[:, None]
        if low.shape[1] != self.dim or low.shape != high.shape:
            raise ValueError(
                f"boxes of {low.shape[1]} coordinates, but the formula has {self.dim} coordinates"
            )
        with np.errstate(all="ignore"):
            x = [Interval(a, b) for a, b in zip(low.T, high.T, strict=True)]
            found: Any
            # Horner's scheme of a polynomial holds at infinity, where x⁴ − x² is ∞ − ∞
            if self._polynomial is not None:
                found = polynomial(self._polynomial, x[0])
            else:
                found = _at(self._part, IntervalPoints(*x))
        if not isinstance(found, Interval):
            found = Interval(float(found), float(found))
        shape = (len(low),)
        return np.broadcast_to(found.low, shape), np.broadcast_to(found.high, shape)

    def __reduce__(self) -> tuple[type[Formula], tuple[Any, ...]]:
        return type(self), (self.text, self.dim, self.parameters)


def formula(text: str, dim: int, parameters: Mapping[str, float] | None = None) -> Formula:
    """Read a formula in ``dim`` coordinates, for instance a potential.

    - Coordinates ``x1``, ``x2``, …; the first three also ``x``, ``y``, ``z``; ``r`` = |x|.
    - Numbers (``2``, ``.5``, ``1e-3``), ``pi`` and ``e``, and ``parameters`` by their names.
    - ``+  -  *  /``, the power ``**`` or ``^``, and parentheses. Powers bind strongest and from
      the right: ``-x^2`` is −(x²), ``2^3^2`` is 2⁹. Products need their ``*``.
    - ``sqrt exp log sin cos tan sinh cosh tanh abs atan erf sign heaviside`` of one argument,
      ``min max`` of two, ``where(condition, yes, no)``.
    - Comparisons ``< <= > >=``, which are 1 or 0: ``-V0*(abs(x) < 1)`` with ``V0`` a parameter.

    Constant pieces are computed once, in float64. Nothing is checked for being finite: ``1/r`` is
    infinite at the origin.

    Raises:
        ValueError: the text is no such formula; the message says what is wrong and where.
    """
    return Formula(text, dim, tuple((n, float(v)) for n, v in (parameters or {}).items()))


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

    def __init__(self, text: str, dim: int, parameters: Iterable[tuple[str, float]] = ()) -> None:
        self.text, self.dim = text, dim
        self.parameters = dict(parameters)
        self.origins: list[int] = []
        for name, value in self.parameters.items():
            taken = name in FUNCTIONS or name in CONSTANTS or _variable(name, 10**9) is not None
            if not _NAME.fullmatch(name) or keyword.iskeyword(name) or taken:
                raise ValueError(f"{name!r} cannot be the name of a parameter")
            if not isfinite(value):
                raise ValueError(f"the parameter {name} must be a finite number, got {value}")

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
            known = ", ".join([*"xyz"[: self.dim], *numbers, "r", *CONSTANTS, *self.parameters])
            problem = f"unknown name {shown}; known: {known}"
        raise self._error(problem, word.at)

    def _named(self, name: str) -> Part | None:
        if name in self.parameters:
            return self.parameters[name]
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
            case ast.Compare(left=left, ops=ops, comparators=others) if {
                type(op) for op in ops
            } <= set(COMPARISONS):
                parts = [self._build(part, depth + 1) for part in (left, *others)]
                found = [
                    _apply(COMPARISONS[type(op)], a, b)
                    for op, a, b in zip(ops, parts[:-1], parts[1:], strict=True)
                ]
                return _chain(found[0], [(operator.mul, part) for part in found[1:]])
            case ast.Tuple():
                raise self._error(
                    "a formula is one value, ',' stands only in min, max and where", at
                )
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
