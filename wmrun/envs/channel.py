"""Connections to an env server and what its refusals mean."""

from __future__ import annotations

import time
from typing import Any

import grpc
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import METHODS, PROTOCOL_MAJOR, PROTOCOL_MINOR
from wmrun_envserver.wire.status import Reason, detail_of

from wmrun.envs.access import OPEN_ACCESS, Access
from wmrun.envs.errors import EnvProtocolError, EnvRequestError, EnvServerLost, EnvUnreachable
from wmrun.envs.handshake import tls_trouble
from wmrun.errors import EnvError

MAX_MESSAGE_BYTES = 2**30
"""What a server can make us hold. The limit that a session meets first is the server's own."""
MAX_METADATA_BYTES = 16 * 2**10

_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A refusal may have 4 KiB of detail; by default gRPC drops some that come near 8 KiB in base64.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # The defaults (1 s growing to 120 s) cost 3 s after an outage of 6 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    # Second line only: deadlines and heartbeats find hung servers, newer grpcio ignores these
    # alone.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # Channels to one address share a connection unless told not to; heartbeats need one of their
    # own.
    ("grpc.use_local_subchannel_pool", 1),
)

_SESSION_GONE = frozenset({Reason.SESSION_UNKNOWN, Reason.LEASE_EXPIRED, Reason.DRAINING})


def open_channel(address: str, access: Access = OPEN_ACCESS) -> grpc.Channel:
    """Return a channel with a connection of its own to `address` (`unix:PATH` or `HOST:PORT`)."""
    return access.channel(address, _OPTIONS)


def unary(channel: grpc.Channel, name: str) -> grpc.UnaryUnaryMultiCallable:
    """Return the callable of the service's method `name` on `channel`."""
    method = METHODS[name]
    return channel.unary_unary(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.reply.FromString,
    )


def check_server(
    channel: grpc.Channel, address: str, patience_s: float, access: Access = OPEN_ACCESS
) -> messages.ServerInfo:
    """Wait up to `patience_s` for an answer from `address` and see that it speaks our protocol.

    `access` is what `channel` was opened with. Raises `EnvUnreachable` when nothing answers, or
    something that is no env server, or one that does not accept our credentials; `EnvProtocolError`
    when the versions do not match.
    """
    get_server_info = unary(channel, "GetServerInfo")
    deadline = time.monotonic() + patience_s
    while True:
        left_s = max(0.1, deadline - time.monotonic())
        try:
            info: messages.ServerInfo = get_server_info(
                messages.GetServerInfoRequest(), timeout=left_s
            )
            break
        except grpc.RpcError as error:
            if not is_outage(error) or time.monotonic() + 0.1 > deadline:
                raise _unreachable(error, address, patience_s, access) from None
        time.sleep(0.1)
    if info.protocol_major != PROTOCOL_MAJOR:
        raise EnvProtocolError(
            f"the env server at {address} speaks protocol {info.protocol_major}."
            f"{info.protocol_minor}, this wmrun {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}",
            hint="Install wmrun and wmrun-envserver of the same major version on both sides.",
        )
    return info


def is_outage(error: grpc.RpcError) -> bool:
    """Say whether the call failed on the way there or back, so that it may be sent again."""
    if detail_of(error) is not None:
        return False
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def is_timeout(error: grpc.RpcError) -> bool:
    return error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def meaning(error: grpc.RpcError) -> EnvError:
    """Turn a refusal into our exception, with the server's own words.

    `EnvServerLost` where a new session can mend it, else `EnvRequestError`.
    """
    detail = detail_of(error)
    code = error.code()
    message = detail.message if detail else f"{code.name}: {error.details()}"
    reason = detail.reason if detail else code.name
    # INTERNAL and UNKNOWN are bugs of the server: its state is not to be trusted, a new one's is.
    broken = code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    if broken or reason in _SESSION_GONE:
        return EnvServerLost(f"the env server said {reason}: {message}", reason=reason)
    return EnvRequestError(message, reason=reason, field=detail.field if detail else "")


def _unreachable(
    error: grpc.RpcError, address: str, patience_s: float, access: Access
) -> EnvUnreachable:
    detail = detail_of(error)
    if detail is not None and detail.reason == Reason.UNAUTHENTICATED:
        return EnvUnreachable(
            f"the env server at {address} refuses this learner: {detail.message}",
            hint="Set env.server.token_file to a copy of the file that the server was given as "
            "--token-file.",
        )
    trouble = tls_trouble(address, access) if is_outage(error) or is_timeout(error) else None
    if trouble is not None:
        return EnvUnreachable(
            f"no connection to the env server at {address}: {trouble.problem}", hint=trouble.hint
        )
    if is_timeout(error):
        problem = f"no env server answers at {address} (waited {patience_s:g} s)"
    elif is_outage(error):
        problem = f"no env server answers at {address}: {error.details()}"
    else:
        problem = f"what answers at {address} is no env server: {_first_words(error)}"
    return EnvUnreachable(
        problem,
        hint="Check that env.server.address is what a running `wmrun-envserver serve "
        "--backend NAME --listen ADDRESS` printed, or leave the key out to have a server started.",
    )


def _first_words(error: grpc.RpcError) -> str:
    details: Any = error.details() or "no details"
    return f"{error.code().name}, {details[:200]}"
