"""The StepStreams that are open: each holds a thread for as long as it lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.wire.status import Reason

T = TypeVar("T")


class Streams:
    """Bounds how many streams there are, and ends those that wait for a request."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._num_open = 0
        self._idle: dict[int, Callable[[], object]] = {}
        self._is_ending = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold room for one stream; raises `Refused` where there is none."""
        with self._lock:
            if self._num_open >= self._max_streams:
                raise Refused(
                    Reason.CAPACITY,
                    f"all {self._max_streams} streams are taken: use Step, or close one",
                )
            self._num_open += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_open -= 1

    def next_request(self, requests: Iterator[T], cancel: Callable[[], object]) -> T | None:
        """Return the next request of a stream, None at its end; `cancel` ends the wait for it.

        Raises `Refused` once `end` was called.
        """
        key = threading.get_ident()
        with self._lock:
            if self._is_ending:
                raise Refused(Reason.DRAINING, "the server is shutting down")
            self._idle[key] = cancel
        try:
            return next(requests, None)
        finally:
            with self._lock:
                del self._idle[key]

    def end(self) -> None:
        """End every stream: at once those that wait, the others after their reply."""
        with self._lock:
            self._is_ending = True
            waiting = list(self._idle.values())
        for cancel in waiting:
            cancel()
