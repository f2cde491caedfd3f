"""Means of metrics between two log lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping


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
