"""Names in generated code."""

from __future__ import annotations

import re


def identifier(name: str) -> str:
    """A name for generated code: letters, digits and underscores, never empty, never starting with a digit."""
    cleaned = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return f"n{cleaned}" if not cleaned or cleaned[0].isdigit() else cleaned


__all__ = ["identifier"]
