"""Dependence between two variables: the learned kernel beside correlation analyses of all kinds.

    python benchmarks/dependence.py                        # 5 seeds, some 10 minutes on one core
    python benchmarks/dependence.py --seeds 2 --steps 300

Two tables. *Normal pairs*, 10⁵ of them with correlation ρ = 0.8: σ_k = ρ^k with Hermite functions.
The oracle knows these functions and only has to estimate their correlations, on held-out pairs.
Errors are of the first six values; a method that has fewer is charged the missing ones whole.
H-scores are on 2·10⁵ fresh pairs (½ Σ ρ^{2k} = 0.828 at most).

*Halves of digits*: left and right halves of scikit-learn's 8×8 digits, 10 modes. Measured on a
held-out third: the sum of the correlations of the 10 modes (whitened and rotated on the training
part, for all methods alike; the usual measure of deep CCA, and what it maximises), and how often
the right half of a digit is among the first 5 of all held-out ones by cosine.

Peers: scikit-learn's CCA and PLSCanonical; deep CCA (Andrew et al. 2013) and nonparametric CCA
(Michaeli et al. 2016) in small versions of our own, below.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
import torch
import tyro
from numpy.polynomial.hermite_e import hermeval
from sklearn.cross_decomposition import CCA, PLSCanonical
from sklearn.datasets import load_digits
from torch import Tensor, nn

from schmidt.dependence import CDK, GivenPairs, LinearCDK, moments
from schmidt.dependence.canonical import canonical

RHO, ORDER = 0.8, 6
Array = np.ndarray
Embed = Callable[[Array], Array]
Method = Callable[[Array, Array, int, int], tuple[Embed, Embed, Array]]
"""(x, y, modes, seed) → f, g with ‖f_l‖‖g_l‖ = σ_l on the training data, and σ (modes,)."""


@dataclass(frozen=True)
class Options:
    """Both tables."""

    seeds: int = 5
    """Seeds 0, 1, …"""
    pairs: int = 100_000
    """Normal pairs."""
    steps: int = 1600
    """Training steps of networks."""
    threads: int = 1
    """Threads of torch."""


class DeepCCA:
    """Two perceptrons under the sum of all canonical correlations of large minibatches."""

    ridge = 1e-3

    def __init__(self, modes: int, hidden: int, steps: int, seed: int, batch: int = 512) -> None:
        self.modes, self.hidden, self.steps, self.seed = modes, hidden, steps, seed
        self.batch = batch

    def fit(self, x: Tensor, y: Tensor) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(self.seed)
        nets = [
            nn.Sequential(
                nn.Linear(side.shape[1], self.hidden), nn.GELU(), nn.Linear(self.hidden, self.modes)
            )
            for side in (x, y)
        ]
        parameters = [p for net in nets for p in net.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            chosen = torch.randint(len(x), (self.batch,))
            loss = -self.correlation(nets[0](x[chosen]), nets[1](y[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return nets[0], nets[1]

    def correlation(self, f: Tensor, g: Tensor) -> Tensor:
        f, g = f - f.mean(0), g - g.mean(0)
        eye = self.ridge * torch.eye(self.modes)
        roots = [torch.linalg.cholesky(u.T @ u / len(u) + eye) for u in (f, g)]
        half = torch.linalg.solve_triangular(roots[0], f.T @ g / len(f), upper=False)
        whole = torch.linalg.solve_triangular(roots[1], half.T, upper=False)
        return torch.linalg.matrix_norm(whole, "nuc")


class NonparametricCCA:
    """The SVD of an empirical kernel matrix, its densities estimated by normal kernels."""

    def __init__(self, modes: int, width: float, points: int, seed: int) -> None:
        self.modes, self.width, self.points, self.seed = modes, width, points, seed

    def fit(self, x: Array, y: Array) -> tuple[Embed, Embed, Array]:
        chosen = np.random.default_rng(self.seed).permutation(len(x))[: self.points]
        x, y = x[chosen], y[chosen]
        wx, wy = self.affinity(x, x), self.affinity(y, y)
        # p(x_i, y_j)/(p(x_i)p(y_j)) up to a constant, from sums over the sample
        u, s, vh = np.linalg.svd(wx @ wy.T)
        values, n = s[1 : self.modes + 1], len(x)
        left, right = u[:, 1 : self.modes + 1], vh[1 : self.modes + 1].T
        root = np.sqrt(n / values)

        def f(z: Array) -> Array:
            return self.affinity(z, x) @ (wy.T @ right) * root

        def g(z: Array) -> Array:
            return self.affinity(z, y) @ (wx.T @ left) * root

        return f, g, values

    def affinity(self, a: Array, b: Array) -> Array:
        """Kernels between rows, each row normalised to sum 1."""
        square = ((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T).clip(0)
        w = np.exp(-square / (2 * self.width**2))
        return w / w.sum(1, keepdims=True).clip(1e-300)


def linear_peer(make: Callable[..., object]) -> Method:
    def method(x: Array, y: Array, modes: int, seed: int) -> tuple[Embed, Embed, Array]:
        count = min(modes, x.shape[1], y.shape[1])
        model = make(n_components=count, max_iter=5000).fit(x, y)
        u, v = model.transform(x, y)
        s = np.array([abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(u.T, v.T, strict=True)])
        scales = [np.sqrt(s) / w.std(0).clip(1e-12) for w in (u, v)]
        blank = y[:1]

        def f(z: Array) -> Array:
            return model.transform(z, np.repeat(blank, len(z), 0))[0] * scales[0]

        def g(z: Array) -> Array:
            return model.transform(np.repeat(x[:1], len(z), 0), z)[1] * scales[1]

        return f, g, s

    return method


def linear(x: Array, y: Array, modes: int, seed: int) -> tuple[Embed, Embed, Array]:
    model = LinearCDK(min(modes, x.shape[1], y.shape[1])).fit(x, y)
    return model.transform_x, model.transform_y, model.singular_values_


def deep(hidden: int, steps: int) -> Method:
    def method(x: Array, y: Array, modes: int, seed: int) -> tuple[Embed, Embed, Array]:
        scaled = [(side - side.mean(0), side.std(0).clip(1e-6)) for side in (x, y)]
        a, b = (torch.from_numpy(c / s).float() for c, s in scaled)
        nets = DeepCCA(modes, hidden, steps, seed).fit(a, b)
        c = canonical(moments(GivenPairs(a, b), *nets), ridge=1e-6)
        sides = zip((x, y), scaled, nets, (c.mix_f, c.mix_g), strict=True)

        def embedding(side: Array, scale: Array, net: nn.Module, mix: Tensor) -> Embed:
            centre = side.mean(0)

            @torch.no_grad()
            def embed(z: Array) -> Array:
                return (net(torch.from_numpy((z - centre) / scale).float()).double() @ mix).numpy()

            offset = embed(side).mean(0)
            return lambda z: embed(z) - offset

        f, g = (embedding(side, s, net, mix) for side, (_, s), net, mix in sides)
        return f, g, c.values.numpy()

    return method


def nonparametric(width: float, points: int = 2000) -> Method:
    def method(x: Array, y: Array, modes: int, seed: int) -> tuple[Embed, Embed, Array]:
        return NonparametricCCA(modes, width, points, seed).fit(x, y)

    return method


def learned(polish: str | None, hidden: int, steps: int, **settings: object) -> Method:
    def method(x: Array, y: Array, modes: int, seed: int) -> tuple[Embed, Embed, Array]:
        model = CDK(
            modes,
            hidden=(hidden,),
            steps=steps,
            polish=polish,
            seed=seed,
            progress=False,
            **settings,
        ).fit(x, y)
        return model.transform_x, model.transform_y, model.singular_values_

    return method


def normal_pairs(n: int, seed: int) -> tuple[Array, Array]:
    x, noise = np.random.default_rng(seed).normal(size=(2, n, 1))
    return x, RHO * x + np.sqrt(1 - RHO**2) * noise


def hermite(x: Array) -> Array:
    orders = range(1, ORDER + 1)
    columns = [hermeval(x[:, 0], np.eye(ORDER + 1)[k]) / factorial(k) ** 0.5 for k in orders]
    return np.stack(columns, 1)


def h_score(f: Array, g: Array) -> float:
    n = len(f)
    cross = (f * g).mean(0).sum() - (f.mean(0) * g.mean(0)).sum()
    return float(cross - ((f.T @ f / n) * (g.T @ g / n)).sum() / 2)


def normal_table(options: Options) -> None:
    exact = RHO ** np.arange(1, ORDER + 1)
    methods: dict[str, Method] = {
        "CCA (scikit-learn)": linear_peer(CCA),
        "linear CDK": linear,
        "nonparametric CCA, 2000 pairs": nonparametric(0.3),
        "deep CCA": deep(64, options.steps),
        "CDK, as learned": learned(None, 64, options.steps),
        "CDK, polish span": learned("span", 64, options.steps),
        "CDK, polish ritz": learned("ritz", 64, options.steps),
    }
    print(f"Normal pairs, n = {options.pairs}, {options.seeds} seeds\n")
    print("| | RMS error, k ≤ 6 | largest | " + " | ".join(f"k = {k}" for k in range(1, 7)) + " |")
    print("|---|---|---|" + "---|" * 6)
    errors = []
    for seed in range(options.seeds):
        x, y = normal_pairs(options.pairs, 1000 + seed)
        errors.append((hermite(x) * hermite(y)).mean(0) - exact)
    _errors("oracle, held out", errors)
    fresh = normal_pairs(200_000, 99)
    rest = []
    for name, method in methods.items():
        errors, scores, seconds = [], [], []
        for seed in range(options.seeds):
            x, y = normal_pairs(options.pairs, seed)
            begin = time.perf_counter()
            f, g, values = method(x, y, ORDER, seed)
            seconds.append(time.perf_counter() - begin)
            errors.append(np.pad(values, (0, ORDER - len(values))) - exact)
            scores.append(_in_parts(f, g, *fresh))
        _errors(name, errors)
        rest.append(f"| {name} | {_spread(scores)} | {np.mean(seconds):.1f} |")
    print("\n| | H-score, fresh pairs | seconds |\n|---|---|---|")
    print("\n".join(rest), flush=True)


def _in_parts(f: Embed, g: Embed, x: Array, y: Array) -> float:
    scores = [h_score(f(a), g(b)) for a, b in zip(_parts(x), _parts(y), strict=True)]
    return float(np.mean(scores))


def _parts(a: Array) -> list[Array]:
    return np.array_split(a, 40)


def _errors(name: str, errors: Sequence[Array]) -> None:
    e = np.array(errors)
    by_order = np.sqrt((e**2).mean(0))
    cells = [f"{np.sqrt((e**2).mean()):.4f}", f"{np.abs(e).max():.4f}"]
    print(f"| {name} | " + " | ".join([*cells, *(f"{v:.4f}" for v in by_order)]) + " |", flush=True)


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def digits_table(options: Options, modes: int = 10) -> None:
    images = load_digits().images / 16
    left, right = images[:, :, :4].reshape(-1, 32), images[:, :, 4:].reshape(-1, 32)
    small = {"batch": 256}
    methods: dict[str, Method] = {
        "CCA (scikit-learn)": linear_peer(CCA),
        "PLS (scikit-learn)": linear_peer(PLSCanonical),
        "linear CDK": linear,
        "nonparametric CCA": nonparametric(0.5),
        "deep CCA": deep(256, options.steps // 4),
        "CDK, as learned": learned(None, 256, options.steps // 4, **small),
        "CDK, polish span": learned("span", 256, options.steps // 4, **small),
        "CDK, polish ritz": learned("ritz", 256, options.steps // 4, **small),
    }
    print(f"\nHalves of digits, {modes} modes, {options.seeds} splits\n")
    print(
        "| | sum of correlations, held out | H-score, held out | found in the first 5 | seconds |"
    )
    print("|---|---|---|---|---|")
    for name, method in methods.items():
        rows = []
        for seed in range(options.seeds):
            order = np.random.default_rng(seed).permutation(len(left))
            train, test = order[len(order) // 3 :], order[: len(order) // 3]
            begin = time.perf_counter()
            f, g, _ = method(left[train], right[train], modes, seed)
            seconds = time.perf_counter() - begin
            here = f(left[train]), g(right[train])
            there = f(left[test]), g(right[test])
            rows.append((_total(here, there), h_score(*there), _found(*there), seconds))
        columns = list(zip(*rows, strict=True))
        cells = [*map(_spread, columns[:3]), f"{np.mean(columns[3]):.1f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _total(here: tuple[Array, Array], there: tuple[Array, Array]) -> float:
    """The sum of correlations, held out, of canonical variates found on the training part."""
    pairs = GivenPairs(*(torch.from_numpy(np.asarray(a, np.float64)) for a in here))
    c = canonical(moments(pairs, lambda a: a, lambda a: a), ridge=1e-6)
    f, g = there[0] @ c.mix_f.numpy(), there[1] @ c.mix_g.numpy()
    return sum(abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(f.T, g.T, strict=True))


def _found(f: Array, g: Array, first: int = 5) -> float:
    f, g = (a / np.linalg.norm(a, axis=1, keepdims=True).clip(1e-12) for a in (f, g))
    similarity = f @ g.T
    rank = (similarity > similarity.diagonal()[:, None]).sum(1)
    return float((rank < first).mean())


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    normal_table(options)
    digits_table(options)


if __name__ == "__main__":
    main(tyro.cli(Options))
