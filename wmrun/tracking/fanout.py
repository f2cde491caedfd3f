"""Several trackers behind one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wmrun.errors import WmrunError
from wmrun.run.tracker import Counters, RunInfo, Status, Tracker
from wmrun.tracking.warn import reason, warn


class FanoutTracker:
    """Hands every call to each tracker, in the order given.

    What a tracker raises costs the others and the run nothing: it is warned of once per tracker.
    Only a `WmrunError` of `start`, a mistake that the user can mend at once, passes.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)
        self._failed: set[int] = set()

    def start(self, run: RunInfo) -> None:
        self._each(lambda tracker: tracker.start(run), passing=(WmrunError,))

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        self._each(lambda tracker: tracker.log(metrics, counters))

    def artifact(self, path: Path, folder: str = "") -> None:
        self._each(lambda tracker: tracker.artifact(path, folder))

    def finish(self, status: Status) -> None:
        self._each(lambda tracker: tracker.finish(status))

    def _each(
        self, call: Callable[[Tracker], None], passing: tuple[type[Exception], ...] = ()
    ) -> None:
        for number, tracker in enumerate(self._trackers):
            try:
                call(tracker)
            except passing:
                raise
            except Exception as error:
                if number not in self._failed:
                    self._failed.add(number)
                    name = type(tracker).__name__
                    warn(
                        f"{name} failed ({type(error).__name__}: {reason(error)}); the run goes on"
                    )
