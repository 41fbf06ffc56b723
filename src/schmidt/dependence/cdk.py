"""The canonical dependence kernel, learned by networks: ordered co-embeddings of two domains."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from schmidt.dependence.canonical import RIDGES, canonical_path
from schmidt.dependence.closing import MANY_UNITS, Closing, Found, Stages
from schmidt.dependence.coembedding import CoEmbedding, Embedding
from schmidt.dependence.inputs import KINDS, ScaledRows, scales
from schmidt.dependence.judging import Candidate
from schmidt.dependence.laws import Part, deal, law, require_modes, why_undivided
from schmidt.dependence.linear import FOLDS, blank_linear, fit_linear, rows_of, validating
from schmidt.dependence.moments import moments
from schmidt.dependence.networks import ACTIVATIONS, Prepared, blank, mapped, prepare
from schmidt.dependence.objective import ESTIMATORS, PairedLowRank
from schmidt.operators.dependence import Dependence
from schmidt.operators.fit import Fit, fit
from schmidt.operators.pairs import ClassPairs, GivenPairs, PairSampler
from schmidt.operators.training import OPTIMIZERS, Training
from schmidt.parameters import FLAG, SEED, Choice, Number, check
from schmidt.storage import exclusive

Networks = tuple[nn.Module, nn.Module]
POLISHES = ("auto", "ritz", "span", None)
MOST_UNITS = 2048
"""For polish="auto": beyond, the closed form takes longer than training."""
LINEAR_COLUMNS = 1024
"""Items of more numbers are not offered to the linear solution that networks must beat."""
PARAMETERS = {
    "modes": Number(1, whole=True),
    "activation": Choice(*ACTIVATIONS),
    "share": Choice(False, True, "flag"),
    "inputs": Choice(*KINDS),
    "components": Number(1, whole=True),
    "damping": Number(0),
    "scale": FLAG,
    "skip": FLAG,
    "cap": Number(0, open="low", none=True),
    "nesting": Choice("joint", "sequential", "none", none=True),
    "estimator": Choice(*ESTIMATORS),
    "polish": Choice(*POLISHES[:3], none=True),
    "held_out": Number(0, 0.9, none=True),
    "steps": Number(1, whole=True, none=True),
    "batch": Number(4, whole=True, none=True, advice="two halves of at least 2 pairs"),
    "lr": Number(0, open="low"),
    "weight_decay": Number(0),
    "warmup": Number(0, whole=True),
    "ema": Number(0, 1, open="high"),
    "seed": SEED,
    "resume": FLAG,
    "checkpoint_seconds": Number(0),
    "progress": FLAG,
}


class CDK(CoEmbedding):
    """Learn f and g with p(x, y)/(p(x)p(y)) ≈ 1 + f(x)ᵀg(y), mode by mode in order (sec. 4.2).

    Args:
        modes: L.
        network: "mlp": a perceptron per domain, or one for both (``share``); "disjoint": one
            small perceptron per mode and domain; or two modules (f, g), (B, …) → (B, L), of your
            own, on which ``hidden``, ``activation``, ``share``, ``inputs``, ``components`` and
            ``skip`` have no effect. Modules are copied, not trained in place.
        hidden: widths of the hidden layers; None: two, of a width by the number of pairs
            (n/48, a power of 2 from 16 to 512).
        activation: "gelu", "relu", "silu" or "tanh".
        share: False: a network per domain. True: one network for both, with centres of their own;
            it makes the kernel symmetric, and for domains of one kind with few classes it is what
            helps most. "flag": one network that is told the domain.
        inputs: "whiten": principal components of the items, whitened with damping; "standard":
            centre and scale; "none".
        components: principal components kept at most.
        damping: added to the variances in whitening, relative to their mean.
        scale: divide each column by its standard deviation first, so that units do not matter.
            False: for columns of one kind, of which small ones are noise, such as pixels. Inputs
            "none" are never scaled, "standard" ones always.
        skip: let the readout see the inputs, and begin at the closed-form linear solution.
        cap: μ, largest norm of f(x) and g(y) over all modes (E.2); None for none.
        nesting: "joint", "sequential", "none"; default joint, for "disjoint" sequential.
        estimator: "distinct", "halves" or "biased", see
            :class:`~schmidt.dependence.PairedLowRank`.
        prior: of the classes: "empirical" or "uniform".
        polish: what to do after training. None: modes as learned, each centred, the two sides given
            equal norms. "span": the closed-form solution in the span of the learned modes, which
            puts them in exact order. "ritz": that in the span of all hidden units, with a ridge
            judged on rows held out; without a cap. "auto": "ritz" for at most 2048 known hidden
            units, else "span".
        held_out: the share of the rows, or of the classes, that take no part in training. They
            choose how much training is kept, the ridge of the polish, a factor that shrinks all
            modes, and whether the linear solution is as good, which is then the answer; each part
            of them judges what the others chose. None: between 0.2 and 0.35 by their number.
            0: train on everything and judge nothing, which the certificate says.
        steps, batch: steps of training, pairs per step. None: 8√n steps between 100 and 1600, and
            at most 512 pairs.
        optimizer, lr, weight_decay, warmup: "adamw", or one of ``Training``'s; cosine schedule.
        ema: decay of the average of the parameters, which is what is kept.
        seed: of the start and of the pairs.
        device: e.g. "cuda".
        checkpoint, resume: a directory, held for this run alone, and whether to go on from what it
            holds: to the same bits, and only the same run. ``checkpoint_seconds`` between two.
        progress: show a bar where standard error is a terminal.

    Attributes:
        singular_values_: (L,) correlations of the modes on parts of the held-out rows, of what the
            other parts chose; descending.
        singular_values_train_: (L,) correlations of the modes on the data they were fitted to.
        chosen_: "linear", or how many steps of training were kept.
        ridge_: of the closed form; None without one.
        history_: one entry per logged step.
        steps_, seconds_, interrupted_: what was done. Ctrl-C keeps what there is.

    Deterministic on one machine for a fixed seed and number of threads.
    """

    def __init__(
        self,
        modes: int = 64,
        *,
        network: str | Networks = "mlp",
        hidden: Sequence[int] | None = None,
        activation: str = "gelu",
        share: bool | str = False,
        inputs: str = "whiten",
        components: int = 256,
        damping: float = 0.1,
        scale: bool = True,
        skip: bool = True,
        cap: float | None = 16.0,
        nesting: str | None = None,
        estimator: str = "distinct",
        prior: str = "empirical",
        polish: str | None = "auto",
        held_out: float | None = None,
        steps: int | None = None,
        batch: int | None = None,
        optimizer: str | Callable[..., Optimizer] = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        warmup: int = 50,
        ema: float = 0.99,
        seed: int = 0,
        device: str = "cpu",
        checkpoint: str | Path | None = None,
        resume: bool = False,
        checkpoint_seconds: float = 60.0,
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
        self.scale = scale
        self.skip = skip
        self.cap = cap
        self.nesting = nesting
        self.estimator = estimator
        self.prior = prior
        self.polish = polish
        self.held_out = held_out
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
        self.checkpoint_seconds = checkpoint_seconds
        self.progress = progress

    def fit(
        self,
        X: Any,
        Y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        validation: tuple[Any, Any] | None = None,
        weights: str = "auto",
    ) -> Self:
        """Fit pairs ``fit(X, Y)``, items with classes ``fit((X, cx), (Y, cy))``, or a loader.

        Args:
            X, Y: arrays (n, …) of n pairs; or (X, cx) and (Y, cy), items with their classes, of
                which every two of one class are a pair; or X alone: an iterable of batches (x, y)
                or (x, y, weight), such as a ``DataLoader``, or a sampler as in ``operators.pairs``.
            sample_weight: (n,) masses of given pairs.
            groups: (n,) labels of pairs that belong together, none of which may judge another; or
                "series" for rows in time. Copies are kept together by themselves.
            validation: pairs (X, Y), or items with classes, that take no part in training, instead
                of a share of the data; loaders and samplers need them to be judged.
            weights: what the weights are. "counts": how often a pair was seen, whole numbers.
                "sample": of a weighted sample, which is worth (Σw)²/Σw² rows. "law": the law is
                known exactly; nothing is held out, and the values are its own. "auto": whole
                numbers are counts, others a law if rows are cells – each (x, y) once, at most n/2
                different x and y –, else of a sample.

        Raises:
            ValueError: NaN, different lengths, fewer than two classes in common, more modes than
                the data can have.
            DivergedError: training met NaN or Inf.
        """
        self._check()
        pairs = law(X, Y, sample_weight, self.prior, weights)
        require_modes(pairs, self.modes)
        if validation is not None:
            train, parts = pairs, validating(validation, self.prior, self.seed)
        else:
            train, parts = self._split(pairs, groups)
        settings = self._sized(train)
        alone = nullcontext() if self.checkpoint is None else exclusive(self.checkpoint)
        with alone, torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            begin = prepare(settings, train)
            stages = Stages(begin, settings.steps, self.checkpoint, self.resume)
            result = fit(
                Dependence(begin.pairs),
                begin.right,
                begin.left,
                method=PairedLowRank.of(self._nesting(), self.modes, self.estimator),
                training=self._training(settings),
                settings=self._summary(settings),
                checkpoint=self.checkpoint,
                resume=self.resume,
                monitor=stages,
                monitor_every=stages.every,
                progress=self.progress,
            )
            found = self._finish(pairs, train, parts, begin, result, stages, groups, validation)
        self.right_, self.left_ = found.right, found.left
        self.singular_values_, self.singular_values_train_ = found.values, found.train
        self.certificate_, self.ratios_ = found.certificate, found.ratios
        self.chosen_, self.ridge_ = found.chosen, found.ridge
        self.hidden_ = list(settings.hidden)
        self._remember_names(X, Y)
        self.history_, self.steps_ = result.history, result.steps
        self.seconds_, self.interrupted_ = result.seconds, result.interrupted
        return self

    def _check(self) -> None:
        parameters = self.get_params(deep=False)
        check(PARAMETERS, **{name: parameters[name] for name in PARAMETERS})
        if isinstance(self.network, str):
            check({"network": Choice("mlp", "disjoint")}, network=self.network)
        if self.hidden is not None:
            widths = [self.hidden] if isinstance(self.hidden, int) else list(self.hidden)
            for width in widths or [0]:
                check({"hidden": Number(1, whole=True, advice="widths, as in (64,)")}, hidden=width)
        if isinstance(self.optimizer, str):
            check({"optimizer": Choice("adamw", *OPTIMIZERS)}, optimizer=self.optimizer)
        if self.resume and self.checkpoint is None:
            raise ValueError("resume needs the directory of the checkpoint: CDK(checkpoint=…)")
        if str(self.device).startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {self.device!r} needs CUDA, which this torch does not find")

    def _split(self, pairs: PairSampler, groups: Any) -> tuple[PairSampler, list[Part]]:
        """What trains, and the parts of what judges."""
        if self.held_out == 0:
            return pairs, []
        share = self.held_out
        if share is None:
            share = float(np.clip(400 / (_size(pairs) or 400), 0.2, 0.35))
        dealt = deal(pairs, [1 - share, *[share / FOLDS] * FOLDS], self.seed, groups)
        # one part would judge what it has itself chosen
        return (dealt[0][0], dealt[1:]) if len(dealt) > 2 else (pairs, [])

    def _sized(self, train: PairSampler) -> Any:
        """These settings with sizes by the number of items, where none were given."""
        n = _size(train, items=True) or 2**20
        width = int(np.clip(2 ** round(np.log2(max(n / 48, 1))), 16, 512))
        out: Any = copy.copy(self)
        out.hidden = self.hidden if self.hidden is not None else (width, width)
        out.hidden = (out.hidden,) if isinstance(out.hidden, int) else tuple(out.hidden)
        out.steps = self.steps if self.steps is not None else int(np.clip(8 * n**0.5, 100, 1600))
        out.batch = self.batch if self.batch is not None else int(np.clip(n // 2 * 2, 4, 512))
        return out

    def _finish(
        self,
        pairs: PairSampler,
        train: PairSampler,
        parts: list[Part],
        begin: Prepared,
        result: Fit,
        stages: Stages,
        groups: Any,
        validation: Any,
    ) -> Found:
        right, left = result.right, result.left
        assert left is not None
        if self.share and isinstance(self.network, str):
            left.trunk = right.trunk  # one again: averages are of each side
        polish = self.polish
        if polish == "auto":
            units = getattr(right, "units", MOST_UNITS + 1), getattr(left, "units", 0)
            polish = "ritz" if max(units) <= MOST_UNITS else "span"
        if polish == "ritz" and not (hasattr(right, "features") and hasattr(left, "features")):
            raise ValueError(
                "polish='ritz' needs hidden units, which networks of your own do not show"
            )
        closing = Closing(right, left, polish, self.modes, tied=self.share is True)
        inside = [(_inside(part, begin), mass) for part, mass in parts]
        if not parts:
            found = closing.unjudged(begin.pairs, self.seed, why_undivided(pairs), self.held_out)
        else:
            offered = [] if _wide(pairs) else [self._linear(train, parts)]
            best = closing.judged(begin.pairs, inside, stages.states(result), offered)
            if best is None:
                linear = fit_linear(
                    pairs,
                    modes=self.modes,
                    ridge=None,
                    tied=self.share is True,
                    scale=self.scale,
                    seed=self.seed,
                    groups=groups,
                    judges=None if validation is None else parts,
                    pad=True,
                    precision=torch.float32,
                )
                said = (linear.values, linear.train, linear.certificate, linear.ratios)
                return Found(linear.right, linear.left, *said, "linear", linear.ridge)
            found = best
        for tower, inputs in zip((right, left), begin.maps, strict=False):
            tower.inputs = inputs.to(self.device)
        return found

    @classmethod
    def load(cls, path: str | Path, network: Networks | None = None) -> Self:
        """Read what ``save`` wrote; embeddings are the same to the last bit.

        Args:
            network: modules of the same shape, if the networks were your own.
        """
        tensors, header = cls._read(path)
        settings = dict(header["settings"])
        if settings["hidden"] is not None:
            settings["hidden"] = tuple(settings["hidden"])
        own = not isinstance(settings["network"], str)
        linear = header["fitted"]["chosen_"] == "linear"
        if own and network is None:
            raise ValueError(f"{path} holds networks of your own: pass modules like them")
        out = cls(**{**settings, "network": network if own else settings["network"]})
        if linear:
            return out._restore(tensors, header, *blank_linear(tensors, torch.float32))
        sized = copy.copy(out)
        sized.hidden = tuple(header["fitted"]["hidden_"])
        right, left = blank(sized, tensors)
        units = header["units"] == "True"
        sides = [
            Embedding(module, tensors[f"{n}.mean"], tensors[f"{n}.mix"], units=units)
            for n, module in (("right", right), ("left", left))
        ]
        return out._restore(tensors, header, *sides)

    def _linear(self, train: PairSampler, parts: list[Part]) -> Candidate:
        """The linear solution that networks must beat."""
        tied = self.share is True
        rows = [ScaledRows(s) for s in scales(train, scale=self.scale, shared=tied)]
        m = moments(train, *rows)
        ridges = RIDGES[::2] if len(m.mean_f) > MANY_UNITS else RIDGES
        solutions = canonical_path(m, ridges, modes=self.modes, tied=tied)
        tests = [moments(p, *rows) for p, _ in parts]
        return Candidate("linear", m, tests, solutions, rows_of(parts))

    def _nesting(self) -> str:
        if self.nesting is not None:
            return self.nesting
        return "sequential" if self.network == "disjoint" else "joint"

    def _training(self, sized: Any) -> Training:
        name, decay = self.optimizer, self.weight_decay

        def adamw(parameters: Iterable[Tensor], lr: float) -> Optimizer:
            return AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=decay)

        return Training(
            steps=sized.steps,
            batch=sized.batch,
            optimizer=adamw if name == "adamw" else name,
            lr=self.lr,
            warmup=self.warmup,
            ema=self.ema,
            seed=self.seed,
            device=self.device,
            checkpoint_seconds=self.checkpoint_seconds,
        )

    def _settings(self) -> dict[str, Any]:
        settings = self.get_params(deep=False)
        if not isinstance(self.network, str):
            settings["network"] = None
        for name in ("optimizer", "checkpoint"):
            value = settings[name]
            settings[name] = value if value is None or isinstance(value, str) else str(value)
        return settings

    def _summary(self, sized: Any) -> dict[str, Any]:
        """Settings that a resumed run must share."""
        settings = self._settings()
        for name in ("checkpoint", "resume", "checkpoint_seconds", "progress", "polish", "device"):
            settings.pop(name)
        network = settings.pop("network")
        settings |= {"hidden": list(sized.hidden), "steps": sized.steps, "batch": sized.batch}
        return {f"cdk_{k}": v for k, v in {**settings, "network": network or "own"}.items()}


def _size(pairs: PairSampler, *, items: bool = False) -> int | None:
    """Pairs or classes – or items – of a law in memory."""
    if isinstance(pairs, ClassPairs):
        return min(len(pairs.x), len(pairs.y)) if items else len(pairs.classes)
    if not isinstance(pairs, GivenPairs):
        return None
    return len(pairs) if pairs.counts is None else int(pairs.counts.sum())


def _wide(pairs: PairSampler) -> bool:
    """Whether items are too large for a linear solution in all their numbers, or not at hand."""
    if not isinstance(pairs, GivenPairs | ClassPairs):
        return True
    return max(side[:1].numel() for side in (pairs.x, pairs.y)) > LINEAR_COLUMNS


def _inside(part: PairSampler, begin: Prepared) -> PairSampler:
    """A part as the networks see it."""
    ready = mapped(part, *begin.maps) if begin.maps else None
    return part if ready is None else ready
