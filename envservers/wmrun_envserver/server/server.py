"""A gRPC server around one backend: from binding its address to draining."""

from __future__ import annotations

import logging
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from wmrun_envserver.server.address import (
    Address,
    AddressError,
    SocketFile,
    TcpAddress,
    UnixAddress,
    claimed,
    why_not,
)
from wmrun_envserver.server.auth import TokenGate
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.health import health_handlers
from wmrun_envserver.server.leases import Clock, Sweeper
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.security import OPEN, Security
from wmrun_envserver.server.service import EnvService
from wmrun_envserver.server.sessions import Sessions
from wmrun_envserver.server.step_socket import StepSocket, step_socket_path

_LOG = logging.getLogger(__name__)

# The longest refusal has 4 KiB of detail, in base64, and its text, percent-encoded.
_MAX_METADATA_BYTES = 16 * 2**10
# Beside calls that wait and a stream per session: heartbeats and probes always find a thread.
_SPARE_THREADS = 8


class EnvServer:
    """Serves a catalogue at `address` from `start` to `drain`."""

    def __init__(
        self,
        catalogue: Catalogue,
        address: Address,
        limits: Limits | None = None,
        *,
        workers: int | None = 0,
        security: Security = OPEN,
        clock: Clock = time.monotonic,
        debug: bool = False,
    ) -> None:
        """Bind `address`.

        Slots are spread over `workers` processes; 0: they live in this one; None: each simulator
        has a process of its own where its traits ask for that.
        Raises `AddressError` where that cannot be done, `SecurityError` where it is not safe.
        """
        limits = limits or Limits()
        security.check(address)
        self.instance_id = secrets.token_hex(16)
        self.sessions = Sessions(limits)
        step_path = step_socket_path(address) if security.tls is None else None
        self._service = EnvService(
            catalogue,
            self.sessions,
            limits,
            workers=workers,
            instance_id=self.instance_id,
            step_socket="" if step_path is None else step_path.name,
            clock=clock,
            debug=debug,
        )
        self._sweeper = Sweeper(self.sessions.sweep)
        self._grpc = _grpc_server(limits, security)
        self._grpc.add_generic_rpc_handlers(
            (self._service.handlers(), health_handlers(lambda: not self._service.is_draining))
        )
        self._socket_file: SocketFile | None = None
        self.address = self._bind(address, security)
        self._step_socket = None if step_path is None else self._bind_step_socket(step_path, limits)
        warning = security.check(self.address)
        if warning is not None:
            _LOG.warning("%s", warning)

    def start(self) -> None:
        """Begin to answer."""
        self._grpc.start()
        if self._step_socket is not None:
            self._step_socket.start()
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
        self._service.end_streams()
        if self._step_socket is not None:
            self._step_socket.end()
        self._remove_socket_file()
        stopped = self._grpc.stop(max(0.0, deadline - time.monotonic()))
        closings = self.sessions.close_all()
        closed = [task.wait_until(deadline - time.monotonic()) for task in closings]
        stopped.wait(max(0.0, deadline - time.monotonic()))
        if self._step_socket is not None:
            self._step_socket.wait_until_ended(deadline - time.monotonic())
        self._sweeper.stop()
        return all(finished) and all(closed)

    def _bind(self, address: Address, security: Security) -> Address:
        with claimed(address):
            if isinstance(address, UnixAddress):
                self._socket_file = _bind_unix(self._grpc, address, security)
                return address
            port = _add_port(self._grpc, address, security)
        if port == 0:
            raise AddressError(f"{address}: cannot listen there: {why_not(address)}")
        return TcpAddress(address.host, port)

    def _bind_step_socket(self, path: Path, limits: Limits) -> StepSocket:
        try:
            return StepSocket(
                path,
                self._service.answer_step,
                # Some to spare: a client may be back before the end of its old connection is seen.
                max_connections=limits.max_sessions + _SPARE_THREADS,
                max_message_bytes=limits.max_message_bytes,
            )
        except AddressError:
            self._remove_socket_file()
            raise

    def _remove_socket_file(self) -> None:
        if self._socket_file is not None:
            self._socket_file.remove()


def _grpc_server(limits: Limits, security: Security) -> grpc.Server:
    num_threads = limits.max_waiting_calls + limits.max_sessions + _SPARE_THREADS
    return grpc.server(
        ThreadPoolExecutor(num_threads, thread_name_prefix="rpc"),
        interceptors=() if security.token is None else (TokenGate(security.token),),
        # More calls than threads would wait in silence; this way they are refused.
        maximum_concurrent_rpcs=num_threads,
        options=(
            ("grpc.so_reuseport", 0),  # else two servers share one port and nobody is told
            ("grpc.max_send_message_length", limits.max_message_bytes),
            ("grpc.max_receive_message_length", limits.max_message_bytes),
            ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
            # Connections cost a descriptor each: those on which nothing is said go.
            ("grpc.server_handshake_timeout_ms", 10_000),
            ("grpc.max_connection_idle_ms", 600_000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ),
    )


def _bind_unix(server: grpc.Server, address: UnixAddress, security: Security) -> SocketFile:
    # When gRPC stops it unlinks the path that it was given, whoever has bound that meanwhile.
    passing = address.path.with_name(f".{secrets.token_hex(2)}")
    if _add_port(server, UnixAddress(passing), security) == 0:
        raise AddressError(f"{address}: cannot listen there")
    passing.rename(address.path)
    return SocketFile.at(address.path)


def _add_port(server: grpc.Server, address: Address, security: Security) -> int:
    mask = os.umask(0o077)
    try:
        if security.tls is None:
            return int(server.add_insecure_port(str(address)))
        return int(server.add_secure_port(str(address), security.tls.credentials()))
    except RuntimeError:
        return 0
    finally:
        os.umask(mask)
