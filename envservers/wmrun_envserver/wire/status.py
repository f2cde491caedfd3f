"""Why a call was refused: reasons, their gRPC codes, and the detail in the trailing metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import grpc

from wmrun_envserver.wire import messages

ERROR_METADATA_KEY = "wmrun-error-bin"
MAX_DETAIL_BYTES = 4096
# gRPC drops a status whose metadata is over 8 KiB, counting the text percent-encoded (up to 12
# bytes a character) and the detail in base64. The whole text is in the detail.
_MAX_STATUS_CHARACTERS = 200


class Reason:
    """The values of `ErrorDetail.reason` and `SlotError.reason`."""

    BAD_REQUEST = "BAD_REQUEST"
    """A field other than the action or the env config is wrong; `field` names it."""
    BAD_ACTION = "BAD_ACTION"
    """The action does not fit the action space; `field` is the leaf path."""
    BAD_CONFIG = "BAD_CONFIG"
    """`env_config_json` is malformed or an option is wrong; `field` names the option."""
    ENV_UNKNOWN = "ENV_UNKNOWN"
    """The env id is not on offer."""
    ENV_FAILED = "ENV_FAILED"
    """An environment raised, died or hung; in `SlotError`, or where it could not be built."""
    ENV_CONTRACT = "ENV_CONTRACT"
    """An environment returned what its own spaces, or the protocol, do not allow."""
    SESSION_UNKNOWN = "SESSION_UNKNOWN"
    """No such session: never opened here, closed, or the server was restarted."""
    LEASE_EXPIRED = "LEASE_EXPIRED"
    """The session was closed because nothing was heard for longer than its lease."""
    SUPERSEDED = "SUPERSEDED"
    """The session was closed because its client opened another with `supersede`."""
    NOT_RESET = "NOT_RESET"
    """Step of a slot that is in no episode, or whose last row was answered before."""
    SEED_SCOPE = "SEED_SCOPE"
    """Seeds were given where this environment cannot use them."""
    VERSION = "VERSION"
    """The two sides share no protocol version."""
    SEQ_GAP = "SEQ_GAP"
    """`seq` is neither the last one nor the one after it."""
    BUSY = "BUSY"
    """Another mutating call of the session is running."""
    CAPACITY = "CAPACITY"
    """The server's limit of sessions or environments is reached."""
    TOO_LARGE = "TOO_LARGE"
    """A message would be larger than the limit."""
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """No token, or not the server's."""
    DRAINING = "DRAINING"
    """The server is shutting down."""
    UNSUPPORTED = "UNSUPPORTED"
    """An optional part of the protocol that this server does not offer."""
    INTERNAL = "INTERNAL"
    """A bug in the server: see its log."""


CODES: dict[str, grpc.StatusCode] = {
    Reason.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BAD_ACTION: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BAD_CONFIG: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.ENV_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Reason.ENV_FAILED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ENV_CONTRACT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SESSION_UNKNOWN: grpc.StatusCode.NOT_FOUND,
    Reason.LEASE_EXPIRED: grpc.StatusCode.NOT_FOUND,
    Reason.SUPERSEDED: grpc.StatusCode.NOT_FOUND,
    Reason.NOT_RESET: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SEED_SCOPE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.VERSION: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SEQ_GAP: grpc.StatusCode.ABORTED,
    Reason.BUSY: grpc.StatusCode.ABORTED,
    Reason.CAPACITY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}
"""The gRPC status that each reason travels with."""

_RETRYABLE = frozenset({Reason.BUSY, Reason.CAPACITY, Reason.DRAINING})


def error_detail(
    reason: str,
    message: str,
    *,
    field: str = "",
    session_id: str = "",
    seq: int = 0,
    slots: Iterable[int] = (),
    instance_id: str = "",
) -> messages.ErrorDetail:
    """Return the detail of a refusal; `retryable` follows from the reason."""
    return messages.ErrorDetail(
        reason=reason,
        message=message,
        retryable=reason in _RETRYABLE,
        session_id=session_id,
        seq=seq,
        slots=slots,
        field=field,
        instance_id=instance_id,
    )


def attach(context: grpc.ServicerContext, detail: messages.ErrorDetail) -> None:
    """Put `detail`, its message cut to fit `MAX_DETAIL_BYTES`, into the trailing metadata."""
    context.set_trailing_metadata(((ERROR_METADATA_KEY, fitted(detail).SerializeToString()),))


def abort(context: grpc.ServicerContext, detail: messages.ErrorDetail) -> NoReturn:
    """End the call with the code of `detail.reason`; raises, as `context.abort` does."""
    attach(context, detail)
    text = detail.message[:_MAX_STATUS_CHARACTERS]
    context.abort(CODES.get(detail.reason, grpc.StatusCode.INTERNAL), text)
    raise AssertionError("context.abort returned")


def fitted(detail: messages.ErrorDetail) -> messages.ErrorDetail:
    """Return `detail`, its message cut where it would exceed `MAX_DETAIL_BYTES`."""
    if detail.ByteSize() <= MAX_DETAIL_BYTES:
        return detail
    fitted = messages.ErrorDetail()
    fitted.CopyFrom(detail)
    fitted.field = detail.field[:64]
    fitted.session_id = detail.session_id[:64]
    del fitted.slots[64:]
    excess = fitted.ByteSize() - MAX_DETAIL_BYTES
    if excess > 0:
        text = detail.message.encode()
        fitted.message = (
            text[: len(text) - excess - len("…".encode())].decode(errors="ignore") + "…"
        )
    return fitted


def detail_of(error: grpc.RpcError) -> messages.ErrorDetail | None:
    """Return the detail that the server attached to `error`, None where there is none to read."""
    metadata = getattr(error, "trailing_metadata", lambda: None)()
    for key, value in metadata or ():
        if key == ERROR_METADATA_KEY:
            return _parsed(value)
    return None


def _parsed(value: bytes) -> messages.ErrorDetail | None:
    # A proxy or another server may use the same key: what cannot be read is as good as absent.
    try:
        return messages.ErrorDetail.FromString(value)
    except Exception:
        return None
