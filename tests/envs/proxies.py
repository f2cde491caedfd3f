"""What may lie between a learner and its env server: bad networks, peers of other versions."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from wmrun_envserver.wire.service import METHODS


class Proxy:
    """A TCP port that leads to a Unix socket, and can cut its connections."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.cuts = 0
        self._cut_next_reply = threading.Event()
        self._ends: set[socket.socket] = set()
        self._port = 0
        self.restore()
        self.address = f"127.0.0.1:{self._port}"

    def cut_at_next_reply(self) -> None:
        """Let the next request through and close the connection in place of its reply."""
        self._cut_next_reply.set()

    def cut(self) -> None:
        """Close every connection and take no more."""
        self.close()
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Take connections at the same address."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those there are stay."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._path)
            except OSError:  # nobody is there at the moment
                client.close()
                continue
            self._ends |= {client, server}
            for source, target, is_reply in ((client, server, False), (server, client, True)):
                pump = threading.Thread(target=self._pump, args=(source, target, is_reply))
                pump.daemon = True
                pump.start()

    def _pump(self, source: socket.socket, target: socket.socket, is_reply: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_reply and self._cut_next_reply.is_set():
                    self._cut_next_reply.clear()
                    self.cuts += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


Rewrite = Callable[[Any], bytes]
"""Takes a message of its method and returns the bytes that are passed on in its place."""


class RewritingHandler(grpc.GenericRpcHandler):
    """Passes every call on to `address`, requests and replies changed by rpc name."""

    def __init__(
        self, address: str, requests: Mapping[str, Rewrite], replies: Mapping[str, Rewrite]
    ) -> None:
        self.channel = grpc.insecure_channel(address)
        self._requests = requests
        self._replies = replies

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = METHODS[details.method.rpartition("/")[2]]
        call = self.channel.unary_unary(details.method)

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            changed = self._changed(self._requests, method.name, method.request, request)
            try:
                reply: bytes = call(changed, timeout=context.time_remaining())
            except grpc.RpcError as error:
                context.set_trailing_metadata(error.trailing_metadata())
                context.abort(error.code(), error.details())
            return self._changed(self._replies, method.name, method.reply, reply)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _changed(
        self, rewrites: Mapping[str, Rewrite], name: str, kind: type[Message], data: bytes
    ) -> bytes:
        rewrite = rewrites.get(name, rewrites.get("*"))
        return data if rewrite is None else rewrite(kind.FromString(data))


@contextmanager
def serving(*handlers: grpc.GenericRpcHandler, path: Path | None = None) -> Iterator[str]:
    """Serve `handlers` in this process, on a Unix socket if `path` is given; give the address."""
    server = grpc.server(ThreadPoolExecutor(64), handlers=handlers)
    port = server.add_insecure_port(f"unix:{path}" if path else "127.0.0.1:0")
    server.start()
    try:
        yield f"unix:{path}" if path else f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def rewriting(
    address: str, requests: Mapping[str, Rewrite], replies: Mapping[str, Rewrite]
) -> Iterator[str]:
    """Serve a `RewritingHandler` in front of `address`."""
    handler = RewritingHandler(address, requests, replies)
    with handler.channel, serving(handler) as proxy:
        yield proxy
