"""Watches over a call that gets no answer, and ends the wait for a server that is stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wmrun.envs.heartbeat import Heartbeat

SLOW_CALL_S = 5.0
"""After so long without an answer the user is told, and it is looked whether the server runs."""
_LOOK_S = 0.5

_LOG = logging.getLogger(__name__)


class CallWatch:
    """Says once that `label` does not answer, and calls `give_up(reason)` when it cannot.

    It cannot when `is_stopped()` says so of its process and two heartbeats stay without an answer.
    A process that runs is left to the deadline of the call: it may compute and hold its interpreter
    lock, or be slow to read. A server on another machine may be behind a network that is cut, which
    is borne for the session's lease.
    """

    def __init__(
        self,
        label: str,
        heartbeat: Heartbeat,
        is_stopped: Callable[[], bool],
        give_up: Callable[[str], None],
    ) -> None:
        self._label = label
        self._heartbeat = heartbeat
        self._is_stopped = is_stopped
        self._give_up = give_up
        self._out_since: float | None = None
        self._was_told = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="env-call-watch", daemon=True)
        self._thread.start()

    @contextmanager
    def over_call(self, sent_at: float) -> Iterator[None]:
        """Watch while the block waits for the answer to a call sent at `sent_at` (monotonic)."""
        self._out_since = sent_at
        try:
            yield
        finally:
            self._out_since = None

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            since = self._out_since
            if since is None or time.monotonic() - since < SLOW_CALL_S:
                continue
            self._tell()
            if self._hangs() and self._out_since == since:
                self._give_up(
                    "the env server hangs: its process is stopped, no reply within "
                    f"{time.monotonic() - since:.0f} s, and none to heartbeats"
                )
                return

    def _tell(self) -> None:
        if not self._was_told:
            self._was_told = True
            _LOG.warning("waiting for %s: no answer for %g s", self._label, SLOW_CALL_S)

    def _hangs(self) -> bool:
        try:
            return self._is_stopped() and self._heartbeat.probe() is None and self._is_stopped()
        except ValueError:  # the session was closed meanwhile
            return False
