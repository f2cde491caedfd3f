"""One Gymnasium env as a slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from wmrun_envserver.backends.base import Env, EnvContractError, StepResult
from wmrun_envserver.backends.gym_spaces import (
    from_gymnasium,
    leaves_of,
    observation_from_gymnasium,
    to_gymnasium,
)
from wmrun_envserver.wire import spaces


class GymEnv(Env):
    """One Gymnasium env, its own time limit included.

    Raises `ConfigError` where its spaces cannot be served, and `SpaceError` at a reset after which
    they are others.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        self._observed = env.observation_space
        self._taken = env.action_space
        self.observation_space = observation_from_gymnasium(self._observed)
        self.action_space = from_gymnasium(self._taken)
        self._dtypes = [leaf.space.dtype for leaf in spaces.leaves(self.observation_space)]
        self._env = env

    def reset(self, seed: int | None) -> StepResult:
        obs, info = self._env.reset(seed=seed)
        _check_same("observation", self._observed, self._env.observation_space)
        _check_same("action", self._taken, self._env.action_space)
        return StepResult(self._leaves(obs), info=_scalars(info))

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        value = to_gymnasium(self._taken, action)
        obs, reward, terminated, truncated, info = self._env.step(value)
        return StepResult(
            self._leaves(obs),
            # Rewards of one element in an array are common; float() refuses them.
            reward if isinstance(reward, float) else np.asarray(reward, np.float64).item(),
            bool(terminated),
            bool(truncated),
            _scalars(info),
        )

    def close(self) -> None:
        self._env.close()

    def render(self) -> np.ndarray:
        """Return the current frame, uint8 `[h, w, 3]`, at the env's own size."""
        frame = np.asarray(self._env.render())
        if frame.dtype == np.uint8 and frame.ndim == 2:
            frame = frame[..., None]
        if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[-1] in (1, 3):
            return np.broadcast_to(frame, (*frame.shape[:2], 3))
        raise EnvContractError(
            f"render() of {self._env} returned {frame.dtype} {list(frame.shape)}, "
            "expected uint8 [height, width, 3]"
        )

    def _leaves(self, obs: Any) -> list[np.ndarray]:
        return leaves_of(self._observed, self._dtypes, obs)


def _check_same(name: str, served: gymnasium.Space, now: gymnasium.Space) -> None:
    if now is not served and now != served:
        raise EnvContractError(
            f"the env changed its {name} space at a reset, from {served} to {now}: "
            "the spaces of a session are fixed"
        )


def _scalars(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in info.items()
        if isinstance(key, str)
        and isinstance(value, bool | int | float | str | np.bool_ | np.integer | np.floating)
    }
