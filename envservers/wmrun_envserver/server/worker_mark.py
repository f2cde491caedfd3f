"""A word in the environment of a worker process, by which all that it started can be found."""

from __future__ import annotations

import os
import secrets
import signal

MARK = "WMRUN_WORKER"
"""The environment variable; processes inherit it wherever they go: groups, sessions, orphans."""
_MAX_ROUNDS = 8


def new_mark() -> str:
    """Return a mark that no other worker has."""
    return secrets.token_hex(16)


def kill_marked(mark: str) -> None:
    """Kill every process of this user, but this one, that carries `mark`; on Linux alone."""
    for _ in range(_MAX_ROUNDS):  # what is about to be killed may have started more
        killed = [pid for pid in _pids() if _kill_if_marked(pid, mark)]
        if not killed:
            return


def _pids() -> list[int]:
    try:
        names = os.listdir("/proc")
    except FileNotFoundError:
        return []
    return [int(name) for name in names if name.isdigit() and int(name) != os.getpid()]


def _kill_if_marked(pid: int, mark: str) -> bool:
    try:
        # Before its environment is read, so that the number cannot come to mean another process.
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _is_marked(pid, mark):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def _is_marked(pid: int, mark: str) -> bool:
    # Raises PermissionError for those of other users; those that have ended have none.
    with open(f"/proc/{pid}/environ", "rb") as environment:
        return f"{MARK}={mark}".encode() in environment.read().split(b"\0")
