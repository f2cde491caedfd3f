"""Memory of an env server and everything it started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import psutil

from wmrun.diagnose.finding import Finding

_MIB = 2**20
_TOLERATED_MIB = 32.0
_TOLERATED_SHARE = 0.05


class MemoryWatch:
    """Compares resident memory at two moments; knows nothing of servers on other hosts."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._begin = self._end = 0.0
        self._steps = 0

    @property
    def growth(self) -> tuple[float, float] | None:
        """MiB at `begin` and at `end`; None where no process is ours to look at."""
        return (self._begin, self._end) if self._begin and self._end else None

    def begin(self) -> None:
        """Measure, once what is allocated on first use is there."""
        self._begin = self._measure()

    def end(self, steps: int) -> None:
        """Measure again after `steps` steps."""
        self._end, self._steps = self._measure(), steps

    def findings(self) -> Iterator[Finding]:
        """Yield `memory-growth` where more came than caches and allocators explain."""
        if self.growth is None:
            return
        grown = self._end - self._begin
        if grown > max(_TOLERATED_MIB, _TOLERATED_SHARE * self._begin):
            yield Finding(
                "memory-growth",
                f"the env server grew by {grown:.0f} MiB, from {self._begin:.0f} to "
                f"{self._end:.0f}, in the last {self._steps * 3 // 4:,} steps of each slot",
                "An environment that keeps something of every step ends a long run: look for "
                "lists that only grow, or let its slots live in workers and be restarted.",
            )

    def _measure(self) -> float:
        return sum(_resident(pid) for pid in self._pids) / _MIB


def _resident(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(_own(member) for member in family)
    except psutil.NoSuchProcess:
        return 0


def _own(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
