"""A real env server of the echo family, started, stepped and stopped."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from wmrun.config.schema import EnvConfig
from wmrun.diagnose.probe import Probe
from wmrun.envs.actions import ActionAdapter
from wmrun.envs.pool import EnvPool
from wmrun.errors import EnvError

_STEPS = 100
_ECHO = EnvConfig(backend="echo", task="echo")


def round_trip() -> Probe:
    """Start a server as a run would, step it, and stop it."""
    started = time.perf_counter()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="wmrun-doctor-") as logs,
            EnvPool(_ECHO, log_dir=Path(logs), seed=0, role="probe") as pool,
        ):
            ready = time.perf_counter()
            adapter = ActionAdapter(pool.spec.act_space)
            action = adapter.to_env(np.zeros((1, adapter.size), np.float32))
            pool.reset()
            begun = time.perf_counter()
            for _ in range(_STEPS):
                pool.step(action)
            per_step_ms = 1000 * (time.perf_counter() - begun) / _STEPS
    except EnvError as error:
        return Probe("env server", "problem", error.message, error.hint or "")
    return Probe(
        "env server", "ok", f"starts in {ready - started:.1f} s, {per_step_ms:.1f} ms per call"
    )
