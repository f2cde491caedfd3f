"""A local env server as a child process: started, watched, stopped."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import psutil
from wmrun_envserver.wire.step_socket import STEP_SOCKET_SUFFIX

from wmrun.config.schema import RestartsConfig
from wmrun.envs.errors import EnvStartError
from wmrun.envs.server_log import ServerLog

STOP_GRACE_S = 12.0
"""Longer than a server takes to give up on an environment that hangs (10 s)."""
_EXIT_AFTER_EOF_S = 5.0
_LOOK_UP_S = 0.2
"""How often a wait looks whether it was cancelled."""
_SERVER_ERROR = "wmrun-envserver: error: "
_NO_MODULE = re.compile(r"No module named '?(\w+)")


@dataclass(frozen=True)
class ReadyLine:
    """What a server says of itself once it serves."""

    address: str
    pid: int
    instance_id: str
    protocol: str


class ServerProcess:
    """One running env server, on a Unix socket in a private directory that it made.

    It leads its own session, so that Ctrl-C reaches only the learner, which checkpoints first. It
    holds the reading end of a pipe whose writing end is ours: however the learner ends, the server
    sees end of file and exits.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], parent_fd: int, ready: ReadyLine, log: ServerLog
    ) -> None:
        self.ready = ready
        self.log = log
        self._process = process
        self._release = weakref.finalize(self, _shut_down, process, parent_fd, ready.address)

    @property
    def address(self) -> str:
        return self.ready.address

    @property
    def pid(self) -> int:
        return self._process.pid

    def exited(self, within_s: float = 0.0) -> bool:
        """Say whether the process has ended, waiting up to `within_s` seconds for it."""
        return _exited(self._process, within_s)

    def is_stopped(self) -> bool:
        """Say whether the process is there but does not run: SIGSTOP, Ctrl-Z, a debugger."""
        try:
            status = psutil.Process(self.pid).status()
        except psutil.NoSuchProcess:
            return False
        return status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)

    def state(self) -> str:
        """Say how the process ended, or that it runs: `is running (pid 7)`."""
        code = self._process.poll()
        if code is not None:
            return describe_exit(code)
        return f"is {'stopped' if self.is_stopped() else 'running'} (pid {self.pid})"

    def report(self) -> str:
        """Say how the process ended or that it runs, with the last lines of its log."""
        return f"The env server {self.state()}. {self.log.excerpt()}"

    def obituary(self, is_replaced: bool) -> str:
        """Say what `report` says, of a server that is ended now if it has not ended itself."""
        state = self.state()
        if state.startswith("is "):
            state = f"was {state[len('is ') :]}: killed"
            state += ", and another started" if is_replaced else ""
        return f"The env server {state}. {self.log.excerpt()}"

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the process (SIGTERM, after `grace_s` SIGKILL) and remove what it left behind."""
        _terminate(self._process, grace_s)
        self._release()


def start_server(
    *,
    python: str | None,
    backend: str,
    log: ServerLog,
    timeout_s: float,
    workers: int | Literal["auto"] = "auto",
    sources: Mapping[str, str] = MappingProxyType({}),
    restarts: RestartsConfig = RestartsConfig(),
    cancelled: Callable[[], bool] = lambda: False,
) -> ServerProcess:
    """Run `PYTHON -m wmrun_envserver serve` and wait until it serves.

    `python` is an interpreter that has `wmrun_envserver`; None is the learner's own. `workers` and
    `sources` are its `--workers` and `--env`; `restarts` says how often it restarts each simulator.
    What the server prints goes to `log`. Gives up soon after `cancelled()` is true. Raises
    `EnvStartError` with the cause, the log's last lines and the remedy; nothing is left running
    then.
    """
    interpreter = sys.executable if python is None else os.path.expanduser(python)
    arguments = ["--backend", backend]
    arguments += [] if workers == "auto" else ["--workers", str(workers)]
    for task, source in sources.items():
        arguments += ["--env", f"{task}={source}"]
    # What is at its default is left out: an older server may not know the flags.
    if restarts.per_window != RestartsConfig().per_window:
        arguments += ["--max-restarts", str(restarts.per_window)]
    if restarts.window_s != RestartsConfig().window_s:
        arguments += ["--restart-window-s", str(math.ceil(restarts.window_s))]
    child = _spawn(interpreter, arguments, log)
    try:
        line, timed_out = _read_line(child.ready_fd, timeout_s, cancelled)
        ready = _parse_ready(line)
        if timed_out:
            raise _too_slow(backend, log, timeout_s)
        if ready is None:
            raise _start_error(child.process, interpreter, backend, log, line)
    except BaseException:
        _terminate(child.process, STOP_GRACE_S)
        os.close(child.parent_fd)
        raise
    return ServerProcess(child.process, child.parent_fd, ready, log)


def describe_exit(code: int) -> str:
    """Put a process's return code into words: `exited with code 1`, `was killed by SIGKILL`."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    parent_fd: int
    ready_fd: int


