"""What the commands share: flags whose default is explained."""

from __future__ import annotations

from typing import Any

import tyro


def optional(kind: str, default: str = "none") -> Any:
    """A flag that may be left out: what it takes, and in words what happens without it."""
    return tyro.conf.arg(metavar=kind, help_behavior_hint=f"(default: {default})")
