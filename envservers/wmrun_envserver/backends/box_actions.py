"""Continuous actions scaled to [-1, 1] and clipped to the simulator's bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmrun_envserver.backends.base import Env, StepResult
from wmrun_envserver.wire import spaces


class BoxActions(Env):
    """Offers the float Box leaves of the action space as learners want them; leaves others alone.

    With `normalize`, elements that have both bounds are offered as [-1, 1] and mapped onto them
    linearly, the leaf becoming float32. With `clip`, what reaches the simulator is inside its
    bounds whatever the action was, rounding included.
    """

    def __init__(self, env: Env, *, normalize: bool, clip: bool) -> None:
        inner = env.action_space
        self.observation_space = env.observation_space
        self.action_space = normalized(inner) if normalize else inner
        self._env = env
        self._clip = clip
        self._scales = [BoxScale(leaf.space, normalize) for leaf in spaces.leaves(inner)]

    def reset(self, seed: int | None) -> StepResult:
        return self._env.reset(seed)

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        return self._env.step(
            [scale(array, self._clip) for scale, array in zip(self._scales, action, strict=True)]
        )

    def close(self) -> None:
        self._env.close()

    def render(self) -> np.ndarray:
        return self._env.render()


class BoxScale:
    """Maps the values of one offered leaf, one or a batch of them, onto the simulator's `space`."""

    def __init__(self, space: spaces.LeafSpace, normalize: bool) -> None:
        self._dtype = space.dtype if _is_float_box(space) else None
        if isinstance(space, spaces.Box) and self._dtype is not None:
            self._low, self._high = _bounds(space)
            # Elements that are not scaled pass as 0 + 1 × action.
            scaled = _bounded(self._low, self._high) & normalize
            self._center, self._radius = np.zeros(space.shape), np.ones(space.shape)
            self._center[scaled] = self._low[scaled] / 2 + self._high[scaled] / 2
            self._radius[scaled] = self._high[scaled] / 2 - self._low[scaled] / 2

    def __call__(self, action: np.ndarray, clip: bool) -> np.ndarray:
        if self._dtype is None:
            return action
        value = self._center + self._radius * action
        if clip:
            # As np.clip, in a third of its time for the few numbers of one slot.
            value = np.minimum(np.maximum(value, self._low), self._high)
        return np.asarray(value, self._dtype)


def has_float_box(space: spaces.Space) -> bool:
    """Return whether there is a leaf for `BoxActions` to change."""
    return any(_is_float_box(leaf.space) for leaf in spaces.leaves(space))


def normalized(space: spaces.Space) -> spaces.Space:
    """Return what `normalize` offers in place of `space`."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict(tuple((key, normalized(child)) for key, child in space.entries))
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple(tuple(normalized(item) for item in space.items))
    if not isinstance(space, spaces.Box) or not _is_float_box(space):
        return space
    low, high = _bounds(space)
    bounded = _bounded(low, high)
    low, high = np.where(bounded, -1.0, low), np.where(bounded, 1.0, high)
    return spaces.Box(space.shape, "float32", low, high, space.role)


def _is_float_box(space: spaces.LeafSpace) -> bool:
    return isinstance(space, spaces.Box) and space.dtype.kind == "f"


def _bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    low, high = (
        np.broadcast_to(bound, space.shape).astype(np.float64) for bound in (space.low, space.high)
    )
    return low, high


def _bounded(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.isfinite(low) & np.isfinite(high)
