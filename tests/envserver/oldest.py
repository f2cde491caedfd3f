"""The interpreter in which Unity is served: the oldest Python, grpcio and protobuf supported."""

from __future__ import annotations

from pathlib import Path

import pytest

OLDEST_PYTHON = Path(__file__).parents[2] / ".venvs" / "unity" / "bin" / "python"

needs_oldest_python = pytest.mark.skipif(
    not OLDEST_PYTHON.exists(), reason="envservers/unity/build.py makes .venvs/unity"
)
