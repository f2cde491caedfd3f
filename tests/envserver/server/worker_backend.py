"""Backends for worker processes: simulators that fail as their actions say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from wmrun_envserver.backends.base import (
    Backend,
    Batch,
    ConfigError,
    Env,
    EnvFamily,
    EnvTraits,
    NeedsPartialBatch,
    StepResult,
    VectorBackend,
    VectorEnv,
)
from wmrun_envserver.wire import spaces

OBSERVATION = spaces.Dict(
    (("vector", spaces.Box((4,), "float64")), ("name", spaces.Text(max_length=100)))
)
ACTION = spaces.Discrete(8)

MOVE, RAISE, EXIT, KILL, HANG, NAN, SPACES, FORK = range(8)


class ObedientEnv(Env):
    """Observes `[step, pid, seed of the last seeded reset, pid of its child]` and its name."""

    action_space = ACTION
    observation_space = OBSERVATION

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._step = 0
        self._seed = -1
        self._child: subprocess.Popen[bytes] | None = None
        if config.get("marker") and os.path.exists(config["marker"]):
            raise OSError("the licence is gone")
        if config.get("space") and os.path.exists(config["space"]):
            self.observation_space = spaces.Box((1,), "float32", 1, 0)
        if config.get("child"):
            self._child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        if config.get("spaces_change_at") and os.path.exists(config["spaces_change_at"]):
            self.observation_space = spaces.Dict(OBSERVATION.entries[:1])

    def reset(self, seed: int | None) -> StepResult:
        self._step = 0
        self._seed = self._seed if seed is None else seed
        return self._result()

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        self._step += 1
        obey(int(action[0]))
        reward = np.nan if action[0] == NAN else float(self._step)
        ended = self._step == self._config.get("length")
        return self._result()._replace(reward=reward, terminated=ended)

    def render(self) -> np.ndarray:
        if self._config.get("draws"):
            raise spaces.SpaceError("the camera's image does not fit its space")
        return np.full((4, 8, 3), self._step, np.uint8)

    def child_pids(self) -> Sequence[int]:
        is_told = self._child is not None and not self._config.get("hides")
        return [self._child.pid] if is_told else []

    def close(self) -> None:
        print("closed politely", flush=True)

    def _result(self) -> StepResult:
        child = -1 if self._child is None else self._child.pid
        vector = np.array([self._step, os.getpid(), self._seed, child], np.float64)
        return StepResult([vector, np.array("ümlaut")], info={"step": self._step, "word": "größe"})


def obey(order: int) -> None:
    if order == RAISE:
        raise RuntimeError("the joint exploded in /opt/simulator/joints/knee.xml")
    if order == EXIT:
        os._exit(7)
    if order == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if order == HANG:
        print("hanging", file=sys.stderr, flush=True)
        threading.Event().wait()


class ObedientBackend(Backend):
    def family(self) -> EnvFamily:
        return EnvFamily("obedient", ("obedient",))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        return EnvTraits(render_modes=("rgb_array",), isolate=bool(config.get("isolate")))

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        if config.get("refuse"):
            raise ConfigError("there is no such map", "map")
        return ObedientEnv(config)


class ObedientVector(VectorEnv):
    """Slots that share one simulator, each as an `ObedientEnv`."""

    action_space = ACTION
    observation_space = OBSERVATION

    def __init__(self, config: Mapping[str, Any], num_slots: int) -> None:
        self._envs = [ObedientEnv(config) for _ in range(num_slots)]
        self._staggers = bool(config.get("staggers"))

    def advance(
        self,
        step: Sequence[int],
        action: Sequence[np.ndarray],
        reset: Sequence[int],
        seeds: Sequence[int] | None = None,
    ) -> Batch:
        if step and self._staggers:
            raise NeedsPartialBatch("the agents began to decide at different times")
        results = [self._envs[slot].step([action[0][row]]) for row, slot in enumerate(step)]
        results += [
            self._envs[slot].reset(None if seeds is None else seeds[row])
            for row, slot in enumerate(reset)
        ]
        return Batch(
            slots=np.array([*step, *reset], np.int64),
            obs=[np.stack([result.obs[leaf] for result in results]) for leaf in range(2)]
            if results
            else [np.zeros((0, 4)), np.zeros(0, object)],
            reward=np.array([result.reward for result in results]),
            terminated=np.array([result.terminated for result in results], np.bool_),
            truncated=np.zeros(len(results), np.bool_),
            is_first=np.arange(len(results)) >= len(step),
        )

    def close(self) -> None:
        for env in self._envs:
            env.close()


class ObedientVectorBackend(VectorBackend):
    def family(self) -> EnvFamily:
        return EnvFamily("obedient", ("obedient",))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        return EnvTraits(slots_per_simulator=2)

    def make_vector(
        self,
        env_id: str,
        config: Mapping[str, Any],
        num_slots: int,
        *,
        seeds: Sequence[int] | None = None,
        partial: bool = False,
        render: bool = False,
    ) -> VectorEnv:
        return ObedientVector(config, num_slots)
