"""How often failed environments may be restarted before the run gives up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_LONGEST_BACKOFF_S = 10.0


class RestartBudget:
    """Allows `max_restarts` in all and `per_window` within any `window_s` seconds."""

    def __init__(
        self,
        *,
        max_restarts: int,
        per_window: int,
        window_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.used = 0
        self._max = max_restarts
        self._per_window = per_window
        self._window_s = window_s
        self._clock = clock
        self._recent: deque[float] = deque()

    def __str__(self) -> str:
        return f"{self._max} in all, {self._per_window} within {self._window_s:g} s"

    def spend(self) -> bool:
        """Take one restart out of the budget; False if there is none left."""
        now = self._clock()
        while self._recent and now - self._recent[0] > self._window_s:
            self._recent.popleft()
        if self.used >= self._max or len(self._recent) >= self._per_window:
            return False
        self.used += 1
        self._recent.append(now)
        return True

    @property
    def standing(self) -> str:
        """Say which restart was taken last, of how many: `2 of 3 within 300 s`."""
        if self._max - self.used < self._per_window - len(self._recent):
            return f"{self.used} of {self._max} in all"
        return f"{len(self._recent)} of {self._per_window} within {self._window_s:g} s"

    @property
    def backoff_s(self) -> float:
        """Seconds to wait before the restart just taken: none for a lone one, then 1, 2, 4, ..."""
        repeats = len(self._recent) - 1
        return min(2.0 ** (repeats - 1), _LONGEST_BACKOFF_S) if repeats > 0 else 0.0
