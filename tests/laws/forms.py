"""The laws of forms. A new operator inherits them all::

class TestMine(FormLaws):
    def form(self):
        return Mine(...)

    def functions(self, x):  # (B, d) → (B, L): in the operator's domain, not all alike
        return torch.stack([...], 1)
"""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt import identity
from schmidt.operators import Form, Jet, Sample, inner
from schmidt.operators.checkpoint import operator_evidence
from schmidt.operators.jet import forward_mode

DRAWS = 150
BATCH = 64


class FormLaws:
    """What every :class:`Form` does, whatever the operator."""

    sigmas: float = 4.5
    """How far a mean over draws may be from the exact value, in standard errors."""

    def form(self) -> Form:
        raise NotImplementedError

    def functions(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def left_functions(self, y: Tensor) -> Tensor:
        """Functions on Y; by default those on X."""
        return self.functions(y)

    def jets(self, sample: Sample) -> tuple[Jet, Jet]:
        """g and f at a sample, with no more derivatives than the form says it needs."""
        order, left = self.form().orders()
        f = _jet(self.functions, sample.x.x, order)
        return _jet(self.left_functions, sample.y.x, left), f

    def sample(self, form: Form, n: int = BATCH, seed: int = 0) -> Sample:
        return form.sample(n, torch.Generator().manual_seed(seed)).to("cpu", torch.float64)

    def on(self, form: Form, sample: Sample) -> Tensor:
        return form.matrix(*self.jets(sample), sample)

    def test_the_same_generator_draws_the_same_points(self):
        form = self.form()
        a, b, c = (self.sample(form, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(a.x.x, b.x.x)
        assert torch.equal(a.x.weight, b.x.weight)
        assert torch.equal(a.y.x, b.y.x)
        whole = len(a.x) == len(c.x) and torch.equal(a.x.x, c.x.x)
        assert not whole or form.quadrature() is not None

    def test_estimates_have_no_bias(self):
        """Means over many draws are the values on the points that judge."""
        form = self.form()
        exact = form.evaluation().to("cpu", torch.float64)
        g, f = self.jets(exact)
        wanted = [form.matrix(g, f, exact), inner(f.value, f.value, exact.x.weight)]
        found: list[list[Tensor]] = [[], []]
        for seed in range(DRAWS):
            sample = self.sample(form, seed=seed)
            _, jet = self.jets(sample)
            found[0].append(self.on(form, sample))
            found[1].append(inner(jet.value, jet.value, sample.x.weight))
        for draws, value in zip(found, wanted, strict=True):
            stack = torch.stack(draws)
            floor = 1e-6 * value.abs().max()
            error = stack.std(0) / DRAWS**0.5 + floor
            off = ((stack.mean(0) - value) / error).abs().max()
            assert off < self.sigmas, f"{float(off):.1f} standard errors from the exact value"

    def test_it_is_linear_in_both_functions(self):
        form = self.form()
        sample = self.sample(form)
        g, f = self.jets(sample)
        whole = form.matrix(g, f, sample)
        mix = torch.randn(f.value.shape[1], 3, dtype=torch.float64)
        scale = whole.abs().max() * mix.abs().max()
        right = form.matrix(g, f.mix(mix), sample)
        torch.testing.assert_close(right, whole @ mix, rtol=0, atol=float(1e-11 * scale))
        left = form.matrix(g.mix(mix), f, sample)
        torch.testing.assert_close(left, mix.T @ whole, rtol=0, atol=float(1e-11 * scale))

    def test_numbers_and_forms_combine(self):
        form = self.form()
        sample = self.sample(form, 256)
        g, f = self.jets(sample)
        plain = form.matrix(g, f, sample)
        close = {"rtol": 1e-11, "atol": float(1e-12 * plain.abs().max())}
        torch.testing.assert_close((form * 3.0).matrix(g, f, sample), 3 * plain, **close)
        torch.testing.assert_close((-form / 2).matrix(g, f, sample), -plain / 2, **close)
        torch.testing.assert_close((form + form).matrix(g, f, sample), 2 * plain, **close)
        torch.testing.assert_close((form - 0.5 * form).matrix(g, f, sample), plain / 2, **close)
        if sample.shared:
            gram = inner(g.value, f.value, sample.x.weight)
            torch.testing.assert_close(
                (form + 2.5).matrix(g, f, sample), plain + 2.5 * gram, **close
            )
            assert (form + 2.5).offset == pytest.approx(form.offset + 2.5)
        else:
            with pytest.raises(ValueError, match="different points"):
                (form + 2.5).matrix(g, f, sample)

    def test_self_adjoint_means_symmetric(self):
        form = self.form()
        exact = form.evaluation().to("cpu", torch.float64)
        if form.self_adjoint is not True:
            return
        assert form.one_space
        order = max(form.orders())
        f = _jet(self.functions, exact.x.x, order)
        pi = form.matrix(f if exact.shared else _jet(self.functions, exact.y.x, order), f, exact)
        assert (pi - pi.T).abs().max() <= 1e-5 * pi.abs().max()

    def test_the_action_is_the_operator(self):
        """⟨g|T f⟩ by the form's matrix, and by T f at points."""
        form = self.form()
        exact = form.evaluation().to("cpu", torch.float64)
        g, f = self.jets(exact)
        try:
            image = form.action(f, exact)
        except (NotImplementedError, ValueError):
            return
        found = inner(g.value, image, exact.y.weight)
        wanted = form.matrix(g, f, exact)
        assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()

    def test_sums_over_points_come_in_chunks_where_it_says_so(self):
        form = self.form()
        sample = self.sample(form)
        if not (form.additive and sample.shared):
            return
        middle = len(sample.x) // 3
        total = torch.zeros(())
        for part in (slice(0, middle), slice(middle, None)):
            points = sample.x.part(part)
            total = total + self.on(form, Sample(points, points))
        whole = self.on(form, sample)
        torch.testing.assert_close(total, whole, rtol=1e-10, atol=float(1e-11 * whole.abs().max()))

    def test_precision_is_that_of_the_functions(self):
        form = self.form()
        sample = form.sample(BATCH, torch.Generator().manual_seed(0))
        single = sample.to("cpu", torch.float32)
        g, f = (Jet(j.streams.float(), j.dim, j.order) for j in self.jets(single))
        found = form.matrix(g, f, single)
        assert found.dtype == torch.float32
        wanted = self.on(form, sample.to("cpu", torch.float64))
        assert (found.double() - wanted).abs().max() <= 1e-3 * wanted.abs().max() + 1e-6

    def test_gradients_flow_into_the_values_of_both_functions(self):
        form = self.form()
        sample = self.sample(form)
        for side in range(2):
            jets = list(self.jets(sample))
            streams = jets[side].streams.detach().requires_grad_()
            jets[side] = Jet(streams, jets[side].dim, jets[side].order)
            pi = form.matrix(*jets, sample)
            (slope,) = torch.autograd.grad(pi.sum(), streams)
            assert bool(slope.isfinite().all())
            assert float(slope.abs().max()) > 0
            # the form is linear: its gradient gives its value back
            torch.testing.assert_close((slope * streams).sum(), pi.sum(), rtol=1e-8, atol=1e-10)

    def test_a_form_is_known_by_what_it_does(self):
        """The same form made again is the same; a slightly other operator is another."""
        outputs = self.functions(self.sample(self.form(), 2).x.x).shape[2:]
        known = operator_evidence(self.form(), tuple(outputs))
        assert known is not None
        again = operator_evidence(self.form(), tuple(outputs))
        assert identity.differences(known, again) == []
        other = operator_evidence(1.0001 * self.form(), tuple(outputs))
        assert identity.differences(known, other)
        data = identity.data_of(self.form())
        assert identity.differences(data, identity.data_of(self.form())) == []
        assert json.loads(json.dumps(self.form().describe()))["class"]

    def test_asking_changes_nothing(self):
        """Evidence, evaluation and judging leave the form and torch's randomness as they were."""
        form = self.form()
        before = torch.get_rng_state()
        points = self.sample(form, seed=3).x.x
        operator_evidence(form)
        form.evaluation()
        form.quadrature()
        copy.deepcopy(form)
        assert torch.equal(before, torch.get_rng_state())
        assert torch.equal(self.sample(form, seed=3).x.x, points)

    def test_a_quadrature_is_exact(self):
        form = self.form()
        rule = form.quadrature()
        if rule is None:
            return
        exact = form.evaluation().to("cpu", torch.float64)
        found = self.on(form, rule.to("cpu", torch.float64))
        wanted = self.on(form, exact)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * wanted.abs().max())


def _jet(function, x: Tensor, order: int) -> Jet:
    if order:
        return forward_mode(function, x, order)
    return Jet(function(x)[None], x.shape[1] if x.ndim > 1 else 1, 0)
