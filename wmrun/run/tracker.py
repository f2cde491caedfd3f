"""What the training loop expects of whatever records a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Counters:
    """How far a run is."""

    env_steps: int
    """Simulator frames, action repeat included."""
    agent_steps: int
    """Policy decisions."""
    updates: int
    """Gradient steps."""


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told when a run starts or resumes."""

    run_dir: Path
    run_id: str
    name: str
    experiment: str
    config: Mapping[str, Any]
    """The resolved experiment, nested."""
    config_file: Path
    tags: Mapping[str, str] = field(default_factory=dict)
    resumed_env_steps: int | None = None
    """Env steps of the checkpoint that a resumed run continues from; None for a new run."""


class Tracker(Protocol):
    """Takes metrics, files and the final status; no call waits for a network or fails with it."""

    def start(self, run: RunInfo) -> None:
        """Begin, or go on with the records of the same run."""

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        """Record values that belong to this point of the run."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file with the run's records."""

    def finish(self, status: Status) -> None:
        """Record how the run ended; the last call."""
