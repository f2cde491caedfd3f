"""The Python end of the connection with a Unity player.

The one that mlagents_envs brings listens on every interface, takes no message above 4 MiB, waits
for ever where a player dies in the handshake, and keeps the interpreter from ending. This one
differs in these points alone; what is said over the wire is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import grpc
from mlagents_envs.communicator import Communicator
from mlagents_envs.communicator_objects.unity_message_pb2 import UnityMessageProto
from mlagents_envs.communicator_objects.unity_to_external_pb2_grpc import (
    UnityToExternalProtoServicer,
    add_UnityToExternalProtoServicer_to_server,
)
from mlagents_envs.exception import UnityTimeOutException, UnityWorkerInUseException

_MAX_MESSAGE_BYTES = 256 * 2**20
_GO_ON = 200
_STOP = 400
_POLL_S = 0.25
_STOP_GRACE_S = 0.5


class LoopbackCommunicator(Communicator):  # type: ignore[misc]
    """Listens on 127.0.0.1; `port` 0 takes any that is free, and `port` then says which.

    Waits `timeout_s`, which may be changed, for each message of the player; one that is late raises
    `UnityTimeOutException`.
    """

    def __init__(self, port: int, timeout_s: float) -> None:
        """Listen. Raises `UnityWorkerInUseException` where another process has the port."""
        super().__init__(0, port)
        self.timeout_s = timeout_s
        self._exchange = _Exchange()
        self._server = grpc.server(
            _DaemonThreads(),
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ),
        )
        add_UnityToExternalProtoServicer_to_server(self._exchange, self._server)
        self.port = _bind(self._server, port)
        self._server.start()

    def initialize(self, inputs: Any, poll_callback: Any = None) -> Any:
        first = self._receive(poll_callback)
        self._send(inputs)
        self._receive(poll_callback)
        return first.unity_output

    def exchange(self, inputs: Any, poll_callback: Any = None) -> Any:
        self._send(inputs)
        output = self._receive(poll_callback)
        return output.unity_output if output.header.status == _GO_ON else None

    def close(self) -> None:
        """Tell the player to quit. May be repeated."""
        self._exchange.close()
        self._server.stop(_STOP_GRACE_S).wait(_STOP_GRACE_S + _POLL_S)

    def _send(self, inputs: Any) -> None:
        message = UnityMessageProto()
        message.header.status = _GO_ON
        message.unity_input.CopyFrom(inputs)
        self._exchange.replies.put(message)

    def _receive(self, poll_callback: Any) -> Any:
        deadline = monotonic() + self.timeout_s
        while True:
            try:
                return self._exchange.requests.get(timeout=_POLL_S)
            except Empty:
                if poll_callback is not None:
                    poll_callback()
            if monotonic() >= deadline:
                raise UnityTimeOutException(f"Unity said nothing for {self.timeout_s:g} s")


class _Exchange(UnityToExternalProtoServicer):  # type: ignore[misc]
    """Hands each message of the player on, and holds the call until there is a reply."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[Any] = SimpleQueue()
        self.replies: SimpleQueue[Any] = SimpleQueue()

    def Exchange(self, request: Any, context: Any) -> Any:
        self.requests.put(request)
        return self.replies.get()

    def close(self) -> None:
        message = UnityMessageProto()
        message.header.status = _STOP
        self.replies.put(message)


class _DaemonThreads(Executor):
    """Runs each call in a thread of its own, for which no interpreter waits when it ends.

    It would wait for those of a ThreadPoolExecutor, which wait for a reply, before it comes to what
    closes the connection at exit.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="unity", daemon=True).start()
        return future


def _bind(server: Any, port: int) -> int:
    try:
        bound: int = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError:  # grpcio >= 1.60; older ones return 0
        bound = 0
    if bound == 0:
        raise UnityWorkerInUseException(0)
    return bound
