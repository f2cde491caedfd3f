"""Wrong where environments fail or are slow: checks 25 and 27."""

from __future__ import annotations

import threading
from typing import Any

from wmrun_envserver.wire import messages

from tests.envserver.conformance.mutations.registry import breaks, remembers
from tests.envserver.conformance.proxy import Call


@breaks(25, "INTERNAL")
def a_failure_fails_the_call(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step" and messages.SLOT_RESTARTED in reply.rows.status:
        call.refuse("INTERNAL", "INTERNAL", "an environment raised")
    return reply


@breaks(25, "SLOT_RESTARTED")
def failures_kept_quiet(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        reply.rows.status[:] = [messages.SLOT_OK] * len(reply.rows.slot)
    return reply


@breaks(25, "SLOT_FAILED")
def slots_never_given_up(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        rows = reply.rows
        for i, status in enumerate(rows.status):
            if status == messages.SLOT_FAILED:
                rows.status[i] = messages.SLOT_RESTARTED
    return reply


@remembers(27, "Heartbeat")
class HeartbeatsWaitForTheStep:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Any:
        if call.name not in ("Step", "Heartbeat"):
            return call.forward()
        with self._lock:
            return call.forward()
