"""A training run whose simulators and servers are killed or stopped every few seconds."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.chaos.streams import stored_streams
from tests.cli.tiny import TINY
from tests.failures.episodes import check_episodes, truncated

pytestmark = pytest.mark.servers

SECONDS = 120.0
SHARES = (4, 3, 1)
SLOTS = sum(SHARES)
STEP_MS = 40
LENGTH = 30
OBS_SIZE = 4
CAPACITY = 500_000
# Half of what all slots would step in that time if nothing happened.
ENV_STEPS = SLOTS * round(SECONDS * 1000 / STEP_MS) // 2
METRICS = "runs/chaos/*/metrics.jsonl"
PAUSE_S = (1.5, 4.0)
END_S = 600.0

_AGENT = TINY[TINY.index("agent:") : TINY.index("replay:")]
_SERVER = (
    "step_timeout_s: 2, reset_timeout_s: 5, restarts: {max: 1000, per_window: 1000, window_s: 10}"
)
CHAOS = f"""\
extends: dreamer_v2
name: chaos
threads: 1
env:
  backend: echo
  task: echo
  num_envs: {SLOTS}
  options: {{length: {LENGTH}, obs_size: {OBS_SIZE}, step_ms: {STEP_MS}}}
  servers:
    - {{num_envs: {SHARES[0]}, workers: {SHARES[0]}, {_SERVER}}}
    - {{num_envs: {SHARES[1]}, workers: {SHARES[1]}, {_SERVER}}}
    - {{num_envs: {SHARES[2]}, workers: 0, {_SERVER}}}
{_AGENT}
replay: {{capacity: {CAPACITY}, batch_size: 4, batch_length: 8}}
run:
  env_steps: {ENV_STEPS}
  prefill: 200
  pretrain: 1
  train_ratio: 4
  eval_every: 0
  checkpoint_every: 0
  log_every: 200
  video: false
"""


@dataclass(frozen=True)
class Blow:
    """What was done to a process of which role."""

    signal: signal.Signals
    role: str


def test_training_goes_on_while_something_dies_every_few_seconds(tmp_path: Path) -> None:
    blows = _train_in_chaos(tmp_path)
    assert len(blows) >= SECONDS / max(PAUSE_S) / 2
    assert {blow.role for blow in blows} == {"server", "worker"}
    assert {blow.signal for blow in blows} == {signal.SIGKILL, signal.SIGSTOP}

    (run,) = (tmp_path / "runs" / "chaos").iterdir()
    streams = stored_streams(
        run, capacity=CAPACITY, num_envs=SLOTS, obs_size=OBS_SIZE, action_size=2
    )
    assert len(streams) == SLOTS
    for stream in streams:
        check_episodes(stream)
        np.testing.assert_array_equal(stream.is_terminal, stream.vector[:, 0] == LENGTH)
    broken = sum(truncated(stream) for stream in streams)
    assert broken >= len(blows) / 2, "broken episodes are marked as truncated"
    _check_losses(run)


def _check_losses(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [
        value
        for line in lines
        for name, value in line["metrics"].items()
        if name.startswith("loss/")
    ]
    assert len(losses) > 100
    assert all(math.isfinite(loss) for loss in losses)


def _train_in_chaos(folder: Path) -> list[Blow]:
    """Run the experiment to its end, striking all the while, and return every blow."""
    (folder / "chaos.yaml").write_text(CHAOS)
    said = folder / "said.txt"
    with said.open("wb") as talk:
        learner = subprocess.Popen(
            [sys.executable, "-m", "wmrun", "run", "chaos.yaml"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=talk,
        )
    descendants: set[psutil.Process] = set()
    try:
        blows = _strike(learner, folder, descendants, random.Random(0))
    finally:
        learner.kill()
        for process in descendants:
            if process.is_running():
                process.kill()
    assert learner.returncode == 0, said.read_text()[-4000:]
    assert "Traceback" not in said.read_text()
    return blows


def _strike(
    learner: subprocess.Popen[bytes],
    folder: Path,
    descendants: set[psutil.Process],
    chance: random.Random,
) -> list[Blow]:
    """Kill or stop a server or a worker every few seconds, then wait for the learner's end."""
    blows: list[Blow] = []
    while not any(folder.glob(METRICS)):
        assert _runs_on(learner, 0.5), "the run ended before it began to train"
    peace = time.monotonic() + SECONDS
    while time.monotonic() < peace:
        assert _runs_on(learner, chance.uniform(*PAUSE_S)), "the run ended before the blows did"
        targets = _targets(learner.pid)
        descendants.update(process for process, _ in targets)
        if len(targets) < SLOTS // 2:  # most are still coming back
            continue
        role = chance.choice(sorted({role for _, role in targets}))
        victim = chance.choice([process for process, its in targets if its == role])
        blow = Blow(chance.choice([signal.SIGKILL, signal.SIGSTOP]), role)
        victim.send_signal(blow.signal)
        blows.append(blow)
    learner.wait(END_S)
    left = [process for process in descendants if process.is_running()]
    assert left == [], "processes outlived the run"
    return blows


def _runs_on(learner: subprocess.Popen[bytes], seconds: float) -> bool:
    """Say whether the learner has not ended after so many seconds."""
    try:
        learner.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _targets(learner: int) -> list[tuple[psutil.Process, str]]:
    """Return the env servers and workers below `learner` that are not stopped, by pid."""
    found = []
    for process in sorted(psutil.Process(learner).children(recursive=True), key=lambda p: p.pid):
        try:
            command = process.cmdline()
            if "wmrun_envserver" in command and process.status() != psutil.STATUS_STOPPED:
                found.append((process, "server"))
            elif any("wmrun_envserver.server" in word for word in command):
                found.append((process, "worker"))
        except psutil.NoSuchProcess:
            continue
    return found
