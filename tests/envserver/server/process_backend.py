"""A backend for server processes: it prints, and its environments can wait on a FIFO."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from wmrun_envserver.backends.base import Env, EnvTraits, StepResult

from tests.envserver.server.scripted import Script, ScriptedBackend


class Fifo:
    """Stands in for the gate of a script: open when whoever holds the other end lets go of it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def wait(self, _timeout: float) -> bool:
        self._path.read_bytes()
        return True


class Printing(Env):
    """An environment that prints at every step."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self.observation_space = env.observation_space
        self.action_space = env.action_space

    def reset(self, seed: int | None) -> StepResult:
        print("reset", file=sys.stderr)
        return self._env.reset(seed)

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        print("step", "x" * 10_000, flush=True)
        return self._env.step(action)

    def close(self) -> None:
        self._env.close()


class TalkativeBackend(ScriptedBackend):
    """Takes the options `fifo` and `prints`, and prints as simulators do."""

    def __init__(self) -> None:
        super().__init__()
        print("Hello from the simulation community.", flush=True)
        with suppress(OSError):  # native code does not look whether it was written
            os.write(1, b"native banner\n")

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        return super().prepare(env_id, {})

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        script = Script(gate=Fifo(config["fifo"]) if "fifo" in config else None)  # type: ignore[arg-type]
        self._scripts = (script,)
        env = super().make(env_id, config)
        return Printing(env) if config.get("prints") else env
