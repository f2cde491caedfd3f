"""The gate in front of every call: without the server's token it goes no further."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from wmrun_envserver.wire.service import HEALTH_METHODS
from wmrun_envserver.wire.status import Reason, abort, error_detail

_LOG = logging.getLogger(__name__)

# Probes of cluster managers send no metadata; all they learn is whether the server takes sessions.
_OPEN_TO_ALL = frozenset(method.path for method in HEALTH_METHODS.values())


class TokenGate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls that do not carry `authorization: Bearer TOKEN`, health checks excepted.

    They end with UNAUTHENTICATED before a byte of their request is read. Methods that do not exist
    are refused alike, so that nobody learns what is served.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._has_warned = False
        self._missing = grpc.stream_stream_rpc_method_handler(
            _refusing("this server wants a token: send it as metadata `authorization: Bearer …`")
        )
        self._wrong = grpc.stream_stream_rpc_method_handler(
            _refusing("the token is not this server's")
        )

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Return the method's own handler, or one that refuses."""
        if details.method in _OPEN_TO_ALL:
            return continuation(details)
        sent = [value for key, value in details.invocation_metadata if key == "authorization"]
        if len(sent) == 1 and self._is_ours(sent[0]):
            return continuation(details)
        self._warn()
        return self._wrong if sent else self._missing

    def _is_ours(self, value: str | bytes) -> bool:
        text = value if isinstance(value, bytes) else value.encode(errors="surrogateescape")
        scheme, _, token = text.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)

    def _warn(self) -> None:
        # Once: a stranger must not fill the log.
        if not self._has_warned:
            self._has_warned = True
            _LOG.warning("a call without the server's token was refused; later ones go unreported")


def _refusing(message: str) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterable[bytes]]:
    def refuse(_: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        abort(context, error_detail(Reason.UNAUTHENTICATED, message))

    return refuse
