"""How long one update of an agent takes, what it is spent on, and how fast it could be."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from wmrun.agents.base import Agent
from wmrun.agents.phases import Phase, record_phases
from wmrun.bench.floor import Floor, measure_floor
from wmrun.bench.synthetic import random_batch
from wmrun.config.schema import Config
from wmrun.envs.spec import EnvSpec
from wmrun.launch.parts import build_agent, choose_device, open_envs
from wmrun.run.directory import RunDirectory

OTHER = "other"
"""The part of an update that is in no phase."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of the same thing in several updates."""

    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def min(self) -> float:
        return min(self.milliseconds)

    @property
    def max(self) -> float:
        return max(self.milliseconds)


@dataclass(frozen=True)
class UpdateBench:
    """What was measured of an agent's update."""

    device: str
    threads: int
    parameters: int
    update: Timing
    phases: Mapping[str, Timing]
    """By name, `OTHER` last; measured apart on CUDA, where the boundaries wait for the device."""
    peak_bytes: int
    """Of the process, or on CUDA of the device's memory."""
    floor: Floor

    @property
    def ratio(self) -> float:
        """How many times the floor an update takes, by its median."""
        floor_ms = 1000 * self.floor.seconds
        return self.update.median / floor_ms if floor_ms else float("inf")


def bench_update(
    config: Config, spec: EnvSpec, *, updates: int = 10, warmup: int = 3
) -> UpdateBench:
    """Time updates on one random batch of the experiment's shape."""
    device = choose_device(config.device.name)
    agent = build_agent(config, spec, device)
    batch = random_batch(config, spec, agent)
    # The first update of all is counted: later ones may be a CUDA graph, which shows nothing.
    floor = measure_floor(lambda: agent.update(batch), device)
    for _ in range(warmup):
        agent.update(batch)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    recorded = [_recorded_update(agent, batch, device) for _ in range(updates)]
    totals = tuple(sum(phases.values()) for phases in recorded)
    if device.type == "cuda":
        totals = tuple(_timed_update(agent, batch, device) for _ in range(updates))
    return UpdateBench(
        device=_device_name(device),
        threads=torch.get_num_threads(),
        parameters=sum(agent.parameter_counts().values()),
        update=Timing(totals),
        phases={name: Timing(tuple(phases[name] for phases in recorded)) for name in recorded[0]},
        peak_bytes=_peak_bytes(device),
        floor=floor,
    )


def env_spec(config: Config) -> EnvSpec:
    """Return the spaces of an experiment's environments, which are started for this only."""
    with tempfile.TemporaryDirectory(prefix="wmrun-bench-") as scratch:
        one_slot = config.env.model_copy(update={"num_envs": 1})
        with open_envs(config, RunDirectory(Path(scratch)), role="probe", env=one_slot) as envs:
            return envs.spec


def _recorded_update(
    agent: Agent, batch: dict[str, np.ndarray], device: torch.device
) -> dict[str, float]:
    """Return milliseconds by phase of one update, every phase and `OTHER` among them."""
    with record_phases(device) as seconds:
        total = _timed_update(agent, batch, device)
    phases = {name: 1000 * seconds.get(name, 0.0) for name in get_args(Phase)}
    return {**phases, OTHER: total - sum(phases.values())}


def _timed_update(agent: Agent, batch: dict[str, np.ndarray], device: torch.device) -> float:
    start = time.perf_counter()
    agent.update(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - start)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
