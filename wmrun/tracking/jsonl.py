"""metrics.jsonl: every metric of a run, on its own disk, whatever else listens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from wmrun.run.tracker import Counters, RunInfo, Status

FILE = "metrics.jsonl"


class JsonlTracker:
    """Appends one line per `log` call to `metrics.jsonl` in the run directory.

    A line holds the three counters, `time` in seconds since 1970 and `metrics` by name. A resumed
    run drops the lines that came after its checkpoint, so no step is recorded twice.
    """

    _file: TextIO

    def start(self, run: RunInfo) -> None:
        path = run.run_dir / FILE
        if run.resumed_env_steps is not None and path.exists():
            _cut_after(path, run.resumed_env_steps)
        self._file = path.open("a")

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        line = {
            "env_steps": counters.env_steps,
            "agent_steps": counters.agent_steps,
            "updates": counters.updates,
            "time": round(time.time(), 3),
            "metrics": dict(metrics),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def artifact(self, path: Path, folder: str = "") -> None:
        """Nothing to do: artifacts are files of the run directory already."""

    def finish(self, status: Status) -> None:
        self._file.close()


def _cut_after(path: Path, env_steps: int) -> None:
    """Keep the whole lines up to and including `env_steps`."""
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if json.loads(line)["env_steps"] > env_steps:
                break
        except json.JSONDecodeError:
            break
        kept.append(line)
    temporary = path.with_suffix(".cut")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)
