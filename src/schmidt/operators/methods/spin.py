"""SpIN (Pfau et al. 2019) and SpIN-X (Wu et al. 2023), as B.2.1 of Ryu et al. 2024 has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.methods.eigen import (
    EigenMethod,
    Estimates,
    MovingAverage,
    cholesky,
    fixed_mean,
    gram_of,
)
from schmidt.operators.methods.nested import Batch, DivergedError
from schmidt.parameters import Number, check


@dataclass(frozen=True)
class Owner:
    """A parameter belongs to mode ``mode``, or its slice l along ``axis`` to mode l."""

    axis: int | None = None
    mode: int = 0

    def spread(self, matrix: Tensor, dimensions: int) -> Tensor:
        """M_ml as factors of a tensor (m, *parameter), l being the owner of each entry."""
        if self.axis is None:
            return matrix[:, self.mode].reshape(-1, *[1] * dimensions)
        shape = [len(matrix)] + [1] * dimensions
        shape[1 + self.axis] = matrix.shape[1]
        return matrix.reshape(shape)


def owners(values: Tensor, parameters: Mapping[str, Tensor]) -> tuple[dict[str, Owner], list[str]]:
    """The owner of every parameter, and the names of those that several modes share.

    Args:
        values: (B, L, …) of all functions, with their graph. One backward pass per mode.
        parameters: those that the values depend on, by name.
    """
    modes, tensors = values.shape[1], list(parameters.values())
    noise = torch.randn(
        values[:, 0].shape, generator=torch.Generator().manual_seed(0), dtype=values.dtype
    ).to(values.device)
    gradients: dict[str, list[Tensor | None]] = {name: [] for name in parameters}
    for mode in range(modes):
        found = torch.autograd.grad(
            (values[:, mode] * noise).sum(), tensors, retain_graph=True, allow_unused=True
        )
        for name, gradient in zip(parameters, found, strict=True):
            none = gradient is None or not bool(gradient.any())
            gradients[name].append(None if none else gradient)
    owned, shared = {}, []
    for name, parameter in parameters.items():
        owner = _owner(gradients[name], parameter)
        if owner is None:
            shared.append(name)
        else:
            owned[name] = owner
    return owned, shared


def _owner(gradients: list[Tensor | None], parameter: Tensor) -> Owner | None:
    for axis, size in enumerate(parameter.shape):
        if size == len(gradients) and all(
            g is None or _only(g, axis, mode) for mode, g in enumerate(gradients)
        ):
            return Owner(axis=axis)
    touched = [mode for mode, g in enumerate(gradients) if g is not None]
    return Owner(mode=touched[0] if touched else 0) if len(touched) < 2 else None


def _only(gradient: Tensor, axis: int, index: int) -> bool:
    rest = gradient.clone()
    rest.select(axis, index).zero_()
    return not bool(rest.any())


MEMINFO = Path("/proc/meminfo")


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes that tensors take."""
    return sum(t.numel() * t.element_size() for t in tensors)


