"""A step socket in front of a server's own, whose answers a test may hold back, change or cut."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from google.protobuf.message import DecodeError, Message
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.framing import Channel, ChannelClosed
from wmrun_envserver.wire.step_socket import STEP_SOCKET_SUFFIX, StepKind

Forward = Callable[[], bytes]
"""Lets the server answer, and returns the frame of that."""
Answer = Callable[[messages.StepRequest, Forward], bytes]
"""Returns what the client gets in place of the server's frame; raises `Cut`."""


class Cut(Exception):
    """The connection ends after these bytes."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.data = data


def passed_on(request: messages.StepRequest, forward: Forward) -> bytes:
    """Answer as the server does."""
    return forward()


class StepRelay:
    """The step socket of a server at `address` that stands in for the one at `upstream`."""

    def __init__(self, upstream: str, address: str, answer: Answer = passed_on) -> None:
        self.address = address
        self.answer = answer
        self.steps: list[int] = []
        """The seq of every step that came by."""
        self.ended = threading.Event()
        """A client has hung up."""
        self._upstream = _step_path(upstream)
        self._listener = socket.socket(socket.AF_UNIX)
        # The name that the server tells its clients is its own.
        self._path = _step_path(address).with_name(self._upstream.name)
        self._path.unlink(missing_ok=True)
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those there are stay."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._path.unlink()

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    end, _ = self._listener.accept()
                except OSError:
                    return
                threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        with end, socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(str(self._upstream))
            client = Channel(end, StepKind, Limits().max_message_bytes)
            server = Channel(upstream, StepKind)
            try:
                while True:
                    request = client.wait().payload
                    end.setblocking(True)
                    end.sendall(self._answered(request, server))
                    end.setblocking(False)
            except Cut as cut:
                with suppress(BrokenPipeError):  # the client may have hung up before
                    end.sendall(cut.data)
            except (ChannelClosed, BrokenPipeError):
                self.ended.set()

    def _answered(self, data: bytes, server: Channel[StepKind]) -> bytes:
        def forward() -> bytes:
            server.send(StepKind.STEP, data)
            reply = server.wait()
            return frame(reply.kind, reply.payload)

        try:
            request = messages.StepRequest.FromString(data)
        except DecodeError:
            return forward()
        self.steps.append(request.seq)
        return self.answer(request, forward)


def frame(kind: int, payload: Message | bytes) -> bytes:
    """Return a frame as it travels."""
    data = payload if isinstance(payload, bytes) else payload.SerializeToString()
    return struct.pack("<IB", len(data), kind) + data


def _step_path(address: str) -> Path:
    return Path(address.removeprefix("unix:") + STEP_SOCKET_SUFFIX)
