"""Checks of parameters: one table per class or function, one way to check, messages with advice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np


class Allowed:
    """What a parameter may be."""

    none: bool
    advice: str

    def accepts(self, value: Any) -> bool:
        """Whether a value, None aside, is allowed."""
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Allowed):
    """A real number between two ends, or a whole one.

    Attributes:
        low, high: the ends; they belong to the range unless ``open``.
        whole: integers only. True and False are no numbers.
        open: "", "low", "high" or "both": ends that do not belong to the range.
        none: None is allowed.
        advice: what to do instead, appended to the message.
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    open: str = ""
    none: bool = False
    advice: str = ""

    def accepts(self, value: Any) -> bool:
        kind = Integral if self.whole else Real
        if isinstance(value, bool | np.bool_) or not isinstance(value, kind):
            return False
        number: float = int(value) if isinstance(value, Integral) else float(value)
        if not math.isfinite(number):
            return False
        above = number > self.low if self.open in ("low", "both") else number >= self.low
        below = number < self.high if self.open in ("high", "both") else number <= self.high
        return above and below

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        low = "above" if self.open in ("low", "both") else "of at least"
        high = "below" if self.open in ("high", "both") else "of at most"
        if math.isfinite(self.low) and math.isfinite(self.high):
            if not self.open:
                return f"{kind} between {self.low:g} and {self.high:g}"
            return f"{kind} {low} {self.low:g} and {high} {self.high:g}"
        if math.isfinite(self.low):
            return f"{kind} {low} {self.low:g}"
        return f"{kind} {high} {self.high:g}" if math.isfinite(self.high) else f"{kind}, finite"


@dataclass(frozen=True)
class Choice(Allowed):
    """One of a few values. Similar names are suggested in the message."""

    options: tuple[Any, ...]
    none: bool = False
    advice: str = ""

    def __init__(self, *options: Any, none: bool = False, advice: str = "") -> None:
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "none", none)
        object.__setattr__(self, "advice", advice)

    def accepts(self, value: Any) -> bool:
        return any(type(value) is type(option) and value == option for option in self.options)

    def __str__(self) -> str:
        return "one of " + ", ".join(str(option) for option in self.options)


@dataclass(frozen=True)
class Kind(Allowed):
    """An instance of one of the types; ``words`` say what it is."""

    types: tuple[type, ...]
    words: str
    none: bool = False
    advice: str = ""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.types)

    def __str__(self) -> str:
        return self.words


SEED = Number(0, 2**63 - 1, whole=True)
FLAG = Choice(True, False)


def check(table: Mapping[str, Allowed], **given: Any) -> None:
    """Refuse the first parameter that its table does not allow.

    Args:
        table: name → what is allowed. Every name given must be in it.
        given: the parameters by name.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range. Both say the name, what is allowed, what was given, and
            what to do.

    Example:
        >>> check({"rank": Number(1, whole=True, none=True)}, rank=0)
        Traceback (most recent call last):
        ValueError: rank must be a whole number of at least 1 or None, got 0
    """
    for name, value in given.items():
        allowed = table[name]
        if (value is None and allowed.none) or allowed.accepts(value):
            continue
        shown = repr(value) if np.ndim(value) == 0 else f"an array of shape {np.shape(value)}"
        shown = shown if len(shown) <= 80 else shown[:77] + "…"
        message = f"{name} must be {allowed}{' or None' if allowed.none else ''}, got {shown}"
        if isinstance(allowed, Choice) and isinstance(value, str):
            message += suggestion(value, allowed.options)
        wrong_type = isinstance(allowed, Kind) or (
            isinstance(allowed, Number)
            and (isinstance(value, bool | np.bool_) or not isinstance(value, Real))
        )
        raise (TypeError if wrong_type else ValueError)(
            message + (f": {allowed.advice}" if allowed.advice else "")
        )


def suggestion(given: str, options: Any) -> str:
    """`` – did you mean …?`` for the option closest to a misspelt one, or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(given, [str(option) for option in options], n=1, cutoff=0.6)
    return f" – did you mean {near[0]!r}?" if near else ""
