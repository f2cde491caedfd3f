"""Wrong with sessions and leases: checks 23 and 24."""

from __future__ import annotations

from typing import Any

import grpc
from wmrun_envserver.wire import messages

from tests.envserver.conformance.mutations.registry import breaks, remembers
from tests.envserver.conformance.proxy import Call, Refusal


@remembers(23, "seq")
class OneSessionForAll:
    """Answers every session with the one that was opened last."""

    def __init__(self) -> None:
        self._newest = ""

    def __call__(self, call: Call) -> Any:
        if call.request is not None and "session_id" in call.request.DESCRIPTOR.fields_by_name:
            call.request.session_id = self._newest
        reply = call.forward()
        if call.name == "OpenSession":
            self._newest = reply.session_id
        return reply


@breaks(23, "CloseSession")
def closing_twice_is_an_error(call: Call) -> Any:
    if call.name == "CloseSession":
        call.forward(messages.HeartbeatRequest(session_id=call.request.session_id), "Heartbeat")
    return call.forward()


@breaks(23, "a foreign session_id")
def foreign_sessions_are_invalid_arguments(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.NOT_FOUND:
            call.refuse("INVALID_ARGUMENT", "SESSION_UNKNOWN", refusal.text)
        raise


@breaks(24, "after the lease")
def heartbeats_keep_nothing(call: Call) -> Any:
    if call.name == "Heartbeat":
        return messages.HeartbeatReply(lease_remaining_ms=500, last_seq=1)
    return call.forward()


@breaks(24, "superseded")
def supersede_ignored(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.client_id:
        call.request.supersede = False
    return call.forward()
