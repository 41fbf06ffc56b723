"""SpIN, spectral inference networks (Pfau et al. 2019), as B.2.1 of Ryu et al. 2024 has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from schmidt.operators.form import Form
from schmidt.operators.methods.average import MovingAverage
from schmidt.operators.methods.batch import Batch
from schmidt.operators.methods.eigen import EigenMethod, fixed_mean
from schmidt.operators.methods.estimates import Estimates, cholesky
from schmidt.operators.methods.memory import available, size
from schmidt.operators.methods.method import DivergedError
from schmidt.operators.methods.separate import Owner, owners


def whitening(gram: Tensor) -> Tensor:
    """W = L⁻ᵀ for Σ = LLᵀ, in float64; NaN if Σ is."""
    found = cholesky(gram)
    if not bool(found.isfinite().all()) and bool(gram.isfinite().all()):
        raise DivergedError(
            "the functions are linearly dependent on these points: their Gram matrix has no "
            "Cholesky factor. Take at least as many points in half a batch as there are modes, "
            "or lower the learning rate"
        )
    return found


def compressed(w: Tensor, pi: Tensor) -> Tensor:
    """Λ = L⁻¹ΠL⁻ᵀ."""
    return w.T @ pi.to(w) @ w


def masked(w: Tensor, pi: Tensor) -> tuple[Tensor, Tensor]:
    """P = L⁻ᵀ diag(L)⁻¹ and Q = A = L⁻ᵀ triu(Λ diag(L)⁻¹) of eq. (12).

    2{−Σ_i P_il T f_i + Σ_i Q_il f_i} = (2/L_ll){−T φ_l + Σ_{i≤l} φ_i⟨φ_i|T φ_l⟩} for φ = f L⁻ᵀ:
    Sanger's rule of functions that are orthonormal. It is minus the gradient of Λ_ll in f_l.
    """
    scale = w.diagonal()  # 1 / L_ll
    return w * scale, w @ (compressed(w, pi) * scale).triu()


class Orthonormal(EigenMethod):
    """Methods that regard φ = f L⁻ᵀ as their functions: orthonormal, ordered, and the same for all
    lower triangular combinations of the outputs f."""

    shift_invariant = True

    def readout(self, gram: Tensor) -> Tensor | None:
        size = gram.diagonal().sqrt()
        found = cholesky(gram / (size[:, None] * size))
        return found / size[:, None] if bool(found.isfinite().all()) else None


class SpIN(Orthonormal):
    """The masked gradient (12) of −tr(Σ⁻¹Π), with moving averages of Σ (13) and of J (14).

    Eq. (12) and the estimator after (14), misprinted in the paper: L⁻ᵀ diag(L)⁻¹, and both terms
    twice. The gradient is unbiased given the averages Σ̄ and J̄, which are those of the steps before.

    J̄_m holds ⟨f_m|∂f_l/∂θ⟩ for every parameter θ of every function l. If each parameter belongs to
    one function that is L × parameters: the memory of L copies of the networks, and L backward
    passes per step. With shared parameters it would be L² × parameters; those are refused.

    Args:
        modes: L.
        decay: β of the averages, over about 1/(1 − β) steps. They lag behind functions that move
            fast: with large steps, or a few thousand of them, take 0.9.
    """

    def __init__(self, modes: int, decay: float = 0.99) -> None:
        self.modes = modes
        self.average = MovingAverage(decay)
        self.parameters: dict[str, Tensor] = {}
        self.owners: dict[str, Owner] = {}
        self.jacobian: dict[str, Tensor] = {}

    @property
    def settings(self) -> dict[str, Any]:
        return {"decay": self.average.decay}

    def prepare(self, form: Form, probe: Batch, parameters: Mapping[str, Tensor]) -> None:
        super().prepare(form, probe, parameters)
        values = probe.g.value
        if values.shape[1] != self.modes:
            raise ValueError(f"SpIN was made for {self.modes} modes, not for {values.shape[1]}")
        _require_memory(self.modes, parameters, values.device)
        self.owners, shared = owners(values, parameters)
        if shared:
            raise ValueError(
                f"SpIN needs parameters of its own for every function, but several share "
                f"{', '.join(shared)}: its average Jacobian (14) would take L² × parameters "
                f"instead of L × parameters. Use disjoint networks"
            )
        self.parameters = dict(parameters)
        self.average.reset()
        self.jacobian = {k: p.new_zeros(self.modes, *p.shape) for k, p in _plain(parameters)}

    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        now = Estimates.mean(Estimates.of(form, first), Estimates.of(form, second))
        started = self.average.steps > 0
        if not started:
            self._remember(now)
        p, a = masked(whitening(self.average.value), now.fixed().pi)
        scalar = now.pull(p.to(now.pi), torch.zeros_like(now.pi))
        for name, parameter in self.parameters.items():
            factors = self.owners[name].spread(a.to(parameter), parameter.ndim)
            direction = (factors * self.jacobian[name]).sum(0) * (2 / self.average.correction)
            scalar = scalar + (direction * parameter).sum()
        if started:
            self._remember(now)
        return scalar

    def _remember(self, now: Estimates) -> None:
        """Eq. (13) and (14)."""
        for mode in range(self.modes):
            rows = torch.autograd.grad(
                now.gram[:, mode].sum(),
                list(self.parameters.values()),
                retain_graph=True,
                materialize_grads=True,
            )
            for name, row in zip(self.parameters, rows, strict=True):
                self.jacobian[name][mode].lerp_(row, 1 - self.average.decay)
        self.average.update(now.gram)

    def values(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """The diagonal of Λ, from Σ̄."""
        w = whitening(self.average.value)
        return compressed(w, fixed_mean(form, first, second).pi).diagonal()

    def state_dict(self) -> dict[str, Tensor]:
        rows = {f"jacobian/{k}": v for k, v in self.jacobian.items()}
        return {**self.average.state_dict(), **rows} if self.average.steps else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        rows = {k: v for k, v in state.items() if k.startswith("jacobian/")}
        for name, row in self.jacobian.items():
            row.copy_(rows[f"jacobian/{name}"]) if rows else row.zero_()
        device = next(iter(self.jacobian.values())).device
        self.average.load_state_dict({k: v for k, v in state.items() if k not in rows}, device)


def _plain(parameters: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    return [(name, p.detach()) for name, p in parameters.items()]


def _require_memory(modes: int, parameters: Mapping[str, Tensor], device: torch.device) -> None:
    needed, free = modes * size(parameters.values()), available(device)
    if free is not None and needed > free:
        count = sum(p.numel() for p in parameters.values())
        raise ValueError(
            f"SpIN keeps an average Jacobian (14) of L × parameters = {modes} × {count} numbers, "
            f"{needed / 2**30:.3g} GiB, but {device} has {free / 2**30:.3g} GiB free. Take fewer "
            "modes or smaller networks, or a method without a Jacobian, like 'sequential'"
        )
