"""metrics.jsonl: every metric of a run, on its own disk, whatever else listens."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from wmrun.run.tracker import Counters, RunInfo, Status

FILE = "metrics.jsonl"


class JsonlTracker:
    """Appends one line per `log` call to `metrics.jsonl` in the run directory.

    A line holds the three counters, `time` in seconds since 1970 and `metrics` by name, null where
    a value is not finite. A resumed run drops the lines that came after its checkpoint, so no step
    is recorded twice.
    """

    _file: TextIO

    def start(self, run: RunInfo) -> None:
        path = run.run_dir / FILE
        if run.resumed_env_steps is not None and path.exists():
            _cut_after(path, run.resumed_env_steps)
        self._file = path.open("a", buffering=1)

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        finite = {k: float(v) if math.isfinite(v) else None for k, v in metrics.items()}
        line = {**asdict(counters), "time": round(time.time(), 3), "metrics": finite}
        self._file.write(json.dumps(line) + "\n")

    def artifact(self, path: Path, folder: str = "") -> None:
        """Nothing to do: artifacts are files of the run directory already."""

    def finish(self, status: Status) -> None:
        self._file.close()


@dataclass(frozen=True)
class MetricsLine:
    """One line of metrics.jsonl; values that were not finite are NaN."""

    counters: Counters
    time_s: float
    metrics: dict[str, float]


def read_lines(path: Path, offset: int, size: int) -> tuple[list[MetricsLine], int]:
    """Return the whole lines in about `size` bytes from `offset` on, and the offset after them.

    A line that is still being written is left for the next call; a damaged one is passed over.
    """
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        raw = [line for line in file.readlines(size) if line.endswith(b"\n")]
    lines = [line for line in map(_parse, raw) if line is not None]
    return lines, offset + sum(map(len, raw))


def _parse(raw: bytes) -> MetricsLine | None:
    try:
        line = json.loads(raw)
        counters = Counters(line["env_steps"], line["agent_steps"], line["updates"])
        values = {k: math.nan if v is None else float(v) for k, v in line["metrics"].items()}
        return MetricsLine(counters, float(line["time"]), values)
    except (ValueError, KeyError, TypeError):
        return None


def _cut_after(path: Path, env_steps: int) -> None:
    """Cut the file after its last whole line of at most `env_steps`."""
    end = kept = 0
    with path.open("rb+") as file:
        for raw in file:
            end += len(raw)
            line = _parse(raw)
            if line is not None and raw.endswith(b"\n") and line.counters.env_steps <= env_steps:
                kept = end
        file.truncate(kept)
