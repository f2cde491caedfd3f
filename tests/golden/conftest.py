"""`--fidelity FILE` writes what was compared with the archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import fidelity


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fidelity", metavar="FILE", help="write what was compared with the archives")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fidelity", None) and config.getoption("numprocesses", None):
        raise pytest.UsageError("--fidelity counts in one process; leave out -n")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    file = session.config.getoption("--fidelity", None)
    if file is not None and exitstatus == pytest.ExitCode.OK:
        Path(file).write_text(fidelity.table(), encoding="utf-8")
