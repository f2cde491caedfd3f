"""A backend for server processes: it prints, and its environments can wait on a FIFO."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wmrun_envserver.backends.base import Env, EnvTraits

from tests.envserver.server.scripted import Script, ScriptedBackend


class Fifo:
    """Stands in for the gate of a script: open when whoever holds the other end lets go of it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def wait(self, _timeout: float) -> bool:
        self._path.read_bytes()
        return True


class TalkativeBackend(ScriptedBackend):
    """Takes the option `fifo`, and prints as simulators do."""

    def __init__(self) -> None:
        super().__init__()
        print("Hello from the simulation community.", flush=True)
        os.write(1, b"native banner\n")

    def prepare(self, env_id: str, config: Mapping[str, Any]) -> EnvTraits:
        return super().prepare(env_id, {})

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        script = Script(gate=Fifo(config["fifo"]) if "fifo" in config else None)  # type: ignore[arg-type]
        self._scripts = (script,)
        return super().make(env_id, config)
