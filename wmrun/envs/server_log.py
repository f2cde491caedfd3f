"""The log file of a local env server: what the learner shows of it when something goes wrong."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

_TAIL_BYTES = 64 * 1024


class ServerLog:
    """One log file that outlives restarts; reads back only what the latest start wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin = 0

    def begin(self, command: Sequence[str]) -> None:
        """Append a line that says when and how the server was started."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as log:
            log.write(
                f"--- {datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z} {shlex.join(command)}\n"
            )
            self._begin = log.tell()

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
