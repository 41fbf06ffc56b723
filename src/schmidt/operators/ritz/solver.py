"""Eigenfunctions of an operator given by formula: features, least-squares Ritz, certificate."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from schmidt.operators.differential import Schrodinger, SelfAdjointDifferential
from schmidt.operators.form import Form
from schmidt.operators.jet import Function
from schmidt.operators.measures.measure import Field
from schmidt.operators.ritz import line
from schmidt.operators.ritz.breaks import breaks, jumps, parts, require_weight
from schmidt.operators.ritz.certify import Evidence, bounds, certify
from schmidt.operators.ritz.collocation import (
    by_level,
    collocate,
    refine,
    relative_scale,
    residuals,
    signed,
)
from schmidt.operators.ritz.elements import EndlessLineError, LineError
from schmidt.operators.ritz.index import at_most_below
from schmidt.operators.ritz.result import AlarmWarning, Ritz
from schmidt.operators.ritz.search import Search, Trial, work
from schmidt.operators.ritz.spaces import (
    CoulombSpace,
    EuclideanSpace,
    FeatureChoice,
    LineSpace,
    Space,
    confining,
)
from schmidt.operators.ritz.spaces.confining import on_the_line, scalar_field
from schmidt.operators.ritz.weyl import survey
from schmidt.operators.spectrum import Functions
from schmidt.parameters import SEED, Number, check
from schmidt.progress import Interruptible, progress_bar

CERTIFICATE_POINTS = {1: 2**9, 2: 2**11}
MANY = 2**12
REFINE_POINTS = 2**16
ROOM = 0.05
SOMEWHERE = (
    "index not proven: each interval holds a point of the spectrum, but a state that resembles no "
    "feature is not seen"
)
NOWHERE = "not self-adjoint: a residual ε moves a value by about condition · ε; it is no bound"
SETTINGS = {
    "modes": Number(1, whole=True),
    "budget": Number(0, open="low", none=True, advice="units of work, about seconds of one core"),
    "seconds": Number(0, open="low", none=True),
    "tol": Number(0, open="low"),
    "seed": SEED,
}


def default_budget(dim: int, modes: int) -> float:
    """Units of work (:func:`schmidt.operators.ritz.search.work`) that usually suffice."""
    units, per_mode = {1: (5.0, 0.25), 2: (20.0, 0.25), 3: (25.0, 0.5)}.get(dim, (40.0, 2.0))
    return units + per_mode * max(0, modes - (20 if dim > 3 else 30))


def eigenfunctions(
    form: Form,
    modes: int,
    space: Space | None = None,
    *,
    budget: float | None = None,
    seconds: float | None = None,
    tol: float = 1e-9,
    choice: FeatureChoice | None = None,
    features: Function | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Ritz:
    """The leading eigenpairs of an operator that acts pointwise, by least-squares Ritz.

    A search without randomness looks for features (length scales, roughness, envelopes, number)
    and points with the smallest residual ‖(T−μ)f‖ on held-out points, until the estimated relative
    error is below ``tol`` or the budget is spent. Work is counted, not timed: the same seed makes
    the same trials on every machine. Then the result is certified on fresh points.

    Args:
        form: T with the wanted eigenvalues on top: :class:`Schrodinger`, or any form with a
            pointwise ``action`` from jets of order 2. Not compact, not self-adjoint is fine; what
            is needed is that the wanted eigenvalues have the largest real parts.
        modes: L.
        space: where the functions live. Default, for a Schrödinger operator on R^d: found from the
            potential by Weyl's law.
        budget: work to spend, in units of 2.2·10⁹ counted operations, about a second of one core;
            default by dimension and number of modes (20 in the plane, 40 from d = 4).
        seconds: stop the search after this time as well; the result then says so, for it depends on
            the machine. None: never.
        tol: target for the mean relative error, as estimated by Temple–Kato's quadratic bound
            (by the residual where T is not self-adjoint).
        choice: use these features and points instead of searching.
        features: functions of your own, (B, d) → (B, K) in float64, instead of searching: a trunk
            trained by :func:`train_trunk`, the hidden units of a trained network
            (``Hidden(network).double()``, which makes the network itself float64), or any module.
            Their derivatives must be continuous. About 16 K points are used.
        seed: of the features, of the points that judge them, and of the certificate's points.
        progress: show what is tried where standard error is a terminal.

    Raises:
        ValueError: no pointwise action, too few bound states, features that span too little.

    Cost: some 10–40 trials of N K² operations, N points and K features. Ctrl-C keeps the best.
    """
    if features is not None and choice is not None:
        raise ValueError("give either features or the choice of some, not both")
    check(SETTINGS, modes=modes, budget=budget, seconds=seconds, tol=tol, seed=seed)
    begin = time.perf_counter()
    space = space or _space_of(form, modes)
    _require_action(form, space)
    units = default_budget(space.dim, modes) if budget is None else float(budget)
    reserve = 0.1 if space.accurate else 0.25
    elements = isinstance(space, LineSpace) and features is None and choice is None
    edge: float | None = None
    bar = progress_bar(1000, "searching", enabled=progress)
    with bar, Interruptible() as stop:
        search = Search(
            form, space, modes, tol, (1 - reserve) * units, seconds, seed, stop=lambda: bool(stop)
        )
        search.report = _reporter(bar.update, search)
        if elements:
            assert isinstance(space, LineSpace)
            best, edge = _by_elements(form, space, modes, search)
        elif features is not None:
            best = search.given(features)
        else:
            best = search.run() if choice is None else search.only(choice)
        interrupted = bool(stop)
    space = search.space
    values, mix = best.values, best.mix
    condition = None
    if not space.accurate or form.self_adjoint is not True:
        points = (
            space.rule(REFINE_POINTS)
            if space.accurate
            else space.fresh(REFINE_POINTS, torch.Generator().manual_seed(2))
        )
        values, mix, condition = refine(form, best.features, mix, points)
        if values.is_complex():
            order = by_level(values, 10 * float(best.residual[:modes].max()))
            values, mix, condition = values[order], mix[:, order], condition[order]
    mix = signed(best.features, mix, search.held_out)
    seen = residuals(collocate(form, best.features, search.held_out, mix), values)
    evidence = certify(
        form,
        space,
        best.features,
        values,
        mix,
        modes,
        points=CERTIFICATE_POINTS.get(space.dim, MANY) // 2,
        seed=10_000 + seed,
        expected=seen,
        condition=condition,
        edge=edge,
    )
    notes, alarms = [], list(space.remarks)
    if search.late:
        notes.append(
            f"the search was stopped after {seconds:g} seconds: the answer depends on the machine"
        )
    if features is not None:
        alarms += jumps(features, mix[:, :modes], search.held_out)
        alarms += space.violations(features, mix[:, :modes])
    alarms += breaks(form, space, search.held_out)
    index = indexed(form, space, evidence)
    certificate = evidence.certificate(
        f"the {modes} leading eigenvalues",
        index=index.proven,
        notes=[*notes, index.note],
        alarms=[*alarms, *index.alarms],
    )
    for alarm in certificate.alarms:
        warnings.warn(alarm, AlarmWarning, stacklevel=2)
    return Ritz(
        form=form,
        space=space,
        values=values[:modes].numpy(),
        functions=Functions(best.features, mix[:, :modes]),
        certificate=certificate,
        trials=search.trials,
        choice=best.choice,
        seconds=time.perf_counter() - begin,
        settings={
            "method": "elements" if elements else "ritz",
            "modes": modes,
            "budget": units,
            "seconds": seconds,
            "tol": tol,
            "seed": seed,
            "space": type(space).__name__,
            **asdict(best.choice),
            "cut": best.cut,
            "rank": best.rank,
        },
        interrupted=interrupted,
    )


def _by_elements(
    form: Form, space: LineSpace, modes: int, search: Search
) -> tuple[Trial, float | None]:
    """The states that the line's elements gave, as a trial; where the continuous spectrum of T
    begins, if it does below."""
    begin = time.perf_counter()
    known = space.states(modes)
    rule = space.rule(1)
    at = collocate(form, known.functions, rule)
    norm = at.values.norm(dim=0)
    values = (at.values * at.images).sum(0) / norm**2
    error = (at.images - at.values * values).norm(dim=0) / norm
    # energies of the elements are integrated by parts, and free of rounding in second derivatives
    energies = form.offset - _factor(form) * torch.from_numpy(known.energies)
    values = torch.where((energies - values).abs() <= error, energies, values)
    order = values.argsort(descending=True)
    mix = torch.diag(1 / norm)[:, order]
    values = values[order]
    error = residuals(collocate(form, known.functions, search.held_out, mix), values)
    scale = relative_scale(values[:modes], form.offset)
    found = bounds(values.numpy(), error.numpy(), modes)
    trial = Trial(
        FeatureChoice(width=len(values), points=len(rule), depth=0, envelopes=0),
        known.functions,
        values,
        mix,
        error,
        float((error[:modes] / scale).mean()),
        float((torch.from_numpy(found.quadratic) / scale).mean()),
        0.0,
        len(values),
        work(len(rule), len(values), 1),
        time.perf_counter() - begin,
    )
    search.trials.append(trial)
    if known.bound is None or not math.isfinite(known.edge):
        return trial, None
    return trial, form.offset - _factor(form) * known.edge


@dataclass(frozen=True)
class Index:
    """Whether it is known that no state was missed, in words."""

    note: str
    proven: bool = False
    alarms: tuple[str, ...] = ()


def indexed(form: Form, space: Space, evidence: Evidence) -> Index:
    """Count the levels before the gap behind the wanted ones, by a method of another kind.

    On the line: by interval arithmetic where V is a formula, which proves the index; else by the
    inertia of elements that resolve V on a million points.
    """
    if form.self_adjoint is not True:
        return Index(NOWHERE)
    base = parts(form)[0]
    whole = isinstance(space, EuclideanSpace) and space.density is None
    single = len(parts(form)) == 1 and isinstance(base, Schrodinger)
    if single and space.dim > 1 and isinstance(space, EuclideanSpace | CoulombSpace):
        assert isinstance(base, Schrodinger)
        if space.density is None:
            last = (form.offset - float(evidence.values[-1])) / _factor(form)
            return _surveyed(base, space, last)
    if not (single and whole and space.dim == 1):
        return Index(SOMEWHERE)
    assert isinstance(base, Schrodinger)
    gap = evidence.gap_behind()
    if gap is None:
        return Index("index not proven: no gap is seen behind the wanted levels")
    count, upper, lower = gap
    to_energy = [(form.offset - mu) / _factor(form) for mu in (upper, lower)]
    energy, width = sum(to_energy) / 2, to_energy[1] - to_energy[0]
    enclose = getattr(base.potential, "enclose", None)
    if enclose is not None and evidence.orthonormal:
        for share in (0.2, 0.04):
            most = at_most_below(enclose, energy, share * width, kinetic=base.kinetic)
            if most is not None and most <= count:
                return Index(
                    f"index proven: at most {most} levels lie below {energy:.6g}, by interval "
                    "arithmetic",
                    True,
                )
    try:
        known = (
            space.found
            if isinstance(space, LineSpace)
            else line.lowest(
                on_the_line(scalar_field(base.potential, 1)), count, kinetic=base.kinetic
            )
        )
    except LineError as error:
        return Index(SOMEWHERE, alarms=() if isinstance(error, EndlessLineError) else (
            f"a count on the line finds fewer states: {error}",))  # fmt: skip
    there = int((known.energies < energy).sum())
    if there > count:
        return Index(
            "index wrong",
            alarms=(
                f"{there} levels lie below {energy:.6g}, and only {count} were found: states were "
                "missed; leave the space out, so that it is found from the potential",
            ),
        )
    if there < count:
        return Index(
            "index wrong",
            alarms=(f"only {there} levels lie below {energy:.6g}, but {count} were found",),
        )
    low, high = float(known.elements.low[0]), float(known.elements.high[-1])
    return Index(
        f"index counted: {count} levels lie below {energy:.6g}; features of V narrower than "
        f"{known.look.spacing(low, high):.2g} are not excluded"
    )


def _surveyed(form: Schrodinger, space: Space, energy: float) -> Index:
    """Look at V on a million points where the states are and around: room for states that the
    solver's points did not see is an alarm."""
    looked = survey(form.potential, space.fresh(2**13, torch.Generator().manual_seed(8)).x, energy,
                    kinetic=form.kinetic)  # fmt: skip
    alarms = []
    if looked.beyond > ROOM and not space.remarks:
        alarms.append(
            f"the potential falls below {energy:.6g} again beyond the solver's points, with room "
            f"for about {max(1, round(looked.beyond))} states there: states were missed, or leak"
        )
    if isinstance(space, EuclideanSpace) and looked.dip > 0.5:
        alarms.append(
            "the potential has dips that the solver's points did not see: states may be missing"
        )
    return Index(
        f"{SOMEWHERE}; V was looked at on {looked.points} points, {looked.spacing:.2g} apart where "
        "the states are: narrower features are not excluded",
        alarms=tuple(alarms),
    )


