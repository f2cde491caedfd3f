"""What is measured between two log lines."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

from wmrun.run.tracker import Counters


class MetricMeans:
    """Collects values by name and gives back their means, starting anew."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._sums[name] += value
            self._counts[name] += 1

    def take(self) -> dict[str, float]:
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        self._sums.clear()
        self._counts.clear()
        return means


class SpeedMeter:
    """Env steps and updates per second since the last time it was asked."""

    def __init__(self, counters: Counters) -> None:
        self._time, self._counters = time.monotonic(), counters

    def take(self, counters: Counters) -> dict[str, float]:
        now, before = time.monotonic(), self._counters
        elapsed = max(now - self._time, 1e-9)
        self._time, self._counters = now, counters
        return {
            "speed/env_steps_per_s": (counters.env_steps - before.env_steps) / elapsed,
            "speed/updates_per_s": (counters.updates - before.updates) / elapsed,
        }
