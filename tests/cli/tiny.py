"""An experiment that trains for a few seconds, and a way to run `wmrun` on it as users do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TINY = """\
extends: dreamer_v2
name: tiny
threads: 1
env: {backend: echo, task: echo, num_envs: 2, options: {length: 8}}
agent:
  encoder: {vector: {layers: 1, units: 8}}
  decoder: {vector: {layers: 1, units: 8}}
  latent: {groups: 2, classes: 3}
  dynamics: {deter: 8, hidden: 8}
  reward_head: {layers: 1, units: 8}
  critic_head: {layers: 1, units: 8}
  actor: {continuous: {layers: 1, units: 8}, discrete: {layers: 1, units: 8}}
  imagine_horizon: 3
replay: {capacity: 500, batch_size: 2, batch_length: 4}
run:
  env_steps: 60
  prefill: 20
  pretrain: 1
  train_ratio: 8
  eval_every: 30
  eval_episodes: 2
  checkpoint_every: 30
  log_every: 10
  video: false
"""


def write_tiny(folder: Path) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(TINY)
    return file


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `wmrun ARGUMENTS` in `folder`; its errors and talk come on stderr."""
    return subprocess.Popen(
        [sys.executable, "-m", "wmrun", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wmrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `wmrun ARGUMENTS` in `folder` to its end."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)
