"""The spaces of a Unity behaviour, and its arrays in and out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wmrun_envserver.backends.base import ConfigError
from wmrun_envserver.backends.frames import fit
from wmrun_envserver.backends.options import CommonOptions, ImageOptions
from wmrun_envserver.wire import spaces

ACTION_MASK = "action_mask"
_GOAL = "GOAL_SIGNAL"

# A float32 in [0, 1] that was averaged over channels may miss its ends by rounding.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _Leaf:
    """One leaf of the observation: the index of its sensor, and what its array becomes."""

    key: str
    space: spaces.Box
    sensor: int
    convert: Callable[[np.ndarray], np.ndarray]


class BehaviorSpaces:
    """What the agents of one behaviour observe and do.

    A Dict of one Box per sensor, under the sensor's name: vectors and matrices are float32 as they
    come, images `[C, H, W]` in [0, 1] become uint8 `[H, W, C]`. Where there are discrete actions,
    "action_mask" is bool `[sum of branches]`, true for what may be taken.

    The action is a Box in [-1, 1] (continuous), a Discrete or MultiDiscrete (one branch, several),
    or a Dict of both, "continuous" and "discrete".
    """

    def __init__(self, name: str, spec: Any, common: CommonOptions) -> None:
        """Read a `mlagents_envs.base_env.BehaviorSpec`. Raises `ConfigError`."""
        self._name = name
        self._action = spec.action_spec
        self._branches = tuple(int(size) for size in spec.action_spec.discrete_branches)
        self._leaves = _leaves(name, spec.observation_specs, common, bool(self._branches))
        entries: list[tuple[str, spaces.Space]] = [(leaf.key, leaf.space) for leaf in self._leaves]
        if self._branches:
            mask = spaces.Box((sum(self._branches),), "bool", role="ACTION_MASK")
            entries.append((ACTION_MASK, mask))
        self.observation_space = spaces.Dict(tuple(entries))
        self.action_space = _action_space(name, int(self._action.continuous_size), self._branches)

    def observe(
        self, obs: Sequence[np.ndarray], forbidden: Sequence[np.ndarray] | None
    ) -> list[np.ndarray]:
        """Return one array `[n, …leaf shape]` per leaf, from one `[n, …]` per sensor.

        `forbidden` holds one bool array `[n, branch]` per branch; None forbids nothing. Raises
        `ValueError` where an image holds what is no pixel.
        """
        arrays = [leaf.convert(obs[leaf.sensor]) for leaf in self._leaves]
        if self._branches:
            shape = (len(obs[0]), sum(self._branches))
            if forbidden is None:
                arrays.append(np.ones(shape, np.bool_))
            else:
                arrays.append(~np.concatenate(forbidden, axis=1).reshape(shape))
        return arrays

    def rest(self) -> list[np.ndarray]:
        """Return the action that does nothing: zeros, one array per leaf of the action space."""
        leaves = spaces.leaves(self.action_space)
        return [np.zeros(leaf.space.shape, leaf.space.dtype) for leaf in leaves]

    def act(self, actions: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 `[n, continuous]` and int32 `[n, branches]` of n actions (leaf arrays)."""
        n, continuous = len(actions), int(self._action.continuous_size)
        real = np.zeros((n, continuous), np.float32)
        whole = np.zeros((n, len(self._branches)), np.int32)
        for row, action in enumerate(actions):
            if continuous:
                real[row] = action[0]
            if self._branches:
                whole[row] = action[-1]
        return real, whole


