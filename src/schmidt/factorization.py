"""The one result of the library: ordered singular values with their left and right sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor

Side = Any
"""An array of columns (n, k), or a callable on points that returns values (N, k)."""


def fix_signs(columns: Any) -> Any:
    """The unit factors that make each column obey the library's one rule for signs.

    The rule: the first entry whose magnitude is at least half of the column's largest is real and
    positive. ("The largest entry" would let rounding decide between two equal ones.)

    Args:
        columns: (n, k), numpy array or tensor, real or complex.

    Returns:
        (k,) factors of modulus one, of the same kind; multiply *both* sides of a factorization by
        them. A zero column gets the factor 1.
    """
    a = columns.detach().cpu().numpy() if isinstance(columns, Tensor) else np.asarray(columns)
    size = np.abs(a)
    first = np.argmax(size >= 0.5 * size.max(axis=0, keepdims=True), axis=0)
    pivot = a[first, np.arange(a.shape[1])]
    modulus = np.abs(pivot)
    factors = np.where(modulus > 0, np.conj(pivot) / np.where(modulus > 0, modulus, 1), 1.0)
    if isinstance(columns, Tensor):
        return torch.as_tensor(factors).to(columns)
    return factors.astype(a.dtype, copy=False)


def _matching(values: Any, side: Any) -> Any:
    """The values as the kind of array, and in the precision, of a side."""
    if isinstance(side, Tensor):
        return tensor(values).to(side)
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


@dataclass(frozen=True)
class Factorization:
    """T ≈ Σ_l values_l |left_l⟩⟨right_l| with the values in descending order of magnitude.

    Attributes:
        left: (m, k) array of columns, or a callable on points of the codomain.
        values: (k,) singular values, or eigenvalues of a self-adjoint operator.
        right: (n, k) array of columns, or a callable on points of the domain.
        error: what is known about ‖T − approximation‖, or None.
        settings: what made this result (solver, seed, …).

    ``U, s, Vh = factorization`` unpacks arrays in numpy's convention; functions unpack as they are.
    """

    left: Side
    values: Any
    right: Side
    error: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if np.ndim(self.values) != 1:
            raise ValueError(f"values must be a vector, got shape {np.shape(self.values)}")
        for name, side in (("left", self.left), ("right", self.right)):
            if callable(side):
                continue
            if np.ndim(side) != 2:
                size = "(m, k)" if name == "left" else "(n, k)"
                raise ValueError(f"{name} must have shape {size}, got {np.shape(side)}")
            if side.shape[1] != len(self.values):
                raise ValueError(
                    f"{name} has {side.shape[1]} columns for {len(self.values)} values"
                )

    @property
    def rank(self) -> int:
        """The number of terms."""
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        right = self.right
        if not callable(right):
            right = right.conj().T
        return iter((self.left, self.values, right))

    def truncate(self, rank: int) -> Factorization:
        """The first ``rank`` terms: again the best approximation of that rank, at no cost."""
        if not 1 <= rank <= self.rank:
            raise ValueError(f"rank must lie between 1 and {self.rank}, got {rank}")

        def cut(name: str, side: Side) -> Side:
            if not callable(side):
                return side[:, :rank]
            if not hasattr(side, "truncate"):
                raise TypeError(
                    f"{name} cannot be truncated: a {type(side).__name__} has no method truncate"
                )
            return side.truncate(rank)

        left = cut("left", self.left)
        right = left if self.right is self.left else cut("right", self.right)
        return replace(self, left=left, values=self.values[:rank], right=right, error=None)

    def reconstruct(self, left_points: Any = None, right_points: Any = None) -> Any:
        """Σ_l left_l values_l right_l*: the approximating matrix, or kernel k(y, x) on points."""
        left = self.left(left_points) if callable(self.left) else self.left
        right = self.right(right_points) if callable(self.right) else self.right
        return (left * _matching(self.values, left)) @ right.conj().T

    def plot(self, path: str | Path | None = None, exact: Any = None) -> Any:
        """Draw the spectrum; returns the matplotlib figure and writes it to ``path`` if given."""
        from schmidt import plotting

        figure = plotting.spectrum({"value": np.asarray(self.values)}, exact=exact)
        return plotting.finish(figure, path)

    def save(self, path: str | Path) -> Path:
        """Write values, sides and settings to one ``.safetensors`` file, atomically.

        Sides that are functions must be ``nn.Module``s; their parameters are stored, and
        :meth:`load` needs modules of the same shape to put them into.
        """
        from schmidt.storage import plain, write_tensors

        tensors = {"values": tensor(self.values)}
        for name, side in (("left", self.left), ("right", self.right)):
            if name == "right" and self.right is self.left:
                continue
            if isinstance(side, torch.nn.Module):
                tensors |= {f"{name}.{k}": v for k, v in side.state_dict().items()}
            elif callable(side):
                raise TypeError(f"cannot save {name}: a function must be a torch.nn.Module")
            else:
                tensors[name] = tensor(side)
        header = {
            "kind": "schmidt.Factorization",
            "numpy": str(isinstance(self.values, np.ndarray)),
            "same": str(self.right is self.left),
            "settings": json.dumps(dict(self.settings), default=plain),
        }
        return write_tensors(Path(path), tensors, header)

    @classmethod
    def load(
        cls, path: str | Path, left: Side | None = None, right: Side | None = None
    ) -> Factorization:
        """Read what :meth:`save` wrote; pass modules for sides that are functions."""
        from schmidt.storage import read_tensors

        tensors, header = read_tensors(Path(path), "schmidt.Factorization")
        numpy = header["numpy"] == "True"

        def side(name: str, module: Side | None) -> Side:
            if name in tensors:
                return tensors[name].numpy() if numpy else tensors[name]
            if module is None:
                raise ValueError(f"{path} holds functions: pass the module for `{name}`")
            prefix = f"{name}."
            module.load_state_dict(
                {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            )
            return module

        first = side("left", left if left is not None else right)
        second = first if header["same"] == "True" else side("right", right)
        values = tensors["values"].numpy() if numpy else tensors["values"]
        return cls(first, values, second, settings=json.loads(header["settings"]))
