"""A test env that fails in the way, and at the moment, that it is asked to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from wmrun_envserver.backends.closest import did_you_mean
from wmrun_envserver.backends.options import OptionReader
from wmrun_envserver.wire import spaces

ENV_ID = "fault"
FAULTS = (
    "none", "raise", "exit", "kill", "hang", "slow", "leak", "nan_reward", "nan_obs",
    "wrong_shape", "wrong_dtype", "change_spaces", "raise_reset", "slow_reset",
)  # fmt: skip
SIGNALS = ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGTERM", "SIGSTOP")


class FaultError(RuntimeError):
    """What the fault env raises."""


@dataclass(frozen=True)
class FaultOptions:
    """Which `fault` happens, and when.

    It happens at the steps `at … at + times - 1` of every instance of the env, counted from 1 over
    all its episodes (`at` 0: at none; `times` 0: at every one from `at` on), and, with `on_action`,
    at every step whose action is 1. `raise_reset` and `slow_reset` count resets instead.
    """

    fault: str
    at: int
    times: int
    on_action: bool
    length: int
    """Steps per episode, which ends by termination."""
    exit_code: int
    """Of the fault "exit"."""
    signal: str
    """That "kill" sends to its own process."""
    slow_ms: int
    """How long "slow" and "slow_reset" sleep."""
    leak_mb: int
    """Mebibytes that every "leak" keeps."""

    @staticmethod
    def read(config: Mapping[str, Any]) -> FaultOptions:
        reader = OptionReader(config)
        options = FaultOptions(
            fault=reader.choice("fault", FAULTS),
            at=reader.integer("at", 0, low=0),
            times=reader.integer("times", 1, low=0),
            on_action=reader.flag("on_action", False),
            length=reader.integer("length", 10),
            exit_code=reader.integer("exit_code", 7, low=0),
            signal=reader.choice("signal", SIGNALS),
            slow_ms=reader.integer("slow_ms", 1000, low=0),
            leak_mb=reader.integer("leak_mb", 1),
        )
        reader.finish()
        return options

    def is_due(self, count: int) -> bool:
        """Whether the fault happens at step (or reset) number `count` of an instance."""
        return 0 < self.at <= count and (self.times == 0 or count < self.at + self.times)


class FaultBackend(Backend):
    """Offers the env id "fault"."""

    def family(self) -> EnvFamily:
        return EnvFamily("fault", (ENV_ID,))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        if env_id != ENV_ID:
            hint = did_you_mean(env_id, [ENV_ID]) or f" The only env here is {ENV_ID}."
            raise UnknownEnvError(f"unknown env id {env_id!r}.{hint}")
        FaultOptions.read(config)
        return EnvTraits(reward_low=1.0, reward_high=1.0, isolate=True)

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        return FaultEnv(FaultOptions.read(config))


class FaultEnv(Env):
    """Steps normally but for its fault.

    - `vector` float32 `[2]`: the step in the episode, and the steps of this instance.
    - The action is Discrete(2); the reward is 1.
    """

    observation_space: spaces.Space
    action_space = spaces.Discrete(2)

    def __init__(self, options: FaultOptions) -> None:
        self.observation_space = _observed(2)
        self._options = options
        self._resets = 0
        self._steps = 0
        self._step = 0
        self._leaked: list[np.ndarray] = []

    def reset(self, seed: int | None) -> StepResult:
        self._resets += 1
        self._step = 0
        if self._options.is_due(self._resets):
            if self._options.fault == "raise_reset":
                raise FaultError(f"raised at reset {self._resets}, as asked")
            if self._options.fault == "slow_reset":
                time.sleep(self._options.slow_ms / 1000)
        return self._result(0.0)

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        self._steps += 1
        self._step += 1
        options = self._options
        asked = options.on_action and int(action[0]) == 1
        fault = _STEP_FAULTS.get(options.fault)
        if fault is not None and (asked or options.is_due(self._steps)):
            return fault(self)
        return self._result(1.0)

    def close(self) -> None:
        self._leaked.clear()

    def _raise(self) -> StepResult:
        # The path is there for a server to keep to itself.
        raise FaultError(f"raised at step {self._steps} of /srv/simulator/secret/env.py, as asked")

    def _exit(self) -> StepResult:
        os._exit(self._options.exit_code)

    def _kill(self) -> StepResult:
        os.kill(os.getpid(), signal.Signals[self._options.signal])
        return self._result(1.0)

    def _hang(self) -> StepResult:
        while True:
            time.sleep(3600)

    def _sleep(self) -> StepResult:
        time.sleep(self._options.slow_ms / 1000)
        return self._result(1.0)

    def _leak(self) -> StepResult:
        self._leaked.append(np.ones(self._options.leak_mb * 2**20, np.uint8))
        return self._result(1.0)

    def _reward_nan(self) -> StepResult:
        return self._result(float("nan"))

    def _observe_nan(self) -> StepResult:
        return self._result(1.0)._replace(obs=[np.full(2, np.nan, np.float32)])

    def _observe_longer(self) -> StepResult:
        return self._result(1.0)._replace(obs=[np.zeros(3, np.float32)])

    def _observe_doubles(self) -> StepResult:
        return self._result(1.0)._replace(obs=[np.zeros(2, np.float64)])

    def _change_spaces(self) -> StepResult:
        self.observation_space = _observed(5)
        return self._result(1.0)._replace(obs=[np.zeros(5, np.float32)])

    def _result(self, reward: float) -> StepResult:
        vector = np.array([self._step, self._steps], np.float32)
        return StepResult([vector], reward, terminated=self._step >= self._options.length)


_STEP_FAULTS: dict[str, Callable[[FaultEnv], StepResult]] = {
    "raise": FaultEnv._raise,
    "exit": FaultEnv._exit,
    "kill": FaultEnv._kill,
    "hang": FaultEnv._hang,
    "slow": FaultEnv._sleep,
    "leak": FaultEnv._leak,
    "nan_reward": FaultEnv._reward_nan,
    "nan_obs": FaultEnv._observe_nan,
    "wrong_shape": FaultEnv._observe_longer,
    "wrong_dtype": FaultEnv._observe_doubles,
    "change_spaces": FaultEnv._change_spaces,
}


def _observed(size: int) -> spaces.Space:
    return spaces.Dict((("vector", spaces.Box((size,), "float32", role="VECTOR")),))
