"""A socket beside gRPC's, over which clients on this host step without its threads and queues."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wmrun_envserver.server.address import (
    MAX_UNIX_PATH_BYTES,
    Address,
    AddressError,
    SocketFile,
    UnixAddress,
    claimed,
)
from wmrun_envserver.server.worker import Abandoned
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.framing import Channel, ChannelClosed
from wmrun_envserver.wire.status import fitted
from wmrun_envserver.wire.step_socket import STEP_SOCKET_SUFFIX, StepKind

_LOG = logging.getLogger(__name__)

Answer = Callable[[bytes, Callable[[], bool]], "bytes | messages.ErrorDetail"]
"""Returns the reply to a StepRequest; raises `Abandoned` once the callable it is given is false."""

_FIRST_STEP_S = 10.0
_FULL_PAUSE_S = 0.1


def step_socket_path(address: Address) -> Path | None:
    """Return where a server at `address` has its step socket; None where it cannot have one."""
    if not isinstance(address, UnixAddress):
        return None
    path = address.path.with_name(address.path.name + STEP_SOCKET_SUFFIX)
    return path if len(os.fsencode(path)) <= MAX_UNIX_PATH_BYTES else None


class StepSocket:
    """Listens at `path` and answers each connection in a thread of its own.

    Whoever knows a session steps it; the directory of `path` keeps other users out.
    """

    def __init__(
        self, path: Path, answer: Answer, *, max_connections: int, max_message_bytes: int
    ) -> None:
        """Bind `path`, replacing what a server that died left there; raises `AddressError`."""
        self.path = path
        self._answer = answer
        self._max_connections = max_connections
        self._max_message_bytes = max_message_bytes
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._has_ended = threading.Condition(self._lock)
        self._is_ending = False
        self._listener, self._file = _listener(path, max_connections)

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._accept, name="step-socket", daemon=True).start()

    def end(self) -> None:
        """Take no more connections; end those that wait at once, the others after their reply."""
        with self._lock:
            self._is_ending = True
            waiting = [connection for connection in self._connections if not connection.is_busy]
        self._file.remove()
        with suppress(OSError):  # which wakes whoever accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in waiting:
            connection.hang_up()

    def wait_until_ended(self, timeout_s: float) -> bool:
        """Return whether every connection has ended, after at most `timeout_s`."""
        with self._lock:
            return self._has_ended.wait_for(lambda: not self._connections, max(0.0, timeout_s))

    def _accept(self) -> None:
        is_short = False
        while not self._is_ending:
            try:
                end, _ = self._listener.accept()
            except OSError as error:
                if self._is_ending:
                    break
                if not is_short:  # of descriptors, which will be back
                    _LOG.warning("no step connection can be taken: %s", error.strerror)
                is_short = True
                time.sleep(_FULL_PAUSE_S)
                continue
            is_short = False
            self._admit(_Connection(end, self._answer, self._max_message_bytes))
        self._listener.close()

    def _admit(self, connection: _Connection) -> None:
        with self._lock:
            is_welcome = not self._is_ending and len(self._connections) < self._max_connections
            if is_welcome:
                self._connections.add(connection)
        if not is_welcome:
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name="step", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # out of threads
            _LOG.warning("no step connection can be served: %s", error)
            self._dismiss(connection)

    def _serve(self, connection: _Connection) -> None:
        try:
            while not self._is_ending and connection.serve_one():
                pass
        finally:
            self._dismiss(connection)

    def _dismiss(self, connection: _Connection) -> None:
        connection.close()
        with self._lock:
            self._connections.remove(connection)
            self._has_ended.notify_all()


class _Connection:
    """One client, whose requests are answered one after the other."""

    def __init__(self, end: socket.socket, answer: Answer, max_message_bytes: int) -> None:
        self.is_busy = False
        """Whether a request is being answered."""
        self._channel = Channel(end, StepKind, max_message_bytes)
        self._answer = answer
        # Whoever connects and steps nothing holds a thread, and a place.
        self._deadline: float | None = time.monotonic() + _FIRST_STEP_S

    def serve_one(self) -> bool:
        """Answer the next request, and return whether there was one."""
        try:
            frame = self._channel.wait(self._deadline)
            if frame.kind is not StepKind.STEP:
                return False
            self.is_busy = True
            answer = self._answer(frame.payload, self._channel.is_open)
            if isinstance(answer, bytes):
                self._deadline = None
                self._channel.send(StepKind.REPLY, answer)
            else:
                self._channel.send(StepKind.REFUSED, fitted(answer).SerializeToString())
            self.is_busy = False
        except (ChannelClosed, TimeoutError, Abandoned):
            return False
        return True

    def hang_up(self) -> None:
        """Wake the thread that serves it, for the last time."""
        self._channel.hang_up()

    def close(self) -> None:
        self._channel.hang_up()  # a simulator's child process may have the descriptor, too
        self._channel.close()


def _listener(path: Path, backlog: int) -> tuple[socket.socket, SocketFile]:
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o077)
    try:
        with claimed(UnixAddress(path)):
            listener.bind(str(path))
            listener.listen(backlog)
            file = SocketFile.at(path)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError):
            raise AddressError(f"unix:{path}: cannot listen there: {error.strerror}") from None
        raise
    finally:
        os.umask(mask)
    return listener, file
