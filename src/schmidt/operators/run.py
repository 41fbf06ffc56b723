"""One training run, step by step: the state of networks, averages, optimizer and points."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.operators import checkpoint, methods
from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Derivatives, Exact, Jet
from schmidt.operators.measures import Points
from schmidt.operators.methods import Batch, DivergedError, Method
from schmidt.operators.ritz.in_span import rescale, start_networks
from schmidt.operators.spectrum import double, moments, rayleigh_ritz, require_self_adjoint
from schmidt.operators.training import Training


class Run:
    """The state of one training run; arguments as for :func:`schmidt.operators.fit`."""

    def __init__(
        self,
        form: Form,
        right: nn.Module,
        left: nn.Module | None = None,
        method: str | Method = "sequential",
        training: Training | None = None,
        derivatives: Derivatives | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.form = form
        self.training = training = training or Training()
        self.derivatives = derivatives or Exact()
        given = {"right": right} if left is None else {"right": right, "left": left}
        if left is right:
            raise ValueError("left and right are one network: for eigenvalues leave `left` out")
        for network in given.values():
            _refuse_stateful(network, form.order)
        self.dtype = training.dtype_for(right)
        self.networks = {
            k: v.to(torch.device(training.device), self.dtype) for k, v in given.items()
        }
        self.averaged = {
            k: copy.deepcopy(v).requires_grad_(False).eval() for k, v in self.networks.items()
        }
        self.generator = torch.Generator().manual_seed(training.seed)
        self.modes = modes = self._check_networks()
        self.method = methods.method(method, modes) if isinstance(method, str) else method
        named = {
            f"{side}.{name}": p
            for side, network in self.networks.items()
            for name, p in network.named_parameters()
            if p.requires_grad
        }
        # once each: two networks may have a part in common
        self.parameters = list({id(p): p for p in named.values()}.values())
        if not self.parameters:
            raise ValueError("the network has no trainable parameters")
        probe = self._draw(training.batch // 2, torch.Generator().manual_seed(0))
        self.method.prepare(form, self._evaluated([probe])[0], named)
        self.optimizer = training.make_optimizer(self.parameters)
        self.extra_shift = self._needed_shift()
        optimizer = training.optimizer
        self.settings = {
            **asdict(training),
            "optimizer": optimizer if isinstance(optimizer, str) else _name(optimizer),
            "method": method if isinstance(method, str) else type(method).__name__,
            **{f"method_{name}": value for name, value in self.method.settings.items()},
            "modes": modes,
            "device": str(training.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "parameters": sum(p.numel() for p in self.parameters),
            **(settings or {}),
        }

    def _check_networks(self) -> int:
        right, left = self.networks["right"], self.networks.get("left")
        probe = self._draw(64, torch.Generator().manual_seed(0))
        shapes = []
        for name, network, points in (("right", right, probe.x), ("left", left, probe.y)):
            if network is None:
                continue
            with torch.no_grad():
                values = network(points.x)
            if values.ndim not in (2, 3) or len(values) != len(points):
                raise ValueError(
                    f"the {name} network must map {len(points)} points to shape "
                    f"({len(points)}, modes) or ({len(points)}, modes, outputs); "
                    f"it gave {tuple(values.shape)}"
                )
            shapes.append(tuple(values.shape[1:]))
            size = values.abs().transpose(0, 1).flatten(1).max(1).values
            if left is None and not bool((size > 0).all()):
                raise ValueError(
                    f"function {int(size.argmin()) + 1} is identically zero at the start, which is "
                    "a stationary point: initialise the last layer with random numbers"
                )
        if len(set(shapes)) != 1:
            raise ValueError(f"left and right networks disagree: {shapes[1]} and {shapes[0]}")
        if left is None:
            require_self_adjoint(
                self.form,
                right,
                self.derivatives,
                n=self.training.batch // 2,
                dtype=self.dtype,
                device=self.training.device,
            )
        return shapes[0][0]

    def _draw(self, n: int, generator: torch.Generator) -> Sample:
        return self.form.sample(n, generator).to(self.training.device, self.dtype)

    def _needed_shift(self) -> float:
        """The shift that makes T + c positive on the span of the starting functions, and more."""
        given = self.training.extra_shift
        probe = self._draw(self.training.batch // 2, torch.Generator().manual_seed(0))
        if "left" in self.networks or not probe.shared:
            if given:
                raise ValueError(
                    "extra_shift adds a multiple of the identity, which is for eigenvalues of "
                    "forms whose f and g meet at the same points; leave it out here"
                )
            return 0.0
        if self.method.shift_invariant:
            return 0.0
        if given is not None:
            return given
        sample = self.form.sample(2048, torch.Generator().manual_seed(0)).to("cpu", torch.float64)
        start = double(self.networks["right"])
        found = moments(self.form, start, None, sample, self.derivatives)
        if not bool(found.pi.isfinite().all()):
            return 0.0  # the first step will say what is wrong
        values = rayleigh_ritz(found, True, 1e-4)[0]
        # later functions, orthogonal to the earlier ones, fall below the span they started in
        return max(-float(values[-1]), 0.5 * float(values[0]), 0.0)

    def start_from_ritz(self) -> None:
        """Give all functions the Ritz solution of the starting features, and norms √(σ + c)."""
        right, left = self.networks["right"], self.networks.get("left")
        values = start_networks(self.form, right, left, self.modes)
        self.extra_shift = self._needed_shift()
        floor = 1e-3 * float(values.abs().max())
        norms = (values + self.extra_shift).clamp_min(floor).sqrt()
        if self.method.normalised:
            norms = torch.ones_like(norms)
        for name, network in self.networks.items():
            rescale(network, norms.to(self.dtype).to(self.training.device))
            self.averaged[name].load_state_dict(network.state_dict())

    def batches(self) -> tuple[Batch, Batch]:
        """Two independent halves, the networks evaluated on both at once."""
        samples = [self._draw(self.training.batch // 2, self.generator) for _ in range(2)]
        first, second = self._evaluated(samples)
        return first, second

    def _evaluated(self, samples: list[Sample]) -> list[Batch]:
        shared = samples[0].shared
        right, left = self.networks["right"], self.networks.get("left")
        order, left_order = self.form.orders()
        if left is None and shared and self.method.graph_of_action:
            f = self._jets(right, [s.x for s in samples], order)
            g = [jet.lower(left_order) for jet in f]
        elif left is None and shared:
            g = self._jets(right, [s.x for s in samples], left_order)
            f = g
            if order == 2:  # T f enters detached: no graph through its second derivatives
                with torch.no_grad():
                    f = self._jets(right, [s.x for s in samples], order)
        else:
            f = self._jets(right, [s.x for s in samples], order)
            g = self._jets(left or right, [s.y for s in samples], left_order)
        return [Batch(*parts, left is None) for parts in zip(samples, f, g, strict=True)]

    def _jets(self, network: nn.Module, points: list[Points], order: int) -> list[Jet]:
        x = torch.cat([p.x for p in points])
        return self.derivatives(network, x, order).split([len(p) for p in points])

    def step(self, step: int) -> tuple[Form, Batch, Batch]:
        """One step of the optimizer and of the average; returns what it was computed from."""
        rate = self.training.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        shift = self.extra_shift * self.training.annealing(step)
        form = self.form + shift if shift else self.form
        first, second = self.batches()
        try:
            surrogate = self.method.surrogate(form, first, second)
        except DivergedError as error:
            raise DivergedError(f"step {step}: {error}") from None
        self.optimizer.zero_grad(set_to_none=True)
        surrogate.backward()
        limit = self.training.clip if self.training.clip is not None else math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        if not bool(torch.isfinite(norm)):
            raise DivergedError(f"step {step}: {self._cause(first, second)}")
        self.optimizer.step()
        for name, network in self.networks.items():
            average: list[Tensor] = list(self.averaged[name].parameters())
            # a short memory at first, or the initial values would linger in the average
            decay = min(self.training.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [p.detach() for p in network.parameters()], 1 - decay)
            pairs = zip(self.averaged[name].buffers(), network.buffers(), strict=True)
            for mine, current in pairs:
                mine.copy_(current)
        return form, first, second

    def _cause(self, first: Batch, second: Batch) -> str:
        for batch in (first, second):
            for points in (batch.sample.x, batch.sample.y):
                if not bool(points.weight.isfinite().all()):
                    return "sample weights are NaN or Inf; does the proposal density vanish there?"
            if not bool(batch.f.value.isfinite().all()):
                return (
                    "the network's values are NaN or Inf; lower the learning rate, lengthen the "
                    "warm-up, or set clip=1.0"
                )
            if batch.f.value.abs().max() > 1e12:
                return "the functions grew without bound; lower the learning rate or set clip=1.0"
            if not bool(batch.f.streams.isfinite().all()):
                return (
                    "derivatives of the network are NaN or Inf; lower the learning rate, or is it "
                    "not differentiable somewhere?"
                )
            pi = self.form.matrix(batch.g.detach(), batch.f.detach(), batch.sample)
            if not bool(pi.isfinite().all()):
                return "⟨g|Tf⟩ is NaN or Inf: a potential or kernel is not finite at some point"
        return "the gradient is NaN or Inf; lower the learning rate or set clip=1.0"

    def entry(
        self, at: checkpoint.Progress, form: Form, first: Batch, second: Batch
    ) -> dict[str, Any]:
        """What the history keeps of a step."""
        shift = self.extra_shift * self.training.annealing(at.step - 1)
        values = self.method.values(form, first, second).tolist()
        return {
            "step": at.step,
            "seconds": at.seconds,
            "lr": self.training.learning_rate(at.step - 1),
            "shift": shift,
            "objective": float(self.method.objective(form, first, second)),
            "values": [float(f"{v - shift:.6g}") for v in values],
        }

    def save(self, directory: Path, at: checkpoint.Progress) -> None:
        """Write a checkpoint."""
        checkpoint.write(
            directory, at, self.settings, self._parts(), self.optimizer, self.generator
        )

    def load(self, directory: Path) -> checkpoint.Progress:
        """Take everything from a checkpoint, if there is one."""
        if not checkpoint.exists(directory):
            return self.start()
        at = checkpoint.read(
            directory, self.settings, self._parts(), self.optimizer, self.generator
        )
        self.extra_shift = at.extra_shift
        return at

    def start(self) -> checkpoint.Progress:
        """The progress of a run that has not begun."""
        return checkpoint.Progress(extra_shift=self.extra_shift)

    def _parts(self) -> dict[str, checkpoint.Stateful]:
        averaged = {f"averaged_{k}": v for k, v in self.averaged.items()}
        return {**self.networks, **averaged, "method": self.method}


def _refuse_stateful(network: nn.Module, order: int) -> None:
    """Derivatives need functions of one point at a time, the same at every call."""
    kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    found = [type(m).__name__ for m in network.modules() if isinstance(m, kinds)]
    if found and order > 0:
        raise ValueError(
            f"the network contains {found[0]}, but this form needs derivatives: take it out, or "
            "use LayerNorm"
        )


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__qualname__", type(factory).__name__)
