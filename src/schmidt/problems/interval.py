"""Interval arithmetic for formulas: bounds of a function on whole intervals, rounded outwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.special import erf

SLACK = 8 * np.finfo(float).eps
"""Relative rounding of an elementary function, generously."""


class Interval:
    """Arrays of intervals [low, high]; operations contain every value of the function.

    Understands +, −, ·, /, powers and the functions that formulas know, also when these are called
    as functions of torch.
    """

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)

    @property
    def unknown(self) -> np.ndarray:
        """Where an end is NaN."""
        return np.isnan(self.low) | np.isnan(self.high)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Interval:
        known = FUNCTIONS.get(function)
        if known is None:
            return NotImplemented
        return known(*(interval(a) for a in args))

    def __add__(self, other: Any) -> Interval:
        o = interval(other)
        return _out(self.low + o.low, self.high + o.high)

    __radd__ = __add__

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __pos__(self) -> Interval:
        return self

    def __sub__(self, other: Any) -> Interval:
        return self + (-interval(other))

    def __rsub__(self, other: Any) -> Interval:
        return interval(other) + (-self)

    def __mul__(self, other: Any) -> Interval:
        o = interval(other)
        ends = [a * b for a in (self.low, self.high) for b in (o.low, o.high)]
        # 0 · ∞ is 0: the infinite end stands for numbers as large as you like
        p = np.stack(np.broadcast_arrays(*ends))
        p = np.where(np.isnan(p), 0.0, p)
        unknown = self.unknown | o.unknown
        return _out(np.where(unknown, np.nan, p.min(0)), np.where(unknown, np.nan, p.max(0)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Interval:
        o = interval(other)
        crosses = ((o.low <= 0) & (o.high >= 0)) | o.unknown
        low = np.where(crosses, -np.inf, 1 / np.where(o.high == 0, np.nan, o.high))
        high = np.where(crosses, np.inf, 1 / np.where(o.low == 0, np.nan, o.low))
        # one-sided: 1/[0, b] is [1/b, ∞]
        low = np.where(crosses & (o.low == 0) & (o.high > 0), 1 / np.maximum(o.high, 1e-320), low)
        high = np.where(crosses & (o.high == 0) & (o.low < 0), 1 / np.minimum(o.low, -1e-320), high)
        return self * _out(low, high)

    def __rtruediv__(self, other: Any) -> Interval:
        return interval(other) / self

    def __pow__(self, other: Any) -> Interval:
        e = interval(other)
        if e.low.ndim == 0 and e.low == e.high:
            return self._power(float(e.low))
        return exp(e * log(self))

    def __rpow__(self, other: Any) -> Interval:
        return interval(other) ** self

    def _power(self, n: float) -> Interval:
        if n < 0:
            return 1.0 / self._power(-n)
        if n != int(n):  # NaN below zero
            base = np.where(self.low < 0, np.nan, self.low)
            return _out(base**n, np.where(self.high < 0, np.nan, self.high) ** n)
        a, b = self.low**n, self.high**n
        if int(n) % 2:
            return _out(a, b)
        crosses = (self.low < 0) & (self.high > 0)
        return _out(np.where(crosses, 0.0, np.minimum(a, b)), np.maximum(a, b))


def interval(value: Any) -> Interval:
    """An interval, or a number as one."""
    return value if isinstance(value, Interval) else Interval(float(value), float(value))


def _out(low: Any, high: Any, slack: float = SLACK) -> Interval:
    """Rounded outwards."""
    low, high = np.asarray(low), np.asarray(high)
    down = np.where(np.isfinite(low), slack * np.abs(low) + 1e-320, 0.0)
    up = np.where(np.isfinite(high), slack * np.abs(high) + 1e-320, 0.0)
    return Interval(low - down, high + up)


def _rising(function: Callable[[Any], Any]) -> Callable[[Interval], Interval]:
    return lambda a: _out(function(a.low), function(a.high))


exp, log = _rising(np.exp), _rising(np.log)


def absolute(a: Interval) -> Interval:
    crosses = (a.low < 0) & (a.high > 0)
    ends = np.abs(a.low), np.abs(a.high)
    return Interval(np.where(crosses, 0.0, np.minimum(*ends)), np.maximum(*ends))


def cos(a: Interval) -> Interval:
    """Exactly 1 or −1 where an extremum lies within; all of [−1, 1] where arguments are huge."""
    wide = 1e-9 + 1e-12 * np.maximum(np.abs(a.low), np.abs(a.high))  # rounding of the argument
    low, high = a.low - wide, a.high + wide
    known = (np.maximum(np.abs(low), np.abs(high)) < 1e9) & (high - low < 2 * math.pi)
    low, high = np.where(known, low, 0.0), np.where(known, high, 0.0)
    ends = np.stack(np.broadcast_arrays(np.cos(low), np.cos(high)))
    turn = 2 * math.pi
    top = np.floor(high / turn) >= np.ceil(low / turn)
    bottom = np.floor((high - math.pi) / turn) >= np.ceil((low - math.pi) / turn)
    least = np.where(bottom | ~known, -1.0, ends.min(0) - SLACK)
    most = np.where(top | ~known, 1.0, ends.max(0) + SLACK)
    return Interval(least, most)


def less(a: Interval, b: Interval) -> Interval:
    """1 where a < b or a ≤ b, 0 where a > b or a ≥ b; [0, 1] where that is open."""
    return Interval(np.where(a.high < b.low, 1.0, 0.0), np.where(a.low > b.high, 0.0, 1.0))


def where(condition: Interval, yes: Interval, no: Interval) -> Interval:
    """The first where the condition is not 0, the second where it is, both where that is open."""
    true = (condition.low > 0) | (condition.high < 0)
    false = (condition.low == 0) & (condition.high == 0)
    low, high = np.minimum(yes.low, no.low), np.maximum(yes.high, no.high)
    low, high = np.where(true, yes.low, low), np.where(true, yes.high, high)
    return Interval(np.where(false, no.low, low), np.where(false, no.high, high))


def _tan(a: Interval) -> Interval:
    pole = np.floor(a.high / math.pi - 0.5) >= np.floor(a.low / math.pi - 0.5) + 1
    pole |= ~(np.maximum(np.abs(a.low), np.abs(a.high)) < 1e9)
    found = _out(np.tan(a.low), np.tan(a.high), 1e-9)
    return Interval(np.where(pole, -np.inf, found.low), np.where(pole, np.inf, found.high))


def _minimum(a: Interval, b: Interval) -> Interval:
    return Interval(np.minimum(a.low, b.low), np.minimum(a.high, b.high))


def _maximum(a: Interval, b: Interval) -> Interval:
    return Interval(np.maximum(a.low, b.low), np.maximum(a.high, b.high))


def _cosh(a: Interval) -> Interval:
    size = absolute(a)
    return _out(np.cosh(size.low), np.cosh(size.high))


FUNCTIONS: dict[Any, Callable[..., Interval]] = {
    torch.sqrt: _rising(np.sqrt),
    torch.exp: exp,
    torch.log: log,
    torch.sin: lambda a: cos(a - math.pi / 2),
    torch.cos: cos,
    torch.tan: _tan,
    torch.sinh: _rising(np.sinh),
    torch.cosh: _cosh,
    torch.tanh: _rising(np.tanh),
    torch.abs: absolute,
    torch.atan: _rising(np.arctan),
    torch.erf: _rising(erf),
    torch.sign: lambda a: Interval(np.sign(a.low), np.sign(a.high)),
    torch.minimum: _minimum,
    torch.maximum: _maximum,
}
"""The functions of formulas. NaN at an end stands for "nothing is known"."""


def polynomial(coefficients: np.ndarray, x: Interval) -> Interval:
    """Σ c_k x^k by Horner's scheme; coefficients are taken as rounded."""
    exact = [_out(c, c, 64 * SLACK) if c else Interval(0.0, 0.0) for c in coefficients]
    out = exact[-1]
    for c in exact[-2::-1]:
        out = out * x + c
    return out


class IntervalPoints:
    """Points as formulas see them: an interval per coordinate, or whatever stands for one."""

    def __init__(self, *x: Any) -> None:
        self.x = x

    def __getitem__(self, key: Any) -> Any:
        return self.x[key[1]]

    def norm(self, dim: int = 1) -> Interval:
        if len(self.x) == 1:
            return absolute(self.x[0])
        total = self.x[0] ** 2
        for x in self.x[1:]:
            total = total + x**2
        return FUNCTIONS[torch.sqrt](Interval(np.maximum(total.low, 0), total.high))
