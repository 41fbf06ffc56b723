"""LoRA-Pro as a plain ``torch.optim.Optimizer`` for PEFT models.

Wang et al. 2024, "LoRA-Pro: Are Low-Rank Adapters Properly Optimized?" (arXiv:2407.18242): the
steps of A and B are chosen such that B·A moves as full fine-tuning would move the weight, as nearly
as rank r allows (:mod:`schmidt.adapters.tangent`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from schmidt.adapters.groups import (
    SETTINGS,
    changed_settings,
    check_saved,
    described,
    pairs_of,
    restore_dtypes,
)
from schmidt.adapters.pairs import Pair, Trainable, check_pairs, split_parameters, whole
from schmidt.adapters.rules import RULES, AdamConstants
from schmidt.adapters.step import Bucket, adamw_step, alike, factors, fill, state_of
from schmidt.adapters.tangent import (
    Directions,
    Gauge,
    product_norm,
    tangent_norm,
)
from schmidt.parameters import check

Mode = Literal["sgd", "adamw-full", "adamw-factored", "adamw-efficient"]


class LoRAPro(Optimizer):
    """Adam or gradient descent of the adapted weights, through their factors.

    The first parameter group holds the pairs, A and B in turn; further groups hold everything else
    that is trainable (biases, heads, DoRA's magnitudes, ``modules_to_save``) and are AdamW's.

    Args:
        model: a model with LoRA layers, as PEFT makes them; or :class:`Pair` objects.
        lr: step size, on the scale of *full fine-tuning* rather than of LoRA.
        mode: "adamw-factored" (momentum as a tangent pair, second moments by rows and columns;
            state r(m + n) + m + n numbers per pair), "adamw-full" (moments of the size of the
            weight, 2mn), "adamw-efficient" (Adam on H_A and H_B, 2r(m + n)), or "sgd" (no state).
        betas: decay of Adam's moments.
        eps: Adam's ε, in the units of the gradient of the weight.
        weight_decay: decoupled, λ.
        decay: what decays: the "product" B·A by 1 − lr·λ per step, or the "factors" A and B each.
            The base weight never does.
        gauge: which minimiser, see :mod:`schmidt.adapters.tangent`.
        damping: relative, of the squared singular values of A and B. It is felt where they differ
            by more than 1/√damping, 10⁴: soon after a start from factors of deficient rank.
        cap: the second-order term of a step, s·ΔB·ΔA, may have this norm relative to the linear
            term; steps of pairs that exceed it are shortened. Matters soon after the start B = 0.
            None turns it off.
        clip_norm: clip the gradient to this norm. It is the norm that full fine-tuning would see,
            √(Σ‖Ĝ‖² + Σ‖g‖²), Ĝ of the pairs and g of the rest; clipping the gradients of A and B
            themselves (``clip_grad_norm_``) means something else.
        moments_dtype: of the first moment in "adamw-full", for example ``torch.bfloat16``; by
            default float32, or float64 if the factors are.
        rounding: of parameters in half precision, whose small steps are otherwise lost: "master"
            keeps them in float32 as well, 4 bytes a number; "stochastic" keeps nothing and rounds
            such that the mean is right, the same way in every process and after a resume;
            "nearest" loses steps below half a unit of the last place.
        rest: further parameters, where pairs are given by hand.
        rest_lr: step size of the rest; ``lr`` by default.

    Raises:
        ValueError: a setting out of range; a model that cannot be trained so, see
            :func:`schmidt.adapters.find_pairs`.

    Cost of a step: O((m + n) r²) per pair, "adamw-full" O(mnr). ``gradient_norm`` holds √(Σ‖Ĝ‖² +
    Σ‖g‖²) of the last step, before clipping.
    """

    gradient_norm: Tensor | None = None

    def __init__(
        self,
        model: nn.Module | Iterable[Pair],
        lr: float = 1e-4,
        *,
        mode: Mode = "adamw-factored",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decay: Literal["product", "factors"] = "product",
        gauge: Gauge = "symmetric",
        damping: float = 1e-8,
        cap: float | None = 0.5,
        clip_norm: float | None = None,
        moments_dtype: torch.dtype | None = None,
        rounding: Literal["master", "stochastic", "nearest"] = "master",
        rest: Iterable[nn.Parameter] = (),
        rest_lr: float | None = None,
    ) -> None:
        cap = None if cap == float("inf") else cap
        check(
            SETTINGS,
            lr=lr,
            mode=mode,
            eps=eps,
            weight_decay=weight_decay,
            decay=decay,
            gauge=gauge,
            damping=damping,
            cap=cap,
            clip_norm=clip_norm,
            rest_lr=rest_lr,
            rounding=rounding,
        )
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), got {betas}")
        if weight_decay * lr >= 1:
            raise ValueError(f"weight_decay must lie in [0, 1/lr), got {weight_decay} with lr={lr}")
        found = _trainable(model, rest)
        shared = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        groups: list[dict[str, Any]] = [
            {
                "params": [factor for pair in found.pairs for factor in (pair.A, pair.B)],
                "role": "pairs",
                "pairs": [described(pair) for pair in found.pairs],
                "mode": mode,
                "decay": decay,
                "gauge": gauge,
                "damping": damping,
                "cap": cap,
                "clip_norm": clip_norm,
                "rounding": rounding,
                "moments_dtype": moments_dtype and str(moments_dtype).removeprefix("torch."),
            }
        ]
        parameters = [p for _, p in found.rest]
        for decays in (True, False):  # biases, norms and magnitudes do not decay
            chosen = [p for p in parameters if (p.ndim > 1) == decays]
            if chosen:
                decay_of = weight_decay if decays else 0.0
                lr_of = lr if rest_lr is None else rest_lr
                groups.append({"params": chosen, "lr": lr_of, "weight_decay": decay_of})
        super().__init__(groups, {**shared, "role": "rest"})

    def __repr__(self) -> str:
        group, others = self.param_groups[0], self.param_groups[1:]
        rest = sum(len(g["params"]) for g in others)
        return (
            f"{type(self).__name__}({group['mode']!r}, lr={group['lr']:.3g}, "
            f"{len(group['pairs'])} pairs, {rest} other parameters)"
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. A closure is evaluated once, before the step, and its loss returned.

        Raises:
            RuntimeError: no pair has a gradient, as after ``model.set_adapter`` of another adapter;
                one factor of a pair has a gradient and the other has none; the factors were
                flattened or replaced; they hold NaN.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        device = self.param_groups[0]["params"][0].device.type
        with torch.autocast(device, enabled=False):  # inverses in half precision are noise
            self._step()
        return loss

    def _step(self) -> None:
        group, others = self.param_groups[0], self.param_groups[1:]
        buckets = self._buckets(group)
        rest = [(g, [p for p in g["params"] if p.grad is not None]) for g in others]
        self.gradient_norm = _norm(buckets, [p for _, ps in rest for p in ps])
        shrink = None
        if group["clip_norm"] is not None and self.gradient_norm is not None:
            shrink = (group["clip_norm"] / (self.gradient_norm + 1e-6)).clamp(max=1.0)
        for bucket in buckets:
            if shrink is not None:
                bucket.X = Directions(*(x * shrink.to(x) for x in bucket.X))
            self._move(bucket, group)
        for g, parameters in rest:
            adamw_step(g, parameters, self.state, shrink, group["rounding"])

    def _buckets(self, group: dict[str, Any]) -> list[Bucket]:
        """The pairs that have gradients, stacked by shape."""
        rule, pairs = RULES[group["mode"]], []
        for pair in pairs_of(group):
            missing = [side for side in "AB" if getattr(pair, side).grad is None]
            if len(missing) == 1:
                raise RuntimeError(
                    f"{pair.name}: {missing[0]} has no gradient and its partner has one; was it "
                    "frozen after the optimizer was made? Unfreeze it, or make a new optimizer"
                )
            if not missing:
                pairs.append(pair)
        if not any(pair.A.requires_grad for pair in pairs):
            raise RuntimeError(
                f"none of the {len(group['pairs'])} pairs has a gradient, so the step would train "
                "nothing of them: was another adapter activated, or this one switched off, merged "
                "or frozen, or the model's parameters replaced, after the optimizer was made? Call "
                "model.set_adapter(name), or make a new optimizer. Before any backward pass there "
                "is nothing to step"
            )
        name = group["moments_dtype"]
        dtype = getattr(torch, name) if name else None
        states = [state_of(pair, self.state, rule, dtype) for pair in pairs]
        owners = [(self.state[pair.A], self.state[pair.B]) for pair in pairs]
        steps = [int(of_A["step"]) for of_A, _ in owners]
        found = []
        for members in alike(pairs, steps, rule):
            own = [owners[i] for i in members]
            tensors = [states[i] for i in members]
            found.append(fill([pairs[i] for i in members], tensors, own, group["damping"]))
            torch._foreach_add_([owner["step"] for both in own for owner in both], 1.0)
        return found

    def _move(self, bucket: Bucket, group: dict[str, Any]) -> None:
        """Move the factors of one bucket, and its state along."""
        rule, lr, f, s = RULES[group["mode"]], float(group["lr"]), bucket.frames, bucket.scaling
        step = int(self.state[bucket.pairs[0].A]["step"])
        now = AdamConstants(tuple(group["betas"]), group["eps"], group["gauge"], step)
        with bucket.stacked_state() as state:
            D = rule.direction(f, bucket.X, s, state, now)
            # lr²/s·D_B·D_A against lr·(B·D_A + D_B·A)
            scale = -lr / s
            if group["cap"] is not None:
                linear = tangent_norm(f, D).view_as(s)
                second = lr * product_norm(D).view_as(s) / s.abs()
                excess = torch.where(linear > 0, second / (group["cap"] * linear), 0)
                scale = scale / excess.clamp_min(1)
            keep = max(0.0, 1 - lr * group["weight_decay"])
            bucket.add(
                Directions(scale * D.A, scale * D.B),
                keep**0.5 if group["decay"] == "product" else keep,
                group["rounding"],
            )
            if rule.carries:
                rule.carry(f, factors(bucket.pairs, group["damping"]), state)

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume: every bit and every dtype as saved.

        The saved settings replace those of this optimizer, as everywhere in torch. Where they
        differ, a warning names them; change ``param_groups`` afterwards to override them.

        Raises:
            ValueError: the state is of another model, mode or kind of optimizer.
        """
        check_saved(state_dict, self.param_groups)
        if differ := changed_settings(state_dict, self.param_groups):
            warnings.warn(
                f"resumed with the settings of the saved state: {'; '.join(differ)}. To have "
                "others, set optimizer.param_groups after load_state_dict",
                stacklevel=2,
            )
        current = self.param_groups[0]["pairs"]
        super().load_state_dict(state_dict)
        self.param_groups[0]["pairs"] = current  # the scaling is the model's
        restore_dtypes(self, state_dict)


def create_lorapro_optimizer(
    model: nn.Module | Iterable[Pair],
    lr: float = 1e-4,
    *,
    mode: Mode = "adamw-factored",
    **settings: Any,
) -> LoRAPro:
    """An optimizer for ``model`` whose adapters follow full fine-tuning.

    Args:
        model: as ``peft.get_peft_model`` returns it, or :class:`Pair` objects.
        lr: step size, on the scale of full fine-tuning.
        mode: "adamw-factored", "adamw-full", "adamw-efficient" or "sgd".
        settings: all else that :class:`LoRAPro` takes.

    Raises:
        ValueError: a setting out of range; no adapters; see :func:`schmidt.adapters.find_pairs`.

    Example::

        optimizer = create_lorapro_optimizer(model, lr=1e-4)
        trainer = transformers.Trainer(model, ..., optimizers=(optimizer, None))
    """
    return LoRAPro(model, lr, mode=mode, **settings)


def trainer_optimizer(args: Any, **settings: Any) -> tuple[type, dict[str, Any]]:
    """What ``transformers.Trainer`` takes as ``optimizer_cls_and_kwargs``, for any number of them.

    The rate, weight decay, betas and ε are those of the ``TrainingArguments``. The Trainer clips
    the gradients of the factors, with ``max_grad_norm``; set that to 0 and ``clip_norm`` here.

    Args:
        args: the ``TrainingArguments``.
        settings: all else that :class:`LoRAPro` takes; they go before those of ``args``.

    Example::

        Trainer(model, args, ..., optimizer_cls_and_kwargs=trainer_optimizer(args))
    """
    check({"learning_rate": SETTINGS["lr"]}, learning_rate=args.learning_rate)
    taken = {
        "lr": args.learning_rate,
        "weight_decay": args.weight_decay,
        "betas": (args.adam_beta1, args.adam_beta2),
        "eps": args.adam_epsilon,
    }
    return _Maker, taken | settings


class _Maker:
    """A factory in the sense of transformers, which hands it the whole model."""

    def __call__(self, model: nn.Module, **settings: Any) -> LoRAPro:
        return LoRAPro(model, **settings)


def _trainable(model: nn.Module | Iterable[Pair], rest: Iterable[nn.Parameter]) -> Trainable:
    extra = tuple((f"rest.{i}", p) for i, p in enumerate(rest))
    if isinstance(model, nn.Module):
        if extra:
            raise ValueError(
                "rest is for pairs given by hand; a model's own are found by themselves"
            )
        return split_parameters(model)
    given = list(model)
    if not all(isinstance(pair, Pair) for pair in given):
        kinds = sorted({type(item).__name__ for item in given})
        raise ValueError(
            f"expected a model or schmidt.adapters.Pair objects, got {', '.join(kinds)}: a list of "
            "parameters does not say which belong together. With transformers.Trainer pass "
            "optimizer_cls_and_kwargs=trainer_optimizer(args)"
        )
    return Trainable(check_pairs(given), extra)


def _norm(buckets: list[Bucket], rest: list[Tensor]) -> Tensor | None:
    """√(Σ‖Ĝ‖² + Σ‖g‖²), on the device of the first pair."""
    squares = [bucket.square.sum() for bucket in buckets]
    squares += [whole(p.grad).float().square().sum() for p in rest if p.grad is not None]
    if not squares:
        return None
    first = squares[0]
    return torch.stack([s.to(first) for s in squares]).sum().clamp_min(0).sqrt()
