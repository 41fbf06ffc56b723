"""The laws of methods. A new one inherits them all::

class TestMine(MethodLaws):
    def method(self, modes):
        return Mine(modes)

    def fixed_point(self, vectors, values):  # (n, L) eigenvectors → where it rests
        return vectors * values.sqrt()
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.operators import IndexTable, Matrix, Run, Training, fit
from schmidt.operators.methods import Method

SIZE, MODES = 20, 3
VALUES = torch.cat([torch.tensor([1.0, 0.7, 0.5]), 0.2 * 0.8 ** torch.arange(SIZE - MODES)])


def planted() -> tuple[Tensor, Tensor]:
    """A positive matrix with known eigenvectors (float64)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)
    q = torch.linalg.qr(noise).Q
    return (q * VALUES.double()) @ q.T, q


class MethodLaws:
    """What every :class:`Method` does, whatever its gradient."""

    eigen: bool = True
    """Whether it is for eigenfunctions only."""
    training = Training(steps=300, batch=4 * SIZE, optimizer="adam", lr=0.03, ema=0.9, warmup=10)

    def method(self, modes: int) -> Method:
        raise NotImplementedError

    def fixed_point(self, vectors: Tensor, values: Tensor) -> Tensor:
        raise NotImplementedError

    def run(self, batch: int = SIZE, **settings) -> Run:
        torch.manual_seed(1)
        table = IndexTable(SIZE, MODES, scale=0.3).double()
        training = Training(**{"steps": 50, "batch": batch, "optimizer": "adam"} | settings)
        return Run(Matrix(planted()[0]), table, method=self.method(MODES), training=training)

    def gradient(self, run: Run) -> Tensor:
        first, second = run.batches()
        scalar = run.method.surrogate(run.form, first, second)
        return torch.autograd.grad(scalar, run.state.parameters)[0]

    def test_eigenfunctions_are_where_it_rests(self):
        """On all points, the gradient vanishes there, and nowhere near."""
        run = self.run(4 * SIZE)
        _, q = planted()
        (table,) = run.state.parameters
        with torch.no_grad():
            table.copy_(self.fixed_point(q[:, :MODES], VALUES[:MODES].double()))
        assert float(self.gradient(run).abs().max()) < 1e-9
        with torch.no_grad():
            table.add_(0.1 * torch.randn_like(table))
        assert float(self.gradient(run).abs().max()) > 1e-3

    def test_a_surrogate_changes_nothing(self):
        run = self.run()
        run.step()
        first, second = run.batches()
        before = {k: v.clone() for k, v in run.method.state_dict().items()}
        again = [
            torch.autograd.grad(
                run.method.surrogate(run.form, first, second),
                run.state.parameters,
                retain_graph=True,
            )[0]
            for _ in range(2)
        ]
        run.method.objective(run.form, first, second)
        run.method.values(run.form, first, second)
        assert torch.equal(*again)
        after = run.method.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) for k in before)

    def test_its_state_is_all_it_remembers(self):
        """Another object with that state has the same gradient, to the last bit."""
        run = self.run()
        for _ in range(5):
            run.step()
        other = self.run()
        other.state.parameters[0].data.copy_(run.state.parameters[0].data)
        other.method.load_state_dict({k: v.clone() for k, v in run.method.state_dict().items()})
        other.generator.set_state(run.generator.get_state())
        assert torch.equal(self.gradient(other), self.gradient(run))

    def test_signs_of_functions_carry_no_meaning(self):
        run, other = self.run(), self.run()
        signs = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
        with torch.no_grad():
            other.state.parameters[0].mul_(signs)
        torch.testing.assert_close(
            self.gradient(other), self.gradient(run) * signs, rtol=1e-8, atol=1e-10
        )

    def test_what_is_logged_is_detached_and_finite(self):
        run = self.run()
        run.step()
        first, second = run.batches()
        for value in (
            run.method.objective(run.form, first, second),
            run.method.values(run.form, first, second),
        ):
            assert not value.requires_grad
            assert bool(value.isfinite().all())
        assert run.method.values(run.form, first, second).shape == (MODES,)

    def test_it_finds_the_planted_modes(self):
        torch.manual_seed(1)
        a, q = planted()
        table = IndexTable(SIZE, MODES, scale=0.3).double()
        result = fit(Matrix(a), table, method=self.method(MODES), training=self.training)
        np.testing.assert_allclose(result.eigenpairs.values, VALUES[:MODES], rtol=1e-3)
        if result.method.ordered:
            found = torch.as_tensor(result.learned.right(np.arange(SIZE)))
            overlap = (found.T @ q[:, :MODES]).diagonal().abs()
            assert float((1 - overlap).max()) < 1e-2

    def test_a_killed_run_goes_on_to_the_same_bits(self, tmp_path):
        training = Training(steps=12, batch=16, log_every=3, checkpoint_every=4)

        class Stop(Exception):
            pass

        def stop(right, left):
            raise Stop

        def go(folder, seed=0, **arguments):
            torch.manual_seed(seed)
            return fit(
                Matrix(planted()[0]),
                IndexTable(SIZE, MODES),
                method=self.method(MODES),
                training=training,
                checkpoint=tmp_path / folder,
                **arguments,
            )

        whole = go("whole")
        with pytest.raises(Stop):
            go("cut", monitor=stop, monitor_every=6)
        resumed = go("cut", seed=9, resume=True)
        assert torch.equal(whole.right.table, resumed.right.table)
        assert [h["objective"] for h in whole.history] == [h["objective"] for h in resumed.history]

    def test_a_copy_is_independent(self):
        run = self.run()
        run.step()
        before = {k: v.clone() for k, v in run.method.state_dict().items()}
        twin = copy.deepcopy(run.state)
        run.core(twin, run.draw())
        after = run.method.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before)

    def test_it_refuses_or_serves_two_sets_of_functions(self):
        a = planted()[0][:, :12]
        networks = IndexTable(12, MODES), IndexTable(SIZE, MODES)
        training = Training(steps=2, batch=16)
        if self.eigen:
            with pytest.raises(ValueError, match="leave the left network out"):
                fit(Matrix(a), *networks, method=self.method(MODES), training=training)
        else:
            found = fit(Matrix(a), *networks, method=self.method(MODES), training=training)
            with pytest.raises(ValueError, match="singular values"):
                _ = found.eigenpairs

    def test_it_says_what_it_is(self):
        assert self.method(MODES).describe()["class"] == type(self.method(MODES)).__name__