def _factor(form: Form) -> float:
    """a in T = a·(κ∇² − V) + c."""
    inner = getattr(form, "base", None)
    return 1.0 if inner is None else getattr(form, "factor", 1.0) * _factor(inner)


def bound_states(
    potential: Field,
    dim: int,
    modes: int,
    *,
    kinetic: float = 1.0,
    extent: float | None = None,
    **settings: Any,
) -> Ritz:
    """The lowest states of −κ∇² + V in R^d, as eigenpairs of T = κ∇² − V (energies: −values).

    Args:
        potential: V, points (B, d) → (B,). A Coulomb singularity is recognised at the origin.
        dim: d.
        modes: how many states.
        kinetic: κ.
        extent: about how far from the origin the states reach; default: found by Weyl's law.
        settings: ``budget``, ``tol``, … as for :func:`eigenfunctions`.
    """
    whole = Number(1, whole=True)
    check({"dim": whole, "modes": whole}, dim=dim, modes=modes)
    potential = scalar_field(potential, dim)
    space = confining(potential, dim, modes, kinetic=kinetic, extent=extent)
    form = Schrodinger(potential, space.measure(), form="strong", kinetic=kinetic)
    return eigenfunctions(form, modes, space, **settings)


def _space_of(form: Form, modes: int) -> Space:
    pieces = parts(form)
    base = pieces[0]
    from schmidt.operators.measures import Lebesgue, UniformBox

    measure = getattr(base, "measure", None)
    if len(pieces) > 1 or not isinstance(base, Schrodinger) or not isinstance(measure, Lebesgue):
        raise ValueError(
            "say where the functions live, e.g. space=EuclideanSpace(2, reach=4): only for a "
            "Schrödinger operator on R^d can it be found from the operator"
        )
    if isinstance(measure.proposal, UniformBox):
        raise ValueError("say what holds at the walls: space=BoxSpace(low, high) or a TorusSpace")
    return confining(base.potential, measure.dim, modes, kinetic=base.kinetic)


def _require_action(form: Form, space: Space) -> None:
    for part in parts(form):
        if type(part).action is Form.action or not part.additive:
            raise ValueError(
                f"{type(part).__name__} has no pointwise action, which residuals need; give it "
                "one, or use schmidt.operators.ritz.galerkin, which needs ⟨g|Tf⟩ only"
            )
        if isinstance(part, SelfAdjointDifferential):
            require_weight(part, space)
        dim = getattr(getattr(part, "measure", None), "dim", space.dim)
        if dim != space.dim:
            raise ValueError(f"the form lives in {dim} dimensions, the space in {space.dim}")


def _reporter(update: Callable[[int, str], None], search: Search) -> Callable[[Trial], None]:
    def report(trial: Trial) -> None:
        best = min(search.trials, key=lambda t: t.score)
        done = 1000 * (1 - search.left / search.budget)
        update(round(done), f"residual {best.score:.1e}, {trial.mix.shape[0]} features")

    return report
