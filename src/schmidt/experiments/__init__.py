"""Experiments on built-in data: a wing of the house that nothing in the library imports."""
