"""Matrix completion on MovieLens-100k, beside Surprise.

    python benchmarks/completion.py --data FOLDER

FOLDER holds u.data (user, item, rating, time; from GroupLens) or ml-100k.inter (the same in the
package recbole, recbole/dataset_example/ml-100k/). The data may not be redistributed.

Random 5-fold cross-validation, seed 0, the same folds for all. λ and the rank of MatrixCompletion
are chosen inside each training part; peers run with their defaults, and "SVD, tuned" with 50
factors, 40 epochs and all penalties 0.08, which were found on these data. Error: root mean square
over the test fold, predictions clipped to 1…5, unknown users and films included. Time: CPU seconds
of fit, one thread, without prediction and Surprise's conversion of ids; medians over folds. SVD++
runs on the first --slow-folds only; the last column compares on the same folds.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import tyro  # noqa: E402

from schmidt import MatrixCompletion  # noqa: E402

Array = np.ndarray
Fit = Callable[[Array, Array, Array], Callable[[Array, Array], Array]]
"""Training triples → a function that predicts test pairs."""


@dataclass(frozen=True)
class Options:
    """Where the data are, and how much to run."""

    data: Path
    """Folder with u.data or ml-100k.inter."""
    folds: int = 5
    """Folds to run, of 5."""
    slow_folds: int = 2
    """Folds for SVD++."""
    seed: int = 0
    """Of the folds."""


@dataclass
class Result:
    """Per fold."""

    errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def load(folder: Path) -> tuple[Array, Array, Array]:
    """Users, films and ratings."""
    for name, header in (("u.data", 0), ("ml-100k.inter", 1)):
        if (folder / name).exists():
            table = np.loadtxt(folder / name, skiprows=header, usecols=(0, 1, 2))
            return table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2]
    raise SystemExit(f"{folder} holds neither u.data nor ml-100k.inter")


def ours(**settings: Any) -> Fit:
    def fit(users: Array, films: Array, values: Array) -> Callable[[Array, Array], Array]:
        return MatrixCompletion(unknown="bias", **settings).fit(users, films, values).predict

    return fit


def peer(make: Callable[[], Any]) -> Fit:
    """An algorithm of Surprise; its own id handling is not timed."""

    def fit(users: Array, films: Array, values: Array) -> Callable[[Array, Array], Array]:
        algorithm = make()
        algorithm.fit(trainset(users, films, values))

        def predict(users: Array, films: Array) -> Array:
            pairs = zip(users, films, strict=True)
            return np.array([algorithm.predict(str(u), str(i)).est for u, i in pairs])

        return predict

    return fit


prepared: dict[int, Any] = {}


def trainset(users: Array, films: Array, values: Array) -> Any:
    from surprise import Dataset, Reader

    key = hash((users.tobytes(), films.tobytes()))
    if key not in prepared:
        raw = [
            (str(u), str(i), float(r), None) for u, i, r in zip(users, films, values, strict=True)
        ]
        prepared.clear()
        prepared[key] = Dataset(Reader(rating_scale=(1, 5))).construct_trainset(raw)
    return prepared[key]


def methods() -> dict[str, Fit | None]:
    """By name; None where the package is missing."""
    found: dict[str, Fit | None] = {
        "biases only": ours(penalty=1e12),
        "MatrixCompletion": ours(),
        "MatrixCompletion, soft-impute": ours(method="soft-impute"),
        "MatrixCompletion, λ = 10, all terms": ours(penalty=10.0),
        "MatrixCompletion, rank 7, λ = 10": ours(method="fixed-rank", rank=7, penalty=10.0),
    }
    try:
        import surprise
    except ImportError:
        for name in ("BaselineOnly", "SVD", "SVD, tuned", "SVD++"):
            found[f"Surprise {name}"] = None
        return found
    found["Surprise BaselineOnly"] = peer(lambda: surprise.BaselineOnly(verbose=False))
    found["Surprise SVD"] = peer(lambda: surprise.SVD(random_state=0))
    found["Surprise SVD, tuned"] = peer(
        lambda: surprise.SVD(n_factors=50, n_epochs=40, reg_all=0.08, random_state=0)
    )
    found["Surprise SVD++"] = peer(lambda: surprise.SVDpp(random_state=0))
    return found


def run(options: Options) -> dict[str, Result | None]:
    users, films, values = load(options.data)
    order = np.random.default_rng(options.seed).permutation(len(values))
    folds = np.array_split(order, 5)[: options.folds]
    table = methods()
    results = {name: Result() if fit else None for name, fit in table.items()}
    for number, test in enumerate(folds):
        train = np.setdiff1d(order, test)
        for name, fit in table.items():
            result = results[name]
            slow = name.endswith("++") and number >= options.slow_folds
            if fit is None or result is None or slow:
                continue
            if name.startswith("Surprise"):
                trainset(users[train], films[train], values[train])
            start = time.process_time()
            predict = fit(users[train], films[train], values[train])
            result.seconds.append(time.process_time() - start)
            error = np.clip(predict(users[test], films[test]), 1, 5) - values[test]
            result.errors.append(float(np.sqrt(np.mean(error**2))))
    return results


def main(options: Options) -> None:
    results = run(options)
    reference = results["MatrixCompletion"]
    assert reference is not None
    print(f"{'':38} RMSE (folds)     CPU s   against MatrixCompletion, same folds")
    for name, result in results.items():
        if result is None:
            print(f"{name:38} not measured: pip install scikit-surprise")
            continue
        n = len(result.errors)
        ratio = np.median(result.seconds) / np.median(reference.seconds[:n])
        gap = np.mean(result.errors) - np.mean(reference.errors[:n])
        print(
            f"{name:38} {np.mean(result.errors):.4f} ({n})       {np.median(result.seconds):6.2f}"
            f"   {gap:+.4f}, {ratio:.2f} × the time"
        )


if __name__ == "__main__":
    main(tyro.cli(Options))
