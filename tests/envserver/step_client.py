"""One connection to a step socket: whole frames, or bytes that are none."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.framing import Channel, ChannelClosed, Frame
from wmrun_envserver.wire.step_socket import StepKind

LIMIT_S = 20.0

M = TypeVar("M", bound=Message)


class StepClient:
    """Sends frames and takes their answers; `socket` is for what no client would do."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(str(path))
        self._channel = Channel(self.socket, StepKind)

    def __enter__(self) -> StepClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def send(self, request: Message | bytes, kind: int = StepKind.STEP) -> None:
        """Send a frame of any kind."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        self.send_raw(len(data).to_bytes(4, "little") + bytes([kind]) + data)

    def send_raw(self, data: bytes) -> None:
        """Send bytes; raises `OSError` once the server has ended the connection."""
        self.socket.settimeout(LIMIT_S)
        self.socket.sendall(data)
        self.socket.setblocking(False)

    def finish(self) -> None:
        """Say that no request follows."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self) -> Frame[StepKind]:
        """Return the next frame; raises `ChannelClosed`, or `TimeoutError`."""
        return self._channel.wait(time.monotonic() + LIMIT_S)

    def reply(self) -> messages.StepReply:
        """Return the next answer, which must be a reply."""
        return self._answer(StepKind.REPLY, messages.StepReply)

    def refusal(self) -> messages.ErrorDetail:
        """Return the next answer, which must be a refusal."""
        return self._answer(StepKind.REFUSED, messages.ErrorDetail)

    def has_ended(self) -> bool:
        """Wait for what comes next, and return whether it is the end of the connection."""
        try:
            self.receive()
        except ChannelClosed:
            return True
        return False

    def _answer(self, kind: StepKind, message: type[M]) -> M:
        frame = self.receive()
        assert frame.kind is kind
        return message.FromString(frame.payload)
