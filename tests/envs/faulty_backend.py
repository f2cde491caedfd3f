"""A backend whose environments fail on request; loaded by server processes that the tests start."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from wmrun_envserver.backends.base import (
    Backend,
    Env,
    EnvFamily,
    EnvTraits,
    StepResult,
    UnknownEnvError,
)
from wmrun_envserver.wire import spaces

FAULT = 1.0
"""The action that makes an environment do what its option `fault` says."""


class FaultyEnv(Env):
    """Observes `[steps since it was built, last action]`, rewards the step in the episode.

    `length` ends episodes in a failure state. `fault` is what the action `FAULT` does: "raise",
    "die" (the whole server), "hang" or "nan"; `die_in_reset` lets the server die at every reset.
    `info["seed"]` is the seed of the last reset that had one.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.observation_space = spaces.Dict((("vector", spaces.Box((2,))),))
        self.action_space = spaces.Box((1,), low=-1, high=1)
        self._options = options
        self._steps = 0
        self._in_episode = 0
        self._seed = -1

    def reset(self, seed: int | None) -> StepResult:
        if self._options.get("die_in_reset"):
            _die()
        self._seed = self._seed if seed is None else seed
        self._in_episode = 0
        return self._result(0.0)

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        self._steps += 1
        self._in_episode += 1
        moved = float(action[0][0])
        return self._result(self._fault() if moved == FAULT else moved)

    def close(self) -> None:
        self._steps = -1

    def _fault(self) -> float:
        fault = self._options["fault"]
        if fault == "raise":
            raise RuntimeError("the simulator lost its physics")
        if fault == "die":
            _die()
        if fault == "hang":
            threading.Event().wait()
        return np.nan

    def _result(self, moved: float) -> StepResult:
        return StepResult(
            [np.array([self._steps, moved], np.float32)],
            reward=float(self._in_episode),
            terminated=self._in_episode == self._options.get("length"),
            info={"seed": float(self._seed)},
        )


class FaultyBackend(Backend):
    def family(self) -> EnvFamily:
        return EnvFamily("faulty", ("Faulty-v0", "Unbuildable-v0"))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        if env_id not in self.family().env_ids:
            raise UnknownEnvError(f"unknown environment {env_id!r}, did you mean 'Faulty-v0'?")
        return EnvTraits(max_episode_steps=config.get("length", 0))

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        if env_id == "Unbuildable-v0":
            raise RuntimeError("no licence for the simulator")
        return FaultyEnv(config)


def _die() -> None:
    print("segmentation fault in the simulator", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