def _spawn(interpreter: str, arguments: Sequence[str], log: ServerLog) -> _Child:
    """Start the process; both descriptors are then the caller's to close."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        parent_in, parent_out = os.pipe()
        theirs.callback(os.close, parent_in)
        ours.callback(os.close, parent_out)
        ready_in, ready_out = os.pipe()
        theirs.callback(os.close, ready_out)
        ours.callback(os.close, ready_in)
        command = [interpreter, "-m", "wmrun_envserver", "serve", *arguments]
        command += ["--ready-fd", str(ready_out), "--parent-fd", str(parent_in)]
        output = theirs.enter_context(log.begin(command))
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(ready_out, parent_in),
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        except OSError as error:
            raise EnvStartError(
                f"env.server.python: cannot run {interpreter!r}: {error.strerror}",
                hint="Name a Python interpreter, for example .venvs/dmc/bin/python, or leave the "
                f"key out to use {sys.executable}.",
            ) from None
        ours.pop_all()
    return _Child(process, parent_out, ready_in)


def _read_line(fd: int, timeout_s: float, cancelled: Callable[[], bool]) -> tuple[bytes, bool]:
    """Read one line, or what comes before end of file, and close `fd`; say whether time ran out."""
    deadline = time.monotonic() + timeout_s
    line = b""
    waiter = select.poll()
    waiter.register(fd, select.POLLIN)
    with open(fd, "rb", buffering=0) as pipe:
        while not line.endswith(b"\n"):
            left_s = max(0.0, deadline - time.monotonic())
            if not waiter.poll(min(left_s, _LOOK_UP_S) * 1000):
                if left_s > _LOOK_UP_S and not cancelled():
                    continue
                return line, True
            chunk = pipe.read(4096)
            if not chunk:
                break
            line += chunk
    return line, False


def _parse_ready(line: bytes) -> ReadyLine | None:
    try:
        said: dict[str, Any] = json.loads(line)
        return ReadyLine(
            address=said["address"],
            pid=said["pid"],
            instance_id=said["instance_id"],
            protocol=said["protocol"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def _too_slow(backend: str, log: ServerLog, timeout_s: float) -> EnvStartError:
    return EnvStartError(
        f"the env server for backend {backend!r} was not ready within {timeout_s:g} s. "
        f"{log.excerpt()}",
        hint="If it only needs longer, raise env.server.start_timeout_s.",
    )


def _start_error(
    process: subprocess.Popen[bytes], interpreter: str, backend: str, log: ServerLog, line: bytes
) -> EnvStartError:
    """Tell why the ready line never came."""
    what = f"the env server for backend {backend!r}"
    if line or not _exited(process, _EXIT_AFTER_EOF_S):
        said = line.decode(errors="replace").strip()
        return EnvStartError(f"{what} said {said!r} in place of its ready line. {log.excerpt()}")
    tail = log.tail()
    missing = _NO_MODULE.search(tail)
    install = _install(interpreter, backend)
    if missing and missing[1] == "wmrun_envserver":
        return EnvStartError(
            f"{interpreter} (env.server.python) has no wmrun_envserver",
            hint=f"Install it there: {interpreter} -m pip install '{_requirement(backend)}'",
        )
    own_words = tail.partition(_SERVER_ERROR)[2]
    # What an env of the user's own needs, no extra of ours brings.
    says_itself = "env.server.python" in tail or own_words.startswith("--env ")
    hint = install if missing and not says_itself else None
    if own_words:
        return EnvStartError(f"env.backend {backend}: {own_words}", hint=hint)
    return EnvStartError(f"{what} {describe_exit(process.returncode)}. {log.excerpt()}", hint=hint)


def _install(interpreter: str, backend: str) -> str:
    if backend in _OWN_VENV:
        return _OWN_VENV[backend]
    return f"For this interpreter: {interpreter} -m pip install '{_requirement(backend)}'"


_OWN_VENV = {
    "unity_mlagents": "Build it an environment of its own: python envservers/unity/build.py; then "
    "set env.server.python: .venvs/unity/bin/python",
}


def _requirement(backend: str) -> str:
    extras = importlib.metadata.metadata("wmrun-envserver").get_all("Provides-Extra") or []
    extra = backend.replace("_", "-")  # as installed packages spell it
    return f"wmrun-envserver[{extra}]" if extra in extras else "wmrun-envserver"


def _exited(process: subprocess.Popen[bytes], within_s: float) -> bool:
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _terminate(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the process and, whether it ended before or not, what it has left in its session."""
    if process.poll() is None:
        process.terminate()
        if not _exited(process, grace_s):
            process.kill()
            process.wait()
    _kill_session(process.pid)


def _kill_session(leader: int) -> None:
    """Kill the processes of the session that `leader`, a process that has ended, began."""
    pids = psutil.pids()
    if leader in pids:  # the number has come to mean another process
        return
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)


def _shut_down(process: subprocess.Popen[bytes], parent_fd: int, address: str) -> None:
    _terminate(process, STOP_GRACE_S)
    os.close(parent_fd)
    # A server removes its sockets and directory itself, unless it was killed.
    socket = Path(address.removeprefix("unix:"))
    for name in (socket, socket.with_name(socket.name + STEP_SOCKET_SUFFIX)):
        name.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        socket.parent.rmdir()
