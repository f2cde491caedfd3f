"""Frames over a stream socket: a length (uint32), a kind (uint8), and that many bytes."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

_HEADER = struct.Struct("<IB")
_MAX_BYTES = 2**32 - 1
# Memory is taken as bytes come, not because a header says so.
_FIRST_BYTES = 2**20

K = TypeVar("K", bound=IntEnum)


@dataclass(frozen=True)
class Frame(Generic[K]):
    """What came over a channel."""

    kind: K
    payload: bytes


class ChannelClosed(Exception):
    """The other end is gone, or sends what is no frame."""


class Channel(Generic[K]):
    """One end of a connection, over which frames of `kinds` with up to `max_bytes` come."""

    def __init__(
        self, end: socket.socket, kinds: Callable[[int], K], max_bytes: int = _MAX_BYTES
    ) -> None:
        end.setblocking(False)
        self._socket = end
        self._kinds = kinds
        self._max_bytes = max_bytes
        self._kind: K | None = None
        self._expect(_HEADER.size)

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._socket.fileno()

    def send(self, kind: K, payload: bytes, deadline: float | None = None) -> None:
        """Send one frame.

        Raises `ChannelClosed`, or `TimeoutError` when the other end has not taken it until
        `deadline`, in seconds of `time.monotonic`.
        """
        rest = [memoryview(_HEADER.pack(len(payload), kind)), memoryview(payload)]
        while rest:
            try:
                sent = self._socket.sendmsg(rest)
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
                continue
            except OSError as error:
                raise ChannelClosed from error
            while rest and sent >= len(rest[0]):
                sent -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][sent:]

    def receive(self) -> Frame[K] | None:
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

    def wait(self, deadline: float | None = None) -> Frame[K]:
        """Return the next frame.

        Raises `ChannelClosed`, or `TimeoutError` when it has not come in full until `deadline`, in
        seconds of `time.monotonic`; what has come of it is kept.
        """
        while (frame := self.receive()) is None:
            self._wait(select.POLLIN, deadline)
        return frame

    def is_open(self) -> bool:
        """Return whether the other end may still send and receive."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def hang_up(self) -> None:
        """End the connection in both directions: whoever waits on it, on either side, wakes."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self) -> None:
        """Let go of the socket; the other end sees its end."""
        self._socket.close()

    def _completed(self) -> Frame[K] | None:
        if self._kind is None:
            length, kind = _HEADER.unpack(self._buffer)
            if length > self._max_bytes:
                raise ChannelClosed
            try:
                self._kind = self._kinds(kind)
            except ValueError as error:
                raise ChannelClosed from error
            self._expect(length)
            if length:
                return None
        elif self._filled < self._length:
            self._buffer.extend(bytes(min(self._filled, self._length - self._filled)))
            return None
        frame = Frame(self._kind, bytes(self._buffer))
        self._kind = None
        self._expect(_HEADER.size)
        return frame

    def _expect(self, length: int) -> None:
        self._length = length
        self._buffer = bytearray(min(length, _FIRST_BYTES))
        self._filled = 0

    def _wait(self, event: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        limit = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(limit):
            raise TimeoutError
