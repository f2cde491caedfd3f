"""World-model reinforcement learning: the `wmrun` program, and the three Dreamers from Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmrun.api.agent import DreamerAgent as DreamerAgent
    from wmrun.api.config import DreamerConfig as DreamerConfig

__all__ = ["DreamerAgent", "DreamerConfig"]

_HOMES = {"DreamerAgent": "wmrun.api.agent", "DreamerConfig": "wmrun.api.config"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import wmrun` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
