"""grpc.health.v1.Health, for probes that know nothing of environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from wmrun_envserver.wire import health
from wmrun_envserver.wire.service import HEALTH_METHODS, HEALTH_SERVICE, SERVICE

_SERVED = ("", SERVICE)


def health_handlers(is_serving: Callable[[], bool]) -> grpc.GenericRpcHandler:
    """Return handlers that answer SERVING while `is_serving()`, else NOT_SERVING."""

    def check(request: Any, context: grpc.ServicerContext) -> Any:
        if request.service not in _SERVED:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        statuses = health.HealthCheckResponse
        status = statuses.SERVING if is_serving() else statuses.NOT_SERVING
        return health.HealthCheckResponse(status=status)

    method = HEALTH_METHODS["Check"]
    handler = grpc.unary_unary_rpc_method_handler(
        check, method.request.FromString, method.reply.SerializeToString
    )
    return grpc.method_handlers_generic_handler(HEALTH_SERVICE, {method.name: handler})
