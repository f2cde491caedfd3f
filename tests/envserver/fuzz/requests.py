"""Requests that a server of the echo backend accepts, to be broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from wmrun_envserver.wire import health, messages, tensors

RPCS = (
    "GetServerInfo",
    "OpenSession",
    "Reset",
    "Step",
    "Render",
    "Heartbeat",
    "CloseSession",
    "StepStream",
    "Check",
)
CONFIG = '{"every_space": false, "length": 5, "obs_size": 3}'


def valid(rpc: str, session_id: str, seq: int, num_envs: int = 2) -> list[Any]:
    """Return requests of `rpc`; those of a session run its call `seq`."""
    return _BUILDERS[rpc](session_id, seq, num_envs)


def opening(num_envs: int = 2, **fields: Any) -> messages.OpenSessionRequest:
    """Return what opens a session with `num_envs` slots of echo."""
    defaults: dict[str, Any] = {
        "env_id": "echo",
        "num_envs": num_envs,
        "autoreset": messages.NEXT_STEP,
        "env_config_json": CONFIG,
        "render_mode": "rgb_array",
    }
    return messages.OpenSessionRequest(**defaults | fields)


def openings_in_turn() -> Iterator[messages.OpenSessionRequest]:
    """Yield, over and over, what opens a session of each kind."""
    while True:
        yield opening(want_capabilities=["step_socket"])
        yield opening(want_capabilities=["partial_batch", "stream", "step_socket"])
        yield opening(autoreset=messages.DISABLED, want_capabilities=["step_socket"])
        yield opening(
            autoreset=messages.SAME_STEP, want_capabilities=["partial_batch", "step_socket"]
        )


def step(session_id: str, seq: int, num_envs: int) -> messages.StepRequest:
    """Return a step of every slot."""
    action = tensors.encode(np.zeros((num_envs, 2), np.float32))
    return messages.StepRequest(session_id=session_id, seq=seq, action=[action])


def _server_info(session_id: str, seq: int, num_envs: int) -> list[Any]:
    return [messages.GetServerInfoRequest()]


def _openings(session_id: str, seq: int, num_envs: int) -> list[Any]:
    return [
        opening(1),
        opening(2, seeds=[1, 2], client_name="fuzz", client_id="fuzz", lease_ms=60_000),
        opening(
            1,
            client_id="fuzz",
            supersede=True,
            step_timeout_ms=1000,
            reset_timeout_ms=1000,
            want_capabilities=["partial_batch", "render", "stream", "shm", "step_socket"],
            env_config_json='{"image": {"size": [8, 8]}, "action_repeat": 2}',
        ),
        opening(2, autoreset=messages.DISABLED, render_mode="", env_config_json=""),
        opening(2, autoreset=messages.SAME_STEP, env_config_json='{"every_space": true}'),
    ]


def _resets(session_id: str, seq: int, num_envs: int) -> list[Any]:
    return [
        messages.ResetRequest(session_id=session_id, seq=seq),
        messages.ResetRequest(session_id=session_id, seq=seq, slots=[1], seeds=[7]),
        messages.ResetRequest(session_id=session_id, seq=seq - 1, options_json="{}"),
    ]


def _steps(session_id: str, seq: int, num_envs: int) -> list[Any]:
    again, named = step(session_id, seq - 1, num_envs), step(session_id, seq, num_envs)
    named.slots.extend(range(num_envs))
    return [step(session_id, seq, num_envs), again, named]


def _renders(session_id: str, seq: int, num_envs: int) -> list[Any]:
    return [
        messages.RenderRequest(session_id=session_id),
        messages.RenderRequest(session_id=session_id, slots=[0], max_width=4),
    ]


def _heartbeats(session_id: str, seq: int, num_envs: int) -> list[Any]:
    return [messages.HeartbeatRequest(session_id=session_id)]


def _closings(session_id: str, seq: int, num_envs: int) -> list[Any]:
    return [messages.CloseSessionRequest(session_id=session_id)]


def _checks(session_id: str, seq: int, num_envs: int) -> list[Any]:
    return [
        health.HealthCheckRequest(),
        health.HealthCheckRequest(service="wmrun.env.v1.EnvService"),
    ]


_BUILDERS: dict[str, Callable[[str, int, int], list[Any]]] = {
    "GetServerInfo": _server_info,
    "OpenSession": _openings,
    "Reset": _resets,
    "Step": _steps,
    "Render": _renders,
    "Heartbeat": _heartbeats,
    "CloseSession": _closings,
    "StepStream": _steps,
    "Check": _checks,
}
