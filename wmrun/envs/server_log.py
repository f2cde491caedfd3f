"""The log file of a local env server: what the learner shows of it when something goes wrong."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

_TAIL_BYTES = 64 * 1024


class ServerLog:
    """One log file that outlives restarts; reads back only what the latest start wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin = 0

    def begin(self, command: Sequence[str]) -> BinaryIO:
        """Append when and how the server is started, and return the file, opened for its output."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        log = self.path.open("ab")
        now = datetime.now().astimezone()
        log.write(f"--- {now:%Y-%m-%d %H:%M:%S%z} {shlex.join(command)}\n".encode())
        log.flush()
        self._begin = log.tell()
        return log

    def tail(self, lines: int = 15) -> str:
        """Return the last non-empty lines since the latest start."""
        try:
            with self.path.open("rb") as log:
                end = log.seek(0, 2)
                log.seek(max(self._begin, end - _TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
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
