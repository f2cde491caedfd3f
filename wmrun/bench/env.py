"""How many env steps per second pass through a server, a session and the driver."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wmrun.config.schema import EnvConfig, ImageConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver
from wmrun.envs.pool import EnvPool


@dataclass(frozen=True)
class Stepping:
    """Env steps per second of one case over several rounds; one round is `seconds` long."""

    case: str
    slots: int
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


CASES = {
    "echo, 4 floats": EnvConfig(backend="echo", task="echo", num_envs=1),
    "echo, 4 floats, 16 slots": EnvConfig(backend="echo", task="echo", num_envs=16),
    "CartPole-v1, 16 slots": EnvConfig(backend="gym", task="CartPole-v1", num_envs=16),
    "echo, 64x64x3 frames, 16 slots": EnvConfig(
        backend="echo", task="echo", num_envs=16, image=ImageConfig()
    ),
}


def bench_env(*, seconds: float = 1.0, rounds: int = 5) -> Iterator[Stepping]:
    """Step every case with random actions on a server of its own, over a Unix socket."""
    for case, config in CASES.items():
        with (
            tempfile.TemporaryDirectory(prefix="wmrun-bench-") as logs,
            EnvPool(config, log_dir=Path(logs), seed=0, role="train") as pool,
        ):
            adapter = ActionAdapter(pool.spec.act_space)
            driver = Driver(pool, adapter)
            actions = adapter.random(np.random.default_rng(0), config.num_envs)
            driver.reset()
            _steps_per_second(driver, actions, seconds / 4)
            results = [_steps_per_second(driver, actions, seconds) for _ in range(rounds)]
        yield Stepping(case, config.num_envs, tuple(results))


def _steps_per_second(driver: Driver, actions: np.ndarray, seconds: float) -> float:
    steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        driver.step(actions)
        steps += driver.num_envs
    return steps / elapsed
