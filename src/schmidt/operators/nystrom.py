"""The Nyström method: singular functions of a kernel from its matrix on sampled points (A.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from schmidt.certificate import Certificate
from schmidt.factorization import Factorization
from schmidt.linalg import fix_signs, leading, leading_eigenpairs
from schmidt.operators.kernel import BLOCK, Kernel
from schmidt.operators.measures import Points
from schmidt.operators.spectrum import Functions
from schmidt.parameters import SEED, Number, check

MEMORY = 2**31
"""Bytes that the kernel's matrix may take."""

TABLE = {
    "modes": Number(1, whole=True),
    "points": Number(1, whole=True),
    "left_points": Number(1, whole=True, none=True),
    "seed": SEED,
}


class Sections(nn.Module):
    """x ↦ (√w_j k(y_j, x))_j, the kernel with one argument fixed at n sampled points.

    A query costs n kernel values per point.
    """

    points: Tensor
    root: Tensor

    def __init__(self, kernel: Kernel, points: Points, *, of_domain: bool) -> None:
        super().__init__()
        self.kernel, self.of_domain = kernel.kernel, of_domain
        self.register_buffer("points", points.x)
        self.register_buffer("root", points.weight.sqrt())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._rows(part) for part in x.split(max(1, BLOCK // len(self.root)))])

    def _rows(self, x: Tensor) -> Tensor:
        fixed = self.points.to(x)
        values = self.kernel(x, fixed) if self.of_domain else self.kernel(fixed, x).T
        if values.is_complex():
            raise ValueError("complex kernels are for schmidt.nystrom(k, X, Y)")
        return values.to(self.root) * self.root


def nystrom(
    kernel: Kernel,
    modes: int,
    *,
    points: int,
    left_points: int | None = None,
    seed: int = 0,
) -> Factorization:
    """Leading singular functions of an integral operator by the SVD of its empirical matrix.

    The convention is that of :func:`schmidt.nystrom`: k(y, x), right functions on X, left on Y.

    With x_j, y_i drawn from the kernel's measures, √w_i k(y_i, x_j) √w_j has singular vectors
    that are the functions at these points, and f = σ⁻¹ K*g continues them to all others (eq. 11).

    Args:
        kernel: K from L²(X, μ) to L²(Y, ν).
        modes: L.
        points: number of points x_j of X.
        left_points: number of points y_i of Y; default as many. A kernel on one space that is
            symmetric has its eigenfunctions computed, on one set of points.
        seed: of the points.

    Returns:
        Values, eigenvalues by falling modulus where the kernel is symmetric; right and left sides
        are functions of norm one up to the sampling error. The certificate proves nothing: the
        error of sampling is not bounded.

    Raises:
        ValueError: more modes than points, or a matrix that does not fit in 2 GiB; a kernel that is
            complex, not finite, or not symmetric though it is said to be.

    Cost: points · left_points kernel values, kept in memory; a query costs one kernel value per
    sampled point, where a network costs the same whatever it has learned from.
    """
    check(TABLE, modes=modes, points=points, left_points=left_points, seed=seed)
    symmetric = kernel.one_space and kernel.self_adjoint is True
    if symmetric and left_points not in (None, points):
        raise ValueError(
            "a symmetric kernel is sampled on one set of points: leave left_points out"
        )
    rows = points if left_points is None else left_points
    if not 1 <= modes <= min(points, rows):
        raise ValueError(f"modes must lie between 1 and {min(points, rows)} points, got {modes}")
    if 8 * points * rows > MEMORY:
        raise ValueError(
            f"the matrix of {rows} × {points} kernel values needs {8 * points * rows / 2**30:.1f} "
            f"GiB; at most {MEMORY / 2**30:.0f} are taken: use fewer points, or train a network "
            "(schmidt.operators.fit)"
        )
    generator = torch.Generator().manual_seed(seed)
    x = kernel.domain.sample(points, generator).to("cpu", torch.float64)
    y = x if symmetric else kernel.codomain.sample(rows, generator).to("cpu", torch.float64)
    sections = Sections(kernel, y, of_domain=False)
    matrix = (sections(x.x).T * x.weight.sqrt()).detach()  # rows y, columns x
    size = float(matrix.abs().max())
    if not math.isfinite(size):
        raise ValueError("the kernel returned NaN or Inf")
    if symmetric and float((matrix - matrix.T).abs().max()) > 1e-6 * size:
        raise ValueError("the kernel is said to be self-adjoint, but its matrix is not symmetric")
    unit = 2.0 ** math.frexp(size)[1] if size else 1.0
    matrix = matrix / unit  # a power of two: no digit changes
    known = Certificate(
        asked=f"{modes} modes",
        notes=["of the kernel's matrix on random points: the error of sampling is not bounded"],
    )
    settings = {"method": "nystrom", "points": points, "left_points": rows, "seed": seed}
    if symmetric:
        values, vectors = leading_eigenpairs((matrix + matrix.T) / 2, modes, seed=seed)
        vectors = vectors * fix_signs(vectors / x.weight.sqrt()[:, None])
        f = Functions(sections, vectors / values / unit)
        return Factorization(f, values.numpy() * unit, f, certificate=known, settings=settings)
    left, sigma, right = leading(matrix, modes, method="krylov", seed=seed)
    sign = fix_signs(right / x.weight.sqrt()[:, None])
    f = Functions(sections, sign * left / sigma / unit)
    g = Functions(Sections(kernel, x, of_domain=True), sign * right / sigma / unit)
    return Factorization(g, sigma.numpy() * unit, f, certificate=known, settings=settings)
