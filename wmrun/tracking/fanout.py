"""Several trackers behind one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wmrun.run.tracker import Counters, RunInfo, Status, Tracker


class FanoutTracker:
    """Hands every call to each tracker, in the order given."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def start(self, run: RunInfo) -> None:
        for tracker in self._trackers:
            tracker.start(run)

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        for tracker in self._trackers:
            tracker.log(metrics, counters)

    def artifact(self, path: Path, folder: str = "") -> None:
        for tracker in self._trackers:
            tracker.artifact(path, folder)

    def finish(self, status: Status) -> None:
        for tracker in self._trackers:
            tracker.finish(status)
