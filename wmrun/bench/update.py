"""How long one update of an experiment's agent takes."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from wmrun_envserver.wire import spaces

from wmrun.agents.base import Agent
from wmrun.config.schema import Config
from wmrun.launch.parts import OpenEnvs, build_agent, choose_device, open_envs
from wmrun.run.directory import RunDirectory


@dataclass(frozen=True)
class UpdateTiming:
    """Milliseconds of each timed update and the peak memory of the process (GPU: of the device)."""

    device: str
    parameters: int
    milliseconds: tuple[float, ...]
    peak_bytes: int

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)


def bench_update(config: Config, *, updates: int = 10, warmup: int = 2) -> UpdateTiming:
    """Time updates on one random batch; the environments only say what their spaces are."""
    device = choose_device(config.device)
    with tempfile.TemporaryDirectory(prefix="wmrun-bench-") as scratch:
        one_slot = config.env.model_copy(update={"num_envs": 1})
        run = RunDirectory(Path(scratch))
        with open_envs(config, run, role="probe", env=one_slot) as envs:
            agent = build_agent(config, envs.spec, device)
            batch = random_batch(config, envs)
    for _ in range(warmup):
        agent.update(batch)
    milliseconds = tuple(_timed_update(agent, batch, device) for _ in range(updates))
    parameters = sum(agent.parameter_counts().values())
    return UpdateTiming(str(device), parameters, milliseconds, _peak_bytes(device))


def random_batch(config: Config, envs: OpenEnvs) -> dict[str, np.ndarray]:
    """Return a batch `[B, T, ...]` of random observations, actions and rewards."""
    rng = np.random.default_rng(0)
    batch_size, length = config.replay.batch_size, config.replay.batch_length
    rows = batch_size * length
    shape = (batch_size, length)

    def stack(leaf: spaces.Space) -> np.ndarray:
        samples = np.stack([spaces.sample(leaf, rng) for _ in range(rows)])
        return samples.reshape(shape + samples.shape[1:])

    adapter = envs.driver.adapter
    return {
        **{key: stack(leaf) for key, leaf in envs.spec.obs_space.items()},
        "action": adapter.random(rng, rows).reshape(*shape, adapter.size),
        "reward": rng.standard_normal(shape).astype(np.float32),
        "is_first": np.arange(length) == np.zeros((batch_size, 1)),
        "is_last": np.zeros(shape, np.bool_),
        "is_terminal": np.zeros(shape, np.bool_),
    }


def _timed_update(agent: Agent, batch: dict[str, np.ndarray], device: torch.device) -> float:
    start = time.perf_counter()
    agent.update(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - start)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
