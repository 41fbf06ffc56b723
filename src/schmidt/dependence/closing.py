"""From trained networks to embeddings: the best stage of training, closed form, balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.certificate import Certificate
from schmidt.dependence.canonical import (
    RIDGES,
    UNCHOSEN,
    Canonical,
    canonical_path,
    cross_fit,
    in_sample,
    scaled,
)
from schmidt.dependence.coembedding import Embedding
from schmidt.dependence.evidence import Findings, weigh
from schmidt.dependence.judging import Candidate, Verdict, certificate, judge
from schmidt.dependence.laws import Part, exact, folds
from schmidt.dependence.linear import FOLDS, rows_of
from schmidt.dependence.moments import PairMoments, moments, pooled
from schmidt.dependence.networks import Prepared
from schmidt.dependence.ratios import Map, Ratios
from schmidt.operators import checkpoint as checkpoints
from schmidt.operators.fit import Fit
from schmidt.operators.pairs import ClassPairs, GivenPairs, PairSampler
from schmidt.storage import DamagedFileError, read_json, read_tensors, write_tensors

MANY_UNITS = 400
"""Beyond, fewer ridges and fewer stages of training are compared."""
SPAN_RIDGE = 1e-6
STAGE = "schmidt.stage"


@dataclass(frozen=True)
class Found:
    """What ``fit`` ends with."""

    right: Embedding
    left: Embedding
    values: np.ndarray
    train: np.ndarray
    certificate: Certificate
    ratios: Ratios
    chosen: str
    ridge: float | None


class Stages:
    """Keeps the networks as they were at a few steps of training, in memory and on disk.

    A monitor of ``fit``. What an interrupted run kept is read again, so that a resumed run compares
    the same stages as an uninterrupted one.
    """

    def __init__(
        self, begin: Prepared, steps: int, folder: str | Path | None, resume: bool
    ) -> None:
        units = max(getattr(side, "units", 0) for side in (begin.right, begin.left))
        self.every = max(1, -(-steps // (2 if units > MANY_UNITS else 4)))
        self.steps, self.at = steps, 0
        self.folder = None if folder is None else Path(folder) / "stages"
        self.kept: dict[int, dict[str, Tensor]] = {0: _state(begin.right, begin.left)}
        before = Path(folder or ".") / checkpoints.STATE_FILE
        if resume and self.folder is not None and before.exists():
            self.at = int(read_json(before).get("step", 0))
            passed = range(self.every, self.at + 1, self.every)
            for step in [*passed, *([steps] if self.at == steps else [])]:
                path = self._file(step)
                if not path.exists():
                    raise DamagedFileError(
                        f"{path} is missing, without which the run cannot go on to the same end: "
                        "resume from a copy of the folder, or start anew in another directory"
                    )
                self.kept[step] = read_tensors(path, STAGE)[0]
        elif self.folder is not None:
            for path in self.folder.glob("*.safetensors"):
                path.unlink()

    def __call__(self, right: nn.Module, left: nn.Module | None) -> Mapping[str, float]:
        assert left is not None
        self.at = min((self.at // self.every + 1) * self.every, self.steps)
        self.kept[self.at] = _state(right, left)
        if self.folder is not None:
            write_tensors(self._file(self.at), self.kept[self.at], {"kind": STAGE})
        return {}

    def _file(self, step: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{step:08d}.safetensors"

    def states(self, result: Fit) -> dict[int, dict[str, Tensor]]:
        """Of every stage up to the last step."""
        assert result.left is not None
        last = {result.steps: _state(result.right, result.left)}
        return dict(sorted((self.kept | last).items()))


def _state(right: nn.Module, left: nn.Module) -> dict[str, Tensor]:
    sides = (("right", right), ("left", left))
    return {f"{n}.{k}": v.detach().clone() for n, m in sides for k, v in m.state_dict().items()}


class Closing:
    """From trained networks to embeddings: centred, balanced, perhaps polished in closed form."""

    def __init__(
        self, right: Any, left: Any, polish: str | None, modes: int, *, tied: bool
    ) -> None:
        self.right, self.left, self.polish = right, left, polish
        self.modes, self.tied = modes, tied
        self.units = polish == "ritz"
        self.device = next((p.device for p in right.parameters()), None)

    @property
    def maps(self) -> tuple[Map, Map]:
        if self.units:
            return self.right.features, self.left.features
        return self.right, self.left

    def of(self, pairs: PairSampler) -> PairMoments:
        return moments(pairs, *self.maps, device=self.device)

    def solutions(self, m: PairMoments, ridges: Sequence[float] | None = None) -> dict[float, Any]:
        """By ridge; one where there is none to choose."""
        if self.polish is None:
            size_f, size_g = m.cov_f.diagonal().sqrt(), m.cov_g.diagonal().sqrt()
            alive = (size_f > 0) & (size_g > 0)
            factor = torch.where(alive, size_g / size_f.clamp_min(1e-300), 1 + 0 * size_f).sqrt()
            sides = torch.diag(factor), torch.diag(1 / factor)
            return {0.0: Canonical((size_f * size_g), *sides)}
        if self.polish == "span":
            ridges = (SPAN_RIDGE,)
        elif ridges is None:
            ridges = RIDGES[::2] if len(m.mean_f) > MANY_UNITS else RIDGES
        return canonical_path(m, ridges, modes=self.modes, tied=self.tied)

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, side in (("left", self.left), ("right", self.right)):
            part = {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(f"{name}.")}
            side.load_state_dict(part)

    def judged(
        self,
        train: PairSampler,
        parts: list[Part],
        stages: Mapping[int, Mapping[str, Tensor]],
        offered: list[Candidate],
    ) -> Found | None:
        """The best stage of training; None if what was offered instead is as good."""
        candidates, steps = list(offered), list(stages)
        mass, rows = [m for _, m in parts], rows_of(parts)
        for step in steps:
            self.load(stages[step])
            m = self.of(train)
            tests = [self.of(part) for part, _ in parts]
            candidates.append(Candidate(f"{step} steps", m, tests, self.solutions(m), rows))
        verdict = judge(candidates, mass, simple=bool(offered))
        choice = verdict.choice
        if choice.candidate < len(offered):
            return None
        best = candidates[choice.candidate]
        self.load(stages[steps[choice.candidate - len(offered)]])
        solution = scaled(best.solutions[choice.ridge], choice.factors)
        right, left = self.sides(best.train, solution)
        kept: list[tuple[PairSampler, Map, Map]] = [(part, right, left) for part, _ in parts]
        ratios = Ratios.of(kept, train)
        found_out = weigh(verdict.values, verdict.errors, rows, kept)
        notes = [f"values are of {len(parts)} parts of rows that took no part in training"]
        if verdict.alone:
            notes.append("there was only one such part: it has also chosen what it judges")
        return self.found(
            best.train,
            solution,
            verdict,
            found_out,
            ratios,
            f"{best.name} of training",
            choice.ridge,
            notes,
        )

    def unjudged(self, pairs: PairSampler, seed: int, why: str, held_out: float | None) -> Found:
        """What was learned last, its values on the rows that were fitted."""
        measured = [(self.of(p), mass) for p, mass in folds(pairs, FOLDS, seed)]
        whole = pooled(measured) if measured and isinstance(pairs, GivenPairs) else self.of(pairs)
        ridge = UNCHOSEN
        if measured and self.units:
            ridge = cross_fit(
                measured,
                modes=self.modes,
                rows=[m for _, m in measured],
                tied=self.tied,
                rescaled=False,
            ).ridge
        elif exact(pairs):
            ridge = SPAN_RIDGE
        ridge, solution = next(iter(self.solutions(whole, (ridge,)).items()))
        right, left = self.sides(whole, solution)
        ratios = Ratios.of([(pairs, right, left)], pairs)
        train = in_sample(whole, solution)
        values, notes, alarms = train.copy(), [], []
        if exact(pairs):
            notes.append(f"values are the law's own: {why}")
        elif held_out != 0 and isinstance(pairs, GivenPairs | ClassPairs):
            values = np.zeros_like(train)
            alarms.append(f"nothing was held out: {why}")
            alarms.append("so the values are given as 0: there is no evidence for more")
        else:
            why = "held_out=0" if held_out == 0 else why
            alarms.append(f"nothing was held out: {why}")
            alarms.append("values are those of the rows that were fitted, which is too large")
        return Found(
            right,
            left,
            values,
            train,
            certificate(self.modes, notes=notes, alarms=alarms),
            ratios,
            "all steps of training",
            ridge if self.polish else None,
        )

    def sides(self, m: PairMoments, c: Canonical) -> tuple[Embedding, Embedding]:
        return (
            Embedding(self.right, m.mean_f, c.mix_f, units=self.units).eval(),
            Embedding(self.left, m.mean_g, c.mix_g, units=self.units).eval(),
        )

    def found(
        self,
        whole: PairMoments,
        solution: Canonical,
        verdict: Verdict,
        evidence: Findings,
        ratios: Ratios,
        chosen: str,
        ridge: float,
        notes: list[str],
    ) -> Found:
        train = in_sample(whole, solution)
        return Found(
            *self.sides(whole, solution),
            evidence.values,
            train,
            certificate(
                self.modes,
                errors=verdict.errors,
                score=verdict.score,
                notes=[*notes, *evidence.notes],
                alarms=evidence.alarms,
                more=evidence.estimates,
            ),
            ratios,
            chosen,
            ridge if self.polish else None,
        )
