"""Servers to make the checks against: the real one, and broken ones in front of it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from wmrun_envserver.conformance.launch import Launched, Launcher
from wmrun_envserver.conformance.peer import Target

from tests.envserver.conformance.proxy import Mutation, Proxy

SERVE = f"{sys.executable} -m wmrun_envserver serve --test-envs"


@pytest.fixture(scope="module")
def echo_launcher() -> Launcher:
    return Launcher(f"{SERVE} --backend echo --listen {{address}}", Target(""))


@pytest.fixture(scope="module")
def echo_server(echo_launcher: Launcher) -> Iterator[Launched]:
    """A server process with the test envs, shared by the tests of a module."""
    with echo_launcher.running() as server:
        yield server


@pytest.fixture
def broken(echo_server: Launched) -> Iterator[Callable[[Mutation], Target]]:
    """Put a proxy with a mutation in front of the server and return where it answers."""
    with ExitStack() as stack:

        def start(mutation: Mutation, **options: object) -> Target:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="wm"))
            address = f"unix:{Path(directory) / 'p.sock'}"
            proxy = Proxy(echo_server.target.address, address, mutation, **options)
            proxy.start()
            stack.callback(proxy.stop)
            return Target(address)

        yield start
