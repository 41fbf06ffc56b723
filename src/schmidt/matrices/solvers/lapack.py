"""LAPACK's full decomposition, for what is small or wants most of its spectrum."""

from __future__ import annotations

import torch

from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Source


def lapack(source: Source, rank: int | None = None) -> Triplets:
    """All singular values, and the vectors of the first ``rank`` (default: all).

    Cost: about 6 m n² + 20 n³ flops for n ≤ m, and the memory of A as a dense array.
    """
    A = source.dense()
    m, n = A.shape
    if m > 2 * n:  # for tall matrices a QR first, and the rotation of k columns only
        Q, R = torch.linalg.qr(A)
        u, s, vh = _svd(R)
        left = Q @ u[:, :rank]
    else:
        u, s, vh = _svd(A)
        left = u[:, :rank]
    right = vh[:rank].mH.resolve_conj().contiguous()
    return Triplets(left.contiguous(), s[:rank], right, None, s, 0, {"solver": "lapack"})


def _svd(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    try:
        return torch.linalg.svd(A, full_matrices=False)
    except torch.linalg.LinAlgError:  # divide and conquer failed: the QR iteration is slower
        import scipy.linalg

        parts = scipy.linalg.svd(A.cpu().numpy(), full_matrices=False, lapack_driver="gesvd")
        u, s, vh = (torch.from_numpy(part).to(A.device) for part in parts)
        return u, s, vh
