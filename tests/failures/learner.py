"""`wmrun` as a process, what it says on screen, and the env servers and workers below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

LIMIT_S = 180.0


class Learner:
    """A running `wmrun` command; it is killed when it has not ended within `LIMIT_S`."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        """What it said on screen so far."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wmrun", *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._claimed: set[int] = set()
        self._limit = threading.Timer(LIMIT_S, self.process.kill)
        self._limit.start()

    def await_line(self, pattern: str) -> str:
        """Return the first line with `pattern` that was not returned before, once it is there."""
        assert self.process.stderr is not None
        while True:
            for number, line in enumerate(self.lines):
                if number not in self._claimed and re.search(pattern, line):
                    self._claimed.add(number)
                    return line
            line = self.process.stderr.readline()
            assert line, f"nothing with {pattern!r} in\n{self.said}"
            self.lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def runs_for(self, seconds: float) -> None:
        """Let it go on for so long, and assert that it did."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            raise AssertionError(f"it ended:\n{self.said}")

    def end(self, number: int | None = None) -> int:
        """Return its exit code, after sending it a signal if one is given."""
        assert self.process.stderr is not None
        if number is not None:
            self.process.send_signal(number)
        self.lines += self.process.stderr
        code = self.process.wait()
        self._limit.cancel()
        return code

    def close(self) -> None:
        """End it with every process that it has begun."""
        self._limit.cancel()
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def server(self, workers: int) -> psutil.Process:
        """Return its env server that was started with so many workers."""
        children = psutil.Process(self.process.pid).children()
        (server,) = _with(children, ["wmrun_envserver", "--workers", str(workers)])
        return server


def workers(server: int | psutil.Process) -> list[psutil.Process]:
    """Return the worker processes of an env server, in the order of their start."""
    process = psutil.Process(server) if isinstance(server, int) else server
    return _with(process.children(), ["wmrun_envserver.server.worker_main"])


def _with(processes: Sequence[psutil.Process], words: Sequence[str]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if set(words) <= set(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)
