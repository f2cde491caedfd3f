"""Wrong at the handshake: checks 1 to 6."""

from __future__ import annotations

import random
from typing import Any

from wmrun_envserver.wire import health, messages

from tests.envserver.conformance.mutations.registry import breaks
from tests.envserver.conformance.mutations.requests import opening
from tests.envserver.conformance.proxy import Call, Refusal

HEALTH = "/grpc.health.v1.Health/Check"


@breaks(1, "no.such.Service")
def serving_whatever_the_name(call: Call) -> Any:
    if call.name != HEALTH:
        return call.forward()
    return health.HealthCheckResponse(status=health.HealthCheckResponse.SERVING)


@breaks(1, "expected SERVING, got NOT_SERVING")
def never_serving(call: Call) -> Any:
    if call.name != HEALTH:
        return call.forward()
    reply = health.HealthCheckResponse.FromString(call.forward())
    reply.status = health.HealthCheckResponse.NOT_SERVING
    return reply


@breaks(2, "instance_id, asked again")
def a_new_instance_id_each_time(call: Call) -> Any:
    reply = call.forward()
    if call.name == "GetServerInfo":
        reply.instance_id = f"{random.getrandbits(128):x}"
    return reply


@breaks(2, "OpenSessionReply.instance_id")
def sessions_of_another_instance(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.instance_id = "another"
    return reply


@breaks(3, "protocol_minor")
def minor_of_the_client(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.protocol_minor = call.request.protocol_minor
    return reply


@breaks(3, "a field that is unknown")
def unknown_fields_refused(call: Call) -> Any:
    if call.request is not None and call.data.endswith(b"later"):
        call.refuse("INVALID_ARGUMENT", "BAD_REQUEST", "unknown field 1000")
    return call.forward()


@breaks(3, "autoreset 0")
def unspecified_means_next_step(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.autoreset == 0:
        call.request.autoreset = messages.NEXT_STEP
    return call.forward()


@breaks(4, "spec_hash")
def hash_in_upper_case(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.spec_hash = reply.spec_hash.upper()
    return reply


@breaks(4, "a space that can be decoded")
def bounds_swapped(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        box = reply.observation_space.dict.entries[0].space.box
        low, high = box.low.data, box.high.data
        box.low.data, box.high.data = high, low
    return reply


@breaks(4, "128 bits")
def short_session_ids(call: Call) -> Any:
    reply = call.forward()
    if call.name == "OpenSession":
        reply.session_id = reply.session_id[:8]
    return reply


@breaks(5, "no-such-env")
def any_env_id_is_echo(call: Call) -> Any:
    if call.name == "OpenSession":
        call.request.env_id = "echo"
    return call.forward()


@breaks(5, "env_config_json")
def unknown_options_ignored(call: Call) -> Any:
    if call.name == "OpenSession" and "no_such_option" in call.request.env_config_json:
        call.request.env_config_json = "{}"
    return call.forward()


@breaks(5, "ErrorDetail.field")
def config_errors_name_no_option(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal as refusal:
        if call.name == "OpenSession" and "option" in refusal.text:
            call.refuse("INVALID_ARGUMENT", "BAD_CONFIG", refusal.text)
        raise


@breaks(6, "num_envs")
def zero_slots_mean_one(call: Call) -> Any:
    if call.name == "OpenSession" and call.request.num_envs == 0:
        call.request.num_envs = 1
    return call.forward()


@breaks(6, "free_sessions after refusals")
def refusals_keep_a_session(call: Call) -> Any:
    try:
        return call.forward()
    except Refusal:
        if call.name == "OpenSession" and call.request.num_envs == 0:
            call.forward(opening(call.request))
        raise
