"""Random potentials of twelve families, with levels by a method of another kind.

    python benchmarks/certified.py --families 25 --json families.json

Every potential is solved by ``schmidt.operators.bound_states`` as a formula (even seeds) or as a
function that hides its text (odd seeds). References: in one dimension C⁰ spectral elements with
Gauss–Lobatto points and known break points, in the plane products of Fourier (sinc) grids, on tori
Fourier matrices; each at two resolutions, whose difference is the reference's own error. A
potential on which that exceeds 1e-7 is left out, and counted.

A run counts as *right* if every |E_l − λ_l| ≤ radius_l. Reported: false radii (an interval without
any level), false proven indices, wrong indices without an alarm, refusals of states that exist; the
share of right answers that carry an index (proven, or counted), and that raise an alarm; and the
median of radius/error, where the radius is above 1e-8.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

from schmidt.operators import Lebesgue, Schrodinger, bound_states, eigenfunctions
from schmidt.operators.measures import Periodic
from schmidt.operators.measures.measure import Field
from schmidt.operators.ritz import TorusSpace
from schmidt.problems.formula import formula

Record = dict[str, Any]
UNSURE = 1e-7


@dataclass(frozen=True)
class Case:
    """A potential: its text, where it breaks, how far its states reach."""

    text: str
    breaks: list[float] = field(default_factory=list)
    reach: float = 12.0
    centres: list[float] = field(default_factory=lambda: [0.0])
    periodic: bool = False
    finest: float = 0.1


def polynomial(g: np.random.Generator, dim: int) -> Case:
    a, b, c = g.uniform(-4, 4), g.uniform(-1, 1), g.uniform(0.2, 2)
    text = f"{c:.4f}*x^4+({b:.4f})*x^3+({a:.4f})*x^2"
    if dim == 2:
        text += f"+y^2*{g.uniform(0.5, 2):.4f}+({g.uniform(-0.3, 0.3):.4f})*x*y"
    return Case(text, reach=7)


def far_wells(g: np.random.Generator, dim: int) -> Case:
    d = 10 ** g.uniform(0.7, 2.5 if dim == 1 else 0.9)
    a, h = g.uniform(0.5, 2), g.uniform(-4, 3)
    if dim == 2:
        return Case(f"min(x^2,{a:.4f}*(x-{d:.4f})^2+({h:.4f}))+y^2", _crossings(a, d, h), d + 8)
    return Case(f"min(x^2,{a:.4f}*(x-{d:.4f})^2+({h:.4f}))", _crossings(a, d, h), d + 12, [0.0, d])


def _crossings(a: float, d: float, h: float) -> list[float]:
    roots = np.roots([a - 1, -2 * a * d, a * d * d + h])
    return sorted(float(r.real) for r in roots if abs(r.imag) < 1e-12)


def dips(g: np.random.Generator, dim: int) -> Case:
    s, c = 10 ** g.uniform(-7 if dim == 1 else -1, -2 if dim == 1 else 0), g.uniform(-1.5, 1.5)
    depth = g.uniform(0.3, 3) / np.sqrt(s)
    r2 = f"(x-({c:.4f}))^2" + ("+y^2" if dim == 2 else "")
    square = "x^2" + ("+y^2" if dim == 2 else "")
    return Case(
        f"{square}-{depth:.6g}*exp(-({r2})/{s:.6g})",
        [round(c, 4)],
        9,
        [0.0, round(c, 4)],
        finest=min(0.1, float(np.sqrt(s))),
    )


def steps(g: np.random.Generator, dim: int) -> Case:
    a, b = sorted(np.round(g.uniform(-2, 2, 2), 4))
    text = f"x^2+{g.uniform(1, 9):.4f}*(x>{a})-{g.uniform(1, 9):.4f}*(x>{b})"
    return Case(text + ("+y^2" if dim == 2 else ""), [a, b], 10)


def kinks(g: np.random.Generator, dim: int) -> Case:
    c = round(g.uniform(-2, 2), 4)
    text = f"{g.uniform(0.5, 4):.4f}*abs(x)+{g.uniform(0.2, 3):.4f}*abs(x-({c}))"
    return Case(text + ("+y^2" if dim == 2 else ""), sorted([0.0, c]), 30 if dim == 1 else 14)


def tails(g: np.random.Generator, dim: int) -> Case:
    depth, kind = g.uniform(3, 40), g.integers(3)
    text = (
        f"-{depth:.4f}/cosh(r)^2",
        f"-{depth:.4f}*exp(-r^2)",
        f"-{depth / 8:.4f}/sqrt(r^2+1)",
    )[kind]
    return Case(text, reach=150.0 if dim == 1 else 12.0)


def rings(g: np.random.Generator, dim: int) -> Case:
    return Case(f"{g.uniform(0.5, 3):.4f}*(r-{g.uniform(1, 4):.4f})^2", [0.0], 14)


def anisotropic(g: np.random.Generator, dim: int) -> Case:
    k = 10 ** g.uniform(1, 4)
    if dim == 2:
        return Case(f"x^2+{k:.5g}*y^2", reach=8)
    return Case(f"{k:.5g}*max(x,0)^2+min(x,0)^2", [0.0], 11)


def quasi_degenerate(g: np.random.Generator, dim: int) -> Case:
    text = f"(x^2-{g.uniform(2, 12):.4f})^2+({10 ** g.uniform(-9, -1):.3g})*x"
    return Case(text + ("+y^2" if dim == 2 else ""), reach=7)


def oscillating(g: np.random.Generator, dim: int) -> Case:
    text = f"x^2+{g.uniform(0.5, 4):.4f}*cos({g.uniform(3, 60 if dim == 1 else 6):.4f}*x)"
    return Case(text + ("+y^2" if dim == 2 else ""), reach=9)


def walls(g: np.random.Generator, dim: int) -> Case:
    text = f"{g.uniform(0.5, 3):.4f}*x^2+{g.uniform(2, 30):.4f}/x^2"
    return Case(text + ("+y^2" if dim == 2 else ""), [0.0], 14)


def periodic(g: np.random.Generator, dim: int) -> Case:
    a, b = g.uniform(-8, 8, 2)
    text = f"({a:.4f})*cos(x)+({b:.4f})*sin(2*x)"
    return Case(text + ("+cos(y)" if dim == 2 else ""), periodic=True)


FAMILIES: dict[str, Callable[[np.random.Generator, int], Case]] = {
    f.__name__: f
    for f in (
        polynomial, far_wells, dips, steps, kinks, tails, rings, anisotropic, quasi_degenerate,
        oscillating, walls, periodic,
    )
}  # fmt: skip


def lobatto(p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, weights and the matrix of derivatives."""
    unit = np.eye(p + 1)[p]
    inner = np.sort(np.polynomial.legendre.Legendre(unit).deriv().roots().real)
    x = np.concatenate([[-1.0], inner, [1.0]])
    top = np.polynomial.legendre.legval(x, unit)
    d = np.zeros((p + 1, p + 1))
    off = ~np.eye(p + 1, dtype=bool)
    d[off] = (top[:, None] / top[None, :] / (x[:, None] - x[None, :] + np.eye(p + 1)))[off]
    d[0, 0], d[p, p] = -p * (p + 1) / 4, p * (p + 1) / 4
    return x, 2 / (p * (p + 1) * top**2), d


