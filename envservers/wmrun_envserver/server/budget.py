"""How often each slot may lose its simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from wmrun_envserver.server.leases import Clock
from wmrun_envserver.server.limits import Limits


class RestartBudget:
    """Counts the failures of every slot within `Limits.restart_window_s`."""

    def __init__(self, num_slots: int, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._failures: list[deque[float]] = [deque() for _ in range(num_slots)]

    def note(self, slot: int) -> int:
        """Count one failure of `slot` and return how many it had within the window."""
        self._failures[slot].append(self._clock())
        return self._recent(slot)

    def allows(self, slot: int) -> bool:
        """Return whether `slot` may be restarted."""
        return self._recent(slot) <= self._limits.max_restarts

    def delay_s(self, slots: Iterable[int]) -> float:
        """Return how long to wait before `slots` are restarted: longer with every failure."""
        failures = max(self._recent(slot) for slot in slots)
        return self._limits.restart_pause_s * (2 ** (failures - 2)) if failures > 1 else 0.0

    def _recent(self, slot: int) -> int:
        failures = self._failures[slot]
        horizon = self._clock() - self._limits.restart_window_s
        while failures and failures[0] <= horizon:
            failures.popleft()
        return len(failures)
