"""Beside the λ path: fits of the chosen rank itself, with ever smaller penalties.

The nuclear norm takes λ off every singular value. Where the noise is small that is the larger
error, and least squares over matrices of the chosen rank (``fixed_rank``) is better.
"""

from __future__ import annotations

from dataclasses import dataclass

from schmidt.completion.fixed_rank import fixed_rank
from schmidt.completion.model import Model
from schmidt.completion.observed import Observed
from schmidt.completion.path import Path, held_out_error

DIVISOR, MOST = 4.0, 9


@dataclass(frozen=True)
class Trial:
    """The best of these fits.

    Attributes:
        penalty: λ on ½(‖A‖² + ‖B‖²).
        error: held-out root mean square error.
        model: the fit, on the training part.
        tried: (λ, error) of all of them.
    """

    penalty: float
    error: float
    model: Model
    tried: tuple[tuple[float, float], ...]


def unshrunk(
    train: Observed, held: Observed, path: Path, limits: tuple[float, float] | None
) -> Trial | None:
    """Fits of rank ``path.rank`` with λ, λ/4, λ/16, … until the held-out error rises.

    Returns:
        The best one if it beats the path, else None.
    """
    if path.penalty is None:
        return None
    model = Model(path.model.biases, path.model.part.truncate(path.rank))
    tried: list[tuple[float, float]] = []
    best, found = path.error, None
    for i in range(MOST):
        penalty = path.penalty / DIVISOR**i
        right = model.part.balanced()[1]
        model, _ = fixed_rank(train, model.biases, right, penalty, tol=1e-2, max_iter=15)
        error = held_out_error(model, held, limits)
        tried.append((penalty, error))
        if i and error > tried[-2][1]:
            break
        if error < best:
            best, found = error, (penalty, model)
    return found and Trial(found[0], best, found[1], tuple(tried))
