"""Frames between the server and its worker processes: a length, a kind, and protobuf or JSON."""

from __future__ import annotations

import select
import socket
import struct
import time
from enum import IntEnum
from typing import NamedTuple

_HEADER = struct.Struct("<IB")


class Kind(IntEnum):
    """What a frame holds; messages are those of `env.proto`."""

    SETUP = 1
    """To the worker, once: JSON, see `worker_main.Setup`."""
    BUILD = 2
    """ResetRequest: the slots of one simulator, and their seeds. Answered by READY or FAILED."""
    RESETS = 3
    """ResetRequest: slots to reset in the ADVANCE that follows. Not answered."""
    ADVANCE = 4
    """StepRequest: slots to step. Answered by ROWS, or by FAILED where it must be refused."""
    RENDER = 5
    """RenderRequest of one slot. Answered by FRAME or FAILED."""
    DISCARD = 6
    """ResetRequest: slots whose simulators are to be closed. Not answered."""
    CLOSE = 7
    """Empty: close every simulator and exit."""
    READY = 11
    """OpenSessionReply with the spaces and the renderer."""
    FAILED = 12
    """ErrorDetail."""
    ROWS = 13
    """Rows without counters; `errors` name the first slot of each simulator that failed."""
    FRAME = 14
    """Tensor."""
    PIDS = 15
    """JSON: the processes that simulators started outside the worker's process group."""


class Frame(NamedTuple):
    """What came over a channel."""

    kind: Kind
    payload: bytes


class ChannelClosed(Exception):
    """The other end is gone."""


class Channel:
    """One end of a socket pair."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._buffer = bytearray(_HEADER.size)
        self._filled = 0
        self._kind: Kind | None = None

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._socket.fileno()

    def send(self, kind: Kind, payload: bytes, deadline: float | None = None) -> None:
        """Send one frame.

        Raises `ChannelClosed`, or `TimeoutError` when the other end has not taken it until
        `deadline`, in seconds of `time.monotonic`.
        """
        rest = memoryview(_HEADER.pack(len(payload), kind) + payload)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError as error:
                raise ChannelClosed from error

    def receive(self) -> Frame | None:
        """Return the next frame, None while it has not come in full; raises `ChannelClosed`."""
        while True:
            try:
                count = self._socket.recv_into(memoryview(self._buffer)[self._filled :])
            except BlockingIOError:
                return None
            except OSError as error:
                raise ChannelClosed from error
            if count == 0:
                raise ChannelClosed
            self._filled += count
            if self._filled == len(self._buffer):
                frame = self._completed()
                if frame is not None:
                    return frame

    def wait(self) -> Frame:
        """Return the next frame, however long it takes; raises `ChannelClosed`."""
        while (frame := self.receive()) is None:
            self._wait(select.POLLIN, None)
        return frame

    def close(self) -> None:
        """Let go of the socket; the other end sees its end."""
        self._socket.close()

    def _completed(self) -> Frame | None:
        if self._kind is None:
            length, kind = _HEADER.unpack(self._buffer)
            try:
                self._kind = Kind(kind)
            except ValueError as error:
                raise ChannelClosed from error
            self._expect(length)
            if length:
                return None
        frame = Frame(self._kind, bytes(self._buffer))
        self._kind = None
        self._expect(_HEADER.size)
        return frame

    def _expect(self, length: int) -> None:
        self._buffer = bytearray(length)
        self._filled = 0

    def _wait(self, event: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        limit = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(limit):
            raise TimeoutError
