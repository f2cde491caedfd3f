"""The handlers of an echo server, called with bytes and no transport: ten times as fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import grpc
from wmrun_envserver.server.address import UnixAddress
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.health import health_handlers
from wmrun_envserver.server.server import EnvServer
from wmrun_envserver.wire.service import HEALTH_METHODS, METHODS, STREAM_METHODS
from wmrun_envserver.wire.status import ERROR_METADATA_KEY, MAX_DETAIL_BYTES

from tests.envserver.fuzz.outcome import Answer, Detail

_METHODS = {**METHODS, **STREAM_METHODS, **HEALTH_METHODS}


class Aborted(Exception):
    """A handler ended its call with a status."""


class Context:
    """What handlers use of a `grpc.ServicerContext`."""

    def __init__(self) -> None:
        self.code = "OK"
        self.text = ""
        self.detail: Detail | None = None

    def abort(self, code: grpc.StatusCode, text: str) -> NoReturn:
        self.code, self.text = code.name, text
        raise Aborted

    def set_trailing_metadata(self, metadata: Any) -> None:
        ((key, value),) = metadata
        assert key == ERROR_METADATA_KEY
        assert len(value) <= MAX_DETAIL_BYTES
        self.detail = Detail.FromString(value)

    def is_active(self) -> bool:
        return True

    def peer(self) -> str:
        return "unix:"

    def cancel(self) -> bool:
        return True


class _Details(NamedTuple):
    method: str
    invocation_metadata: tuple[()] = ()


class Handlers:
    """Every rpc of a server as a function from bytes to its answer."""

    def __init__(self, server: EnvServer) -> None:
        self._services = (server._service.handlers(), health_handlers(lambda: True))

    def call(self, rpc: str, request: bytes) -> Answer:
        """Run the handler; what it raises beside its own abort gRPC would call UNKNOWN."""
        handler = self._handler(rpc)
        if handler is None:
            return Answer("UNIMPLEMENTED", None, "", b"")
        context = Context()
        try:
            if handler.request_streaming:
                reply = b"".join(handler.stream_stream(iter([request] * 2), context))
            else:
                reply = handler.unary_unary(request, context)
        except Aborted:
            return Answer(context.code, context.detail, context.text, b"")
        except Exception as error:
            return Answer("UNKNOWN", None, repr(error), b"")
        return Answer("OK", None, "", reply)

    def reply(self, rpc: str, request: bytes) -> bytes:
        """Return the reply to a call; raises `RefusedError`."""
        return self.call(rpc, request).unwrapped()

    def _handler(self, rpc: str) -> Any:
        found = (service.service(_Details(_METHODS[rpc].path)) for service in self._services)
        return next((handler for handler in found if handler is not None), None)


@contextmanager
def handlers_of(path: Path) -> Iterator[tuple[EnvServer, Handlers]]:
    """Make an echo server whose socket, at `path`, nobody needs."""
    server = EnvServer(Catalogue.load("echo"), UnixAddress(path))
    server.start()
    try:
        yield server, Handlers(server)
    finally:
        assert server.drain(20.0)
