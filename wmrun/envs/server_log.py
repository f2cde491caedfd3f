"""The log file of a local env server: what the learner shows of it when something goes wrong."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

_TAIL_BYTES = 64 * 1024


class ServerLog:
    """One log file that outlives restarts; reads back only what the latest start wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin = 0

    def begin(self, command: Sequence[str]) -> IO[bytes]:
        """Append when and how the server is started, and return the file, opened for its output.

        A full disk takes nothing of it, and stops nobody.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        log = self.path.open("ab", buffering=0)
        now = datetime.now().astimezone()
        with contextlib.suppress(OSError):
            log.write(f"--- {now:%Y-%m-%d %H:%M:%S%z} {shlex.join(command)}\n".encode())
        self._begin = log.seek(0, os.SEEK_END)
        return log

    def tail(self, lines: int = 15) -> str:
        """Return the last non-empty lines since the latest start."""
        try:
            with self.path.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                start = log.seek(max(self._begin, end - _TAIL_BYTES))
                text = log.read(max(0, end - start)).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])

    def excerpt(self) -> str:
        """Return the tail, indented, under the path of the file."""
        tail = self.tail()
        if not tail:
            return f"Its log is empty: {self.path}"
        return f"Last lines of {self.path}:\n" + "\n".join(
            f"  {line}" for line in tail.splitlines()
        )
