"""Truncation after a number of frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wmrun_envserver.backends.base import Env, StepResult


class TimeLimit(Env):
    """Truncates the episode at its `frames`-th step; whether it terminates there stays true."""

    def __init__(self, env: Env, frames: int) -> None:
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self._env = env
        self._frames = frames
        self._count = 0

    def reset(self, seed: int | None) -> StepResult:
        self._count = 0
        return self._env.reset(seed)

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        self._count += 1
        result = self._env.step(action)
        return result if self._count < self._frames else result._replace(truncated=True)

    def close(self) -> None:
        self._env.close()

    def render(self) -> np.ndarray:
        return self._env.render()
