"""Gymnasium's spaces and values as those of the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.wire import spaces


def from_gymnasium(space: gym_spaces.Space, path: str = "") -> spaces.Space:
    """Return the wire space with exactly the values of `space`, its leaves' roles filled in.

    Raises `ConfigError`, naming the path, for kinds without a counterpart (Graph, Sequence, OneOf).
    """
    if isinstance(space, gym_spaces.Dict):
        return spaces.Dict(
            tuple(
                (str(key), from_gymnasium(child, spaces.join(path, str(key))))
                for key, child in space.spaces.items()
            )
        )
    if isinstance(space, gym_spaces.Tuple):
        return spaces.Tuple(
            tuple(
                from_gymnasium(child, spaces.join(path, str(index)))
                for index, child in enumerate(space.spaces)
            )
        )
    return _from_leaf(space, path)


def observation_from_gymnasium(space: gym_spaces.Space) -> spaces.Dict:
    """Return the observation space of an env as a Dict: its own, or one entry around a bare leaf.

    The entry is "vector" (as float32) for one axis of floats, "image" for uint8 `[H, W, C]`, "obs"
    for anything else.
    """
    wire = from_gymnasium(space)
    if isinstance(wire, spaces.Dict):
        return wire
    role = getattr(wire, "role", "")
    if role == "VECTOR":
        assert isinstance(wire, spaces.Box)
        vector = spaces.Box(wire.shape, "float32", wire.low, wire.high, role)
        return spaces.Dict((("vector", vector),))
    return spaces.Dict((("image" if role == "IMAGE_HWC" else "obs", wire),))


def to_gymnasium(space: spaces.Space, value: Any) -> Any:
    """Return a nested value of `space` as Gymnasium's envs expect it: scalars are not arrays."""
    if isinstance(space, spaces.Dict):
        return {key: to_gymnasium(child, value[key]) for key, child in space.entries}
    if isinstance(space, spaces.Tuple):
        return tuple(
            to_gymnasium(item, part) for item, part in zip(space.items, value, strict=True)
        )
    if isinstance(space, spaces.Text):
        return value.item()
    return value[()] if isinstance(space, spaces.Discrete) else value


def _from_leaf(space: gym_spaces.Space, path: str) -> spaces.LeafSpace:
    if isinstance(space, gym_spaces.Box):
        role = _role(space)
        return spaces.Box(space.shape, space.dtype, space.low, space.high, role)
    if isinstance(space, gym_spaces.Discrete):
        return spaces.Discrete(int(space.n), int(space.start), space.dtype)
    if isinstance(space, gym_spaces.MultiDiscrete):
        return spaces.MultiDiscrete(space.nvec, space.start, space.dtype)
    if isinstance(space, gym_spaces.MultiBinary):
        return spaces.MultiBinary(space.shape)
    if isinstance(space, gym_spaces.Text):
        return spaces.Text(space.min_length, space.max_length, space.characters)
    place = f" at {path!r}" if path else ""
    raise ConfigError(f"the env has a {type(space).__name__} space{place}: it cannot be served")


def _role(space: gym_spaces.Box) -> str:
    if len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return "VECTOR"
    if len(space.shape) == 3 and space.shape[-1] in (1, 3) and space.dtype == np.uint8:
        return "IMAGE_HWC"
    return spaces.NO_ROLE
