"""Ends what is waited for in the environments once a run is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

PATIENCE_S = 1.0
"""How long a call to a server that is there may still take: the row in flight is seldom lost."""
_LOOK_S = 0.2


class Waiting(Protocol):
    """What may be in a call that waits for a server."""

    def stop_waiting(self, patience_s: float) -> None:
        """End a wait for a server that is away at once, any other call after `patience_s`."""


class StopWatch:
    """Asks `should_stop()` from a thread of its own, and stops those who wait when it is true.

    It asks because a signal handler, which might tell, may interrupt whoever holds a lock.
    """

    def __init__(self, should_stop: Callable[[], bool], waiting: Sequence[Waiting]) -> None:
        self._should_stop = should_stop
        self._waiting = waiting
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="env-stop-watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            if self._should_stop():
                for one in self._waiting:
                    one.stop_waiting(PATIENCE_S)
