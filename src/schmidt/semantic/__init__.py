"""Semantic search: documents and terms in the space of the leading singular vectors."""

from schmidt.semantic.index import Hit, SemanticIndex
from schmidt.semantic.words import WORD, Weighting, Words

__all__ = ["WORD", "Hit", "SemanticIndex", "Weighting", "Words"]
