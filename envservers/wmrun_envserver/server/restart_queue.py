"""Restarts that wait for their time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import inf

from wmrun_envserver.server.hosts import Restart, Until
from wmrun_envserver.server.leases import Clock


class RestartQueue:
    """Restarts of one host, each due `delay_s` after it was added."""

    def __init__(
        self, clock: Clock = time.monotonic, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """`pause` waits so many seconds of `clock`."""
        self._clock = clock
        self._pause = pause
        self._waiting: list[tuple[float, Restart]] = []

    @property
    def next_due(self) -> float:
        """When the first one is due, by the clock; infinity where none waits."""
        return self._waiting[0][0] if self._waiting else inf

    def add(self, restart: Restart) -> None:
        """Let `restart` wait."""
        self._waiting.append((self._clock() + restart.delay_s, restart))
        self._waiting.sort(key=lambda item: item[0])

    def take(self, until: Until) -> Iterator[Restart]:
        """Remove and yield what is due now, in that order, or once the first or all are due."""
        if not self._waiting:
            return
        horizon = {"now": -inf, "any": self.next_due, "all": inf}[until]
        while self._waiting and self.next_due <= max(horizon, self._clock()):
            due, restart = self._waiting.pop(0)
            self._pause(max(0.0, due - self._clock()))
            yield restart
