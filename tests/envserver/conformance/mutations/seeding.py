"""Wrong with seeds: checks 16 and 17."""

from __future__ import annotations

import random
from typing import Any

from tests.envserver.conformance.mutations.registry import breaks
from tests.envserver.conformance.proxy import Call


@breaks(16, "the same bytes")
def rows_with_noise(call: Call) -> Any:
    reply = call.forward()
    if call.name == "Step":
        reply.rows.reward[0] += random.random() * 1e-6
    return reply


@breaks(16, "other rows")
def one_seed_for_all(call: Call) -> Any:
    if call.name == "Reset":
        call.request.seeds[:] = [7] * len(call.request.seeds)
    return call.forward()


@breaks(17, "the same seeds")
def seeds_ignored(call: Call) -> Any:
    if call.name == "Reset":
        call.request.ClearField("seeds")
    return call.forward()


@breaks(17, "seeds for")
def number_of_seeds_not_checked(call: Call) -> Any:
    if call.name == "Reset" and len(call.request.seeds) == 1:
        call.request.ClearField("seeds")
    return call.forward()
