"""EnvPool's states and actions as observation and action spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.box_actions import BoxScale, normalized
from wmrun_envserver.backends.options import CommonOptions, ImageOptions
from wmrun_envserver.wire import spaces

_OBS = "obs"
_IMAGE = "image"
_ENV_IDS = ("env_id", "players.env_id")

# From this many values on EnvPool itself takes integers for numbers, not for classes.
_MAX_CLASSES = 2**20


@dataclass(frozen=True)
class _Leaf:
    """One array of a state: where EnvPool keeps it, what it is here."""

    source: tuple[str, ...]
    path: tuple[str, ...]
    space: spaces.LeafSpace
    channels_first: bool = False


class ObservationLayout:
    """The observation space of a task, and how its leaves are read from what EnvPool returns.

    A single array is "vector" (one axis of floats), "image" (uint8 with channels) or "obs"; several
    keep their names. Floats are float32, with one axis where they had none, integers in a known
    range classes, images channels last; `flat` gives all floats one axis. Arrays named by
    `unobserved` are left out. Raises `ConfigError` where options cannot be met.
    """

    def __init__(
        self,
        spec: Any,
        options: CommonOptions,
        *,
        channels_first: bool,
        flat: bool,
        unobserved: frozenset[str],
    ) -> None:
        names = [name for name in spec.state_array_spec if name.partition(":")[0] == _OBS]
        leaves = [
            _observed(name, spec.state_array_spec[name], channels_first, flat)
            for name in names
            if name.removeprefix(f"{_OBS}:") not in unobserved
        ]
        if options.image is not None:
            _check_image(leaves, options.image)
        if not options.vector:
            leaves = [leaf for leaf in leaves if _is_image(leaf.space)]
        self.space = _nested([(leaf.path, leaf.space) for leaf in leaves])
        by_path = {"/".join(leaf.path): leaf for leaf in leaves}
        self._leaves = [by_path[leaf.path] for leaf in spaces.leaves(self.space)]
        # EnvPool returns a single array as such, whatever it is called.
        self._bare = len(names) == 1

    def read(self, obs: Any) -> list[np.ndarray]:
        """Return one array `[n, …leaf shape]` per leaf."""
        return [_converted(leaf, obs if self._bare else _found(leaf, obs)) for leaf in self._leaves]


class ActionLayout:
    """The action space of a task, and how actions become those of EnvPool.

    Vectors of integers, each in a range, are a MultiDiscrete.
    """

    def __init__(self, spec: Any, options: CommonOptions) -> None:
        (name,) = (name for name in spec.action_array_spec if name not in _ENV_IDS)
        array = spec.action_array_spec[name]
        inner = _acted(array)
        self.space = normalized(inner) if options.normalize_actions else inner
        self._clip = options.clip_actions
        self._scale = BoxScale(inner, options.normalize_actions)
        self._blank = np.zeros(_shape(array), np.dtype(array.dtype))

    def encode(self, action: Sequence[np.ndarray]) -> np.ndarray:
        """Return actions `[n, …leaf shape]` as EnvPool takes them."""
        return self._scale(action[0], self._clip)

    def blank(self, num: int) -> np.ndarray:
        """Return actions of `num` envs that EnvPool ignores, because it resets them."""
        return np.broadcast_to(self._blank, (num, *self._blank.shape))


def _observed(name: str, array: Any, channels_first: bool, flat: bool) -> _Leaf:
    source = tuple(name.removeprefix(f"{_OBS}:").replace(":", ".").split("."))
    shape, dtype = _shape(array), np.dtype(array.dtype)
    space: spaces.LeafSpace
    if dtype == np.uint8 and len(shape) == 3:
        if channels_first:
            shape = (*shape[1:], shape[0])
        space = spaces.Box(shape, dtype, 0, 255, "IMAGE_HWC")
        return _Leaf(source, (_IMAGE,) if name == _OBS else source, space, channels_first)
    if dtype.kind == "f":
        if flat or not shape:
            shape = (prod(shape),)
        role = "VECTOR" if len(shape) == 1 else spaces.NO_ROLE
        space = spaces.Box(shape, "float32", *_bounds(array), role)
        return _Leaf(source, ("vector",) if name == _OBS and role == "VECTOR" else source, space)
    if dtype == np.bool_:
        role = "ACTION_MASK" if source[-1] == "action_mask" else spaces.NO_ROLE
        return _Leaf(source, source, spaces.MultiBinary(shape, role))
    low, high = _bounds(array)
    if not shape and high - low < _MAX_CLASSES:
        return _Leaf(source, source, spaces.Discrete(int(high - low) + 1, int(low)))
    return _Leaf(source, source, spaces.Box(shape, dtype, low, high))


def _acted(array: Any) -> spaces.LeafSpace:
    shape, dtype = _shape(array), np.dtype(array.dtype)
    low, high = _bounds(array)
    if dtype.kind == "f":
        return spaces.Box(shape, dtype, low, high, "VECTOR" if len(shape) == 1 else spaces.NO_ROLE)
    if not shape:
        return spaces.Discrete(int(high - low) + 1, int(low))
    return spaces.MultiDiscrete(np.broadcast_to(high - low + 1, shape), np.broadcast_to(low, shape))


def _shape(array: Any) -> tuple[int, ...]:
    # The axis -1 is that of players.
    return tuple(int(size) for size in array.shape if size != -1)


def _bounds(array: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(array.minimum), np.asarray(array.maximum)
    dtype = np.dtype(array.dtype)
    if dtype.kind != "f":
        return low.astype(np.int64), high.astype(np.int64)
    # Without bounds EnvPool says C++'s numeric_limits::min, the least positive number, and max.
    limits = np.finfo(dtype)
    unbounded = (low == limits.tiny) | (low <= limits.min), high >= limits.max
    return np.where(unbounded[0], -np.inf, low), np.where(unbounded[1], np.inf, high)


def _found(leaf: _Leaf, obs: Any) -> np.ndarray:
    for key in leaf.source:
        obs = obs[key]
    array: np.ndarray = obs
    return array


def _converted(leaf: _Leaf, value: np.ndarray) -> np.ndarray:
    if leaf.channels_first:
        return value.transpose(0, 2, 3, 1)
    return value.reshape(len(value), *leaf.space.shape).astype(leaf.space.dtype, copy=False)


def _nested(leaves: Sequence[tuple[tuple[str, ...], spaces.LeafSpace]]) -> spaces.Dict:
    groups: dict[str, list[tuple[tuple[str, ...], spaces.LeafSpace]]] = {}
    for (key, *rest), space in leaves:
        groups.setdefault(key, []).append((tuple(rest), space))
    return spaces.Dict(
        tuple(
            (key, _nested(group) if group[0][0] else group[0][1]) for key, group in groups.items()
        )
    )


def _check_image(leaves: Sequence[_Leaf], image: ImageOptions) -> None:
    found = [leaf.space for leaf in leaves if _is_image(leaf.space)]
    if not found:
        raise ConfigError("the env observes no images: leave image out", "image")
    if all(space.shape[:2] != image.size for space in found):
        height, width, _ = found[0].shape
        raise ConfigError(
            f"option 'image.size' must be [{height}, {width}], the size of the env's own images, "
            f"got {list(image.size)}",
            "image.size",
        )


def _is_image(space: spaces.LeafSpace) -> bool:
    return isinstance(space, spaces.Box) and space.role == "IMAGE_HWC"
