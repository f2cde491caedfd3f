"""Steps of two kinds timed in turn, so that what else the machine does meets both."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wmrun.config.schema import EnvConfig
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.driver import Driver
from wmrun.envs.pool import EnvPool

Step = Callable[[], object]
"""One batched step of all slots."""
Clock = Callable[[], float]


@contextmanager
def driven(config: EnvConfig) -> Iterator[Step]:
    """Yield a step of random actions through driver, sessions and local servers of its own."""
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

        yield step


def in_turn(
    steps: list[Step], *, seconds: float, rounds: int, clock: Clock = time.perf_counter
) -> list[list[float]]:
    """Return for each of `steps` the seconds per call in every round, by `clock`.

    Every round is `seconds` of wall time per step; a shorter one before the first warms up.
    """
    results: list[list[float]] = [[] for _ in steps]
    for step in steps:
        _seconds_per_call(step, seconds / 4, clock)
    for _ in range(rounds):
        for step, result in zip(steps, results, strict=True):
            result.append(_seconds_per_call(step, seconds, clock))
    return results


def _seconds_per_call(step: Step, seconds: float, clock: Clock) -> float:
    calls, start, end = 0, clock(), time.perf_counter() + seconds
    while calls == 0 or time.perf_counter() < end:
        step()
        calls += 1
    return (clock() - start) / calls
