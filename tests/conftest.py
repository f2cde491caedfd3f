"""Fixtures for tests that need other packages to be installed; signals as a terminal has them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import TOY, TOY_ENTRY_POINTS, write_plugin

# A shell ignores it for what it starts in the background, and so would every process of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Install packages for one test: `install(name, entry_points=..., modules=...)`."""
    before = set(sys.modules)

    def install(name: str, **parts: Any) -> Path:
        site = tmp_path / "sites" / name
        write_plugin(site, name, **parts)
        monkeypatch.syspath_prepend(site)
        return site

    yield install
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def toy(install: Callable[..., Path]) -> Path:
    """Install the package `toy` with an agent and parts that cannot be imported."""
    return install("toy", entry_points=TOY_ENTRY_POINTS, modules=TOY)
