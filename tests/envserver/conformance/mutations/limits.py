"""Wrong with messages that are garbage or too large: check 29."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from wmrun_envserver.wire import tensors

from tests.envserver.conformance.mutations.registry import breaks
from tests.envserver.conformance.mutations.requests import opening
from tests.envserver.conformance.proxy import Call, Refusal


@breaks(29, "UNKNOWN")
def garbage_raises_in_the_handler(call: Call) -> Any:
    if not call.name.startswith("/") and call.request is None:
        raise ValueError("not a message")
    return call.forward()


@breaks(29, "a request over the limit")
def large_requests_cut_short(call: Call) -> Any:
    if call.name == "Step" and call.request is not None and len(call.data) > 64 * 2**20:
        action = call.request.action[0]
        action.CopyFrom(tensors.encode(np.zeros(tuple(action.shape), np.float32)))
    return call.forward()


@breaks(29, "replies cannot fit")
def openings_promise_what_cannot_fit(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "OpenSession" and refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            return call.forward(opening(call.request))
        raise
