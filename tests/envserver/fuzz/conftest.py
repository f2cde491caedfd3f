from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A private directory whose name is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="wm") as directory:
        yield Path(directory)