def on_elements(
    v: Callable[[np.ndarray], np.ndarray], case: Case, count: int, p: int
) -> np.ndarray:
    """Levels by C⁰ spectral elements that are small near the centres."""
    low, high = min(case.centres) - case.reach, max(case.centres) + case.reach
    grid = np.concatenate([[0], np.geomspace(case.finest, high - low, 60)])
    ends = [c + s * grid for c in case.centres + case.breaks for s in (-1, 1)]
    ends = np.concatenate([*ends, case.breaks, np.linspace(low, high, 160)])
    edges = np.unique(np.round(ends[(ends >= low) & (ends <= high)], 13))
    t, w, d = lobatto(p)
    h = np.diff(edges) / 2
    x = edges[:-1, None] + h[:, None] * (1 + t)
    inside = x + 1e-13 * np.sign(-t) * h[:, None]  # limits from within, where V jumps
    value = np.clip(v(inside.ravel()).reshape(x.shape), -1e12, 1e12)
    k = np.einsum("qi,qj,q->ij", d, d, w)[None] / h[:, None, None]
    k = k + np.einsum("nq,q,qi,qj->nij", value * h[:, None], w, np.eye(p + 1), np.eye(p + 1))
    node = np.arange(len(h))[:, None] * p + np.arange(p + 1)
    size = node.max() + 1
    rows, columns = np.broadcast_arrays(node[:, :, None], node[:, None, :])
    stiff = scipy.sparse.csc_matrix((k.ravel(), (rows.ravel(), columns.ravel())), (size, size))
    mass = np.bincount(node.ravel(), (h[:, None] * w).ravel())
    root = scipy.sparse.diags(1 / np.sqrt(mass[1:-1]))
    matrix = (root @ stiff[1:-1, 1:-1] @ root).tocsc()
    shift = float(value.min()) - 1.0
    found = scipy.sparse.linalg.eigsh(
        matrix, count, sigma=shift, return_eigenvectors=False, v0=np.ones(size - 2), ncv=4 * count
    )
    return np.sort(found)


