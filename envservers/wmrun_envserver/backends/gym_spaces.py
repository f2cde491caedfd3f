"""Gymnasium's spaces and values as those of the wire."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.wire import spaces


def from_gymnasium(space: gym_spaces.Space) -> spaces.Space:
    """Return the wire space with exactly the values of `space`, its leaves' roles filled in.

    Raises `ConfigError`, naming the path, for kinds without a counterpart (Graph, Sequence, OneOf),
    dtypes and keys that cannot travel, and trees deeper than 16.
    """
    wire = _from_space(space, "")
    _check_depth(wire)
    return wire


def observation_from_gymnasium(space: gym_spaces.Space) -> spaces.Dict:
    """Return the observation space of an env as a Dict: its own, or one entry around another kind.

    The entry is "vector" (as float32) for one axis of floats, "image" for uint8 `[H, W, C]`, "obs"
    for anything else, a Tuple included.
    """
    wire = _from_space(space, "")
    role = getattr(wire, "role", "")
    if isinstance(wire, spaces.Dict):
        observed = wire
    elif role == "VECTOR":
        assert isinstance(wire, spaces.Box)
        vector = spaces.Box(wire.shape, "float32", wire.low, wire.high, role)
        observed = spaces.Dict((("vector", vector),))
    else:
        observed = spaces.Dict((("image" if role == "IMAGE_HWC" else "obs", wire),))
    _check_depth(observed)
    return observed


def to_gymnasium(space: gym_spaces.Space, arrays: Sequence[np.ndarray]) -> Any:
    """Return the value of `space` whose leaves are `arrays`, as Gymnasium's envs expect it.

    Discrete values are scalars, texts are `str`.
    """
    return _build(space, iter(arrays))


def leaves_of(space: gym_spaces.Space, dtypes: Sequence[np.dtype], value: Any) -> list[np.ndarray]:
    """Return the leaves of what an env observed, as arrays of `dtypes`.

    Many envs are careless about dtypes, so numbers are converted where no more than precision is
    lost: to floats from any number, to integers and bools from those with the same values. Anything
    else stays as it is, for the server to refuse. Raises `SpaceError` where keys or lengths differ
    from the space.
    """
    found: list[Any] = []
    _collect(space, value, "", found)
    return [_converted(np.asarray(part), dtype) for part, dtype in zip(found, dtypes, strict=True)]


def _from_space(space: gym_spaces.Space, path: str) -> spaces.Space:
    try:
        if isinstance(space, gym_spaces.Dict):
            return spaces.Dict(
                tuple(
                    (str(key), _from_space(child, spaces.join(path, str(key))))
                    for key, child in space.spaces.items()
                )
            )
        if isinstance(space, gym_spaces.Tuple):
            return spaces.Tuple(
                tuple(
                    _from_space(child, spaces.join(path, str(index)))
                    for index, child in enumerate(space.spaces)
                )
            )
        return _from_leaf(space, path)
    except (spaces.SpaceError, RecursionError) as error:
        raise ConfigError(f"the env's space{_place(path)} cannot be served: {error}") from error


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
    raise ConfigError(
        f"the env has a {type(space).__name__} space{_place(path)}: it cannot be served"
    )


def _check_depth(space: spaces.Space) -> None:
    try:
        spaces.encode_space(space)
    except spaces.SpaceError as error:
        raise ConfigError(f"the env's spaces cannot be served: {error}") from error


def _place(path: str) -> str:
    return f" at {path!r}" if path else ""


def _role(space: gym_spaces.Box) -> str:
    if len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return "VECTOR"
    if len(space.shape) == 3 and space.shape[-1] in (1, 3) and space.dtype == np.uint8:
        return "IMAGE_HWC"
    return spaces.NO_ROLE


def _build(space: gym_spaces.Space, arrays: Iterator[np.ndarray]) -> Any:
    if isinstance(space, gym_spaces.Dict):
        return {key: _build(child, arrays) for key, child in space.spaces.items()}
    if isinstance(space, gym_spaces.Tuple):
        return tuple(_build(child, arrays) for child in space.spaces)
    array = next(arrays)
    if isinstance(space, gym_spaces.Text):
        return array.item()
    return array[()] if isinstance(space, gym_spaces.Discrete) else array


def _collect(space: gym_spaces.Space, value: Any, path: str, found: list[Any]) -> None:
    if isinstance(space, gym_spaces.Dict):
        parts = _entries(space, value, path)
    elif isinstance(space, gym_spaces.Tuple):
        parts = _items(space, value, path)
    else:
        found.append(value)
        return
    for key, child, part in parts:
        _collect(child, part, spaces.join(path, str(key)), found)


def _entries(
    space: gym_spaces.Dict, value: Any, path: str
) -> list[tuple[Hashable, gym_spaces.Space, Any]]:
    if not isinstance(value, Mapping) or value.keys() != space.spaces.keys():
        got = sorted(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        expected = sorted(map(str, space.spaces))
        raise spaces.SpaceError(f"the observation{_place(path)} has {got}, not {expected}", path)
    return [(key, child, value[key]) for key, child in space.spaces.items()]


def _items(
    space: gym_spaces.Tuple, value: Any, path: str
) -> list[tuple[Hashable, gym_spaces.Space, Any]]:
    if not isinstance(value, Sequence) or len(value) != len(space.spaces):
        got = f"{len(value)} items" if isinstance(value, Sequence) else type(value).__name__
        raise spaces.SpaceError(
            f"the observation{_place(path)} has {got}, not {len(space.spaces)}", path
        )
    return list(zip(range(len(value)), space.spaces, value, strict=True))


def _converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype == dtype or array.dtype.kind not in "fiub":
        return array
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite then, as it is too large for the space
            return array.astype(dtype)
    if dtype.kind in "iub" and array.dtype.kind != "f":
        converted = array.astype(dtype)
        return converted if np.array_equal(converted, array) else array
    return array
