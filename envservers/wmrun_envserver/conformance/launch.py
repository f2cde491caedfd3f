"""Servers that the suite starts, stops and kills itself."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc

from wmrun_envserver.conformance.peer import Deadline, Peer, Target

START_LIMIT_S = 60.0
LOG = "log"
_POLL_S = 0.05
_LOG_TAIL = 400
# Reads to the end of a pipe that only the suite holds open, then kills a process group.
_GUARD = 'cat > /dev/null; kill -s KILL -- "-$1"'


class LaunchError(Exception):
    """The command cannot be used, or the server it starts does not answer."""


class Launcher:
    """Starts servers by a command in which `{address}` or `{port}` stands for where to listen.

    `{address}` is a Unix socket in a new directory of mode 0700, or 127.0.0.1:PORT where TLS is in
    use; `{port}` a free port of 127.0.0.1.
    """

    def __init__(self, command: str, credentials: Target) -> None:
        """Split the command as a shell would; raises `LaunchError`."""
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise LaunchError(f"--launch {command!r}: {error}") from None
        self._uses_port = "{port}" in command
        if not self._uses_port and "{address}" not in command:
            raise LaunchError(
                f"--launch {command!r} has neither {{address}} nor {{port}}: the suite must say "
                "where to listen"
            )
        if shutil.which(self._words[0]) is None:
            raise LaunchError(f"--launch {command!r}: there is no program {self._words[0]!r}")
        self._credentials = credentials

    @property
    def is_unix(self) -> bool:
        """Whether servers listen on Unix sockets."""
        return not self._uses_port and not self._credentials.is_tls

    @property
    def is_port_only(self) -> bool:
        """Whether the command is told a port alone, not an interface."""
        return self._uses_port

    @contextmanager
    def running(self, deadline: Deadline | None = None) -> Iterator[Launched]:
        """Start a server, wait until it answers, and end it afterwards, whatever it does."""
        deadline = deadline or Deadline(START_LIMIT_S)
        with tempfile.TemporaryDirectory(prefix="wmrun-", ignore_cleanup_errors=True) as directory:
            address = f"unix:{directory}/s.sock" if self.is_unix else f"127.0.0.1:{free_port()}"
            launched = Launched(self, replace(self._credentials, address=address), directory)
            try:
                launched.start(deadline)
                yield launched
            finally:
                launched.end()

    def spawn(self, address: str, directory: Path) -> subprocess.Popen[bytes]:
        """Start the command at `address`; its output and temporary files go to `directory`."""
        temporary = directory / "tmp"
        temporary.mkdir(mode=0o700, exist_ok=True)
        port = address.rpartition(":")[2]
        words = [word.replace("{address}", address).replace("{port}", port) for word in self._words]
        with (directory / LOG).open("ab") as output:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=os.environ | {"TMPDIR": str(temporary)},
            )


class Launched:
    """A server process that may be killed and started again at the same address.

    It ends with the suite, also where that is killed and can end nothing any more.
    """

    def __init__(self, launcher: Launcher, target: Target, directory: str) -> None:
        self.target = target
        self.directory = Path(directory)
        self._launcher = launcher
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._seen: set[int] = set()

    def start(self, deadline: Deadline) -> None:
        """Start the process and return once it answers; raises `LaunchError`."""
        self._dismiss_guard()
        self._process = self._launcher.spawn(self.target.address, self.directory)
        self._guard = _guard(self._process.pid)
        peer = Peer(self.target, deadline)
        try:
            self._await_answer(peer, time.monotonic() + deadline.clip(START_LIMIT_S))
        finally:
            peer.close()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process

    def descendants(self) -> set[int]:
        """Return the pids of the processes that the server started (Linux; elsewhere none)."""
        found = _descendants(self.process.pid)
        self._seen |= found
        return found

    def files(self) -> list[Path]:
        """Return what the server left in its temporary directory and beside its socket."""
        kept = {self.directory / LOG, self.directory / "tmp"}
        found = [*self.directory.iterdir(), *(self.directory / "tmp").iterdir()]
        return [path for path in found if path not in kept]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server itself, not to what it started."""
        self.descendants()
        self.process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, None where the process still runs after `timeout_s`."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Kill the server and what it started."""
        if self._process is None:
            return
        self.descendants()
        self._dismiss_guard()
        self.process.kill()
        self.process.wait()
        for pid in self._seen:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)

    def _dismiss_guard(self) -> None:
        if self._guard is None:
            return
        self._guard.kill()
        self._guard.communicate()
        self._guard = None

    def _await_answer(self, peer: Peer, until: float) -> None:
        while True:
            try:
                peer.health("", 1.0)
                return
            except grpc.RpcError:
                status = self.process.poll()
            if status is not None:
                raise LaunchError(f"the server ended with status {status}{self._said()}")
            if time.monotonic() > until:
                raise LaunchError(f"the server does not answer{self._said()}")
            time.sleep(_POLL_S)

    def _said(self) -> str:
        text = (self.directory / LOG).read_text(errors="replace").strip()
        return f"; it said: {text[-_LOG_TAIL:]}" if text else ""


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def await_end(pids: set[int], limit_s: float) -> set[int]:
    """Return those of `pids` that still run after `limit_s`."""
    until = time.monotonic() + limit_s
    while (left := {pid for pid in pids if is_running(pid)}) and time.monotonic() < until:
        time.sleep(_POLL_S)
    return left


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _guard(group: int) -> subprocess.Popen[bytes]:
    """Start what kills the processes of `group` once this process is gone."""
    return subprocess.Popen(
        ["sh", "-c", _GUARD, "guard", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _descendants(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int(_stat(int(entry.name))[1])
        except OSError:
            continue
    found: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _stat(pid: int) -> list[str]:
    # The name of the process, in parentheses, may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
