"""Wrong with bad actions: check 18."""

from __future__ import annotations

from typing import Any

import numpy as np
from wmrun_envserver.wire import messages, tensors

from tests.envserver.conformance.mutations.registry import breaks
from tests.envserver.conformance.mutations.requests import resetting
from tests.envserver.conformance.proxy import Call, Refusal


@breaks(18, "just above the space")
def actions_clipped(call: Call) -> Any:
    if call.name == "Step":
        for action in call.request.action:
            array = decoded(action)
            if array is not None and array.dtype == np.float32 and np.isfinite(array).all():
                action.CopyFrom(tensors.encode(np.clip(array, 0, 1)))
    return call.forward()


@breaks(18, "ErrorDetail.field")
def bad_actions_without_their_field(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "Step":
            call.refuse(refusal.code.name, "BAD_ACTION", refusal.text)
        raise


@breaks(18, "OK")
def surplus_actions_ignored(call: Call) -> Any:
    if call.name == "Step" and len(call.request.action) > 1:
        first, last = call.request.action[0], call.request.action[-1]
        if first == last:
            del call.request.action[-1]
    return call.forward()


@breaks(18, "expected INVALID_ARGUMENT, got OK")
def bad_actions_consume_a_step(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal:
        if call.name == "Step":
            call.forward(resetting(call.request), name="Reset")
        raise


def decoded(tensor: messages.Tensor) -> np.ndarray | None:
    try:
        return tensors.decode(tensor)
    except tensors.TensorError:
        return None
