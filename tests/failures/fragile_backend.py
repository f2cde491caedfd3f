"""The echo env, obeying orders to fail; loaded by the servers that the tests start."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from wmrun_envserver.backends.base import Env, StepResult
from wmrun_envserver.backends.echo import EchoBackend, EchoEnv, EchoOptions

ORDERS = "FRAGILE_ORDERS"
"""The environment variable that names the folder of orders; see `tests.failures.orders`."""
SLOW_RESET_S = 3.0


class FragileEnv(EchoEnv):
    """An `EchoEnv` of endless episodes that does what orders to its process say.

    At a step: "raise", "exit" (with code 7), "hang", "end" (the episode, by termination) or "note"
    (nothing). At a reset: "slow_reset", "endless_reset", "grow" (returns a longer observation).
    """

    def reset(self, seed: int | None) -> StepResult:
        if _obeys("slow_reset"):
            time.sleep(SLOW_RESET_S)
        if _obeys("endless_reset"):
            threading.Event().wait()
        result = super().reset(seed)
        return result._replace(obs=[np.zeros(9, np.float32)]) if _obeys("grow") else result

    def step(self, action: Sequence[np.ndarray]) -> StepResult:
        if _obeys("raise"):
            raise RuntimeError("the simulator lost its physics")
        if _obeys("exit"):
            os._exit(7)
        if _obeys("hang"):
            threading.Event().wait()
        _obeys("note")
        result = super().step(action)
        return result._replace(terminated=_obeys("end"))


class FragileBackend(EchoBackend):
    """Offers the env id "echo"."""

    def make(self, env_id: str, config: Mapping[str, Any], *, render: bool = False) -> Env:
        return FragileEnv(EchoOptions.read(config))


def _obeys(order: str) -> bool:
    """Say whether this process was ordered to do so; whoever asks first has taken the order."""
    folder = Path(os.environ[ORDERS])
    given = folder / f"{os.getpid()}.{order}"
    if not given.exists():
        return False
    given.unlink()
    taken = os.open(folder / "taken", os.O_WRONLY | os.O_NONBLOCK)
    os.write(taken, f"{given.name}\n".encode())
    os.close(taken)
    return True
