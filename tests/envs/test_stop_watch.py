"""Pools that are told to stop while they wait for servers, or while they do not."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.envs.conftest import wait_for_exit
from tests.envs.test_client import listening
from wmrun.config.schema import ServerShareConfig
from wmrun.envs import request
from wmrun.envs.errors import EnvStopped
from wmrun.envs.pool import EnvPool

MakePool = Callable[..., EnvPool]


class Servers:
    """Two env servers at addresses, which end as they are told to: their learners dial anew."""

    def __init__(self, stack: ExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.addresses = [f"unix:{folder}/{number}.sock" for number in range(2)]
        self._processes: list[subprocess.Popen[str]] = [
            stack.enter_context(listening(address)) for address in self.addresses
        ]

    def go_away(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


def make_echo(
    make_pool: MakePool, addresses: list[str], should_stop: Callable[[], bool]
) -> EnvPool:
    shares = [ServerShareConfig(address=address) for address in addresses]
    return make_pool(
        backend="echo", task="echo", num_envs=2, servers=shares, should_stop=should_stop
    )


@pytest.mark.parametrize("num_servers", [1, 2])
def test_a_call_ends_that_waits_for_servers_which_are_all_away(
    make_pool: MakePool,
    servers: Servers,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    num_servers: int,
) -> None:
    monkeypatch.setattr(request, "_DISTANT_LEASE_S", 1.0)

    def all_are_dialled() -> bool:
        return caplog.text.count("trying again for up to 60 s") >= num_servers

    pool = make_echo(make_pool, servers.addresses[:num_servers], all_are_dialled)
    pool.open()
    pool.reset()
    servers.go_away()
    with pytest.raises(EnvStopped, match="waiting for the env server at unix:"):
        pool.step([np.zeros((2, 2), np.float32)])
    told = [r.message for r in caplog.records if r.message.startswith("no connection to")]
    assert sorted(told) == [
        f"no connection to the env server at {address}; trying again for up to 60 s "
        "(restart 1 of 3 within 300 s)"
        for address in servers.addresses[:num_servers]
    ]


def test_a_server_that_is_being_started_is_not_waited_for(
    make_pool: MakePool, tmp_path: Path
) -> None:
    script, pid_file = tmp_path / "python", tmp_path / "pid"
    script.write_text(
        f"#!/bin/sh\necho $$ > {pid_file}.new && mv {pid_file}.new {pid_file}\n"
        "exec tail -f /dev/null\n"
    )
    script.chmod(0o755)
    started: list[int] = []

    def is_up() -> bool:
        if pid_file.exists() and not started:
            started.append(os.pidfd_open(int(pid_file.read_text())))
        return bool(started)

    server = {"python": str(script), "start_timeout_s": 600.0}
    pool = make_pool(task="t", server=server, should_stop=is_up)
    with pytest.raises(EnvStopped):
        pool.open()
    assert wait_for_exit(started[0])


def test_an_address_that_says_nothing_is_not_waited_for(make_pool: MakePool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        pool = make_pool(task="t", server={"address": address}, should_stop=lambda: True)
        with pytest.raises(EnvStopped, match=f"at {address}"):
            pool.open()


def test_a_call_that_is_answered_is_not_cut_off(make_pool: MakePool) -> None:
    stopping = False
    pool = make_pool(backend="echo", task="echo", num_envs=2, should_stop=lambda: stopping)
    pool.open()
    pool.reset()
    stopping = True
    for _ in range(200):
        assert len(pool.step([np.zeros((2, 2), np.float32)]).slots) == 2
