"""Wrong where episodes end: checks 11 to 15."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import grpc
import numpy as np
from wmrun_envserver.wire import messages, tensors

from tests.envserver.conformance.mutations.registry import breaks, remembers
from tests.envserver.conformance.mutations.requests import MUTATING, resetting
from tests.envserver.conformance.proxy import Call, Refusal


@breaks(11, "Step")
def actions_checked_where_they_are_ignored(call: Call) -> Any:
    if call.name == "Step":
        for action in call.request.action:
            if action.dtype == messages.FLOAT32 and np.isnan(tensors.decode(action)).any():
                call.refuse("INVALID_ARGUMENT", "BAD_ACTION", "NaN")
    return call.forward()


@breaks(11, "the step in the observation")
def last_row_shows_the_next_episode(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        vector = tensors.decode(reply.rows.obs[0]).copy()
        vector[np.array(reply.rows.terminated), 0] = 0
        reply.rows.obs[0].CopyFrom(tensors.encode(vector))
    return reply


@breaks(12, "expected FAILED_PRECONDITION, got OK")
def disabled_means_next_step(call: Call) -> Any:
    return opened_as_next_step(call, messages.DISABLED)


@breaks(12, "expected NOT_RESET")
def finished_slots_refused_for_another_reason(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if refusal.code == grpc.StatusCode.FAILED_PRECONDITION:
            call.refuse("FAILED_PRECONDITION", "SEED_SCOPE")
        raise


@breaks(12, "a Reset of some slots")
def a_reset_of_one_resets_all(call: Call) -> Any:
    if call.name == "Reset":
        call.request.ClearField("slots")
    return call.forward()


@remembers(13, "is_first")
class AutoresetAfterAnExplicitReset:
    """Turns the Step after a Reset of slots whose episode was over into another Reset of them."""

    def __init__(self) -> None:
        self._ended: dict[str, set[int]] = defaultdict(set)
        self._pending: dict[str, list[int]] = {}

    def __call__(self, call: Call) -> Any:
        if call.name not in MUTATING:
            return call.forward()
        session = call.request.session_id
        if call.name == "Reset" and self._ended[session] & set(call.request.slots):
            self._pending[session] = list(call.request.slots)
        elif call.name == "Step" and session in self._pending:
            del self._pending[session]
            return call.forward(resetting(call.request), name="Reset")
        reply = call.forward()
        rows = reply.rows
        self._ended[session] = {
            slot for slot, end in zip(rows.slot, rows.terminated, strict=True) if end
        }
        return reply


@breaks(14, "rows of slot")
def same_step_means_next_step(call: Call) -> Any:
    return opened_as_next_step(call, messages.SAME_STEP)


@breaks(14, "INVALID_ARGUMENT")
def same_step_unimplemented(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.autoreset == messages.SAME_STEP:
        call.refuse("UNIMPLEMENTED", "UNSUPPORTED", field="autoreset")
    return call.forward()


@breaks(15, "terminated and truncated")
def time_limits_terminate(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        rows = reply.rows
        ended = [one or two for one, two in zip(rows.terminated, rows.truncated, strict=True)]
        rows.terminated[:] = ended
        rows.truncated[:] = [False] * len(ended)
    return reply


def opened_as_next_step(call: Call, autoreset: messages.Autoreset) -> Any:
    """Grant `autoreset` in words, and open the session with another."""
    if call.name != "OpenSession" or call.request.autoreset != autoreset:
        return call.forward()
    call.request.autoreset = messages.NEXT_STEP
    reply = call.forward()
    reply.autoreset = autoreset
    return reply
