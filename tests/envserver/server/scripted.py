"""A backend whose environments follow a script: when they end, raise, wait, or return nonsense."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from wmrun_envserver.backends.base import (
    Backend,
    ConfigError,
    Env,
    EnvFamily,
    EnvTraits,
    SeedScope,
    StepResult,
    UnknownEnvError,
)
from wmrun_envserver.wire import messages, spaces, tensors

OBSERVATION = spaces.Dict(
    (
        ("vector", spaces.Box((3,), role="VECTOR")),
        ("image", spaces.Box((2, 2, 1), "uint8", role="IMAGE_HWC")),
    )
)
ACTION = spaces.Dict(
    (
        ("steer", spaces.Box((2,), low=-1, high=1)),
        ("gear", spaces.Discrete(3, start=1)),
    )
)


@dataclass
class Script:
    """What one environment does; steps are counted from 1 in every episode."""

    length: int = 100
    truncated: bool = False
    step_error: BaseException | None = None
    error_at: int = 1
    reset_error: BaseException | None = None
    results: dict[int, StepResult] = field(default_factory=dict)
    """Returned instead of the usual, by step."""
    info: dict[int, dict[str, Any]] = field(default_factory=dict)
    gate: threading.Event | None = None
    """Every step waits for it."""
    frame: np.ndarray | None = None
    """Drawn by `render`; None: four by eight pixels of the step's number."""


class ScriptedEnv(Env):
    """Observes [step, gear of the last action, seed of the last seeded reset]."""

    observation_space = OBSERVATION
    action_space = ACTION

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seeds: list[int | None] = []
        self.actions: list[list[np.ndarray]] = []
        self.threads = {threading.get_ident()}
        self.entered = threading.Event()
        self.closed = threading.Event()
        self._step = 0

    def reset(self, seed: int | None) -> StepResult:
        self.threads.add(threading.get_ident())
        self.seeds.append(seed)
        if self.script.reset_error is not None:
            raise _fresh(self.script.reset_error)
        self._step = 0
        return StepResult(self._observe(0))

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        self.threads.add(threading.get_ident())
        self.entered.set()
        if self.script.gate is not None:
            assert self.script.gate.wait(30)
        self._step += 1
        self.actions.append([leaf.copy() for leaf in action])
        if self.script.step_error is not None and self._step == self.script.error_at:
            raise _fresh(self.script.step_error)
        if self._step in self.script.results:
            return self.script.results[self._step]
        ends = self._step == self.script.length
        return StepResult(
            self._observe(int(action[1])),
            reward=float(self._step),
            terminated=ends and not self.script.truncated,
            truncated=ends and self.script.truncated,
            info=self.script.info.get(self._step, {}),
        )

    def render(self) -> np.ndarray:
        self.threads.add(threading.get_ident())
        if self.script.frame is not None:
            return self.script.frame
        return np.full((4, 8, 3), self._step, np.uint8)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed.set()

    def _observe(self, gear: int) -> list[np.ndarray]:
        seed = next((seed for seed in reversed(self.seeds) if seed is not None), -1)
        vector = np.array([self._step, gear, seed], np.float32)
        return [vector, np.full((2, 2, 1), self._step, np.uint8)]


class ScriptedBackend(Backend):
    """Builds the environments of `scripts` in order, then more of the last one."""

    def __init__(
        self,
        *scripts: Script | Exception,
        seed_scope: SeedScope = "reset",
        render_modes: tuple[str, ...] = (),
    ) -> None:
        self._scripts = scripts or (Script(),)
        self._traits = EnvTraits(
            max_episode_steps=100,
            reward_low=0.0,
            seed_scope=seed_scope,
            render_modes=render_modes,
        )
        self.made: list[ScriptedEnv] = []

    def family(self) -> EnvFamily:
        return EnvFamily("scripted", ("scripted",))

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        if env_id != "scripted":
            raise UnknownEnvError(f"unknown env {env_id!r}; did you mean 'scripted'?")
        for key in config:
            raise ConfigError(f"unknown option {key!r}", field=key)
        return self._traits

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        script = self._scripts[min(len(self.made), len(self._scripts) - 1)]
        if isinstance(script, Exception):
            raise script
        env = ScriptedEnv(script)
        self.made.append(env)
        return env


def _fresh(error: BaseException) -> BaseException:
    # One exception raised again and again would drag all its earlier tracebacks along.
    return type(error)(*error.args)


def actions(num_envs: int, gear: int = 1) -> list[messages.Tensor]:
    """Return a valid action for every slot."""
    steer = np.zeros((num_envs, 2), np.float32)
    return [tensors.encode(steer), tensors.encode(np.full(num_envs, gear, np.int64))]
