"""Leases: how long a session lives without a word from its client."""

from __future__ import annotations

import threading
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds that only ever grow, such as `time.monotonic`."""


class Lease:
    """A deadline that every call of the session moves to `duration_s` from then."""

    def __init__(self, duration_s: float, clock: Clock) -> None:
        self.duration_s = duration_s
        self._clock = clock
        self._deadline = clock() + duration_s

    def renew(self) -> None:
        """Move the deadline to one full duration from now."""
        self._deadline = self._clock() + self.duration_s

    @property
    def remaining_ms(self) -> int:
        """Milliseconds until the deadline, 0 once it has passed."""
        return max(0, round((self._deadline - self._clock()) * 1000))

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._clock() >= self._deadline


class Sweeper:
    """A thread that calls `sweep` every `interval_s` until it is stopped."""

    def __init__(self, sweep: Callable[[], None], interval_s: float = 1.0) -> None:
        self._sweep = sweep
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-sweeper", daemon=True)

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a sweep in progress is finished first."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self._sweep()
