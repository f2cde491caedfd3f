"""Standard output and error that never fail: a full disk must not stop a server."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any


def log_to_stderr(level: str) -> None:
    """Send the log, and what simulators print, to standard error; drop what does not fit there."""
    logging.raiseExceptions = False
    sys.stdout, sys.stderr = _text(1), _text(2)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class OneLineFormatter(logging.Formatter):
    """Escapes control characters in messages: what clients send must not look like other entries.

    Tracebacks keep their lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = "".join(map(_visible, record.message))
        return super().formatMessage(record)


class _Lossy(io.FileIO):
    """Pretends to have written what the file did not take (no space, nobody reads)."""

    def write(self, data: Any) -> int:
        try:
            written: int | None = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


def _text(fd: int) -> io.TextIOWrapper:
    lines = io.BufferedWriter(_Lossy(fd, "w", closefd=False))
    return io.TextIOWrapper(lines, "utf-8", errors="backslashreplace", line_buffering=True)


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
