"""What differs between two resolved experiments."""

from __future__ import annotations

from typing import Any

from wmrun.config.leaves import leaves
from wmrun.config.schema import Config


def changed_keys(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Return old and new value by dotted key; None where a key is absent."""
    old, new = (leaves(config.model_dump(mode="json")) for config in (before, after))
    keys = [*old, *(key for key in new if key not in old)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}
