"""One connection to the server under test, on which no call waits for ever."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from wmrun_envserver.conformance.check import Unmet
from wmrun_envserver.wire import health, messages
from wmrun_envserver.wire.service import HEALTH_METHODS, METHODS, STREAM_METHODS
from wmrun_envserver.wire.status import detail_of

CALL_TIMEOUT_S = 30.0
OPEN_TIMEOUT_S = 120.0
_OPTIONS = (
    # The suite sends what is too large on purpose, and wants to see how the server refuses it.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class Target:
    """Where a server answers, and what it asks of its clients."""

    address: str
    token: str | None = None
    tls_ca: bytes | None = None
    tls_cert: bytes | None = None
    tls_key: bytes | None = None

    @property
    def is_tls(self) -> bool:
        """Whether the server proves who it is."""
        return self.tls_ca is not None

    def channel(self) -> grpc.Channel:
        """Return a connection of its own."""
        if not self.is_tls:
            return grpc.insecure_channel(self.address, options=_OPTIONS)
        credentials = grpc.ssl_channel_credentials(self.tls_ca, self.tls_key, self.tls_cert)
        return grpc.secure_channel(self.address, credentials, options=_OPTIONS)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)


class Deadline:
    """A moment after which a check has failed."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._at = time.monotonic() + limit_s

    def clip(self, timeout_s: float) -> float:
        """Return how long may be waited, at most `timeout_s`; raises `Unmet` once time is over."""
        self.check()
        return min(timeout_s, max(0.0, self._at - time.monotonic()))

    def check(self) -> None:
        """Raise `Unmet` once time is over."""
        if time.monotonic() >= self._at:
            raise Unmet("time", f"done within {self.limit_s:.0f} s", "still at it")


class Peer:
    """Calls by name. What the server answers against the protocol raises `Unmet`."""

    def __init__(self, target: Target, deadline: Deadline) -> None:
        self.target = target
        self.deadline = deadline
        self._channel = target.channel()

    def close(self) -> None:
        """Cancel what still runs and hang up."""
        self._channel.close()

    def invoke(self, name: str, request: Any, timeout_s: float | None = None) -> Any:
        """Return the reply; raises `grpc.RpcError`."""
        method = METHODS[name]
        stub = self._channel.unary_unary(
            method.path, method.request.SerializeToString, method.reply.FromString
        )
        return stub(request, timeout=self._timeout(name, timeout_s), metadata=self.target.metadata)

    def start(self, name: str, request: Any, timeout_s: float | None = None) -> Any:
        """Begin a call and return its future."""
        method = METHODS[name]
        stub = self._channel.unary_unary(
            method.path, method.request.SerializeToString, method.reply.FromString
        )
        timeout = self._timeout(name, timeout_s)
        return stub.future(request, timeout=timeout, metadata=self.target.metadata)

    def call(self, name: str, request: Any, timeout_s: float | None = None) -> Any:
        """Return the reply of a call that must succeed."""
        try:
            return self.invoke(name, request, timeout_s)
        except grpc.RpcError as error:
            self.deadline.check()
            raise Unmet(name, "OK", told(error)) from None

    def result(self, name: str, future: Any) -> Any:
        """Return the reply of a call that `start` began and that must succeed."""
        try:
            return future.result()
        except grpc.RpcError as error:
            raise Unmet(name, "OK", told(error)) from None

    def refused(
        self,
        name: str,
        request: Any,
        codes: str | Iterable[str],
        *,
        reason: str | None = None,
        field: str | None = None,
        about: str = "",
    ) -> messages.ErrorDetail:
        """Return the error detail of a call that must fail with one of `codes`.

        `reason` and `field` are what its `ErrorDetail` must say, `about` names the case in reports.
        """
        where = f"{name}, {about}" if about else name
        try:
            self.invoke(name, request)
        except grpc.RpcError as error:
            return refusal(where, error, codes, reason=reason, field=field)
        raise Unmet(where, " or ".join(_names(codes)), "OK")

    def raw(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> bytes:
        """Send bytes to the method at `path` and return those it answers; raises `RpcError`."""
        pairs = self.target.metadata if metadata is None else tuple(metadata.items())
        timeout = self.deadline.clip(CALL_TIMEOUT_S)
        reply: bytes = self._channel.unary_unary(path)(data, timeout=timeout, metadata=pairs)
        return reply

    def stream(self, requests: Iterable[messages.StepRequest]) -> Any:
        """Open a StepStream and return its replies, an iterator that can be cancelled."""
        method = STREAM_METHODS["StepStream"]
        stub = self._channel.stream_stream(
            method.path, method.request.SerializeToString, method.reply.FromString
        )
        timeout = self.deadline.clip(CALL_TIMEOUT_S)
        return stub(iter(requests), timeout=timeout, metadata=self.target.metadata)

    def health(self, service: str = "", timeout_s: float = 5.0) -> str:
        """Return the name of the status of `service`; raises `RpcError`."""
        method = HEALTH_METHODS["Check"]
        check = self._channel.unary_unary(
            method.path, method.request.SerializeToString, method.reply.FromString
        )
        reply = check(method.request(service=service), timeout=self.deadline.clip(timeout_s))
        names = {int(v): k for k, v in health.HealthCheckResponse.ServingStatus.items()}
        return names.get(int(reply.status), str(reply.status))

    def info(self) -> messages.ServerInfo:
        """Return what the server says of itself."""
        reply: messages.ServerInfo = self.call("GetServerInfo", messages.GetServerInfoRequest())
        return reply

    def _timeout(self, name: str, timeout_s: float | None) -> float:
        default = OPEN_TIMEOUT_S if name in ("OpenSession", "CloseSession") else CALL_TIMEOUT_S
        return self.deadline.clip(default if timeout_s is None else timeout_s)


def refusal(
    where: str,
    error: grpc.RpcError,
    codes: str | Iterable[str],
    *,
    reason: str | None = None,
    field: str | None = None,
) -> messages.ErrorDetail:
    """Return the detail of `error`, which must have one of `codes` and say `reason` and `field`."""
    if code_of(error) not in _names(codes):
        raise Unmet(where, " or ".join(_names(codes)), told(error))
    detail = detail_of(error)
    if detail is None:
        if reason is not None or field is not None:
            raise Unmet(f"{where}, wmrun-error-bin", f"an ErrorDetail {reason or ''}", "none")
        return messages.ErrorDetail()
    if reason is not None and detail.reason != reason:
        raise Unmet(f"{where}, ErrorDetail.reason", reason, detail.reason)
    if field is not None and detail.field != field:
        raise Unmet(f"{where}, ErrorDetail.field", repr(field), repr(detail.field))
    return detail


def code_of(error: grpc.RpcError) -> str:
    """Return the name of the status that a failed call ended with."""
    name: str = error.code().name
    return name


def told(error: grpc.RpcError) -> str:
    """Return a failed call's status and text, for people."""
    return f"{code_of(error)}: {error.details()}"


def _names(codes: str | Iterable[str]) -> tuple[str, ...]:
    return (codes,) if isinstance(codes, str) else tuple(codes)
