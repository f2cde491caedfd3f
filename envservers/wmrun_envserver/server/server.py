"""A gRPC server around one backend: from binding its address to draining."""

from __future__ import annotations

import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

from wmrun_envserver.backends.base import Backend
from wmrun_envserver.server.address import Address, AddressError, TcpAddress, UnixAddress, claim
from wmrun_envserver.server.health import health_handlers
from wmrun_envserver.server.leases import Clock, Sweeper
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.service import EnvService
from wmrun_envserver.server.sessions import Sessions

# Beside a call and its retry per session: heartbeats, probes and openings always find a thread.
_SPARE_THREADS = 8


class EnvServer:
    """Serves a backend at `address` from `start` to `drain`."""

    def __init__(
        self,
        backend: Backend,
        address: Address,
        limits: Limits | None = None,
        *,
        clock: Clock = time.monotonic,
        debug: bool = False,
    ) -> None:
        """Bind `address`; raises `AddressError` where that cannot be done."""
        limits = limits or Limits()
        self.instance_id = secrets.token_hex(16)
        self.sessions = Sessions(limits)
        self._service = EnvService(
            backend,
            self.sessions,
            limits,
            instance_id=self.instance_id,
            clock=clock,
            debug=debug,
        )
        self._sweeper = Sweeper(self.sessions.sweep)
        self._grpc = _grpc_server(limits)
        self._grpc.add_generic_rpc_handlers(
            (self._service.handlers(), health_handlers(lambda: not self._service.is_draining))
        )
        self.address = _bind(self._grpc, address)

    def start(self) -> None:
        """Begin to answer."""
        self._grpc.start()
        self._sweeper.start()

    def drain(self, grace_s: float) -> bool:
        """Take no new work, let calls in flight finish, close every session, and stop.

        Returns whether that took no longer than `grace_s`; otherwise an environment hangs.
        """
        deadline = time.monotonic() + grace_s
        self._service.is_draining = True
        finished = [
            task.wait_until(deadline - time.monotonic()) for task in self.sessions.running()
        ]
        stopped = self._grpc.stop(max(0.0, deadline - time.monotonic()))
        closings = self.sessions.close_all()
        closed = [task.wait_until(deadline - time.monotonic()) for task in closings]
        stopped.wait(max(0.0, deadline - time.monotonic()))
        self._sweeper.stop()
        if isinstance(self.address, UnixAddress):
            self.address.path.unlink(missing_ok=True)
        return all(finished) and all(closed)


def _grpc_server(limits: Limits) -> grpc.Server:
    num_threads = 2 * limits.max_sessions + _SPARE_THREADS
    return grpc.server(
        ThreadPoolExecutor(num_threads, thread_name_prefix="rpc"),
        # More calls than threads would wait in silence; this way they are refused.
        maximum_concurrent_rpcs=num_threads,
        options=(
            ("grpc.so_reuseport", 0),  # else two servers share one port and nobody is told
            ("grpc.max_send_message_length", limits.max_message_bytes),
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ),
    )


def _bind(server: grpc.Server, address: Address) -> Address:
    claim(address)
    mask = os.umask(0o077)
    try:
        port = server.add_insecure_port(str(address))
    except RuntimeError:
        port = 0
    finally:
        os.umask(mask)
    if port == 0:
        raise AddressError(f"{address}: cannot listen there; is it in use?")
    return TcpAddress(address.host, port) if isinstance(address, TcpAddress) else address
