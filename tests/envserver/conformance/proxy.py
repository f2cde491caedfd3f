"""A server between the suite and a real one, which may change what passes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import METHODS, STREAM_METHODS
from wmrun_envserver.wire.status import ERROR_METADATA_KEY, error_detail

from tests.envserver.step_relay import Answer, StepRelay, passed_on

_BY_PATH = {method.path: method for method in METHODS.values()}
_STREAMS = {method.path: method for method in STREAM_METHODS.values()}
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.so_reuseport", 0),
)
_DROPPED = ("user-agent", "te", "content-type", "grpc-")


class Refusal(Exception):
    """A call that fails: its status, its text, and its trailing metadata."""

    def __init__(self, code: grpc.StatusCode, text: str, metadata: Any = ()) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.metadata = tuple(metadata)


class Call:
    """One call of the suite, on its way to the real server.

    `request` is the message, None where the bytes are none of its type or the method is not one of
    EnvService; `name` is the method's name, or its path where it is of another service.
    """

    def __init__(self, path: str, data: bytes, context: Any, forward: Callable[..., bytes]) -> None:
        method = _BY_PATH.get(path)
        self.name = method.name if method else path
        self.path = path
        self.data = data
        self.context = context
        self._method = method
        self._forward = forward
        self.request = self._parse(data)

    def forward(self, request: Any = None, name: str | None = None) -> Any:
        """Return the real server's reply, as a message where it is one; raises `Refusal`.

        `request` and `name` replace what the suite sent.
        """
        method = METHODS[name] if name else self._method
        if method is None or (request is None and self.request is None):
            return self._forward(self.path, self.data, self.context)
        message = self.request if request is None else request
        data = self._forward(method.path, message.SerializeToString(), self.context)
        return method.reply.FromString(data)

    def refuse(self, code: str, reason: str, message: str = "", **detail: Any) -> NoReturn:
        """Fail the call with an error detail."""
        metadata = (
            (ERROR_METADATA_KEY, error_detail(reason, message, **detail).SerializeToString()),
        )
        raise Refusal(getattr(grpc.StatusCode, code), message, metadata)

    def _parse(self, data: bytes) -> Any:
        if self._method is None:
            return None
        try:
            return self._method.request.FromString(data)
        except Exception:
            return None


Mutation = Callable[[Call], Any]
"""Answers a call: a message, bytes, or an exception."""


class Proxy(grpc.GenericRpcHandler):
    """Serves `address` from `start` to `stop`; every unary call goes through `mutation`.

    `stream` changes replies of StepStreams, `step` answers what comes over the step socket.
    """

    def __init__(
        self,
        upstream: str,
        address: str,
        mutation: Mutation,
        *,
        stream: Callable[[Any], Any] = lambda reply: reply,
        ends_streams_well: bool = False,
        step: Answer = passed_on,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._mutation = mutation
        self._stream = stream
        self._ends_streams_well = ends_streams_well
        self._opened: list[str] = []
        self._steps = StepRelay(upstream, address, step) if _is_unix(address) else None
        self._channel = grpc.insecure_channel(upstream, options=_OPTIONS)
        self._server = grpc.server(ThreadPoolExecutor(24), (self,), options=_OPTIONS)
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """Stop, and close the sessions that were opened: mutations may lose them."""
        self._server.stop(None).wait()
        if self._steps is not None:
            self._steps.close()
        close = self._channel.unary_unary(METHODS["CloseSession"].path)
        for session_id in self._opened:
            request = messages.CloseSessionRequest(session_id=session_id)
            close(request.SerializeToString(), timeout=20)
        self._channel.close()

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        if details.method in _STREAMS:
            return grpc.stream_stream_rpc_method_handler(self._streamed(details.method))
        return grpc.unary_unary_rpc_method_handler(
            lambda data, context: self._answer(details.method, data, context)
        )

    def _answer(self, path: str, data: bytes, context: Any) -> bytes:
        try:
            reply = self._mutation(Call(path, data, context, self._forward))
        except Refusal as refusal:
            context.set_trailing_metadata(refusal.metadata)
            context.abort(refusal.code, refusal.text)
        return reply if isinstance(reply, bytes) else reply.SerializeToString()

    def _forward(self, path: str, data: bytes, context: Any) -> bytes:
        try:
            reply: bytes = self._channel.unary_unary(path)(
                data, timeout=60, metadata=_metadata(context)
            )
        except grpc.RpcError as error:
            trailing = [item for item in error.trailing_metadata() if item[0] == ERROR_METADATA_KEY]
            raise Refusal(error.code(), error.details(), trailing) from None
        if path == METHODS["OpenSession"].path:
            self._opened.append(messages.OpenSessionReply.FromString(reply).session_id)
        return reply

    def _streamed(self, path: str) -> Any:
        def handle(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            replies = self._channel.stream_stream(path)(requests, metadata=_metadata(context))
            context.add_callback(replies.cancel)
            try:
                for data in replies:
                    yield self._stream(_STREAMS[path].reply.FromString(data)).SerializeToString()
            except grpc.RpcError as error:
                if self._ends_streams_well:
                    return
                trailing = error.trailing_metadata() or ()
                context.set_trailing_metadata(
                    [item for item in trailing if item[0] == ERROR_METADATA_KEY]
                )
                context.abort(error.code(), error.details())

        return handle


def _is_unix(address: str) -> bool:
    return address.startswith("unix:")


def _metadata(context: Any) -> list[tuple[str, str]]:
    return [
        (key, value) for key, value in context.invocation_metadata() if not key.startswith(_DROPPED)
    ]
