"""Eq. (15) and (16) as corrected, both unbiased variants, and three ways to normalise."""

import pytest
import torch

from schmidt.operators import methods
from schmidt.operators.methods import NeuralEF
from schmidt.operators.methods.neuralef import NORMALISATIONS, PENALTIES


def sphere(case):
    """Normalised functions, ⟨f_i|f_l⟩ and ⟨f_i|T f_l⟩."""
    u = case.u.detach()
    f = u / u.norm(dim=0)
    return f, f.T @ f, f.T @ case.a @ f


def field(case, penalty):
    """The gradient in f_l before it is pulled back to the outputs, in the words of B.2.2."""
    f, gram, pi = sphere(case)
    image = case.a @ f
    out = torch.zeros_like(f)
    for l in range(f.shape[1]):
        out[:, l] = -2 * image[:, l]
        for i in range(l):
            out[:, l] += {
                "original": 2 * pi[i, l] / pi[i, i] * image[:, i],
                "overlap": 2 * gram[i, l] * image[:, i],
                "deflation": 2 * pi[i, l] * f[:, i],
            }[penalty]
    return out


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_is_that_of_the_outputs_of_normalised_functions(case, penalty, normalisation):
    """(I − |f_l⟩⟨f_l|) G_l / ‖u_l‖, since f = u/‖u‖."""
    f, _, _ = sphere(case)
    g = field(case, penalty)
    expected = (g - f * (f * g).sum(0)) / case.u.detach().norm(dim=0)
    found = case.gradient(case.prepare(NeuralEF(penalty=penalty, normalisation=normalisation)))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_equation_16_is_the_gradient_of_the_squared_penalty(case):
    """Finite differences of (15) in u_l alone: with the square, and with a factor 2, not 4."""

    def objectives(u):
        f = u / u.norm(dim=0)
        pi = f.T @ case.a @ f
        return (pi.square() / pi.diagonal()[:, None]).triu(1).sum(0) - pi.diagonal()

    found = case.gradient(case.prepare(NeuralEF.original()))
    torch.testing.assert_close(found, case.differences(objectives), rtol=1e-7, atol=1e-8)
    total = NeuralEF.original().objective(case.form, *case.batches())
    torch.testing.assert_close(total, objectives(case.u.detach()).sum(), rtol=1e-12, atol=0)


def test_all_penalties_agree_where_the_functions_before_are_eigenfunctions(case):
    with torch.no_grad():
        vectors = torch.linalg.eigh(case.a).eigenvectors.flip(1)[:, :3]
        case.u.copy_(torch.cat([vectors, case.u[:, 3:]], 1))
    found = [case.gradient(case.prepare(NeuralEF(penalty=p)))[:, 3] for p in PENALTIES]
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[0], found[2], rtol=1e-10, atol=1e-12)


class Settled(NeuralEF):
    """With the averages at what they converge to."""

    def __init__(self, case, penalty):
        super().__init__(penalty=penalty, normalisation="unbiased")
        self.average.update(case.u.detach().square().sum(0))

    def update(self, first, second):
        pass


@pytest.mark.parametrize("kind", ["case", "pointwise"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_variants_are_unbiased_and_the_original_is_not(request, standard_errors, penalty, kind):
    """Given the norms, and up to the component along f_l, which only moves the scale."""
    case = request.getfixturevalue(kind)
    method = Settled(case, penalty)
    draws, exact = case.draws(method, 700, 6), case.gradient(method)
    off = standard_errors(draws, exact, case.u.detach())
    if penalty != "original":
        assert off.abs().max() < 4
        assert off.square().mean() < 1.5
    elif kind == "pointwise":  # else the denominator may vanish, and the mean does not exist
        assert off.abs().max() > 6


def test_batch_normalisation_is_biased(pointwise, standard_errors):
    method = NeuralEF()
    draws, exact = pointwise.draws(method, 700, 6), pointwise.gradient(method)
    assert standard_errors(draws, exact, pointwise.u.detach()).abs().max() > 6


def test_running_means_of_norms_are_biased_and_of_their_squares_are_not(case):
    """E √x ≤ √(E x): the norms come out too small."""
    exact, found = case.u.detach().norm(dim=0), {}
    for name in ("biased", "unbiased"):
        generator = torch.Generator().manual_seed(3)
        method = case.prepare(NeuralEF(normalisation=name, decay=0.999))
        for _ in range(400):
            halves = case.form.sample(2, generator), case.form.sample(2, generator)
            case.gradient(method, halves)
        mean = method.average.value
        found[name] = (mean if name == "biased" else mean.sqrt()) / exact
    assert (found["unbiased"] - 1).abs().max() < 0.04
    assert (found["biased"] < found["unbiased"] - 0.01).all()


def test_eigengame_and_its_unbiased_form_are_two_of_these():
    for name, penalty in (("eigengame", "original"), ("mu-eigengame", "deflation")):
        assert methods.method(name, 3).settings == {
            "penalty": penalty,
            "normalisation": "unbiased",
            "decay": 0.99,
        }


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match="penalty must be one of original, overlap, deflation"):
        NeuralEF(penalty="squared")
    with pytest.raises(ValueError, match="normalisation must be one of batch, biased, unbiased"):
        NeuralEF(normalisation="layer")
    with pytest.raises(ValueError, match="decay must be a number of at least 0 and"):
        NeuralEF(decay=1)
