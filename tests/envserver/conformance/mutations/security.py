"""Wrong in what errors and the server give away: check 30."""

from __future__ import annotations

from typing import Any

from tests.envserver.conformance.mutations.registry import breaks
from tests.envserver.conformance.proxy import Call, Refusal


@breaks(30, "a traceback")
def errors_with_a_traceback(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "OpenSession":
            text = f'Traceback (most recent call last):\n  File "server.py", line 3\n{refusal.text}'
            raise Refusal(refusal.code, text, refusal.metadata) from None
        raise


@breaks(30, "a path of the server")
def slot_errors_with_a_path(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        for error in reply.rows.errors:
            error.message += " in /home/someone/sim/env.py"
    return reply


@breaks(30, "reflection")
def reflection_served(call: Call) -> Any:
    if "reflection" in call.name:
        return b""
    return call.forward()
