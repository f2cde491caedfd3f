"""An experiment directory, and a file in it that is valid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

Write = Callable[..., Path]

VALID = """\
name: walk
env: {task: walker-walk}
agent: {type: toy}
run: {env_steps: 2_000}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: Path) -> Path:
    """Return the working directory, with the toy agent installed."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def write(folder: Path) -> Write:
    """Write YAML files into the working directory: `write("a.yaml", text)`."""

    def write(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return Path(name)

    return write
