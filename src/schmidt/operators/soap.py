"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for batches of matrices.

Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam". A parameter of shape
(…, m, n) is treated as a batch of m×n matrices, each with bases of its own, because L disjoint
networks keep their weights as (L, in, out); published implementations would rotate across the
networks too. Learning eigenfunctions is stiff (a Laplacian weighs high frequencies by their
square); on it SOAP needs one to two orders of magnitude fewer steps than Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from schmidt.parameters import Number, check

DECAY = Number(0, 1, open="high")
PARAMETERS = {
    "lr": Number(0, open="low"),
    "betas": DECAY,
    "precondition_decay": DECAY,
    "eps": Number(0),
    "floor": DECAY,
    "every": Number(1, whole=True),
    "max_size": Number(0, whole=True),
}


class SOAP(Optimizer):
    """Batched SOAP.

    Args:
        params: parameters; those with fewer than two axes get plain Adam.
        lr: step size, as for Adam.
        betas: decay of the first and second moments.
        precondition_decay: decay of the averages of G Gᵀ and Gᵀ G.
        eps: added to the root of the second moment.
        floor: least root of a second moment, relative to the largest in its matrix. Directions that
            no gradient has reached yet hold nothing but rounding; dividing one rounding error by
            another can give any step at all.
        every: steps between two refreshes of the eigenbases (one QR each).
        max_size: axes longer than this keep the identity as their basis.

    Memory: about 2 + 2(m/n + n/m) times the parameters. The first step only collects statistics.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 3e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.95),
        precondition_decay: float = 0.95,
        eps: float = 1e-8,
        floor: float = 1e-5,
        every: int = 10,
        max_size: int = 512,
    ) -> None:
        check(
            PARAMETERS,
            lr=lr,
            precondition_decay=precondition_decay,
            eps=eps,
            floor=floor,
            every=every,
            max_size=max_size,
        )
        for decay in betas:
            check(PARAMETERS, betas=decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "precondition_decay": precondition_decay,
            "eps": eps,
            "floor": floor,
            "every": every,
            "max_size": max_size,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            self._start(state, grad, group["max_size"])
            if "left" in state or "right" in state:
                return
        state["step"] += 1
        beta1, beta2 = group["betas"]
        first, second = state["first"], state["second"]
        first.lerp_(grad, 1 - beta1)
        rotated = _rotate(grad, state)
        second.mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        mean = _rotate(first, state) / (1 - beta1 ** state["step"])
        scale = (second / (1 - beta2 ** state["step"])).sqrt_()
        if "left" in state or "right" in state:
            scale = torch.maximum(scale, group["floor"] * scale.amax((-2, -1), keepdim=True))
        scale.add_(group["eps"])
        parameter.add_(_rotate_back(mean.div_(scale), state), alpha=-group["lr"])
        refresh = state["step"] % group["every"] == 0
        for side, outer in (("left", _left), ("right", _right)):
            if side in state:
                state[side].lerp_(outer(grad), 1 - group["precondition_decay"])
                if refresh:
                    _refresh(state, side)

    @staticmethod
    def _start(state: dict[str, Any], grad: Tensor, max_size: int) -> None:
        state["step"] = 0
        # one memory layout always, so that a resumed run repeats every bit
        layout = torch.contiguous_format
        state["first"] = torch.zeros_like(grad, memory_format=layout)
        state["second"] = torch.zeros_like(grad, memory_format=layout)
        if grad.ndim < 2:
            return
        for side, axis, outer in (("left", -2, _left), ("right", -1, _right)):
            if 1 < grad.shape[axis] <= max_size:
                state[side] = outer(grad).contiguous()
                state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].flip(-1).contiguous()


def _left(grad: Tensor) -> Tensor:
    return grad @ grad.mT


def _right(grad: Tensor) -> Tensor:
    return grad.mT @ grad


def _rotate(x: Tensor, state: dict[str, Any]) -> Tensor:
    if "left" in state:
        x = state["left_basis"].mT @ x
    if "right" in state:
        x = x @ state["right_basis"]
    return x.clone() if "left" not in state and "right" not in state else x


def _rotate_back(x: Tensor, state: dict[str, Any]) -> Tensor:
    if "left" in state:
        x = state["left_basis"] @ x
    if "right" in state:
        x = x @ state["right_basis"].mT
    return x


def _refresh(state: dict[str, Any], side: str) -> None:
    """One step of orthogonal iteration, the second moment permuted along with its basis."""
    basis, average, axis = state[f"{side}_basis"], state[side], -2 if side == "left" else -1
    order = (basis * (average @ basis)).sum(-2).argsort(-1, descending=True)
    basis = torch.take_along_dim(basis, order.unsqueeze(-2), -1)
    state["second"] = torch.take_along_dim(
        state["second"], order.unsqueeze(-1 if axis == -2 else -2), axis
    ).contiguous()
    state[f"{side}_basis"] = torch.linalg.qr(average @ basis)[0].contiguous()
