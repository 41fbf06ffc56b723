"""The laws of sources. A new kind of matrix inherits them all::

class TestMine(SourceLaws):
    def matrix(self):              # (m, n) in double precision: what the user means
        return np.array([...])

    def source(self):              # the same as a Source
        return Mine(...)
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.matrices.sources.source import Source

COLUMNS = 5


def plain(x: Tensor) -> np.ndarray:
    return x.resolve_conj().cpu().numpy()


class SourceLaws:
    """What every :class:`Source` does, whatever holds the numbers."""

    def matrix(self) -> np.ndarray:
        raise NotImplementedError

    def source(self) -> Source:
        raise NotImplementedError

    def exact(self, source: Source) -> np.ndarray:
        """The matrix in the units of the source."""
        return self.matrix() / source.unit

    def slack(self, source: Source) -> float:
        """Rounding of a product of the matrix with unit columns, in its units: 8 eps ‖A‖_F and the
        source's own noise."""
        norm = float(np.linalg.norm(self.exact(source)))
        eps = max(float(torch.finfo(source.dtype).eps), source.eps)
        return 8 * eps * norm + source.noise

    def columns(self, source: Source, side: int) -> Tensor:
        """Orthonormal columns that the source can be applied to."""
        size, count = source.shape[side], min(COLUMNS, source.shape[side])
        generator = torch.Generator().manual_seed(3)
        kind = torch.complex128 if source.dtype.is_complex else torch.float64
        X = torch.linalg.qr(torch.randn(size, count, dtype=kind, generator=generator))[0]
        return X.to(source.dtype).to(source.device)

    def test_it_is_the_matrix_in_its_unit(self):
        source = self.source()
        A = self.exact(source)
        assert source.shape == A.shape
        X, Y = self.columns(source, 1), self.columns(source, 0)
        image, back = plain(source.apply(X)), plain(source.adjoint(Y))
        slack = self.slack(source)
        assert np.linalg.norm(image - A @ plain(X)) <= slack
        assert np.linalg.norm(back - A.conj().T @ plain(Y)) <= slack

    def test_results_have_its_type_and_place(self):
        source = self.source()
        for out in (
            source.apply(self.columns(source, 1)),
            source.adjoint(self.columns(source, 0)),
        ):
            assert out.dtype == source.dtype
            assert out.device == source.device
        assert source.empty().dtype == source.dtype

    def test_adjoint_is_the_adjoint(self):
        source = self.source()
        X, Y = self.columns(source, 1), self.columns(source, 0)
        forth, back = Y.mH @ source.apply(X), source.adjoint(Y).mH @ X
        torch.testing.assert_close(forth, back, rtol=0, atol=2 * self.slack(source))

    def test_products_are_linear_and_of_any_number_of_columns(self):
        source = self.source()
        X = self.columns(source, 1)
        one = torch.cat([source.apply(X[:, i : i + 1]) for i in range(X.shape[1])], 1)
        atol = 2 * self.slack(source)
        torch.testing.assert_close(source.apply(X), one, rtol=0, atol=atol)
        twice = source.apply(2 * X[:, :1]) - source.apply(X[:, :1])
        torch.testing.assert_close(twice, source.apply(X[:, :1]), rtol=0, atol=3 * atol)

    def test_normal_is_both_products(self):
        source = self.source()
        X = self.columns(source, 1)
        image, normal = source.normal(X)
        A = self.exact(source)
        slack = 2 * self.slack(source) * np.linalg.norm(A)
        assert np.linalg.norm(plain(normal) - A.conj().T @ (A @ plain(X))) <= slack
        if image is not None:
            torch.testing.assert_close(image, source.apply(X), rtol=0, atol=self.slack(source))

    def test_its_norm_is_exact_or_unknown(self):
        source = self.source()
        if source.norm2 is None:
            pytest.skip("only products are known")
        exact = float(np.linalg.norm(self.exact(source))) ** 2
        assert abs(source.norm2 - exact) <= 2 * self.slack(source) * np.sqrt(exact)

    def test_all_of_it_is_the_matrix(self):
        source = self.source()
        whole = plain(source.dense())
        assert np.linalg.norm(whole - self.exact(source)) <= self.slack(source)

    def test_the_user_gets_the_kind_of_array_back(self):
        source = self.source()
        given = source.give(source.empty().reshape(0, 1))
        assert isinstance(given, np.ndarray | Tensor)
        assert given.shape == (0, 1)
