"""A real server of the echo environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.envs.conftest import LIMIT_S
from wmrun.envs.server_log import ServerLog
from wmrun.envs.supervisor import ServerProcess, start_server


@contextmanager
def started(directory: Path) -> Iterator[ServerProcess]:
    """Start a server whose log is in `directory`."""
    log = ServerLog(directory / "echo.log")
    process = start_server(python=None, backend="echo", log=log, timeout_s=LIMIT_S)
    try:
        yield process
    finally:
        process.stop()
