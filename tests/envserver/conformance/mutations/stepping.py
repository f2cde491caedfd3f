"""Wrong in the rows of resets and steps: checks 7 to 10."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from wmrun_envserver.wire import messages, tensors

from tests.envserver.conformance.mutations.registry import breaks
from tests.envserver.conformance.mutations.requests import MUTATING, resetting
from tests.envserver.conformance.proxy import Call, Refusal


@breaks(7, "never reset")
def step_resets_by_itself(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "Step" and refusal.code == grpc.StatusCode.FAILED_PRECONDITION:
            return call.forward(resetting(call.request), name="Reset")
        raise


@breaks(7, "last_seq after a refused Step")
def refused_steps_consume_their_seq(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "Step" and refusal.code == grpc.StatusCode.FAILED_PRECONDITION:
            call.forward(resetting(call.request), name="Reset")
        raise


@breaks(8, "is_first")
def resets_are_not_first(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Reset":
        reply.rows.is_first[:] = [False] * len(reply.rows.slot)
    return reply


@breaks(8, "slots of the rows")
def reset_rows_in_order_of_slots(call: Call) -> Any:
    if call.name == "Reset":
        slots = sorted(call.request.slots)
        call.request.ClearField("slots")
        call.request.slots.extend(slots)
    return call.forward()


@breaks(8, "reward of the first row")
def a_reward_for_resetting(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Reset":
        reply.rows.reward[:] = [1.0] * len(reply.rows.slot)
    return reply


@breaks(9, "reward")
def nan_reward_in_a_later_step(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step" and reply.seq == 9:
        reply.rows.reward[0] = float("nan")
    return reply


@breaks(9, "step_in_episode")
def counts_steps_over_episodes(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step" and reply.rows.episode[0] > 0:
        reply.rows.step_in_episode[0] += 7
    return reply


@breaks(9, "a value of its space")
def observations_out_of_bounds(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        tensor = reply.rows.obs[0]
        vector = tensors.decode(tensor).copy()
        vector[-1, 0] = np.inf
        tensor.CopyFrom(tensors.encode(vector))
    return reply


@breaks(9, "len(rows.terminated)")
def one_flag_too_few(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        del reply.rows.terminated[0]
    return reply


@breaks(10, "ramp/float64")
def big_endian_doubles(call: Call) -> Any:
    reply = call.forward()
    for tensor in observed(reply, call):
        if tensor.dtype == messages.FLOAT64:
            tensor.data = tensors.decode(tensor).astype(">f8").tobytes()
    return reply


@breaks(10, "ramp/float16")
def column_major_arrays(call: Call) -> Any:
    reply = call.forward()
    for tensor in observed(reply, call):
        if len(tensor.shape) == 3:
            array = tensors.decode(tensor)
            tensor.data = np.ascontiguousarray(array.transpose(0, 2, 1)).tobytes()
    return reply


def observed(reply: Any, call: Call) -> Any:
    return reply.rows.obs if call.name in MUTATING else ()
