"""What ``mutants.py`` tries: targets with the tests that guard them, mistakes that have names, and
mutants that no test can notice, each with the reason."""

from __future__ import annotations

TARGETS: dict[str, tuple[str, str]] = {
    "certificate": ("src/schmidt/certificate.py", "tests/test_certificate.py"),
    "certify": (
        "src/schmidt/matrices/certify.py",
        "tests/matrices/test_rounding.py tests/matrices/test_svd.py "
        "tests/matrices/test_completeness.py",
    ),
    "completeness": (
        "src/schmidt/matrices/completeness.py",
        "tests/matrices/test_completeness.py tests/matrices/test_svd.py",
    ),
    "bounds": (
        "src/schmidt/operators/ritz/certify.py",
        "tests/operators/ritz/test_bounds.py tests/operators/ritz/test_certificate.py",
    ),
    "spectrum": (
        "src/schmidt/operators/spectrum.py",
        "tests/operators/test_views.py tests/operators/test_fit.py tests/operators/test_nested.py",
    ),
    "nested": ("src/schmidt/operators/methods/nested.py", "tests/operators/test_nested.py"),
    "tangent": ("src/schmidt/adapters/tangent.py", "tests/adapters/test_tangent.py"),
    "soft-impute": (
        "src/schmidt/completion/soft_impute.py src/schmidt/completion/path.py",
        "tests/completion/test_soft_impute.py tests/completion/test_estimator.py",
    ),
    "linalg": (
        "src/schmidt/linalg/bases.py src/schmidt/linalg/leading.py src/schmidt/linalg/signs.py",
        "tests/linalg",
    ),
    "ranking": ("src/schmidt/ranking.py", "tests/experiments/retrieval/test_metrics.py"),
    "factorization": ("src/schmidt/factorization.py", "tests/test_factorization.py"),
    "parameters": ("src/schmidt/parameters.py", "tests/test_parameters.py"),
    "storage": ("src/schmidt/storage.py", "tests/test_storage.py tests/test_factorization.py"),
}

NAMED: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "jackknife without its factor n − 1: radii 15 times too small",
        "src/schmidt/operators/ritz/certify.py",
        "np.sqrt((n - 1) / n * ((others",
        "np.sqrt(1 / n * ((others",
        "tests/operators/ritz/test_bounds.py",
    ),
    (
        "jackknife without its factor (n − 1)/n: radii 3 % too large",
        "src/schmidt/operators/ritz/certify.py",
        "np.sqrt((n - 1) / n * ((others",
        "np.sqrt(((others",
        "tests/operators/ritz/test_bounds.py",
    ),
    (
        "spectral bound without the residuals of triplets",
        "src/schmidt/matrices/completeness.py",
        "Deflation(found.right, s**2, s * r, 0.0)",
        "Deflation(found.right, s**2, 0 * r, 0.0)",
        "tests/matrices/test_certify.py",
    ),
    (
        "spectral bound without what couples a Krylov space to the rest",
        "src/schmidt/matrices/completeness.py",
        "Deflation(found.space.basis.all, lam, y,",
        "Deflation(found.space.basis.all, lam, 0 * y,",
        "tests/matrices/test_certify.py",
    ),
    (
        "mass bracket without residuals",
        "src/schmidt/matrices/certify.py",
        "math.sqrt(len(known)) * (r + noise)",
        "math.sqrt(len(known)) * noise",
        "tests/matrices/test_certify.py",
    ),
    (
        "mass bracket that subtracts the residuals once, not √K times",
        "src/schmidt/matrices/certify.py",
        "math.sqrt(len(known)) * (r + noise)",
        "(r + noise)",
        "tests/matrices/test_certify.py",
    ),
    (
        "noise of a rescaled source in the units before",
        "src/schmidt/matrices/sources/source.py",
        "self.noise = source.noise / factor",
        "self.noise = source.noise",
        "tests/matrices/test_certify.py",
    ),
    (
        "noise of centred blocks in the units of the user",
        "src/schmidt/matrices/kinds.py",
        "source.noise += shift.noise / source.unit",
        "source.noise += shift.noise",
        "tests/matrices/test_certify.py",
    ),
    (
        "λ of all entries without √(total/kept)",
        "src/schmidt/completion/path.py",
        "penalty * float(np.sqrt(total / kept))",
        "penalty",
        "tests/completion/test_path.py",
    ),
    (
        "√(kept/total) in its place",
        "src/schmidt/completion/path.py",
        "np.sqrt(total / kept)",
        "np.sqrt(kept / total)",
        "tests/completion/test_path.py",
    ),
    (
        "the parabola's sign",
        "src/schmidt/completion/path.py",
        "0.5 * (before - after) / bend",
        "0.5 * (after - before) / bend",
        "tests/completion/test_path.py",
    ),
    (
        "equal scores ranked as they are stored",
        "src/schmidt/ranking.py",
        "    if not equal.any():\n",
        "    if True:\n",
        "tests/experiments/retrieval/test_metrics.py",
    ),
    (
        "equal scores ranked as the worst of their group",
        "src/schmidt/ranking.py",
        "(place - start[group]) * ((r - 1) / (size - 1))[group]",
        "(place - start[group]) * 0.0",
        "tests/experiments/retrieval/test_metrics.py",
    ),
    (
        "search that cuts equal scores where they are stored",
        "src/schmidt/semantic/index.py",
        "(allowed, -words[allowed], -np.round(score[allowed], DIGITS))",
        "(allowed, -score[allowed])",
        "tests/semantic/test_index.py",
    ),
    (
        "a pair that meets itself in the means of the CDK's score",
        "src/schmidt/dependence/coembedding.py",
        "means = ((w @ f) @ (w @ g) - same @ (f * g).sum(1)) / apart",
        "means = (w @ f) @ (w @ g)",
        "tests/dependence/test_honest.py::test_a_pair_does_not_meet_itself_in_the_score",
    ),
    (
        "a pair that meets itself in the overlaps of the CDK's score",
        "src/schmidt/dependence/coembedding.py",
        "(grams - same @ (f.square().sum(1) * g.square().sum(1))) / apart",
        "grams",
        "tests/dependence/test_honest.py::test_a_pair_does_not_meet_itself_in_the_score",
    ),
    (
        "a pair that meets itself in training",
        "src/schmidt/dependence/objective.py",
        "(metric - _same_pair(whole, masks.matrix)) / excess",
        "metric",
        "tests/dependence/test_objective.py",
    ),
    (
        "torch's generator not put back at a resume",
        "src/schmidt/operators/checkpoint.py",
        '        torch.set_rng_state(self.tensors["torch"])\n',
        "",
        "tests/operators/test_resume.py::test_torchs_own_randomness_goes_on_where_it_was",
    ),
    (
        "the samples' generator not put back at a resume",
        "src/schmidt/operators/checkpoint.py",
        '        generator.set_state(self.tensors["generator"])\n',
        "",
        "tests/operators/test_run.py::test_a_killed_run_resumes_bit_for_bit",
    ),
)
"""(what is mistaken, file, right, wrong, tests that must fail)."""

EQUIVALENT: dict[str, tuple[tuple[str, str, str], ...]] = {}
"""Per target (part of the old line, part of the new one, why nobody can tell)."""
