"""Saving and loading a fitted ``MatrixCompletion``."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Any, Self

import torch

from schmidt.completion.ids import Ids
from schmidt.completion.observed import Observed
from schmidt.storage import DamagedFileError, read_tensors, write_tensors

KIND = "schmidt.MatrixCompletion"
ARRAYS = ("row_factors_", "column_factors_", "row_biases_", "column_biases_")


class Saved:
    """One ``.safetensors`` file: factors, biases, the entries seen, ids and settings."""

    _seen: Observed
    row_ids_: Ids
    column_ids_: Ids

    def save(self, path: str | FilePath) -> FilePath:
        """Write to one file, atomically. What was tried (``choice_``) is not stored.

        Raises:
            TypeError: ids that are neither strings nor numbers.
        """
        self._require_fitted()  # type: ignore[attr-defined]
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in ARRAYS}
        for name in ("starts", "columns", "values"):
            tensors[f"seen.{name}"] = torch.from_numpy(getattr(self._seen, name))
        header = {
            "kind": KIND,
            "settings": json.dumps(self.get_params()),  # type: ignore[attr-defined]
            "row_ids": _written(self.row_ids_),
            "column_ids": _written(self.column_ids_),
            "fitted": json.dumps(
                {
                    name: getattr(self, name)
                    for name in ("mean_", "penalty_", "limits_", "bias_penalties_", "n_iter_")
                }
            ),
        }
        return write_tensors(FilePath(path), tensors, header)

    @classmethod
    def load(cls, path: str | FilePath) -> Self:
        """Read what :meth:`save` wrote."""
        tensors, header = read_tensors(FilePath(path), KIND)
        try:
            settings, fitted = json.loads(header["settings"]), json.loads(header["fitted"])
            ids = _read(header["row_ids"], "row"), _read(header["column_ids"], "column")
            arrays = {name: tensors[name].numpy() for name in ARRAYS}
            seen = [tensors[f"seen.{name}"].numpy() for name in ("starts", "columns", "values")]
        except (KeyError, json.JSONDecodeError) as error:
            raise DamagedFileError(f"{path} is damaged ({error}); fit and save again") from error
        if isinstance(settings["clip"], list):
            settings["clip"] = tuple(settings["clip"])
        model = cls(**settings)
        for name, value in {**fitted, **arrays}.items():
            setattr(model, name, tuple(value) if isinstance(value, list) else value)
        model.row_ids_, model.column_ids_ = ids
        model._seen = Observed((len(ids[0]), len(ids[1])), *seen)
        model.choice_ = None  # type: ignore[attr-defined]
        return model


def _written(ids: Ids) -> str:
    if ids.counted:
        return json.dumps(len(ids))
    wrong = next((v for v in ids.labels if not isinstance(v, str | int | float)), None)
    if wrong is not None:
        raise TypeError(
            f"cannot save {ids.what} ids like {wrong!r}: only strings and numbers can be written"
        )
    return json.dumps(list(ids.labels))


def _read(text: str, what: str) -> Ids:
    content: Any = json.loads(text)
    return Ids(content, what)
