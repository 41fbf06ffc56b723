"""Saving and loading a ``SemanticIndex``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import torch

from schmidt.factorization import Factorization
from schmidt.semantic.weighting import Weighting
from schmidt.semantic.words import Words
from schmidt.storage import DamagedFileError, read_tensors, write_tensors

KIND = "schmidt.SemanticIndex"


class SavedIndex:
    """One ``.safetensors`` file: vectors, and in its header words, names and settings as JSON."""

    _words: Words
    _weighting: Weighting
    factorization_: Factorization
    document_vectors_: Any
    names_: list[Any]

    def save(self, path: str | Path) -> Path:
        """Write to one file, atomically. The texts themselves are not stored.

        Raises:
            TypeError: a stemmer that is a function, or names that are neither strings nor numbers.
        """
        self._require_fitted()  # type: ignore[attr-defined]
        settings = self.get_params()  # type: ignore[attr-defined]
        if callable(settings["stemmer"]):
            raise TypeError("cannot save a stemmer that is a function: use the name of one")
        wrong = next((v for v in self.names_ if not isinstance(v, str | int | float)), None)
        if wrong is not None:
            raise TypeError(f"cannot save names like {wrong!r}: only strings and numbers")
        for name in ("vocabulary", "stop_words"):
            if settings[name] is not None and not isinstance(settings[name], str):
                settings[name] = list(settings[name])
        f = self.factorization_
        tensors = {
            "left": torch.from_numpy(f.left),
            "values": torch.from_numpy(f.values),
            "right": torch.from_numpy(f.right),
            "documents": torch.from_numpy(self.document_vectors_),
            "idf": torch.from_numpy(self._weighting.idf),
        }
        header = {
            "kind": KIND,
            "settings": json.dumps(settings),
            "words": json.dumps({"terms": self._words.terms, "stems": self._words.stems}),
            "names": json.dumps(self.names_),
        }
        return write_tensors(Path(path), tensors, header)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; how k was chosen is not stored."""
        tensors, header = read_tensors(Path(path), KIND)
        try:
            settings, words = json.loads(header["settings"]), json.loads(header["words"])
            names = json.loads(header["names"])
            left, values, right = (tensors[name].numpy() for name in ("left", "values", "right"))
            documents, idf = tensors["documents"].numpy(), tensors["idf"].numpy()
        except (KeyError, json.JSONDecodeError) as error:
            raise DamagedFileError(f"{path} is damaged ({error}); fit and save again") from error
        index = cls(**settings)
        index._words = Words(
            None, settings["stemmer"], settings["stop_words"], settings["token_pattern"]
        )
        index._words.restore(words["terms"], words["stems"])
        index._weighting = Weighting(settings["weighting"])
        index._weighting.idf = idf
        index.names_, index.document_vectors_ = names, documents
        index.factorization_ = Factorization(left, values, right, settings={"rank": len(values)})
        index.dimensions_ = None  # type: ignore[attr-defined]
        return index
