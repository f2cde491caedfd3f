"""Gymnasium envs with one flaw each; imported by the servers that the tests start."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class OddEnv(gymnasium.Env):
    """`flaw`: "unseeded" draws from the system, "blank" shows nothing, "wide" leaves its bounds.

    "none_reset" resets to nothing, "wordy_reset" fails with a long message, "empty" has no
    observations.
    """

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, flaw: str) -> None:
        self._flaw = flaw
        self._steps = 0
        if flaw == "blank":
            self.observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
        else:
            size = 0 if flaw == "empty" else 2
            self.observation_space = gymnasium.spaces.Box(-1, 1, (size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        if self._flaw == "wordy_reset":
            raise RuntimeError("no level: " + "x" * 3000)
        return None if self._flaw == "none_reset" else (self._observe(), {})

    def step(self, action: int) -> Any:
        self._steps += 1
        return self._observe(), float(action), self._steps == 20, False, {}

    def _observe(self) -> np.ndarray:
        if self._flaw == "blank":
            return np.zeros((8, 8, 3), np.uint8)
        rng = np.random.default_rng() if self._flaw == "unseeded" else self.np_random
        obs = rng.uniform(-1, 1, 2)
        obs[0] += 3 if self._flaw == "wide" else 0
        return np.asarray(obs[: self.observation_space.shape[0]], np.float32)
