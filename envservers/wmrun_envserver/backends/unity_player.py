"""The process of a Unity player, which cannot outlive the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from wmrun_envserver.backends import unity_guard


class PlayerProcess:
    """A player in a session of its own: signals to the server's terminal do not reach it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start the player; its output goes where this process's output goes."""
        self._command = list(command)
        read, self._lifeline = os.pipe()
        # Bare (-I -S): the guard needs nothing but the standard library.
        guard = [sys.executable, "-I", "-S", unity_guard.__file__, str(read)]
        try:
            self.process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                pass_fds=[read],
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(read)

    def ended(self) -> str:
        """Say how the player ended; "" while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return f"the player {self._command[0]} {how}"

    def stop(self, grace_s: float) -> None:
        """Wait for the player to end, then kill it with everything it started. May be repeated."""
        if self._lifeline < 0:
            return
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self._lifeline)
        self._lifeline = -1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
