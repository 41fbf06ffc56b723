"""What a method is: a gradient in function space, and what it needs around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from schmidt.operators.form import Form
from schmidt.operators.methods.batch import Batch


class DivergedError(RuntimeError):
    """Training met NaN or Inf, or functions that had become linearly dependent."""


class Method(ABC):
    """A way to learn: ``surrogate`` for its gradient, ``objective`` for what is minimised.

    The rest are hooks that do nothing unless a method needs them.

    Attributes:
        normalised: the norms of the learned functions mean nothing, so values are read off as
            Rayleigh quotients and ``Spectrum.norm`` is NaN.
        shift_invariant: multiples of the identity in T leave the gradient as it is, so
            ``Training.extra_shift`` has nothing to do and is left out.
        graph_of_action: T f must carry gradients. Forms with second derivatives then keep the graph
            through them, which costs time and memory.
    """

    normalised: bool = False
    shift_invariant: bool = False
    graph_of_action: bool = False

    @abstractmethod
    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """A scalar whose gradient in the parameters is the method's. Its value means nothing.

        Called once per step. The two batches are independent, so that products of one estimate from
        each are unbiased.
        """

    @abstractmethod
    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """An estimate of the objective, detached: log and plot this."""

    def values(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """Estimates (L,) of the values of T, detached, for the log; by norms (D.5) as it stands."""
        f = (first.gram_f + second.gram_f).diagonal() / 2
        g = (first.gram_g + second.gram_g).diagonal() / 2
        return (f * g).sqrt()

    @property
    def ordered(self) -> bool:
        """Whether functions come out one by one and in order, and not only their span."""
        return True

    @property
    def settings(self) -> dict[str, Any]:
        """What made this method, as plain values: part of the result's settings, and checked when a
        run is resumed."""
        return {}

    def prepare(self, form: Form, probe: Batch, parameters: Mapping[str, Tensor]) -> None:
        """Called once before training: make room for a fresh state, refuse what cannot work.

        Args:
            form: T.
            probe: the networks at their start, on a batch like those to come.
            parameters: the trainable ones by name.
        """
        return

    def readout(self, gram: Tensor) -> Tensor | None:
        """The (L, L) combinations of the networks' outputs that are the learned functions.

        Args:
            gram: ⟨f_i|f_l⟩ of the outputs, in float64.

        Returns:
            None if they are the outputs themselves.
        """
        return None

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold for the method to go on bit for bit."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave, after :meth:`prepare`."""
        return
