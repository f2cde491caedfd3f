"""A process that holds simulators of a session, seen from the server."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

from wmrun_envserver.server.framing import Channel, Kind
from wmrun_envserver.server.worker_mark import MARK, kill_marked, new_mark

_LOG = logging.getLogger(__name__)

MODULE = "wmrun_envserver.server.worker_main"
_EXIT_WAIT_S = 2.0
_POLL_S = 0.002


class WorkerProcess:
    """Leads a process group of its own, in the server's session, by which whoever started the
    server finds a worker that is stopped and outlives it. What it prints goes to the server's log.
    """

    def __init__(self, setup: str) -> None:
        """Start the process; `setup` is what `greet` tells `worker_main`.

        Raises `OSError` where there is no room for a process.
        """
        self._mark = new_mark()
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_started:
            unless_started.enter_context(ours)
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, MARK: self._mark},
            )
            unless_started.pop_all()
        self.channel = Channel(ours)
        self._setup = setup
        self._children: dict[int, int] = {}

    @property
    def pid(self) -> int:
        """The process id, and that of its group."""
        return self._process.pid

    def greet(self, deadline: float) -> None:
        """Tell the process what it needs to know first; raises as `Channel.send` does."""
        self.channel.send(Kind.SETUP, self._setup.encode(), deadline)

    def note_children(self, payload: bytes) -> None:
        """Remember processes that have left the group, to be killed with the worker."""
        pids = json.loads(payload)
        for pid in set(self._children) - set(pids):
            os.close(self._children.pop(pid))
        for pid in set(pids) - set(self._children):
            try:
                # Held open, so that the number cannot come to mean another process.
                self._children[pid] = os.pidfd_open(pid)
            except OSError:
                _LOG.debug("child %d of worker %d is gone already", pid, self.pid)

    def await_exit(self, timeout_s: float = _EXIT_WAIT_S) -> bool:
        """Return whether the process ended by itself within `timeout_s`; it is not reaped yet."""
        deadline = time.monotonic() + timeout_s
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def end(self) -> str:
        """Kill what is left of the process and of all that it started; say how it ended."""
        # The group before the process is reaped: until then nobody else can have its number.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not come to lead a group
            os.kill(self.pid, signal.SIGKILL)
        for pidfd in self._children.values():
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.close(pidfd)
        self._children.clear()
        code = self._process.wait()
        kill_marked(self._mark)
        self.channel.close()
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
