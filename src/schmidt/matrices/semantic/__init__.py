"""Semantic search: documents and terms in the space of the leading singular vectors."""

from schmidt.matrices.semantic.index import Hit, SemanticIndex
from schmidt.matrices.semantic.known_items import Dimensions
from schmidt.matrices.semantic.words import Words

__all__ = ["Dimensions", "Hit", "SemanticIndex", "Words"]
