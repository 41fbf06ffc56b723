"""The results of the library: ordered singular triplets, ordered eigenpairs, with a certificate."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.certificate import Bound, Certificate
from schmidt.parameters import Choice, Number, check

Side = Any
"""An array of columns (n, k), or a callable on points that returns values (N, k)."""
ORDERS = ("descending", "ascending", "magnitude", "given")


@dataclass(frozen=True, repr=False)
class Factorization:
    """T ≈ Σ_l values_l |left_l⟩⟨right_l| with the values in descending order of magnitude.

    By Schmidt's theorem its first k terms are the best approximation of rank k.

    Attributes:
        left: (m, k) array of columns, or a callable on points of the codomain.
        values: (k,) singular values, or eigenvalues of a self-adjoint operator by magnitude.
        right: (n, k) array of columns, or a callable on points of the domain.
        certificate: what is known about ‖T − approximation‖ and every value, or None.
        settings: what made this result (solver, seed, …).

    ``U, s, Vh = factorization`` unpacks arrays in numpy's convention; functions unpack as they are.
    """

    left: Side
    values: Any
    right: Side
    _: KW_ONLY
    certificate: Certificate | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_sides(self.values, left=self.left, right=self.right)

    @property
    def rank(self) -> int:
        """The number of terms."""
        return len(self.values)

    @property
    def error(self) -> Bound | None:
        """What is known about ‖T − approximation‖_F, or None."""
        known = self.certificate
        return known["frobenius"] if known is not None and "frobenius" in known else None

    def __iter__(self) -> Iterator[Any]:
        right = self.right
        if not callable(right):
            right = right.conj().T
        return iter((self.left, self.values, right))

    def truncate(self, rank: int) -> Factorization:
        """The first ``rank`` terms: again the best approximation of that rank, at no cost.

        The certificate comes along: what is cut off is orthogonal to what was left out, up to the
        residuals, which enter the bounds.
        """
        check({"rank": Number(1, self.rank, whole=True)}, rank=rank)
        left = _cut("left", self.left, rank)
        right = left if self.right is self.left else _cut("right", self.right, rank)
        known = self.certificate
        if known is not None and rank < self.rank:
            bounds = _after_truncation(known, _numbers(self.values), rank, _eps(self.values))
            known = known.truncate(rank, bounds, f"rank {rank}", known.met)
        return replace(self, left=left, values=self.values[:rank], right=right, certificate=known)

    def reconstruct(self, left_points: Any = None, right_points: Any = None) -> Any:
        """Σ_l left_l values_l right_l*: the approximating matrix, or kernel k(y, x) on points."""
        left = self.left(left_points) if callable(self.left) else self.left
        right = self.right(right_points) if callable(self.right) else self.right
        return (left * _matching(self.values, left)) @ right.conj().T

    def plot(self, path: str | Path | None = None, exact: Any = None) -> Any:
        """Draw the spectrum; returns the matplotlib figure and writes it to ``path`` if given."""
        from schmidt import plotting

        return plotting.finish(plotting.spectrum_of(self, exact), path)

    def __repr__(self) -> str:
        sides = {"left": self.left, "right": self.right}
        return _text(f"Factorization of rank {self.rank}", self.values, sides, self.certificate)

    def _repr_html_(self) -> str:
        sides = {"left": self.left, "right": self.right}
        return _page(f"Factorization of rank {self.rank}", self.values, sides, self.certificate)

    def save(self, path: str | Path) -> Path:
        """Write values, sides, certificate and settings to one ``.safetensors`` file, atomically.

        Sides that are functions must be ``nn.Module``s; their parameters are stored, and
        :meth:`load` needs modules of the same shape to put them into.
        """
        return _save(self, path, {"left": self.left, "right": self.right}, {})

    @classmethod
    def load(
        cls, path: str | Path, *, left: Side | None = None, right: Side | None = None
    ) -> Factorization:
        """Read what :meth:`save` wrote; pass modules for sides that are functions."""
        modules = {"left": left if left is not None else right, "right": right}
        values, sides, known, header = _load(path, cls.__name__, modules)
        settings = json.loads(header["settings"])
        return cls(sides["left"], values, sides["right"], certificate=known, settings=settings)


@dataclass(frozen=True, repr=False)
class Eigenpairs:
    """T f_l = values_l f_l, in the order of energies, of magnitude, or as asked.

    Attributes:
        values: (k,) eigenvalues, real or complex.
        right: (n, k) array of columns, or a callable on points: the eigenvectors f_l.
        left: the same of the adjoint, where T is not normal and they were found; None where they
            are the right ones (T normal) or unknown.
        certificate: what is known about the values and whether any was missed, or None.
        settings: what made this result.
        order: "descending" (T with the wanted modes on top, T = −H), "ascending" (energies, the
            lowest first), "magnitude" or "given".
    """

    values: Any
    right: Side
    _: KW_ONLY
    left: Side | None = None
    certificate: Certificate | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    order: str = "descending"

    def __post_init__(self) -> None:
        check({"order": Choice(*ORDERS)}, order=self.order)
        sides = {"right": self.right} | ({} if self.left is None else {"left": self.left})
        _check_sides(self.values, **sides)

    @property
    def modes(self) -> int:
        """The number of pairs."""
        return len(self.values)

    @property
    def energies(self) -> Any:
        """Eigenvalues of H: the values, or −values where T = −H was solved."""
        return self.values if self.order == "ascending" else -self.values

    def __iter__(self) -> Iterator[Any]:
        return iter((self.values, self.right))

    def truncate(self, modes: int) -> Eigenpairs:
        """The first pairs, with what the certificate says of them."""
        check({"modes": Number(1, self.modes, whole=True)}, modes=modes)
        known = self.certificate
        if known is not None and modes < self.modes:
            known = known.truncate(modes, {}, f"{modes} modes", known.met)
        return replace(
            self,
            values=self.values[:modes],
            right=_cut("right", self.right, modes),
            left=None if self.left is None else _cut("left", self.left, modes),
            certificate=known,
        )

    def plot(self, path: str | Path | None = None, exact: Any = None) -> Any:
        """Draw the values; returns the matplotlib figure and writes it to ``path`` if given."""
        from schmidt import plotting

        return plotting.finish(plotting.spectrum_of(self, exact), path)

    def __repr__(self) -> str:
        sides = {"right": self.right} | ({} if self.left is None else {"left": self.left})
        return _text(f"Eigenpairs: {self.modes} modes", self.values, sides, self.certificate)

    def _repr_html_(self) -> str:
        sides = {"right": self.right} | ({} if self.left is None else {"left": self.left})
        return _page(f"Eigenpairs: {self.modes} modes", self.values, sides, self.certificate)

    def save(self, path: str | Path) -> Path:
        """Write everything to one ``.safetensors`` file, as :meth:`Factorization.save` does."""
        sides = {"right": self.right} | ({} if self.left is None else {"left": self.left})
        return _save(self, path, sides, {"order": self.order})

    @classmethod
    def load(
        cls, path: str | Path, *, right: Side | None = None, left: Side | None = None
    ) -> Eigenpairs:
        """Read what :meth:`save` wrote; pass modules for sides that are functions."""
        values, sides, known, header = _load(path, cls.__name__, {"right": right, "left": left})
        settings = json.loads(header["settings"])
        return cls(
            values,
            sides["right"],
            left=sides.get("left"),
            certificate=known,
            settings=settings,
            order=header["order"],
        )


def _check_sides(values: Any, **sides: Side) -> None:
    for name, part in {"values": values, **sides}.items():
        if not callable(part) and not hasattr(part, "shape"):
            raise TypeError(
                f"{name} must be an array or a tensor, got {type(part).__name__}: numpy.asarray "
                "makes one"
            )
    if np.ndim(values) != 1:
        raise ValueError(f"values must be a vector, got shape {np.shape(values)}")
    for name, side in sides.items():
        if callable(side):
            continue
        if np.ndim(side) != 2:
            size = "(m, k)" if name == "left" else "(n, k)"
            raise ValueError(f"{name} must have shape {size}, got {np.shape(side)}")
        if side.shape[1] != len(values):
            raise ValueError(f"{name} has {side.shape[1]} columns for {len(values)} values")


def _cut(name: str, side: Side, rank: int) -> Side:
    if not callable(side):
        return side[:, :rank]
    if not hasattr(side, "truncate"):
        raise TypeError(
            f"{name} cannot be truncated: a {type(side).__name__} has no method truncate"
        )
    return side.truncate(rank)


def _after_truncation(known: Certificate, s: np.ndarray, j: int, eps: float) -> dict[str, Bound]:
    """Bounds of T − T_j = (T − T_k) + D with D = Σ_{j<l≤k} s_l |u_l⟩⟨v_l|.

    ⟨T − T_k, D⟩ = Σ s_l (⟨u_l|T v_l⟩ − s_l) is at most Σ s_l r_l with residuals r_l, and T − T_k
    maps the v_l to vectors of length r_l: ‖T − T_j‖₂ ≤ max(‖T − T_k‖₂, s_{j+1}) + 2 √Σ r_l².
    """
    if "residuals" not in known:
        return {}
    r, dropped = np.broadcast_to(known["residuals"].high, s.shape)[j:], np.abs(s[j:])
    energy, crossed = float(np.square(dropped).sum()), 2 * float(dropped @ r)
    out = {}
    if "frobenius" in known:
        old = known["frobenius"]
        slack = crossed + 8 * eps * (energy + (old.high**2 if math.isfinite(old.high) else 0.0))
        low = math.sqrt(max(old.low**2 + energy - slack, 0.0)) if old.low > 0 else 0.0
        low = max(low, math.sqrt(max(energy - slack, 0.0)))
        out["frobenius"] = Bound(low, math.sqrt(old.high**2 + energy + slack), old.failure)
    if "spectral" in known:
        old, top = known["spectral"], float(dropped[0])
        slack = 2 * float(np.linalg.norm(r)) + 8 * eps * top
        high = max(old.high, top) + slack
        out["spectral"] = Bound(min(max(top - slack, 0.0), high), high, old.failure)
    for name in ("norm", "missed"):
        if name in known:
            out[name] = known[name]
    norm = out.get("norm")
    if norm is not None and "frobenius" in out and norm.low > 0:
        lost = (out["frobenius"].high / norm.low) ** 2
        out["energy"] = Bound(max(1 - lost, 0.0), 1.0, out["frobenius"].failure)
    return out


def _numbers(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _eps(values: Any) -> float:
    kind = _numbers(values).dtype
    return float(np.finfo(kind).eps) if kind.kind in "fc" else float(np.finfo(float).eps)


def _matching(values: Any, side: Any) -> Any:
    """The values as the kind of array, and in the precision, of a side."""
    if isinstance(side, Tensor):
        return tensor(values).to(side)
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def _described(side: Side) -> str:
    if callable(side):
        return f"functions ({type(side).__name__})"
    return f"{tuple(side.shape)} {str(side.dtype).removeprefix('torch.')}"


def _text(title: str, values: Any, sides: Mapping[str, Side], known: Certificate | None) -> str:
    """At most ten lines and one of hidden ones."""
    s = _numbers(values)
    highs = None if known is None else np.broadcast_to(known["values"].high, s.shape)
    told = [
        f"≤ {highs[i]:.1e}"
        if v == 0 and highs is not None and 0 < highs[i] < math.inf
        else f"{v:.6g}"
        for i, v in enumerate(s)
    ]
    shown = ", ".join(told[:6]) + (f", … {told[-1]}" if len(s) > 6 else "")
    places = "; ".join(f"{name} {_described(side)}" for name, side in sides.items())
    lines = [title, f"  values: {shown}", f"  {places}"]
    if known is not None:
        told = str(known).splitlines()
        lines += [f"  {line}" for line in (told if len(told) <= 7 else [*told[:6], "…"])]
    return "\n".join(lines)


def _page(title: str, values: Any, sides: Mapping[str, Side], known: Certificate | None) -> str:
    """The same for notebooks, with a sparkline of the values."""
    text = html.escape(_text(title, values, sides, None))
    table = "" if known is None else known._repr_html_()
    return f"<div><pre>{text}</pre>{sparkline(np.abs(_numbers(values)))}{table}</div>"


def sparkline(values: np.ndarray, width: int = 240, height: int = 40) -> str:
    """A small line of the sizes of values, as an SVG element."""
    s = np.asarray(values, dtype=float)
    s = s[np.isfinite(s)][:500]
    if len(s) < 2 or not s.max() > 0:
        return ""
    x = np.linspace(2, width - 2, len(s))
    y = height - 3 - (height - 6) * s / s.max()
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<svg width="{width}" height="{height}" role="img"><polyline points="{points}" '
        'fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _save(
    result: Factorization | Eigenpairs,
    path: str | Path,
    sides: Mapping[str, Side],
    header: Mapping[str, str],
) -> Path:
    from schmidt.storage import plain, write_tensors

    tensors = {"values": tensor(result.values)}
    first = next(iter(sides.values()))
    same = len(sides) == 2 and all(side is first for side in sides.values())
    for name, side in list(sides.items())[: 1 if same else 2]:
        if isinstance(side, torch.nn.Module):
            tensors |= {f"{name}.{k}": v for k, v in side.state_dict().items()}
        elif callable(side):
            raise TypeError(f"cannot save {name}: a function must be a torch.nn.Module")
        else:
            tensors[name] = tensor(side)
    known = result.certificate
    about = {
        "kind": f"schmidt.{type(result).__name__}",
        "numpy": str(isinstance(result.values, np.ndarray)),
        "sides": json.dumps(list(sides)),
        "same": str(same),
        "settings": json.dumps(dict(result.settings), default=plain),
        "certificate": json.dumps(None if known is None else known.as_dict(), default=plain),
    }
    return write_tensors(Path(path), tensors, about | dict(header))


def _load(
    path: str | Path, name: str, modules: Mapping[str, Side | None]
) -> tuple[Any, dict[str, Side], Certificate | None, dict[str, str]]:
    from schmidt.storage import read_tensors

    tensors, header = read_tensors(Path(path), f"schmidt.{name}")
    numpy = header["numpy"] == "True"
    names = json.loads(header["sides"])
    sides: dict[str, Side] = {}
    for side in names[: 1 if header["same"] == "True" else 2]:
        if side in tensors:
            sides[side] = tensors[side].numpy() if numpy else tensors[side]
            continue
        module = modules[side]
        if module is None:
            raise ValueError(f"{path} holds functions: pass the module for `{side}`")
        start = f"{side}."
        state = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
        module.load_state_dict(state)
        sides[side] = module
    if header["same"] == "True":
        sides = dict.fromkeys(names, sides[names[0]])
    values = tensors["values"].numpy() if numpy else tensors["values"]
    known = json.loads(header["certificate"])
    return values, sides, None if known is None else Certificate.from_dict(known), header
