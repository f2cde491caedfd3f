"""Steps of two kinds timed in turn, so that what else the machine does meets both."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wmrun.config.schema import EnvConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver
from wmrun.envs.pool import EnvPool

Timer = Callable[[float], float]
"""Steps for that many seconds of wall time, once at least, and returns the seconds per step."""
Clock = Callable[[], float]


@contextmanager
def driven(config: EnvConfig, clock: Clock = time.perf_counter) -> Iterator[Timer]:
    """Time batched steps of random actions through driver, sessions and local servers."""
    with (
        tempfile.TemporaryDirectory(prefix="wmrun-bench-") as logs,
        EnvPool(config, log_dir=Path(logs), seed=0, role="train") as pool,
    ):
        adapter = ActionAdapter(pool.spec.act_space)
        driver = Driver(pool, adapter)
        actions = adapter.random(np.random.default_rng(0), config.num_envs)
        slots = driver.reset().slots

        def step() -> None:
            # Where one of several servers is late, the rows are of the others' slots.
            nonlocal slots
            slots = driver.step(actions[slots]).slots

        yield timer(step, clock)


def timer(step: Callable[[], object], clock: Clock = time.perf_counter) -> Timer:
    """Return what times `step` by `clock`."""

    def timed(seconds: float) -> float:
        steps, start, end = 0, clock(), time.perf_counter() + seconds
        while steps == 0 or time.perf_counter() < end:
            step()
            steps += 1
        return (clock() - start) / steps

    return timed


def in_turn(timers: Sequence[Timer], *, seconds: float, rounds: int) -> list[list[float]]:
    """Return for each of `timers` the seconds per step in every round of `seconds`.

    A shorter round before the first warms up.
    """
    for timed in timers:
        timed(seconds / 4)
    results: list[list[float]] = [[] for _ in timers]
    for _ in range(rounds):
        for timed, result in zip(timers, results, strict=True):
            result.append(timed(seconds))
    return results
