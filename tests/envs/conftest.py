"""Real env servers for the tests: of the echo backend, and of one that fails on request."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wmrun.config.schema import EnvConfig
from wmrun.envs.pool import EnvPool

LIMIT_S = 20.0
"""How long a test waits for something that must happen."""


@pytest.fixture
def faulty_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make `faulty_backend.py` an installed backend for the servers started here; its name."""
    installed = tmp_path / "installed"
    metadata = installed / "faulty-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[wmrun_envserver.backends]\nfaulty = faulty_backend:FaultyBackend\n"
    )
    module = Path(__file__).with_name("faulty_backend.py")
    (installed / module.name).symlink_to(module)
    monkeypatch.setenv("PYTHONPATH", str(installed), prepend=os.pathsep)
    return "faulty"


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[Callable[..., EnvPool]]:
    """Build pools from `env` settings; every pool is closed at the end."""
    pools: list[EnvPool] = []

    def make(
        *,
        role: str = "train",
        seed: int = 0,
        client_id: str | None = None,
        should_stop: Callable[[], bool] | None = None,
        **env: Any,
    ) -> EnvPool:
        pools.append(
            EnvPool(
                EnvConfig(**env),
                log_dir=tmp_path / "env_servers",
                seed=seed,
                role=role,  # type: ignore[arg-type]
                client_id=client_id,
                should_stop=should_stop,
            )
        )
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@contextmanager
def out_of_patience(pool: EnvPool, *members: int) -> Iterator[None]:
    """Let a step go on without these servers at once, not after the time that it waits for them."""
    with pytest.MonkeyPatch.context() as patch:
        for index in members:
            patch.setattr(pool._members[index], "answered", lambda within_s: False)
        yield


def kill_process(pid: int) -> None:
    """Kill a process, and return once it can answer no more."""
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert wait_for_exit(pidfd)


def stop_process(pid: int) -> None:
    """Stop a child process, and return once none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def wait_for_exit(pidfd: int) -> bool:
    """Wait until the process behind `pidfd` has ended; False if it has not within the limit."""
    try:
        waiter = select.poll()
        waiter.register(pidfd, select.POLLIN)
        return bool(waiter.poll(LIMIT_S * 1000))
    finally:
        os.close(pidfd)
