"""Stopping on SIGINT, SIGTERM and SIGHUP: once asks for a checkpoint, twice stops now."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType
from typing import Any

from wmrun.errors import ExitCode

_EXIT_CODES = {
    signal.SIGHUP: ExitCode.HUNG_UP,
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}


class StopSignals:
    """In this context the first signal sets `received`; the second ends the process.

    The loop looks at `received` between updates, writes its checkpoint and returns. Environment
    servers see the end of their parent and leave, so a second signal leaves no process behind.
    A signal that was ignored before, as SIGHUP under nohup, stays so.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.received is None else _EXIT_CODES[self.received]

    def __enter__(self) -> StopSignals:
        for number in _EXIT_CODES:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if self.received is not None:
            _write(f"\n{received.name} again: stopping now, without a checkpoint\n")
            os._exit(_EXIT_CODES[received])
        self.received = received
        _write(f"\n{received.name}: writing a checkpoint, then stopping (once more: stop now)\n")


def _write(text: str) -> None:
    """Write to stderr without buffers or locks: a signal handler may interrupt a print."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, text.encode())
