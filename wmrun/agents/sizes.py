"""The published sizes of Dreamer V3: one name for all widths (V3 configs.yaml:120-153)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Size = Literal["1m", "12m", "25m", "50m", "100m", "200m", "400m"]

WIDTHS: Final[Mapping[str, Mapping[str, int]]] = {
    "1m": {"deter": 512, "hidden": 64, "classes": 4, "depth": 4, "units": 64},
    "12m": {"deter": 2048, "hidden": 256, "classes": 16, "depth": 16, "units": 256},
    "25m": {"deter": 3072, "hidden": 384, "classes": 24, "depth": 24, "units": 384},
    "50m": {"deter": 4096, "hidden": 512, "classes": 32, "depth": 32, "units": 512},
    "100m": {"deter": 6144, "hidden": 768, "classes": 48, "depth": 48, "units": 768},
    "200m": {"deter": 8192, "hidden": 1024, "classes": 64, "depth": 64, "units": 1024},
    "400m": {"deter": 12288, "hidden": 1536, "classes": 96, "depth": 96, "units": 1536},
}
"""The number that each width option takes where it is null, by size."""


def sized(component: Mapping[str, Any], size: Size | None) -> dict[str, Any]:
    """Return a component, and those inside it, with widths that are null taken from `size`."""
    widths = {} if size is None else WIDTHS[size]
    return {key: _filled(key, value, size, widths) for key, value in component.items()}


def _filled(key: str, value: Any, size: Size | None, widths: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        return sized(value, size)
    return widths.get(key) if value is None else value
