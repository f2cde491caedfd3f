"""A nested mapping as dotted paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every value that is not a mapping by its dotted path; empty mappings are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
