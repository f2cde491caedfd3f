"""A run whose server's port belongs to another program; for the server see test_process.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.tiny import wmrun, write_tiny
from wmrun.errors import ExitCode

pytestmark = pytest.mark.servers


def test_a_run_says_that_no_env_server_is_there_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        result = wmrun(tmp_path, "run", str(write_tiny(tmp_path)), f"env.server.address={taken}")
    assert result.returncode == ExitCode.ENV
    assert f"error: no env server answers at {taken}" in result.stderr
    assert "env.server.address" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.glob("runs/*/*")) == []
