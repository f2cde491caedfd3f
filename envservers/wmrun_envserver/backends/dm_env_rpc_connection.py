"""One stream to a dm_env_rpc server, with a deadline on every request."""

from __future__ import annotations

import logging
import socket
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

import grpc
from dm_env_rpc.v1 import dm_env_rpc_pb2_grpc, message_utils
from dm_env_rpc.v1.error import DmEnvRpcError

from wmrun_envserver.backends.dm_env_rpc import RemoteWorld

_LOG = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 5.0
_RETRY_S = 0.1
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class RemoteRefusal(Exception):
    """The server answered a request with an error; the connection is as it was."""


class Connection:
    """Sends one request at a time.

    The package's own connection waits without end for a server that hangs, so this one reads in a
    thread. After a request that was not answered in time, or a stream that ended, every other
    request fails too.
    """

    def __init__(self, remote: RemoteWorld, timeout_s: float) -> None:
        """Connect; raises `ConnectionError` where nothing answers within a few seconds."""
        self._address = remote.address
        self._timeout_s = timeout_s
        self._broken = ""
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        _await_listener(remote)
        self._channel = _channel(remote)
        stub = dm_env_rpc_pb2_grpc.EnvironmentStub(self._channel)
        self._stream = stub.Process(iter(self._requests.get, None))
        threading.Thread(target=self._read, name="dm_env_rpc", daemon=True).start()

    def send(self, request: Any, timeout_s: float | None = None) -> Any:
        """Return the response to one of the protocol's request messages.

        Raises `RemoteRefusal` for an error reply, `TimeoutError` and `ConnectionError` naming the
        request and the address.
        """
        name = type(request).__name__.removesuffix("Request")
        if self._broken:
            raise ConnectionError(self._broken)
        packed, field = message_utils.pack_environment_request(request)
        self._requests.put(packed)
        limit = self._timeout_s if timeout_s is None else timeout_s
        try:
            answer = self._answers.get(timeout=limit)
        except Empty:
            self._broken = (
                f"the dm_env_rpc server at {self._address} did not answer {name} in {limit:g} s"
            )
            raise TimeoutError(self._broken) from None
        if isinstance(answer, _Ended):
            self._broken = f"the dm_env_rpc server at {self._address} is gone: {answer.cause}"
            raise ConnectionError(self._broken)
        try:
            return message_utils.unpack_environment_response(answer, field)
        except DmEnvRpcError as error:
            code = _CODES.get(error.code, str(error.code))
            raise RemoteRefusal(
                f"the dm_env_rpc server at {self._address} refused {name}: {code}: {error.message}"
            ) from None

    def close(self) -> None:
        """End the stream and close the channel."""
        self._requests.put(None)
        self._stream.cancel()
        self._channel.close()

    def _read(self) -> None:
        try:
            for response in self._stream:
                self._answers.put(response)
            self._answers.put(_Ended("it closed the stream"))
        except grpc.RpcError as error:
            self._answers.put(_Ended(f"{error.code().name}: {error.details()}"))  # type: ignore[attr-defined]


class _Ended:
    def __init__(self, cause: str) -> None:
        self.cause = cause


def _await_listener(remote: RemoteWorld) -> None:
    """Return once something accepts connections: a server that was killed may be starting again."""
    host, _, port = remote.address.rpartition(":")
    deadline = time.monotonic() + _CONNECT_TIMEOUT_S
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
            return
        except OSError as error:
            if time.monotonic() >= deadline:
                raise ConnectionError(
                    f"no dm_env_rpc server answers at {remote.address} within "
                    f"{_CONNECT_TIMEOUT_S:g} s: {error}"
                ) from None
        time.sleep(_RETRY_S)


def _channel(remote: RemoteWorld) -> grpc.Channel:
    options = [
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),
        # A slot that is rebuilt must not find the last one's channel waiting to reconnect.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if remote.tls:
        return grpc.secure_channel(remote.address, grpc.ssl_channel_credentials(), options)
    if not remote.loopback:
        _LOG.warning("the connection to %s is not encrypted: tls:// is", remote.address)
    return grpc.insecure_channel(remote.address, options)
