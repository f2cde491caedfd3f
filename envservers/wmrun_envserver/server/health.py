"""grpc.health.v1.Health, for probes that know nothing of environments."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from wmrun_envserver.wire import health
from wmrun_envserver.wire.service import HEALTH_SERVICE, SERVICE

_SERVED = ("", SERVICE)


def health_handlers(is_serving: Callable[[], bool]) -> grpc.GenericRpcHandler:
    """Return handlers that answer SERVING while `is_serving()`, else NOT_SERVING."""

    def check(data: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            request = health.HealthCheckRequest.FromString(data)
        except Exception:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is no HealthCheckRequest")
        if request.service not in _SERVED:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:100]!r} here")
        statuses = health.HealthCheckResponse
        status = statuses.SERVING if is_serving() else statuses.NOT_SERVING
        return health.HealthCheckResponse(status=status).SerializeToString()

    # Bytes in: what gRPC cannot parse by itself it would call INTERNAL.
    handler = grpc.unary_unary_rpc_method_handler(check)
    return grpc.method_handlers_generic_handler(HEALTH_SERVICE, {"Check": handler})
