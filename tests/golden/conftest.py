"""`--fidelity FILE` writes what was compared with the archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import fidelity


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fidelity", metavar="FILE", help="write what was compared with the archives")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    file = session.config.getoption("--fidelity", None)
    if file is None:
        return
    if hasattr(session.config, "workerinput") or session.config.getoption("numprocesses", None):
        raise pytest.UsageError("--fidelity counts in one process; leave out -n")
    if exitstatus == pytest.ExitCode.OK:
        Path(file).write_text(fidelity.table(), encoding="utf-8")