def _leaves(
    name: str, sensors: Sequence[Any], common: CommonOptions, masked: bool
) -> tuple[_Leaf, ...]:
    if not sensors:
        raise ConfigError(f"behavior {name!r} observes nothing: its agents need a sensor")
    keys = _keys([sensor.name for sensor in sensors], [ACTION_MASK] if masked else [])
    images = [len(sensor.shape) == 3 for sensor in sensors]
    if common.image is not None and not any(images):
        raise ConfigError(
            f"option 'image': behavior {name!r} has no visual observation, only {', '.join(keys)}",
            "image",
        )
    leaves = []
    for index, (key, sensor) in enumerate(zip(keys, sensors, strict=True)):
        if images[index]:
            leaves.append(_image_leaf(key, index, sensor, common.image))
        elif common.vector:
            leaves.append(_vector_leaf(key, index, sensor))
    return tuple(leaves)


def _keys(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Return the names as unique keys: "/" becomes "_", and the second of a name gets "_2"."""
    keys: list[str] = []
    for index, name in enumerate(names):
        stem = name.replace("/", "_") or f"sensor_{index}"
        key, number = stem, 1
        while key in keys or key in taken:
            number += 1
            key = f"{stem}_{number}"
        keys.append(key)
    return keys


def _vector_leaf(key: str, index: int, sensor: Any) -> _Leaf:
    role = "VECTOR" if len(sensor.shape) == 1 else spaces.NO_ROLE
    if sensor.observation_type.name == _GOAL:
        role = "GOAL"
    space = spaces.Box(sensor.shape, "float32", role=role)
    return _Leaf(key, space, index, lambda array: np.asarray(array, np.float32))


def _image_leaf(key: str, index: int, sensor: Any, image: ImageOptions | None) -> _Leaf:
    channels, height, width = sensor.shape
    if image is not None:
        height, width = image.size
        if image.grayscale and channels not in (1, 3):
            raise ConfigError(
                f"option 'image.grayscale': observation {key!r} has {channels} channels, "
                "which are no colours",
                "image.grayscale",
            )
        channels = 1 if image.grayscale else channels

    def convert(array: np.ndarray) -> np.ndarray:
        frames = _pixels(key, array)
        return frames if image is None else _fitted(frames, image)

    return _Leaf(
        key, spaces.Box((height, width, channels), "uint8", 0, 255, "IMAGE_HWC"), index, convert
    )


def _pixels(key: str, array: np.ndarray) -> np.ndarray:
    """Return `[n, C, H, W]` in [0, 1] as uint8 `[n, H, W, C]`."""
    if array.size and not (array.min() >= -_TOLERANCE and array.max() <= 1 + _TOLERANCE):
        raise ValueError(
            f"visual observation {key!r} must lie in [0, 1], got {array.min()} to {array.max()}: "
            "scale it in the sensor, or give it as a vector"
        )
    scaled = np.rint(array.transpose(0, 2, 3, 1) * 255).clip(0, 255)
    return np.ascontiguousarray(scaled.astype(np.uint8))


def _fitted(frames: np.ndarray, image: ImageOptions) -> np.ndarray:
    """Return frames `[n, h, w, C]` at the size and in the colours of `image`."""
    height, width = image.size
    channels = 1 if image.grayscale else frames.shape[-1]
    out = np.empty((len(frames), height, width, channels), np.uint8)
    for row, frame in enumerate(frames):
        if frame.shape[-1] in (image.shape[-1], 3):
            out[row] = fit(frame, image)
        else:
            # Stacked frames: each channel is a grey image of its own.
            grey = ImageOptions(image.size, None, True)
            parts = [fit(frame[..., c, None], grey) for c in range(channels)]
            out[row] = np.concatenate(parts, axis=-1)
    return out


def _action_space(name: str, continuous: int, branches: tuple[int, ...]) -> spaces.Space:
    if not continuous and not branches:
        raise ConfigError(f"behavior {name!r} takes no actions: there is nothing to learn")
    box = spaces.Box((continuous,), "float32", -1, 1)
    if not branches:
        return box
    discrete: spaces.Space = (
        spaces.Discrete(branches[0]) if len(branches) == 1 else spaces.MultiDiscrete(branches)
    )
    if not continuous:
        return discrete
    return spaces.Dict((("continuous", box), ("discrete", discrete)))
