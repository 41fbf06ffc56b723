"""What is known about an answer: bounds, how surely they hold, whether they prove it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import numpy as np

FAILURE = 1e-6
"""The largest probability of being wrong at which something is still called proven."""


@dataclass(frozen=True)
class Bound:
    """low ≤ quantity ≤ high, except with a small probability.

    Attributes:
        low, high: numbers, or arrays (k,) where there is one quantity per mode. Infinite where
            nothing is known.
        failure: the probability that the bound is wrong – for arrays, that any entry is. 0 only
            where nothing random took part and rounding is counted.
    """

    low: Any = -math.inf
    high: Any = math.inf
    failure: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.failure <= 1:
            raise ValueError(f"failure is a probability, got {self.failure}")
        for name in ("low", "high"):
            value = getattr(self, name)
            plain = float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=float)
            object.__setattr__(self, name, plain)
        if not np.all(np.asarray(self.low) <= np.asarray(self.high)):
            raise ValueError(f"a bound needs low ≤ high, got {self.low} and {self.high}")

    @classmethod
    def around(cls, value: Any, radius: Any, failure: float = 0.0) -> Bound:
        """value ± radius."""
        return cls(np.subtract(value, radius), np.add(value, radius), failure)

    @property
    def per_mode(self) -> bool:
        """Whether this bounds one quantity per mode."""
        return np.ndim(self.low) == 1 or np.ndim(self.high) == 1

    @property
    def radius(self) -> Any:
        """Half of the distance between low and high."""
        half = np.subtract(self.high, self.low) / 2
        return half if self.per_mode else float(half)

    def __contains__(self, value: Any) -> bool:
        return bool(np.all((np.asarray(self.low) <= value) & (value <= np.asarray(self.high))))

    def __mul__(self, factor: float) -> Bound:
        """The bound of factor · quantity."""
        ends = np.multiply(self.low, factor), np.multiply(self.high, factor)
        return Bound(*(ends if factor >= 0 else ends[::-1]), self.failure)

    def truncate(self, modes: int) -> Bound:
        """The first modes of a bound per mode; any other bound as it is."""
        low, high = (x[:modes] if np.ndim(x) else x for x in (self.low, self.high))
        return Bound(low, high, self.failure)

    def __str__(self) -> str:
        surely = f" (fails with probability {self.failure:g})" if self.failure else ""
        if self.per_mode:
            return f"{self._each()}{surely}"
        if f"{self.low:.6g}" == f"{self.high:.6g}":
            return f"{self.high:.6g}{surely}"
        if self.low in (-math.inf, 0.0):
            return f"≤ {self.high:.4g}{surely}"
        if self.high == math.inf:
            return f"≥ {self.low:.4g}{surely}"
        return f"[{self.low:.6g}, {self.high:.6g}]{surely}"

    def _each(self) -> str:
        """One line for all modes: the widest of their bounds."""
        low, high = np.atleast_1d(self.low), np.atleast_1d(self.high)
        if np.isfinite(low).all() and np.isfinite(high).all() and not (low == 0).all():
            return f"each to within ± {np.max((high - low) / 2):.2g}"
        if np.isfinite(high).all():
            return f"each ≤ {np.max(high):.4g}"
        return f"each ≥ {np.min(low):.4g}"

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists; what is infinite is None."""
        return {
            "low": _finite(self.low),
            "high": _finite(self.high),
            "failure": self.failure,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Bound:
        """The bound that :meth:`as_dict` described."""
        low, high = (_infinite(plain[name], sign) for name, sign in (("low", -1.0), ("high", 1.0)))
        return cls(low, high, float(plain["failure"]))


@dataclass(frozen=True)
class Certificate:
    """What every result carries: bounds, whether they prove what was asked for, and alarms.

    Attributes:
        bounds: by the name of the bounded quantity. Names with one meaning everywhere:
            ``norm`` ‖T‖_F; ``frobenius`` ‖T − T_k‖_F; ``spectral`` ‖T − T_k‖₂; ``energy``
            Σ_{i≤k} σ_i²/Σ σ_i²; ``mass`` Σ_{i≤k} σ_i/Σ σ_i; ``values`` (k,): each interval holds a
            singular value or a point of the spectrum; ``residuals`` (k,); ``missed``: the amount by
            which a singular value that was missed may exceed the last one kept (matrices).
        met: proven to be what was asked for, with a probability of failure of at most ``allowed``.
            Given as the claim; a claim that rests on more than that is turned down.
        alarms: what looks wrong, in words.
        asked: what was asked for.
        notes: what else there is to say, and what was *not* proven.
        estimates: (k,) likely errors and other numbers that are not proven, by name.
        failure: the probability that any of the bounds is wrong; by default the largest of theirs,
            which is right where they rest on one random event.
        allowed: the probability of failure up to which ``met`` may be said.
    """

    bounds: Mapping[str, Bound] = field(default_factory=dict)
    met: bool = False
    _: KW_ONLY
    alarms: Sequence[str] = ()
    asked: str = ""
    notes: Sequence[str] = ()
    estimates: Mapping[str, Any] = field(default_factory=dict)
    failure: float = 0.0
    allowed: float = FAILURE

    def __post_init__(self) -> None:
        largest = max((b.failure for b in self.bounds.values()), default=0.0)
        put = object.__setattr__
        put(self, "failure", max(self.failure, largest))
        put(self, "met", bool(self.met) and self.failure <= self.allowed)
        put(self, "alarms", tuple(self.alarms))
        put(self, "notes", tuple(self.notes))

    def __getitem__(self, name: str) -> Bound:
        """A bound by name; a name that is not bounded gives a bound that says nothing."""
        return self.bounds.get(name, Bound())

    def __contains__(self, name: str) -> bool:
        return name in self.bounds

    def __str__(self) -> str:
        lines = [f"{self.asked}: " + ("met" if self.met else "not proven")]
        lines += [f"{TITLES.get(name, name)}: {bound}" for name, bound in self.bounds.items()]
        return "\n".join([*lines, *self.notes, *(f"alarm: {text}" for text in self.alarms)])

    def _repr_html_(self) -> str:
        mark = "met" if self.met else "not proven"
        rows = [("asked", f"{html.escape(self.asked) or '–'}: <b>{mark}</b>")]
        rows += [(TITLES.get(k, k), html.escape(str(b))) for k, b in self.bounds.items()]
        rows += [("note", html.escape(text)) for text in self.notes]
        rows += [("alarm", f"<b>{html.escape(text)}</b>") for text in self.alarms]
        cells = "".join(
            f"<tr><th style='text-align:left'>{k}</th><td style='text-align:left'>{v}</td></tr>"
            for k, v in rows
        )
        return f"<table>{cells}</table>"

    def truncate(
        self, modes: int, bounds: Mapping[str, Bound], asked: str, met: bool
    ) -> Certificate:
        """The certificate of the first modes: bounds per mode are cut, the others replaced.

        Args:
            modes: how many are kept.
            bounds: what is known of the shorter approximation as a whole.
            asked: what the shorter one answers.
            met: whether that is still proven.
        """
        kept = {name: b.truncate(modes) for name, b in self.bounds.items() if b.per_mode}
        estimates = {k: v[:modes] if np.ndim(v) else v for k, v in self.estimates.items()}
        return replace(self, bounds=kept | dict(bounds), asked=asked, met=met, estimates=estimates)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers and lists."""
        return {
            "asked": self.asked,
            "met": self.met,
            "bounds": {name: bound.as_dict() for name, bound in self.bounds.items()},
            "alarms": list(self.alarms),
            "notes": list(self.notes),
            "estimates": {k: np.asarray(v).tolist() for k, v in self.estimates.items()},
            "failure": self.failure,
            "allowed": self.allowed,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Certificate:
        """The certificate that :meth:`as_dict` described."""
        return cls(
            bounds={name: Bound.from_dict(b) for name, b in plain["bounds"].items()},
            met=plain["met"],
            alarms=plain["alarms"],
            asked=plain["asked"],
            notes=plain["notes"],
            estimates={
                k: np.asarray(v) if isinstance(v, list) else v
                for k, v in plain["estimates"].items()
            },
            failure=plain["failure"],
            allowed=plain["allowed"],
        )


TITLES = {
    "norm": "‖T‖_F",
    "frobenius": "‖T − T_k‖_F",
    "spectral": "‖T − T_k‖₂",
    "energy": "share of Σσ²",
    "mass": "share of Σσ",
}
"""How bounds are called in print."""


def _finite(value: Any) -> Any:
    if np.ndim(value):
        return [_finite(x) for x in value]
    return float(value) if math.isfinite(value) else None


def _infinite(plain: Any, sign: float) -> Any:
    if isinstance(plain, list):
        return np.array([_infinite(x, sign) for x in plain])
    return sign * math.inf if plain is None else plain