def available(device: torch.device) -> int | None:
    """Bytes that can be had on a device now; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    if MEMINFO.exists():
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


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
        check({"modes": Number(1, whole=True)}, modes=modes)
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
        average, jacobian = self.average, self.jacobian
        if not average.steps:  # the first step has no averages but its own
            average = average.after(now.gram)
            jacobian = {name: torch.zeros_like(rows) for name, rows in jacobian.items()}
            self._average_jacobian(jacobian, now.gram)
        p, a = masked(whitening(average.value), now.fixed().pi)
        scalar = now.pull(p.to(now.pi), torch.zeros_like(now.pi))
        for name, parameter in self.parameters.items():
            factors = self.owners[name].spread(a.to(parameter), parameter.ndim)
            direction = (factors * jacobian[name]).sum(0) * (2 / average.correction)
            scalar = scalar + (direction * parameter).sum()
        return scalar

    @property
    def started(self) -> bool:
        return self.average.steps > 0

    def update(self, first: Batch, second: Batch) -> None:
        """Eq. (13) and (14)."""
        gram = (gram_of(first) + gram_of(second)) / 2
        self._average_jacobian(self.jacobian, gram)
        self.average.update(gram)

    def _average_jacobian(self, jacobian: dict[str, Tensor], gram: Tensor) -> None:
        for mode in range(self.modes):
            rows = torch.autograd.grad(
                gram[:, mode].sum(),
                list(self.parameters.values()),
                retain_graph=True,
                materialize_grads=True,
            )
            for name, row in zip(self.parameters, rows, strict=True):
                jacobian[name][mode].lerp_(row, 1 - self.average.decay)

    def values(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """The diagonal of Λ, from Σ̄."""
        average = (
            self.average
            if self.average.steps
            else self.average.after((gram_of(first) + gram_of(second)) / 2)
        )
        w = whitening(average.value)
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


@dataclass(frozen=True)
class _Squares:
    """⟨f_i|f_l⟩, ⟨f_i|T f_l⟩, ⟨T f_i|f_l⟩ and ⟨T f_i|T f_l⟩, with the gradient in f_l alone."""

    gram: Tensor
    pi: Tensor
    adjoint: Tensor
    square: Tensor

    @classmethod
    def of(cls, form: Form, own: Batch, other: Batch) -> _Squares:
        value, weight = own.g.value, own.sample.y.weight
        image = form.action(own.f, own.sample)
        again = image.detach()
        if not own.sample.shared:
            # images are themselves estimates: the square takes one from each half
            again = form.action(other.f.detach(), Sample(other.sample.x, own.sample.y))
        return cls(
            inner(value.detach(), value, weight),
            inner(value.detach(), image, weight),
            inner(again, value, weight),
            inner(again, image, weight),
        )

    def fixed(self) -> _Squares:
        return _Squares(*(m.detach() for m in (self.gram, self.pi, self.adjoint, self.square)))


class SpINX(Orthonormal):
    """(1/L){−w_0 Σ a_l Λ_ll + Σ w_l ‖(T − Λ_ll) φ_l‖²} with φ = f L⁻ᵀ, w_l = Σ_k K_k / K_l.

    K_l are the norms of the parameter gradients of the residuals, K_0 that of −Σ (a_l/ā) Λ_ll, ā
    the mean: all terms pull equally hard, but for ā. Gradients are masked as in SpIN: Λ_ll and the
    residual of φ_l act on f_l alone. (In print the residuals are those of the outputs f; these
    would have their minimum at f = 0.) Λ and L⁻¹ come from the other half of the points, so only
    the noise of L⁻¹ makes the gradient biased.

    T must act pointwise: a Schrödinger operator in strong form, a kernel or a matrix. Needs graphs
    through second derivatives, and L + 1 backward passes per step.

    Args:
        a: a_l, one number or one per mode; default 2L. Residuals pull a mode to *whichever*
            eigenfunction is near. With a = 1 they do so as hard as all Λ together pull upwards, and
            the modes come to rest at wrong ones.
    """

    graph_of_action = True

    def __init__(self, a: float | Sequence[float] | None = None) -> None:
        self.a = None if a is None else torch.as_tensor(a, dtype=torch.float64)
        if self.a is not None and not bool((self.a > 0).all()):
            raise ValueError(f"the weights a must be positive, got {a}")
        self.parameters: list[Tensor] = []

    @property
    def settings(self) -> dict[str, Any]:
        return {} if self.a is None else {"a": self.a.tolist()}

    def prepare(self, form: Form, probe: Batch, parameters: Mapping[str, Tensor]) -> None:
        super().prepare(form, probe, parameters)
        self.parameters = list(parameters.values())
        modes = probe.g.value.shape[1]
        given = torch.tensor(2.0 * modes).double() if self.a is None else self.a
        if given.ndim and given.shape != (modes,):
            raise ValueError(f"SpIN-X needs one weight a or {modes} of them, got {len(given)}")
        self.weights = given.expand(modes).to(probe.g.value.device)
        try:
            form.action(probe.f.detach(), probe.sample)
        except (NotImplementedError, ValueError) as error:
            raise ValueError(
                f"SpIN-X needs T f at points: {error}. Take form='strong' of a Schrodinger "
                "operator, or another method"
            ) from None

    def terms(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """(L + 1,) scalars with the gradients of −Σ (a_l/ā) Λ_ll and of the residuals."""
        a, b = Estimates.of(form, first), Estimates.of(form, second)
        p, q = _Squares.of(form, first, second), _Squares.of(form, second, first)
        halves = ((a, p, b.fixed(), q.fixed()), (b, q, a.fixed(), p.fixed()))
        return torch.stack([self._half(*half) for half in halves]).mean(0)

    def _half(self, own: Estimates, mine: _Squares, other: Estimates, theirs: _Squares) -> Tensor:
        w = whitening(other.gram)
        p, q = masked(w, other.pi)
        whitened, a = compressed(w, other.pi), self.weights / self.weights.mean()
        value = whitened.diagonal()
        trace = own.pull((p * a).to(own.pi), (q * a).to(own.pi))
        square = compressed(w, theirs.square)
        # ⟨(T − Λ_l)φ_l | (T − Λ_l)φ_i⟩: what the change of L⁻¹ with f_l takes off
        overlap = ((square + square.T) / 2 - 2 * whitened * value + value.square().diag()).triu()
        w, value, overlap = (t.to(own.pi) for t in (w, value, overlap))
        on_image = (w * (mine.square - value * mine.pi)).sum(0)
        on_value = (w * (mine.adjoint - value * mine.gram)).sum(0)
        change = on_image - value * on_value - (overlap * (w.T @ mine.gram)).sum(0)
        return torch.cat([trace[None], 2 * w.diagonal() * change])

    def surrogate(self, form: Form, first: Batch, second: Batch) -> Tensor:
        terms = self.terms(form, first, second)
        rows = [
            torch.autograd.grad(t, self.parameters, retain_graph=True, materialize_grads=True)
            for t in terms
        ]
        k = torch.stack([torch.stack([g.square().sum() for g in row]).sum() for row in rows]).sqrt()
        weights = k.sum() / k.clamp_min(torch.finfo(k.dtype).tiny) / (len(terms) - 1)
        weights[0] *= self.weights.mean()
        scalar = terms.new_zeros(())
        for row, weight in zip(rows, weights, strict=True):
            for gradient, parameter in zip(row, self.parameters, strict=True):
                scalar = scalar + (weight * gradient * parameter).sum()
        return scalar

    def values(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """The diagonal of Λ."""
        found = fixed_mean(form, first, second)
        return compressed(whitening(found.gram), found.pi).diagonal()

    @torch.no_grad()
    def objective(self, form: Form, first: Batch, second: Batch) -> Tensor:
        """(1/L){−Σ a_l Λ_ll + Σ ‖(T − Λ_ll)φ_l‖²}: that with all w = 1, which the weights, new at
        every step, do not disturb."""
        found = fixed_mean(form, first, second)
        w = whitening(found.gram)
        value = compressed(w, found.pi).diagonal()
        halves = (_Squares.of(form, first, second), _Squares.of(form, second, first))
        square = compressed(w, (halves[0].square + halves[1].square) / 2).diagonal()
        return (square - value.square() - self.weights * value).mean()
