"""Checkpoints of a training run: whole or absent, checked, and enough to resume bit for bit.

Each holds the evidence of what the run was – see :mod:`schmidt.identity` – so that a run with
another operator, method, network, optimizer or other data is refused and does not go on in its
place.
"""

from __future__ import annotations

import copy
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from schmidt import identity
from schmidt.operators.form import Form, inner
from schmidt.operators.jet import Derivatives, Jet
from schmidt.operators.methods import Method
from schmidt.operators.step import evaluator
from schmidt.storage import DamagedFileError, read_json, read_tensors, write_json, write_tensors

STATE_FILE = "checkpoint.json"
KIND = "schmidt.checkpoint"
PROBES = 4
PROBE_POINTS = 256
SEED = 20240724
UNKNOWN = (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError, AttributeError)
"""What a foreign form or network may raise on functions and points that are not its own."""


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    extra_shift: float = 0.0


class Stateful(Protocol):
    """A module, an average, a method: anything whose state is tensors by name."""

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> Any: ...


@dataclass(frozen=True)
class Identity:
    """What a run is.

    Attributes:
        exact: settings, shapes and data, as plain numbers and texts.
        operator: ⟨g|Tf⟩ and ⟨g|f⟩ of fixed probe functions at fixed points; None if it cannot be
            had twice alike.
        gradient: surrogate and gradient of the method on a fixed batch, from the state of the
            checkpoint; None before the method has a state, or where it cannot be had.
        described: operator, method, networks in words.
    """

    exact: dict[str, Any]
    operator: dict[str, Any] | None = None
    gradient: dict[str, Any] | None = None
    described: dict[str, Any] = field(default_factory=dict)

    def require_same(self, then: Mapping[str, Any], directory: Path) -> None:
        """Refuse a checkpoint of another run, given its evidence.

        Raises:
            ValueError: what differs, with both values, and both descriptions where they differ.
        """
        lines = identity.differences(then["exact"], self.exact)
        for name, there, here in (
            ("the operator's values at fixed points", then["operator"], self.operator),
            ("the method's gradient on a fixed batch", then["gradient"], self.gradient),
        ):
            if there is not None and here is not None and identity.differences(there, here):
                lines.append(f"{name} are others" if "values" in name else f"{name} is another")
        if not lines:
            return
        words = identity.differences(then["described"], self.described)
        words = [line for line in words if line not in lines]
        # texts and numbers say more than arrays that are others
        told = sorted([*lines, *words], key=lambda line: "other numbers" in line)
        identity.refuse(directory, "run", told, "operator and settings")


def probe(x: Tensor, order: int, outputs: tuple[int, ...]) -> Jet:
    """Jets of fixed functions at points of any kind: sines of fixed projections, of their scale."""
    generator = torch.Generator().manual_seed(SEED)
    if order:
        directions = torch.randn(x.shape[1], PROBES, generator=generator, dtype=torch.float64)
        scale = x.std().clamp_min(1e-12) if len(x) > 1 else 1.0
        phase = Jet.coordinates(x, order).mix(directions.to(x) / scale)
        sine, cosine = phase.value.sin(), phase.value.cos()
        jet = phase.chain(sine, cosine, -sine)
    else:
        flat = x.reshape(len(x), -1).double()
        directions = torch.randn(flat.shape[1], PROBES, generator=generator, dtype=torch.float64)
        scale = flat.std().clamp_min(1e-12) if flat.numel() > 1 else 1.0
        wave = (3 * flat / scale @ directions.to(flat.device) / flat.shape[1] ** 0.5).sin()
        jet = Jet(wave[None], max(x.shape[1] if x.ndim > 1 else 1, 1), 0)
    if not outputs:
        return jet
    size = math.prod(outputs)
    factors = torch.cos(1 + torch.arange(size, dtype=torch.float64)).reshape(outputs)
    shape = (*jet.streams.shape, *[1] * len(outputs))
    return Jet(jet.streams.reshape(shape) * factors.to(jet.streams), jet.dim, jet.order)


