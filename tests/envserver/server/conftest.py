from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from wmrun_envserver.backends.base import AnyBackend
from wmrun_envserver.server.address import UnixAddress
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.server import EnvServer

from tests.envserver.server.client import Client
from tests.envserver.server.scripted import ScriptedBackend


class ManualClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A private directory whose name is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="wm") as directory:
        yield Path(directory)


@pytest.fixture
def serve(socket_dir: Path, clock: ManualClock) -> Iterator[Callable[..., EnvServer]]:
    """Start a server of the given backend in this process, on a Unix socket."""
    numbers = count()
    with ExitStack() as stack:

        def start(
            backend: AnyBackend | None = None, limits: Limits | None = None, debug: bool = False
        ) -> EnvServer:
            address = UnixAddress(socket_dir / f"{next(numbers)}.sock")
            server = EnvServer(
                Catalogue(backend or ScriptedBackend()),
                address,
                limits or Limits(restart_pause_s=0),
                clock=clock,
                debug=debug,
            )
            server.start()
            stack.callback(server.drain, 5.0)
            return server

        yield start


@pytest.fixture
def connect(serve: Callable[..., EnvServer]) -> Iterator[Callable[..., Client]]:
    """Start a server and return a client of it."""
    with ExitStack() as stack:

        def start(*args: object, **kwargs: object) -> Client:
            client = Client(serve(*args, **kwargs).address)
            stack.callback(client.close)
            return client

        yield start
