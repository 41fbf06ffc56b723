"""The surrogate's gradient is the paper's, on random networks, in float64."""

import pytest
import torch

from schmidt import nesting
from schmidt.operators import (
    Ansatz,
    Distribution,
    Gaussian,
    Kernel,
    Lebesgue,
    Matrix,
    NestedLowRank,
    Radial,
    Schrodinger,
    SharedMLP,
    inner,
)
from schmidt.operators.jet import Exact, Jet
from schmidt.operators.methods import Batch
from schmidt.operators.networks import BoundedInputs, ExponentialEnvelope

MODES = 5
MASKS = {
    "sequential": nesting.sequential(MODES),
    "sequential in groups": nesting.sequential(MODES, step=2),
    "joint": nesting.joint(MODES),
    "joint, weighted": nesting.joint(MODES, [0.5, 0.1, 1.0, 2.0, 0.3]),
    "joint in groups": nesting.joint(MODES, step=2),
    "none": nesting.none(MODES),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(dim=2, seed=0, outputs=None):
    torch.manual_seed(seed)
    inputs = BoundedInputs(dim, (1.0, 3.0), cusp=True)
    trunk = SharedMLP(inputs.features, MODES, (7, 6), outputs=outputs)
    return Ansatz(trunk, ExponentialEnvelope([0.7]), inputs=inputs).double()


def coulomb(x):
    return -1 / x.norm(dim=1)


def kernel(y, x):
    return (-(y[:, None] - 0.5 * x).pow(2).sum(-1)).exp()


def gradient(scalar, network):
    return torch.cat([g.flatten() for g in torch.autograd.grad(scalar, network.parameters())])


def pull_back(values, direction, weight, network):
    """⟨∂θ f_l | direction_l⟩ summed over l."""
    weighted = (values * direction.detach()).flatten(1).sum(1) * weight
    return gradient(weighted.sum(), network)


def batch(form, f, g, sample, evd):
    jf = Exact()(f, sample.x.x, form.order)
    jg = jf if evd and sample.shared else Exact()(g, sample.y.x, form.order)
    return Batch(sample, jf, jg, evd)


@pytest.mark.parametrize("name", MASKS)
def test_evd_gradient_is_twice_equation_19(name):
    """4 Σ_l {−m_l T f_l + Σ_i M_il f_i Λ_il}, with T f from the strong form."""
    masks = MASKS[name].to(torch.zeros((), dtype=torch.float64))
    measure = Lebesgue(Radial(2, scale=1.0, outer=20.0))
    strong = Schrodinger(coulomb, measure, form="strong")
    sample = strong.sample(300, generator())
    f = network()
    b = batch(strong, f, None, sample, True)
    surrogate = NestedLowRank(masks).surrogate(strong, b, b)
    value = f(sample.x.x)
    image = strong.action(Exact()(f, sample.x.x, 2), sample)
    gram = inner(value, value, sample.x.weight)
    field = -masks.vector * image + value @ (masks.matrix * gram)
    expected = 4 * pull_back(value, field, sample.x.weight, f)
    torch.testing.assert_close(gradient(surrogate, f), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MASKS)
def test_svd_gradient_is_equation_8(name):
    """In f: 2{−m_l T*g_l + Σ_i M_il f_i⟨g_i|g_l⟩}; in g the same with T and f, g exchanged."""
    masks = MASKS[name].to(torch.zeros((), dtype=torch.float64))
    form = Kernel(kernel, Distribution(Gaussian(1.0, 2)), Distribution(Gaussian(1.5, 2)))
    sample = form.sample(120, generator())
    f, g = network(seed=1), network(seed=2)
    b = batch(form, f, g, sample, False)
    surrogate = NestedLowRank(masks).surrogate(form, b, b)
    k = kernel(sample.y.x, sample.x.x)
    wx, wy = sample.x.weight, sample.y.weight
    vf, vg = f(sample.x.x), g(sample.y.x)
    adjoint, image = k.T @ (wy[:, None] * vg), k @ (wx[:, None] * vf)
    gram_f, gram_g = inner(vf, vf, wx), inner(vg, vg, wy)
    field_f = 2 * (-masks.vector * adjoint + vf @ (masks.matrix * gram_g))
    field_g = 2 * (-masks.vector * image + vg @ (masks.matrix * gram_f))
    for side, values, field, w in ((f, vf, field_f, wx), (g, vg, field_g, wy)):
        expected = pull_back(values, field, w, side)
        found = gradient(
            NestedLowRank(masks).surrogate(
                form, batch(form, f, g, sample, False), batch(form, f, g, sample, False)
            ),
            side,
        )
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert surrogate.ndim == 0


@pytest.mark.parametrize("weights", [None, [0.5, 0.1, 1.0, 2.0, 0.3]])
@pytest.mark.parametrize("evd", [True, False])
def test_joint_gradient_is_autograd_of_the_nested_objective(weights, evd):
    """Prop. C.4 and eq. (6): Σ_l w_l (−2 Σ_{i≤l} ⟨g_i|Tf_i⟩ + Σ_{i,j≤l} ⟨f_i|f_j⟩⟨g_i|g_j⟩)."""
    f, g = network(seed=1), network(seed=1 if evd else 2)
    if evd:
        form = Schrodinger(coulomb, Lebesgue(Radial(2, scale=1.0, outer=20.0)))
        g = f
    else:
        form = Kernel(kernel, Distribution(Gaussian(1.0, 2)), Distribution(Gaussian(1.5, 2)))
    sample = form.sample(150, generator())

    def objective():
        b = batch(form, f, g, sample, evd)
        pi = form.matrix(b.g, b.f, sample).diagonal()
        gram_f = inner(b.f.value, b.f.value, sample.x.weight)
        gram_g = inner(b.g.value, b.g.value, sample.y.weight)
        w = weights or [1 / MODES] * MODES
        truncated = [
            -2 * pi[:k].sum() + (gram_f[:k, :k] * gram_g[:k, :k]).sum() for k in range(1, MODES + 1)
        ]
        return sum(a * t for a, t in zip(w, truncated, strict=True))

    method = NestedLowRank.joint(MODES, weights)
    b = batch(form, f, g, sample, evd)
    torch.testing.assert_close(method.objective(form, b, b), objective(), rtol=1e-10, atol=0)
    for side in {f, g}:
        b = batch(form, f, g, sample, evd)
        found = gradient(method.surrogate(form, b, b), side)
        torch.testing.assert_close(found, gradient(objective(), side), rtol=1e-10, atol=1e-10)


def test_sequential_nesting_on_a_shared_network_is_the_masked_gradient():
    """D.6: term l's objective acts through f_l alone, although all modes share parameters."""
    form = Schrodinger(coulomb, Lebesgue(Radial(2, scale=1.0, outer=20.0)))
    sample = form.sample(200, generator())
    f = network()
    total = 0
    for k in range(MODES):
        jet = Exact()(f, sample.x.x, 1)
        frozen = jet.detach()
        # the first k functions held fixed, the k-th one free
        mixed = frozen.streams.clone()
        mixed[:, :, k] = jet.streams[:, :, k]
        free = type(jet)(mixed[:, :, : k + 1], jet.dim, jet.order)
        gram = inner(free.value, free.value, sample.x.weight)
        pi = form.matrix(free, free, sample).diagonal()
        total = total + gradient(-2 * pi.sum() + (gram * gram).sum(), f)
    b = batch(form, f, None, sample, True)
    found = gradient(NestedLowRank.sequential(MODES).surrogate(form, b, b), f)
    torch.testing.assert_close(found, total, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("case", ["evd pointwise", "evd matrix", "svd matrix"])
def test_gradient_is_unbiased_with_independent_halves(case, outputs):
    """Averaged over fixed seeds it lies within 4 standard errors of the gradient on all points."""
    torch.manual_seed(3)
    masks = nesting.sequential(3)
    evd = case.startswith("evd")
    if case == "evd pointwise":
        a = torch.randn(24, 24, dtype=torch.float64)
        size, form = 24, _pointwise(24)
    else:
        a = torch.randn(24 if evd else 18, 24, dtype=torch.float64)
        a = a + a.T if evd else a
        size, form = a.shape[1], Matrix(a)
        if outputs:
            form = Matrix(torch.kron(a, torch.eye(outputs, dtype=torch.float64)), block=outputs)
    shape = (3,) if outputs is None else (3, outputs)
    f = torch.nn.Parameter(0.3 * torch.randn(size, *shape, dtype=torch.float64))
    g = f if evd else torch.nn.Parameter(0.3 * torch.randn(a.shape[0], *shape).double())

    def surrogate(samples):
        made = []
        for s in samples:
            jf = Jet(f[s.x.x][None], 1, 0)
            jg = jf if evd and s.shared else Jet(g[s.y.x][None], 1, 0)
            made.append(Batch(s, jf, jg, evd))
        total = NestedLowRank(masks).surrogate(form, *made)
        sides = [f] if evd else [f, g]
        return torch.cat([q.flatten() for q in torch.autograd.grad(total, sides)])

    whole = form.evaluation()
    exact = surrogate([whole, whole])
    draw = generator(7)
    draws = torch.stack([surrogate([form.sample(6, draw) for _ in range(2)]) for _ in range(500)])
    error = draws.mean(0) - exact
    standard = draws.std(0) / len(draws) ** 0.5
    assert (error.abs() / standard.clamp_min(1e-12)).max() < 4
    assert (error / standard).square().mean() < 1.5


@pytest.mark.parametrize("evd", [True, False])
def test_values_are_products_of_norms_and_the_objective_a_mean_of_both_batches(evd):
    """⟨f|f⟩ and ⟨g|g⟩ are means over both batches; the objective is symmetric in them."""
    torch.manual_seed(0)
    form = _pointwise(24) if evd else Matrix(torch.randn(18, 24, dtype=torch.float64))
    f = torch.randn(24, MODES, dtype=torch.float64)
    g = f if evd else torch.randn(18, MODES, dtype=torch.float64)
    draw = generator(3)
    batches = []
    for _ in range(2):
        sample = form.sample(6, draw).to("cpu", torch.float64)
        jets = [Jet(side[p.x.long()][None], 1, 0) for side, p in ((f, sample.x), (g, sample.y))]
        batches.append(Batch(sample, jets[0], jets[0] if evd else jets[1], evd))
    method = NestedLowRank.joint(MODES)
    grams = [[inner(j.value, j.value, p.weight) for j, p in ((b.f, b.sample.x), (b.g, b.sample.y))]
             for b in batches]  # fmt: skip
    mean_f, mean_g = ((a + b).diagonal() / 2 for a, b in zip(*grams, strict=True))
    torch.testing.assert_close(method.values(form, *batches), (mean_f * mean_g).sqrt())
    m, M = (t.double() for t in (method.masks.vector, method.masks.matrix))
    pi = sum(form.matrix(b.g, b.f, b.sample).diagonal() for b in batches)
    (f1, g1), (f2, g2) = grams
    wanted = (M * (f1 * g2 + f2 * g1)).sum() / 2 - (m * pi).sum()
    torch.testing.assert_close(method.objective(form, *batches), wanted)
    torch.testing.assert_close(method.objective(form, *batches[::-1]), wanted)


def test_only_masks_that_differ_put_functions_in_order():
    assert NestedLowRank.sequential(3).ordered
    assert NestedLowRank.joint(2).ordered
    assert not NestedLowRank.none(3).ordered
    assert not NestedLowRank.sequential(3, step=3).ordered
    assert NestedLowRank.none(1).ordered
    assert NestedLowRank.none(3).started
    assert not NestedLowRank.normalised
    assert not NestedLowRank.shift_invariant
    assert NestedLowRank.capturable
    assert not NestedLowRank.graph_of_action
    assert NestedLowRank.none(3).readout(torch.eye(3)) is None


def _pointwise(size):
    """A multiplication operator on an index set: f and g meet at the same points."""
    from schmidt.operators import Form, Indices, Sample

    class Multiplication(Form):
        self_adjoint = True

        def __init__(self):
            self.measure = Indices(size)

        def sample(self, n, generator):
            points = self.measure.sample(n, generator)
            return Sample(points, points)

        def evaluation(self, n=None):
            points = self.measure.evaluation()
            return Sample(points, points)

        def matrix(self, g, f, sample):
            return inner(g.value, f.value, sample.x.weight * (1 + sample.x.x / 5))

    return Multiplication()
