"""Semantic search: documents and terms in the space of the leading singular vectors."""

from schmidt.semantic.index import Hit, SemanticIndex
from schmidt.semantic.known_items import Dimensions
from schmidt.semantic.words import Words

__all__ = ["Dimensions", "Hit", "SemanticIndex", "Words"]
