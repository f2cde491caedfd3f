"""Space trees and the numbering of their leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wmrun_envserver.wire.spaces.kinds import Dict, LeafSpace, Space, SpaceError, Tuple


class Leaf(NamedTuple):
    """A space that holds values, and its path: the keys and indices above it, joined by "/"."""

    path: str
    space: LeafSpace


def leaves(space: Space) -> tuple[Leaf, ...]:
    """Return the leaves of `space`, depth first, in the order in which they travel."""
    return tuple(_walk(space, ""))


def flatten(space: Space, nested: Any) -> list[np.ndarray]:
    """Return the arrays of a nested value (mappings for Dict, sequences for Tuple), one per leaf.

    Raises `SpaceError` where keys or lengths differ from the space.
    """
    arrays: list[np.ndarray] = []
    _collect(space, nested, "", arrays)
    return arrays


def unflatten(space: Space, arrays: Sequence[np.ndarray]) -> Any:
    """Return the nested value (dicts for Dict, tuples for Tuple) of `arrays`, one per leaf."""
    count = len(leaves(space))
    if len(arrays) != count:
        raise SpaceError(f"expected {count} arrays, one per leaf, got {len(arrays)}")
    return _build(space, iter(arrays))


def join(path: str, key: str) -> str:
    """Return the path of the child `key` of the space at `path`."""
    return f"{path}/{key}" if path else key


def _children(space: Dict | Tuple) -> list[tuple[str, Space]]:
    if isinstance(space, Dict):
        return list(space.entries)
    return [(str(index), item) for index, item in enumerate(space.items)]


def _walk(space: Space, path: str) -> list[Leaf]:
    if not isinstance(space, (Dict, Tuple)):
        return [Leaf(path, space)]
    return [leaf for key, child in _children(space) for leaf in _walk(child, join(path, key))]


def _collect(space: Space, nested: Any, path: str, arrays: list[np.ndarray]) -> None:
    if not isinstance(space, (Dict, Tuple)):
        arrays.append(np.asarray(nested, space.dtype))
        return
    if isinstance(space, Dict):
        keys = [key for key, _ in space.entries]
        if not isinstance(nested, Mapping) or set(nested) != set(keys):
            got = sorted(nested) if isinstance(nested, Mapping) else type(nested).__name__
            raise SpaceError(f"{_at(path)}expected the keys {sorted(keys)}, got {got}", path)
        values = [nested[key] for key in keys]
    else:
        values = list(nested)
        if len(values) != len(space.items):
            raise SpaceError(
                f"{_at(path)}expected {len(space.items)} items, got {len(values)}", path
            )
    for (key, child), value in zip(_children(space), values, strict=True):
        _collect(child, value, join(path, key), arrays)


def _at(path: str) -> str:
    return f'"{path}": ' if path else ""


def _build(space: Space, arrays: Any) -> Any:
    if isinstance(space, Dict):
        return {key: _build(child, arrays) for key, child in space.entries}
    if isinstance(space, Tuple):
        return tuple(_build(child, arrays) for child in space.items)
    return next(arrays)