def operator_evidence(form: Form, outputs: tuple[int, ...] = ()) -> dict[str, Any] | None:
    """⟨g|Tf⟩ and inner products of fixed functions, g and f different, at fixed points."""

    def once() -> dict[str, Any]:
        sample = form.sample(PROBE_POINTS, torch.Generator().manual_seed(SEED))
        sample = sample.to("cpu", torch.float64)
        order, left_order = form.orders()
        f = probe(sample.x.x, order, outputs)
        g = probe(sample.y.x, left_order, outputs)
        flat = sample.x.x.reshape(len(sample.x), -1).double()
        return {
            "values": _numbers(form.matrix(g, f, sample)),
            "inner": _numbers(inner(f.value, f.value, sample.x.weight)),
            "left": _numbers(inner(g.value, g.value, sample.y.weight)),
            "points": _numbers(torch.stack([flat.mean(), flat.std(), sample.x.weight.sum()])),
        }

    if not form.repeatable:
        return None
    try:
        found, again = _alike(once), _alike(once)
    except UNKNOWN:
        return None
    return None if identity.differences(found, again) else found


def gradient_evidence(
    form: Form,
    networks: Mapping[str, nn.Module],
    method: Method,
    derivatives: Derivatives,
    states: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> dict[str, Any] | None:
    """Surrogate and gradient on a fixed batch, in float64; the arguments stay as they are.

    Args:
        form, networks, method, derivatives: those of the run.
        states: of networks and method, to use instead of theirs.
    """
    if not form.repeatable:
        return None
    kept = {id(t): t for t in method.state_dict().values()} if states is None else {}
    try:
        networks, method = copy.deepcopy((dict(networks), method), kept)
        if states is not None:
            parts: dict[str, Stateful] = {**networks, "method": method}
            for name, part in parts.items():
                part.load_state_dict(states[name])
        if not method.started:
            return None
        for network in networks.values():
            network.double().eval()
        named = {
            f"{side}.{name}": p
            for side, network in networks.items()
            for name, p in network.named_parameters()
            if p.requires_grad
        }
        device = next(iter(named.values())).device

        def once() -> dict[str, Any]:
            generator = torch.Generator().manual_seed(SEED)
            drawn = [form.sample(PROBE_POINTS, generator) for _ in range(2)]
            samples = [s.to(device, torch.float64) for s in drawn]
            evaluate = evaluator(
                form,
                derivatives,
                evd="left" not in networks,
                shared=samples[0].shared,
                graph_of_action=method.graph_of_action,
            )
            first, second = evaluate(networks, samples)
            surrogate = method.surrogate(form, first, second)
            rows = torch.autograd.grad(surrogate, list(named.values()), materialize_grads=True)
            return {
                "surrogate": float(surrogate.detach()),
                "gradient": [x for row in rows for x in _summary(row)],
            }

        found = _alike(once)
        repeated = not identity.differences(found, _alike(once))
    except UNKNOWN:
        return None
    finite = all(math.isfinite(x) for x in (found["surrogate"], *found["gradient"]))
    return found if repeated and finite else None


def _alike(once: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """With torch's global randomness fixed, and afterwards as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return once()


def _summary(row: Tensor) -> list[float]:
    """The size of a gradient, and its projection on a fixed direction."""
    flat = row.detach().double().flatten().cpu()
    direction = torch.cos(1 + torch.arange(len(flat), dtype=torch.float64))
    return [float(flat.norm()), float(flat @ direction)]


def _numbers(values: Tensor) -> list[float]:
    return [float(v) if math.isfinite(v) else 0.0 for v in values.detach().double().flatten()]


def exists(directory: Path) -> bool:
    """Whether a directory holds a checkpoint, whole or damaged."""
    return (directory / STATE_FILE).exists()


def write(
    directory: Path,
    progress: Progress,
    evidence: Identity,
    settings: Mapping[str, Any],
    parts: Mapping[str, Stateful],
    optimizer: Optimizer,
    generator: torch.Generator,
) -> None:
    """Write tensors first, then the json that points to them, then remove older tensors.

    No file that a json points to is ever written again: whenever the process dies, the json that is
    there points to whole tensors.
    """
    tensors: dict[str, Tensor] = {
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["cuda"] = torch.cuda.get_rng_state()
    for name, part in parts.items():
        tensors |= {f"{name}/{k}": v for k, v in part.state_dict().items()}
    scalars: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars[f"{index}/{key}"] = value
    token = uuid.uuid4().hex[:12]
    path = directory / f"checkpoint-{progress.step:08d}-{token}.safetensors"
    write_tensors(path, tensors, {"kind": KIND, "token": token, "step": str(progress.step)})
    state_file = {
        "kind": KIND,
        "tensors": path.name,
        "token": token,
        "step": progress.step,
        "seconds": progress.seconds,
        "settings": identity.plain_settings(settings),
        "optimizer": scalars,
        "history": [{k: _jsonable(v) for k, v in entry.items()} for entry in progress.history],
        "extra_shift": progress.extra_shift,
        "evidence": {
            "exact": evidence.exact,
            "operator": evidence.operator,
            "gradient": evidence.gradient,
            "described": evidence.described,
        },
    }
    write_json(directory / STATE_FILE, state_file)
    remove_orphans(directory, path.name)


def remove_orphans(directory: Path, kept: str) -> None:
    """Tensors that no json points to: those of older checkpoints and of killed writes."""
    for old in directory.glob("checkpoint-*.safetensors"):
        if old.name != kept:
            old.unlink(missing_ok=True)


@dataclass(frozen=True)
class Saved:
    """A checkpoint as read: its progress, its evidence, its tensors, not yet put anywhere."""

    directory: Path
    file: str
    progress: Progress
    evidence: dict[str, Any]
    tensors: dict[str, Tensor]
    scalars: dict[str, Any]

    def state(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part."""
        prefix = f"{name}/"
        return {k[len(prefix) :]: v for k, v in self.tensors.items() if k.startswith(prefix)}

    def restore(
        self, parts: Mapping[str, Stateful], optimizer: Optimizer, generator: torch.Generator
    ) -> Progress:
        """Put everything back, torch's global generator included."""
        for name, part in parts.items():
            part.load_state_dict(self.state(name))
        optimizer_state = optimizer.state_dict()
        optimizer_state["state"] = {}
        for key, value in [*self.state("optimizer").items(), *self.scalars.items()]:
            index, field_name = key.split("/", 1)
            optimizer_state["state"].setdefault(int(index), {})[field_name] = value
        optimizer.load_state_dict(optimizer_state)
        generator.set_state(self.tensors["generator"])
        torch.set_rng_state(self.tensors["torch"])
        if "cuda" in self.tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.tensors["cuda"])
        return self.progress


def read(directory: Path) -> Saved:
    """Read a checkpoint, every checksum compared.

    Raises:
        DamagedFileError: files missing or altered.
    """
    advice = "resume from a copy of the folder, or start anew in another directory"
    file = directory / STATE_FILE
    state = read_json(file)
    try:
        if state["kind"] != KIND:
            raise KeyError("kind")
        path = directory / state["tensors"]
        history = [{k: _number(v) for k, v in entry.items()} for entry in state["history"]]
        progress = Progress(state["step"], state["seconds"], history, state["extra_shift"])
        evidence, scalars, token = state["evidence"], state["optimizer"], state["token"]
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{file} is not a checkpoint of this version: {advice}") from error
    if not path.exists():
        raise DamagedFileError(f"{path}, to which {file.name} points, is missing: {advice}")
    tensors, header = read_tensors(path, KIND)
    if header.get("token") != token:
        raise DamagedFileError(f"{path} is not the file to which {file.name} points: {advice}")
    return Saved(directory, path.name, progress, evidence, tensors, scalars)


def _jsonable(value: Any) -> Any:
    """A value of the history; json has no NaN."""
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    return value


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(v) for v in value]
    return float(value["number"]) if isinstance(value, dict) and "number" in value else value
