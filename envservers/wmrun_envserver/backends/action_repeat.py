"""One action applied for several frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmrun_envserver.backends.base import Env, StepResult


class ActionRepeat(Env):
    """Steps `times` frames, fewer where the episode ends, and sums their rewards.

    Observation and info are those of the last frame.
    """

    def __init__(self, env: Env, times: int) -> None:
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self._env = env
        self._times = times

    def reset(self, seed: int | None) -> StepResult:
        return self._env.reset(seed)

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        reward = 0.0
        for _ in range(self._times):
            result = self._env.step(action)
            reward += result.reward
            if result.terminated or result.truncated:
                break
        return result._replace(reward=reward)

    def close(self) -> None:
        self._env.close()

    def render(self) -> np.ndarray:
        return self._env.render()
