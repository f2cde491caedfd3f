"""What differs between two resolved experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wmrun.config.schema import Config


def changed_keys(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Return old and new value by dotted key; None where a key is absent."""
    old, new = (_leaves(config.model_dump(mode="json")) for config in (before, after))
    keys = [*old, *(key for key in new if key not in old)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def _leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
