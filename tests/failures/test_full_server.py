"""A run on a server that has room to train and for nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.tiny import wmrun, write_tiny
from tests.envs.test_client import listening
from wmrun.errors import ExitCode

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, socket_address: str
) -> Iterator[subprocess.CompletedProcess[str]]:
    """Train to the end, beside a server that takes one session."""
    folder = tmp_path_factory.mktemp("full")
    experiment = str(write_tiny(folder))
    with listening(socket_address, "--max-sessions", "1"):
        yield wmrun(folder, "run", experiment, f"env.server.address={socket_address}")


def test_the_run_trains_to_its_end_without_evaluations(
    trained: subprocess.CompletedProcess[str], socket_address: str
) -> None:
    assert trained.returncode == ExitCode.OK, trained.stderr
    assert "finished after 60 env steps" in trained.stderr
    skipped = [line for line in trained.stderr.splitlines() if line.startswith("no evaluation at")]
    assert [line.partition(" env steps")[0] for line in skipped] == [
        "no evaluation at 30",
        "no evaluation at 60",
    ]
    for line in skipped:
        assert f"env.server.address {socket_address}: all 1 sessions are taken" in line


def test_it_is_told_at_its_start_that_there_is_no_room(
    trained: subprocess.CompletedProcess[str], socket_address: str
) -> None:
    warning, _, rest = trained.stderr.partition("no evaluation at 30")
    assert f"the env server at {socket_address} has room for 0 more sessions" in warning
    assert "--max-sessions" in warning
    assert rest
