"""What a fitted model consists of, and one file for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from schmidt.certificate import Certificate
from schmidt.completion.ids import Ids
from schmidt.completion.intervals import Calibration, Scale
from schmidt.completion.living import Posterior, Seen
from schmidt.completion.observed import Observed
from schmidt.completion.variational import Tables
from schmidt.storage import DamagedFileError, read_tensors, write_tensors
from schmidt.storage import plain as plain_numbers

KIND = "schmidt.MatrixCompletion"
ARRAYS = ("row_factors_", "column_factors_", "row_biases_", "column_biases_")
SEEN = ("starts", "columns", "values")
SIDES = ("rows", "columns")
SCALE = ("rows", "columns", "row_counts", "column_counts")
CALIBRATION = ("scores", "row_counts", "column_counts")
FITTED = ("mean_", "penalty_", "limits_", "bias_penalties_", "n_iter_", "unit_")


class Stored(BaseEstimator):
    """What a fitted :class:`MatrixCompletion` consists of; ``save`` and ``load``."""

    row_ids_: Ids
    column_ids_: Ids
    row_factors_: np.ndarray
    column_factors_: np.ndarray
    row_biases_: np.ndarray
    column_biases_: np.ndarray
    bias_penalties_: tuple[float, float]
    mean_: float
    penalty_: float | None
    limits_: tuple[float, float] | None
    unit_: float
    n_iter_: int
    certificate_: Certificate
    choice_: Any
    _living: Seen
    _posterior: Posterior | None
    _scale: Scale
    _calibration: Calibration | None

    def _require_fitted(self) -> None:
        if not hasattr(self, "row_factors_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit first")

    @property
    def _seen(self) -> Observed:
        x = self._living.all()
        return x.with_values(x.values * self.unit_)

    def _clipped(self, values: np.ndarray) -> np.ndarray:
        return values if self.limits_ is None else np.clip(values, *self.limits_)

    def save(self, path: str | Path) -> Path:
        """Write to one ``.safetensors`` file, atomically: factors, biases, the entries seen, ids
        with their types, settings, certificate. What was tried (``choice_``) is not stored.

        Raises:
            TypeError: ids that are neither strings nor numbers, nor tuples of these.
        """
        self._require_fitted()
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in ARRAYS
        }
        x = self._living.all()
        for name in SEEN:
            tensors[f"seen.{name}"] = torch.from_numpy(getattr(x, name))
        posterior = self._posterior
        if posterior is not None:
            for side, tables in zip(SIDES, posterior.sides, strict=True):
                tensors[f"{side}.means"] = torch.from_numpy(tables.means)
                tensors[f"{side}.moments"] = torch.from_numpy(tables.moments)
            for side, precision in zip(SIDES, posterior.precisions, strict=True):
                tensors[f"{side}.precision"] = torch.from_numpy(precision)
        for name in SCALE:
            tensors[f"scale.{name}"] = torch.from_numpy(getattr(self._scale, name))
        if self._calibration is not None:
            for name in CALIBRATION:
                tensors[f"calibration.{name}"] = torch.from_numpy(getattr(self._calibration, name))
        contents = {
            "overall": self._scale.overall,
            "settings": self.get_params(),
            "row_ids": self.row_ids_.as_json(),
            "column_ids": self.column_ids_.as_json(),
            "fitted": {name: getattr(self, name) for name in FITTED},
            "noise": None if posterior is None else posterior.noise,
            "certificate": self.certificate_.as_dict(),
        }
        header = {k: json.dumps(v, default=plain_numbers) for k, v in contents.items()}
        return write_tensors(Path(path), tensors, {"kind": KIND} | header)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        tensors, header = read_tensors(Path(path), KIND)
        try:
            settings, fitted = json.loads(header["settings"]), json.loads(header["fitted"])
            row_ids = Ids.from_json(json.loads(header["row_ids"]), "row")
            column_ids = Ids.from_json(json.loads(header["column_ids"]), "column")
            certificate = Certificate.from_dict(json.loads(header["certificate"]))
            arrays = {name: tensors[name].numpy() for name in ARRAYS}
            seen = {name: tensors[f"seen.{name}"].numpy() for name in SEEN}
            t = {name: tensor.numpy() for name, tensor in tensors.items()}
            scale = Scale(json.loads(header["overall"]), *(t[f"scale.{name}"] for name in SCALE))
            calibration = None
            if "calibration.scores" in t:
                calibration = Calibration(*(t[f"calibration.{name}"] for name in CALIBRATION))
            noise, posterior = json.loads(header["noise"]), None
            if noise is not None:
                sides = [Tables(t[f"{s}.means"], t[f"{s}.moments"]) for s in SIDES]
                posterior = Posterior(sides, [t[f"{s}.precision"] for s in SIDES], noise)
        except (KeyError, json.JSONDecodeError) as error:
            raise DamagedFileError(f"{path} is damaged ({error}): it cannot be read") from error
        if isinstance(settings["clip"], list):
            settings["clip"] = tuple(settings["clip"])
        model = cls(**settings)
        for name, value in (fitted | arrays).items():
            setattr(model, name, tuple(value) if isinstance(value, list) else value)
        model.row_ids_, model.column_ids_ = row_ids, column_ids
        shape = len(row_ids), len(column_ids)
        model._living = Seen(Observed(shape, seen["starts"], seen["columns"], seen["values"]))
        model._posterior, model._scale, model._calibration = posterior, scale, calibration
        model.choice_, model.certificate_ = None, certificate
        return model
