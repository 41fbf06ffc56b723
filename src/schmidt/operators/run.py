"""One training run: made ready, checked, stepped, saved and loaded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schmidt import identity
from schmidt.operators import checkpoint, methods
from schmidt.operators.checkpoint import Identity, Progress
from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Derivatives, Exact, Hutchinson
from schmidt.operators.methods import Batch, Method
from schmidt.operators.ritz.in_span import rescale, start_networks
from schmidt.operators.spectrum import double, overlaps, rayleigh_ritz, require_self_adjoint
from schmidt.operators.step import State, Step, Stepped, compiled, evaluator, with_shift
from schmidt.operators.training import Training
from schmidt.parameters import Kind, check

PARAMETERS = {
    "form": Kind((Form,), "a Form"),
    "right": Kind((nn.Module,), "a network, torch.nn.Module"),
    "left": Kind((nn.Module,), "a network, torch.nn.Module", none=True),
    "method": Kind((str, Method), "the name of a method or a Method"),
    "training": Kind((Training,), "a Training", none=True),
}

NO_SETTING = ("params", "lr", "initial_lr")
"""Of an optimizer's groups: the parameters themselves, and a rate that the schedule sets."""


class Run:
    """The state of one training run; arguments as for :func:`schmidt.operators.fit`.

    Attributes:
        state: networks, averages, method, optimizer: what :attr:`core` changes step by step.
        core: the step.
        generator: of the points.
    """

    def __init__(
        self,
        form: Form,
        right: nn.Module,
        left: nn.Module | None = None,
        *,
        method: str | Method = "sequential",
        training: Training | None = None,
        derivatives: Derivatives | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        check(PARAMETERS, form=form, right=right, left=left, method=method, training=training)
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
        self.modes, self.outputs = self._check_networks()
        chosen = methods.method(method, self.modes) if isinstance(method, str) else method
        named = {
            f"{side}.{name}": p
            for side, network in self.networks.items()
            for name, p in network.named_parameters()
            if p.requires_grad
        }
        # once each: two networks may have a part in common
        parameters: list[Tensor] = list({id(p): p for p in named.values()}.values())
        if not parameters:
            raise ValueError("the network has no trainable parameters")
        probe = self._draw(training.batch // 2, torch.Generator().manual_seed(0))
        evaluate = evaluator(
            form,
            self.derivatives,
            evd=left is None,
            shared=probe.shared,
            graph_of_action=chosen.graph_of_action,
        )
        chosen.prepare(form, evaluate(self.networks, [probe])[0], named)
        optimizer = training.make_optimizer(parameters)
        self.state = State(self.networks, self.averaged, parameters, chosen, optimizer)
        self.core = Step(form, training, evaluate)
        self.extra_shift = self._needed_shift()
        given_settings = dict(settings or {})
        self.settings = {
            **asdict(training),
            "optimizer": _name(training.optimizer),
            "method": method if isinstance(method, str) else type(method).__name__,
            **{f"method_{name}": value for name, value in chosen.settings.items()},
            "modes": self.modes,
            "device": str(training.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "parameters": sum(p.numel() for p in parameters),
            **given_settings,
        }
        self._given = identity.plain_settings(given_settings)
        self._known: Identity | None = None

    @property
    def method(self) -> Method:
        return self.state.method

    @property
    def extra_shift(self) -> float:
        """The multiple of the identity that training starts with."""
        return self.core.extra_shift

    @extra_shift.setter
    def extra_shift(self, value: float) -> None:
        self.core = with_shift(self.core, value)

    def _check_networks(self) -> tuple[int, tuple[int, ...]]:
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
        return shapes[0][0], shapes[0][1:]

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
        found = overlaps(self.form, start, None, sample, self.derivatives)
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

    def draw(self) -> tuple[Sample, Sample]:
        """Two independent halves of a batch."""
        half = self.training.batch // 2
        return self._draw(half, self.generator), self._draw(half, self.generator)

    def batches(self) -> tuple[Batch, Batch]:
        """Two independent halves, the networks evaluated on both at once."""
        first, second = self.core.evaluate(self.networks, self.draw())
        return first, second

    def compile(self) -> None:
        """Compile the step, if the settings say so; the points it is recorded on are others."""
        how = self.training.compiled
        if how is None:
            return
        generator = torch.Generator().manual_seed(0)
        half = self.training.batch // 2
        like = self._draw(half, generator), self._draw(half, generator)
        self.core = compiled(self.core, self.state, like, how)

    def step(self) -> Stepped:
        """One step on fresh points."""
        return self.core(self.state, self.draw())

    def entry(self, at: Progress, outcome: Stepped) -> dict[str, Any]:
        """What the history keeps of a step."""
        shift = self.core.shift(at.step - 1)
        first, second = outcome.batches or self.core.evaluate(self.networks, outcome.samples)
        values = self.method.values(outcome.form, first, second).tolist()
        return {
            "step": at.step,
            "seconds": at.seconds,
            "lr": self.training.learning_rate(at.step - 1),
            "shift": shift,
            "objective": float(self.method.objective(outcome.form, first, second)),
            "values": [float(f"{v - shift:.6g}") for v in values],
        }

    def save(self, directory: Path, at: Progress) -> None:
        """Write a checkpoint."""
        self.core.require_finite(self.state)
        gradient = checkpoint.gradient_evidence(
            self.form, self.networks, self.method, self._probing
        )
        checkpoint.write(
            directory,
            at,
            self._evidence(gradient),
            self.settings,
            self._parts(),
            self.state.optimizer,
            self.generator,
        )

    def load(self, directory: Path) -> Progress:
        """Take everything from a checkpoint.

        Raises:
            DamagedFileError: files missing or altered.
            ValueError: it is that of another run, or of more steps than are asked for.
        """
        saved = checkpoint.read(directory)
        self._evidence(None).require_same(saved.evidence, directory)
        parts = self._parts()
        gradient = checkpoint.gradient_evidence(
            self.form,
            self.networks,
            self.method,
            self._probing,
            {name: saved.state(name) for name in parts},
        )
        self._evidence(gradient).require_same(saved.evidence, directory)
        at = saved.progress
        if at.step > self.training.steps:
            raise ValueError(
                f"the run in {directory} has done {at.step} steps, more than steps="
                f"{self.training.steps}: ask for more, or start in another directory"
            )
        saved.restore(parts, self.state.optimizer, self.generator)
        checkpoint.remove_orphans(directory, saved.file)
        self.state.step = at.step
        self.extra_shift = at.extra_shift
        return at

    def start(self) -> Progress:
        """The progress of a run that has not begun."""
        return Progress(extra_shift=self.extra_shift)

    @property
    def _probing(self) -> Derivatives:
        """Derivatives that draw nothing at random."""
        return Exact() if isinstance(self.derivatives, Hutchinson) else self.derivatives

    def _evidence(self, gradient: dict[str, Any] | None) -> Identity:
        if self._known is None:
            groups = [
                {k: identity.describe(v) for k, v in group.items() if k not in NO_SETTING}
                for group in self.state.optimizer.param_groups
            ]
            shapes = {
                side: {k: list(v.shape) for k, v in network.state_dict().items()}
                for side, network in self.networks.items()
            }
            exact = {
                "training": self.training.compared,
                "dtype": str(self.dtype).removeprefix("torch."),
                "optimizer": {"class": type(self.state.optimizer).__name__, "groups": groups},
                "method": {"class": type(self.method).__name__} | self.method.settings,
                "derivatives": identity.describe(self.derivatives),
                "network": shapes,
                "data": identity.data_of(self.form),
                "settings": self._given,
            }
            self._known = Identity(
                exact=identity.plain_settings(exact),
                operator=checkpoint.operator_evidence(self.form, self.outputs),
                described={
                    "operator": identity.describe(self.form),
                    "method": identity.describe(self.method.settings),
                    "network": identity.describe(self.networks),
                },
            )
        return replace(self._known, gradient=gradient)

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


def _name(factory: str | Callable[..., Any]) -> str:
    return (
        factory
        if isinstance(factory, str)
        else getattr(factory, "__qualname__", type(factory).__name__)
    )