def sinc(n: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """A grid and −d²/dx² on it (Colbert and Miller 1992)."""
    x, h = np.linspace(low, high, n, retstep=True)
    i = np.arange(n)
    distance = i[:, None] - i[None, :]
    with np.errstate(divide="ignore"):
        t = 2.0 * (-1.0) ** distance / distance**2
    np.fill_diagonal(t, np.pi**2 / 3)
    return x, t / h**2


def separable(case: Case) -> tuple[str, str] | None:
    """V = f(x) + g(y), where the text says so."""
    head, sign, tail = case.text.rpartition("+")
    plain = "y" not in head and "r" not in head.replace("sqrt", "") and "x" not in tail
    return (head, tail.replace("y", "x")) if sign and plain else None


def reference(case: Case, dim: int, count: int) -> tuple[np.ndarray, float]:
    """Levels, and how far two resolutions differ."""

    def line(text: str) -> Callable[[np.ndarray], np.ndarray]:
        f = formula(text, 1)
        return lambda x: f(torch.from_numpy(np.ascontiguousarray(x))[:, None]).numpy()

    def fourier(text: str, n: int) -> np.ndarray:
        x = 2 * np.pi * np.arange(n) / n
        k = np.fft.fftfreq(n, 1 / n)
        wave = np.exp(1j * np.outer(x, k)) / np.sqrt(n)
        return np.linalg.eigvalsh(wave.conj().T @ (line(text)(x)[:, None] * wave) + np.diag(k**2))

    def one(text: str, c: Case, p: int) -> np.ndarray:
        if c.periodic:
            return fourier(text, 8 * p + 1)[:count]
        return on_elements(line(text), c, count, p)

    def plane(m: int, reach: float) -> np.ndarray:
        x, t = sinc(128, -reach, reach)
        at = np.stack([a.ravel() for a in np.meshgrid(x, x, indexing="ij")], 1)
        v = formula(case.text, 2)(torch.from_numpy(at)).numpy().reshape(128, 128)
        bases = [np.linalg.eigh(t + np.diag(cut))[1][:, :m] for cut in (v[:, 64], v[64])]
        pairs = [(b[:, :, None] * b[:, None, :]).reshape(128, m * m) for b in bases]
        h = (pairs[0].T @ v @ pairs[1]).reshape(m, m, m, m).transpose(0, 2, 1, 3)
        k, one_ = [b.T @ t @ b for b in bases], np.eye(m)
        h = h.reshape(m * m, m * m) + np.kron(k[0], one_) + np.kron(one_, k[1])
        return np.linalg.eigvalsh(h)[:count]

    parts = separable(case) if dim == 2 else None
    levels = []
    for p, wider in ((10, 1.0), (13, 1.15)):
        case = replace(case, reach=case.reach * wider) if dim == 1 else case
        if dim == 1:
            levels.append(one(case.text, case, p))
        elif parts is not None:
            other = Case(parts[1], [], 12.0, periodic=case.periodic)
            sums = one(parts[0], case, p)[:, None] + one(parts[1], other, p)[None, :]
            levels.append(np.sort(sums.ravel())[:count])
        else:
            levels.append(plane(2 * p, case.reach * wider))
    return levels[1], float(np.abs(levels[1] - levels[0]).max())


def run(task: tuple[str, int, int, float]) -> tuple[str, int, int, Record]:
    """(family, dimension, seed, budget) → the answer beside the reference."""
    family, dim, seed, budget = task
    g = np.random.default_rng([seed, dim, list(FAMILIES).index(family)])
    case = FAMILIES[family](g, dim)
    modes = int(g.integers(1, 7))
    record: Record = {"text": case.text, "modes": modes, "formula": seed % 2 == 0}
    potential: Field = formula(case.text, dim)
    if seed % 2:
        inner = potential
        potential = lambda x: inner(x)  # noqa: E731
    begin = time.process_time()
    try:
        exact, unsure = reference(case, dim, modes + 8)
    except Exception as error:
        return family, dim, seed, record | {"unsure": f"{type(error).__name__}: {error}"}
    if not unsure < UNSURE * max(1.0, abs(exact[0])) and family != "tails":
        return family, dim, seed, record | {"unsure": unsure}
    record |= {"exact": exact.tolist(), "reference": unsure, "reference_seconds": _since(begin)}
    begin = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if case.periodic:
                form = Schrodinger(potential, Lebesgue(Periodic(dim=dim)), form="strong")
                found = eigenfunctions(
                    form, modes, TorusSpace(dim), budget=budget, seed=seed, progress=False
                )
            else:
                found = bound_states(
                    potential, dim, modes, budget=budget, seed=seed, progress=False
                )
    except ValueError as error:
        return family, dim, seed, record | {"refused": str(error), "seconds": _since(begin)}
    return (
        family,
        dim,
        seed,
        record
        | {
            "energies": found.energies.tolist(),
            "radius": found.radius.tolist(),
            "alarms": list(found.certificate.alarms),
            "met": found.certificate.met,
            "note": found.certificate.notes[-1],
            "seconds": _since(begin),
        },
    )


def _since(begin: float) -> float:
    return time.process_time() - begin


def judged(record: Record) -> dict[str, bool]:
    """What is to be counted of one answer."""
    exact, modes = np.array(record["exact"]), record["modes"]
    bound = exact[:modes] < -1e-3 if record["text"].startswith("-") else np.ones(modes, dtype=bool)
    if "refused" in record:
        return {"refused": True, "refused although bound": bool(bound.all())}
    energies, radius = np.array(record["energies"]), np.array(record["radius"])
    allowance = 2 * record["reference"] + 1e-11 * max(1.0, float(np.abs(exact).max()))
    nearest = np.abs(energies[:, None] - exact).min(1)
    beyond = energies + radius > exact[-1]  # more levels than the reference knows
    wrong = bool((np.abs(energies - exact[:modes]) > radius + allowance).any())
    proven = record["note"].startswith("index proven")
    alarmed, carries = bool(record["alarms"]), proven or record["note"].startswith("index counted")
    return {
        "false radius": bool(((nearest > radius + allowance) & ~beyond).any()),
        "false proven": wrong and (proven or record["met"]),
        "wrong, silent": wrong and not alarmed,
        "right": not wrong,
        "right with index": not wrong and carries,
        "right with alarm": not wrong and alarmed,
    }


def table(records: list[tuple[str, int, Record]]) -> str:
    """A line per family and dimension, and what was wrong."""
    heads = (
        "false radius", "false proven", "wrong, silent", "right", "right with index",
        "right with alarm", "refused", "refused although bound",
    )  # fmt: skip
    lines = ["| family | d | runs | unsure | " + " | ".join(heads) + " | radius/error |"]
    lines.append("|---" * (len(heads) + 5) + "|")
    bad = []
    for dim in (1, 2):
        for family in (*FAMILIES, "all"):
            mine = [r for f, d, r in records if d == dim and family in (f, "all")]
            if not mine:
                continue
            sure = [r for r in mine if "unsure" not in r]
            counts = {h: sum(judged(r).get(h, False) for r in sure) for h in heads}
            ratios = [q for r in sure for q in _ratios(r)]
            middle = f"{np.median(ratios):.0f}" if ratios else "–"
            runs, unsure = len(mine), len(mine) - len(sure)
            cells = " | ".join(str(counts[h]) for h in heads)
            lines.append(f"| {family} | {dim} | {runs} | {unsure} | {cells} | {middle} |")
            if family != "all":
                bad += [
                    f"{family} d={dim}: {h}: {r['text']} modes {r['modes']}"
                    for r in sure
                    for h in (*heads[:3], heads[7])
                    if judged(r).get(h)
                ]
    return "\n".join([*lines, "", *bad])


def _ratios(record: Record) -> list[float]:
    """radius/error per mode, where the radius is above 1e-8."""
    if "energies" not in record:
        return []
    exact = np.array(record["exact"])[: record["modes"]]
    error = np.abs(np.array(record["energies"]) - exact)
    error = np.maximum(error, record["reference"] + 1e-13 * np.abs(exact))
    radius = np.array(record["radius"])
    return [float(r / e) for r, e in zip(radius, error, strict=True) if r > 1e-8]
