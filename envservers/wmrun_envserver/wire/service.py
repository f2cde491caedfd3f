"""The services that an environment server offers: paths and message classes of their methods."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, NamedTuple

from wmrun_envserver.wire import health, messages

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 0

SERVICE = "wmrun.env.v1.EnvService"
HEALTH_SERVICE = "grpc.health.v1.Health"


class Method(NamedTuple):
    """One rpc. `path` is what channels and handlers take; `request` and `reply` are classes."""

    name: str
    path: str
    request: Any
    reply: Any


def _methods(
    service: str, module: Any, **classes: tuple[str, str]
) -> MappingProxyType[str, Method]:
    return MappingProxyType(
        {
            name: Method(
                name, f"/{service}/{name}", getattr(module, request), getattr(module, reply)
            )
            for name, (request, reply) in classes.items()
        }
    )


METHODS = _methods(
    SERVICE,
    messages,
    GetServerInfo=("GetServerInfoRequest", "ServerInfo"),
    OpenSession=("OpenSessionRequest", "OpenSessionReply"),
    Reset=("ResetRequest", "StepReply"),
    Step=("StepRequest", "StepReply"),
    Render=("RenderRequest", "RenderReply"),
    Heartbeat=("HeartbeatRequest", "HeartbeatReply"),
    CloseSession=("CloseSessionRequest", "CloseSessionReply"),
)
"""The unary methods of `SERVICE`."""

STREAM_METHODS = _methods(SERVICE, messages, StepStream=("StepRequest", "StepReply"))
"""The bidirectional streams of `SERVICE`: capability "stream"."""

HEALTH_METHODS = _methods(
    HEALTH_SERVICE, health, Check=("HealthCheckRequest", "HealthCheckResponse")
)
