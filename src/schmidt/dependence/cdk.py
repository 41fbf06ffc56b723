"""The canonical dependence kernel, learned by networks: ordered co-embeddings of two domains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from schmidt.dependence.build import blank, prepare
from schmidt.dependence.embedding import Embedding
from schmidt.dependence.estimator import CoEmbedding
from schmidt.dependence.finish import POLISHES, finish
from schmidt.dependence.laws import law, require_modes
from schmidt.dependence.objective import PairedLowRank
from schmidt.operators.dependence import Dependence
from schmidt.operators.fit import fit
from schmidt.operators.training import OPTIMIZERS, Training

Networks = tuple[nn.Module, nn.Module]


class CDK(CoEmbedding):
    """Learn f and g with p(x, y)/(p(x)p(y)) ≈ 1 + f(x)ᵀg(y), mode by mode in order (sec. 4.2).

    Args:
        modes: L.
        network: "mlp": a perceptron per domain, or one for both (``share``); "disjoint": one
            small perceptron per mode and domain; or two modules (f, g), (B, …) → (B, L), of your
            own, on which ``hidden``, ``activation``, ``share``, ``inputs``, ``components`` and
            ``skip`` have no effect. Modules are copied, not trained in place.
        hidden: widths of the hidden layers.
        activation: "gelu", "relu", "silu" or "tanh".
        share: False: a network per domain. True: one network for both, with centres of their own;
            it makes the kernel symmetric, and for domains of one kind with few classes it is what
            helps most. "flag": one network that is told the domain.
        inputs: "whiten": principal components of the items, whitened with damping; "standard":
            centre and scale; "none".
        components: principal components kept at most.
        damping: added to the variances in whitening, relative to their mean.
        skip: let the readout see the inputs, and begin at the closed-form linear solution.
        cap: μ, largest norm of f(x) and g(y) over all modes (E.2); None for none.
        nesting: "joint", "sequential", "none"; default joint, for "disjoint" sequential.
        estimator: "distinct", "halves" or "biased", see
            :class:`~schmidt.dependence.PairedLowRank`.
        prior: of the classes: "empirical" or "uniform".
        polish: what to do after training. None: modes as learned, each centred, the two sides given
            equal norms. "span": the closed-form solution in the span of the learned modes, which
            puts them in exact order. "ritz": that in the span of all hidden units, with a ridge
            judged on parts left out; better on held-out data wherever it was measured, and without
            a cap. "auto": "ritz" for at most 2048 known hidden units, else "span".
        steps, batch: steps of training, pairs per step.
        optimizer, lr, weight_decay, warmup: "adamw", or one of ``Training``'s; cosine schedule.
        ema: decay of the average of the parameters, which is what is kept.
        seed: of the start and of the pairs.
        device: e.g. "cuda".
        checkpoint, resume: a directory, and whether to go on from what it holds.
        progress: show a bar where standard error is a terminal.

    Attributes:
        history_: one entry per logged step.
        steps_, seconds_, interrupted_: what was done. Ctrl-C keeps what there is.

    Deterministic on one machine for a fixed seed and number of threads.
    """

    def __init__(
        self,
        modes: int = 64,
        *,
        network: str | Networks = "mlp",
        hidden: Sequence[int] = (1024,),
        activation: str = "gelu",
        share: bool | str = False,
        inputs: str = "whiten",
        components: int = 256,
        damping: float = 0.1,
        skip: bool = True,
        cap: float | None = 16.0,
        nesting: str | None = None,
        estimator: str = "distinct",
        prior: str = "empirical",
        polish: str | None = "auto",
        steps: int = 1600,
        batch: int = 512,
        optimizer: str | Callable[..., Optimizer] = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        warmup: int = 50,
        ema: float = 0.99,
        seed: int = 0,
        device: str = "cpu",
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> None:
        self.modes = modes
        self.network = network
        self.hidden = hidden
        self.activation = activation
        self.share = share
        self.inputs = inputs
        self.components = components
        self.damping = damping
        self.skip = skip
        self.cap = cap
        self.nesting = nesting
        self.estimator = estimator
        self.prior = prior
        self.polish = polish
        self.steps = steps
        self.batch = batch
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.ema = ema
        self.seed = seed
        self.device = device
        self.checkpoint = checkpoint
        self.resume = resume
        self.progress = progress

    def fit(self, X: Any, Y: Any = None, sample_weight: Any = None) -> Self:
        """Fit pairs ``fit(X, Y)``, items with classes ``fit((X, cx), (Y, cy))``, or a loader.

        Args:
            X, Y: arrays (n, …) of n pairs; or (X, cx) and (Y, cy), items with their classes, of
                which every two of one class are a pair; or X alone: an iterable of batches (x, y)
                or (x, y, weight), such as a ``DataLoader``, or a sampler as in ``operators.pairs``.
            sample_weight: (n,) masses of given pairs.

        Raises:
            ValueError: NaN, different lengths, fewer than two classes in common, more modes than
                the data can have.
            DivergedError: training met NaN or Inf.
        """
        if self.modes < 1:
            raise ValueError(f"modes must be at least 1, got {self.modes}")
        if self.polish not in POLISHES:
            raise ValueError(f"polish must be one of {POLISHES}, got {self.polish!r}")
        pairs = law(X, Y, sample_weight, self.prior)
        require_modes(pairs, self.modes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            begin = prepare(self, pairs)
            result = fit(
                Dependence(begin.pairs),
                begin.right,
                begin.left,
                method=PairedLowRank.of(self._nesting(), self.modes, self.estimator),
                training=self._training(),
                settings=self._summary(),
                checkpoint=self.checkpoint,
                resume=self.resume,
                progress=self.progress,
            )
            right, left = result.right, result.left
            assert left is not None
            if self.share and isinstance(self.network, str):
                left.trunk = right.trunk  # one again: averages are of each side
            self.right_, self.left_, self.singular_values_ = finish(
                begin.pairs,
                right,
                left,
                self.polish,
                modes=self.modes,
                tied=self.share is True,
                seed=self.seed,
            )
        for tower, inputs in zip((right, left), begin.maps, strict=False):
            tower.inputs = inputs.to(self.device)
        self.history_, self.steps_ = result.history, result.steps
        self.seconds_, self.interrupted_ = result.seconds, result.interrupted
        return self

    @classmethod
    def load(cls, path: str | Path, network: Networks | None = None) -> Self:
        """Read what ``save`` wrote; embeddings are the same to the last bit.

        Args:
            network: modules of the same shape, if the networks were your own.
        """
        tensors, header = cls._read(path)
        settings = {**header["settings"], "hidden": tuple(header["settings"]["hidden"])}
        own = not isinstance(settings["network"], str)
        if own and network is None:
            raise ValueError(f"{path} holds networks of your own: pass modules like them")
        out = cls(**{**settings, "network": network if own else settings["network"]})
        right, left = blank(out, tensors)
        units = header["units"] == "True"
        sides = [
            Embedding(module, tensors[f"{n}.mean"], tensors[f"{n}.mix"], units=units)
            for n, module in (("right", right), ("left", left))
        ]
        return out._restore(tensors, *sides)

    def _nesting(self) -> str:
        if self.nesting is not None:
            return self.nesting
        return "sequential" if self.network == "disjoint" else "joint"

    def _training(self) -> Training:
        name, decay = self.optimizer, self.weight_decay
        if isinstance(name, str) and name not in ("adamw", *OPTIMIZERS):
            known = ", ".join(("adamw", *OPTIMIZERS))
            raise ValueError(f"unknown optimizer {name!r}; known: {known}")

        def adamw(parameters: Iterable[Tensor], lr: float) -> Optimizer:
            return AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=decay)

        return Training(
            steps=self.steps,
            batch=self.batch,
            optimizer=adamw if name == "adamw" else name,
            lr=self.lr,
            warmup=self.warmup,
            ema=self.ema,
            seed=self.seed,
            device=self.device,
        )

    def _settings(self) -> dict[str, Any]:
        settings = self.get_params(deep=False)
        if not isinstance(self.network, str):
            settings["network"] = None
        for name in ("optimizer", "checkpoint"):
            value = settings[name]
            settings[name] = value if value is None or isinstance(value, str) else str(value)
        return settings

    def _summary(self) -> dict[str, Any]:
        """Settings that a resumed run must share."""
        settings = self._settings()
        for name in ("checkpoint", "resume", "progress", "polish", "device"):
            settings.pop(name)
        network = settings.pop("network")
        settings["hidden"] = list(self.hidden)
        return {f"cdk_{k}": v for k, v in {**settings, "network": network or "own"}.items()}
