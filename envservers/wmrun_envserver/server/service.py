"""The rpcs of EnvService: bytes in, bytes out, and no exception that gRPC would call UNKNOWN."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import grpc

from wmrun_envserver.server import capabilities
from wmrun_envserver.server.catalogue import Catalogue
from wmrun_envserver.server.leases import Clock
from wmrun_envserver.server.limits import Limits
from wmrun_envserver.server.opening import Opener
from wmrun_envserver.server.refusal import Refused, public_text
from wmrun_envserver.server.session import Mutation, Session
from wmrun_envserver.server.sessions import Sessions
from wmrun_envserver.server.streams import Streams
from wmrun_envserver.server.worker import Abandoned
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.service import (
    METHODS,
    PROTOCOL_MAJOR,
    PROTOCOL_MINOR,
    SERVICE,
    STREAM_METHODS,
    Method,
)
from wmrun_envserver.wire.status import Reason, abort, error_detail

_LOG = logging.getLogger(__name__)

DISTRIBUTION = "wmrun-envserver"

Handler = Callable[[Any, grpc.ServicerContext], bytes]

# Calls that hold a thread until an environment is done; the others must always find one.
_MAY_WAIT = ("OpenSession", "Reset", "Step", "Render", "CloseSession")


class EnvService:
    """Offers one backend's environments. Optional rpcs that it lacks are UNIMPLEMENTED."""

    def __init__(
        self,
        catalogue: Catalogue,
        sessions: Sessions,
        limits: Limits,
        *,
        workers: int | None = 0,
        instance_id: str,
        step_socket: str = "",
        clock: Clock,
        debug: bool,
    ) -> None:
        """`step_socket` is the name of the one that the server has, if any."""
        self.is_draining = False
        self._envs = catalogue.listing()
        self._sessions = sessions
        self._limits = limits
        self._instance_id = instance_id
        self._debug = debug
        self._opener = Opener(
            catalogue,
            sessions,
            limits,
            workers=workers,
            instance_id=instance_id,
            step_socket=step_socket,
            clock=clock,
            debug=debug,
        )
        self._waiting = threading.BoundedSemaphore(limits.max_waiting_calls)
        self._streams = Streams(limits.max_sessions)
        self._capabilities = capabilities.offered(
            may_use_workers=catalogue.recipe is not None and workers != 0,
            has_step_socket=bool(step_socket),
        )

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a gRPC server needs to serve the rpcs."""
        handlers: dict[str, Handler] = {
            "GetServerInfo": self._get_server_info,
            "OpenSession": self._open_session,
            "Reset": self._reset,
            "Step": self._step,
            "Render": self._render,
            "Heartbeat": self._heartbeat,
            "CloseSession": self._close_session,
        }
        for name in _MAY_WAIT:
            handlers[name] = self._bounded(handlers[name])
        methods = {
            name: grpc.unary_unary_rpc_method_handler(self._guarded(METHODS[name], handler))
            for name, handler in handlers.items()
        }
        methods["StepStream"] = grpc.stream_stream_rpc_method_handler(self._step_stream)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def answer_step(self, data: bytes, wanted: Callable[[], bool]) -> bytes | messages.ErrorDetail:
        """Return the bytes of the reply to a Step that came over the step socket, or a refusal.

        Raises `Abandoned` once `wanted()` is false.
        """

        def step(request: messages.StepRequest) -> bytes:
            session = self._session_with(capabilities.STEP_SOCKET, request)
            return self._stepped(session, request, wanted)

        return self._attempt(METHODS["Step"], data, step)

    def end_streams(self) -> None:
        """End every open stream after the call that it is in, if any."""
        self._streams.end()

    def _get_server_info(
        self, request: messages.GetServerInfoRequest, context: grpc.ServicerContext
    ) -> bytes:
        limits = self._limits
        return messages.ServerInfo(
            implementation=DISTRIBUTION,
            implementation_version=version(DISTRIBUTION),
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=PROTOCOL_MINOR,
            instance_id=self._instance_id,
            capabilities=self._capabilities,
            limits=messages.Limits(
                max_sessions=limits.max_sessions,
                max_envs_per_session=limits.max_envs,
                max_message_bytes=limits.max_message_bytes,
                min_lease_ms=round(limits.min_lease_s * 1000),
                max_lease_ms=round(limits.max_lease_s * 1000),
                free_sessions=self._sessions.num_free,
            ),
            envs=self._envs,
        ).SerializeToString()

    def _open_session(
        self, request: messages.OpenSessionRequest, context: grpc.ServicerContext
    ) -> bytes:
        if self.is_draining:
            raise Refused(Reason.DRAINING, "the server is shutting down")
        # Whoever reaches a Unix socket is on this host, or at the end of a tunnel: then it sees no
        # file, and asks again without.
        is_local = context.peer().startswith("unix:")
        reply = self._opener.open(request, context.is_active, is_local=is_local)
        return reply.SerializeToString()

    def _reset(self, request: messages.ResetRequest, context: grpc.ServicerContext) -> bytes:
        session = self._sessions.find(request.session_id)
        return self._mutate(
            session, request.seq, lambda rows: session.slots.reset(request, rows), context.is_active
        )

    def _step(self, request: messages.StepRequest, context: grpc.ServicerContext) -> bytes:
        return self._stepped(self._sessions.find(request.session_id), request, context.is_active)

    def _step_stream(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        step = self._guarded(STREAM_METHODS["StepStream"], self._streamed_step)
        try:
            with self._streams.opened():
                while (data := self._streams.next_request(requests, context.cancel)) is not None:
                    yield step(data, context)
        except Refused as refused:
            abort(context, self._detail(refused, None))

    def _streamed_step(self, request: messages.StepRequest, context: grpc.ServicerContext) -> bytes:
        session = self._session_with(capabilities.STREAM, request)
        return self._stepped(session, request, context.is_active)

    def _render(self, request: messages.RenderRequest, context: grpc.ServicerContext) -> bytes:
        session = self._session_with(capabilities.RENDER, request)
        if not session.renders:
            raise Refused(
                Reason.BAD_REQUEST,
                "the session was opened without a render_mode: nothing is drawn",
                field="render_mode",
            )
        return session.render(request, context.is_active).SerializeToString()

    def _heartbeat(
        self, request: messages.HeartbeatRequest, context: grpc.ServicerContext
    ) -> bytes:
        session = self._sessions.find(request.session_id)
        return messages.HeartbeatReply(
            lease_remaining_ms=session.lease.remaining_ms,
            last_seq=session.last_seq,
            busy=session.is_busy,
            draining=self.is_draining,
        ).SerializeToString()

    def _close_session(
        self, request: messages.CloseSessionRequest, context: grpc.ServicerContext
    ) -> bytes:
        closing = self._sessions.close(request.session_id)
        if closing is not None:
            closing.wait(context.is_active)
        return messages.CloseSessionReply().SerializeToString()

    def _session_with(
        self, capability: str, request: messages.StepRequest | messages.RenderRequest
    ) -> Session:
        session = self._sessions.find(request.session_id)
        if capability not in session.capabilities:
            raise Refused(
                Reason.UNSUPPORTED,
                f'the session was opened without the capability "{capability}"',
                field="want_capabilities",
            )
        return session

    def _stepped(
        self, session: Session, request: messages.StepRequest, wanted: Callable[[], bool]
    ) -> bytes:
        return self._mutate(
            session, request.seq, lambda rows: session.slots.step(request, rows), wanted
        )

    def _mutate(
        self, session: Session, seq: int, mutation: Mutation, wanted: Callable[[], bool]
    ) -> bytes:
        outcome = session.run(seq, mutation, wanted=wanted, admit_new=not self.is_draining)
        # Concatenated messages merge: the stored rows are neither copied nor serialized again.
        rest = messages.StepReply(
            lease_remaining_ms=session.lease.remaining_ms, replayed=outcome.replayed
        )
        return outcome.reply + rest.SerializeToString()

    def _bounded(self, handler: Handler) -> Handler:
        def handle(request: Any, context: grpc.ServicerContext) -> bytes:
            if not self._waiting.acquire(blocking=False):
                raise Refused(
                    Reason.CAPACITY,
                    f"{self._limits.max_waiting_calls} calls already wait for environments; "
                    "try again later",
                )
            try:
                return handler(request, context)
            finally:
                self._waiting.release()

        return handle

    def _guarded(
        self, method: Method, handler: Handler
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handle(data: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                answer = self._attempt(method, data, lambda request: handler(request, context))
            except Abandoned:
                context.abort(grpc.StatusCode.CANCELLED, "the client left")
            if not isinstance(answer, bytes):
                abort(context, answer)
            return answer

        return handle

    def _attempt(
        self, method: Method, data: bytes, work: Callable[[Any], bytes]
    ) -> bytes | messages.ErrorDetail:
        """Return what `work` makes of the request in `data`, or why there is nothing.

        Raises `Abandoned` when nobody waits for it.
        """
        request = None
        try:
            request = _parse(method, data)
            return work(request)
        except Refused as error:
            refused = error
        except Abandoned:
            raise
        except BaseException as error:
            _LOG.exception("%s failed", method.name)
            text = public_text(error, debug=self._debug)
            refused = Refused(Reason.INTERNAL, f"a bug in the server: {text}; see its log")
        return self._detail(refused, request)

    def _detail(self, refused: Refused, request: Any) -> messages.ErrorDetail:
        _LOG.debug("refused: %s: %s", refused.reason, refused.message)
        return error_detail(
            refused.reason,
            refused.message,
            field=refused.field,
            slots=refused.slots,
            session_id=getattr(request, "session_id", ""),
            seq=getattr(request, "seq", 0),
            instance_id=self._instance_id,
        )


def _parse(method: Method, data: bytes) -> Any:
    try:
        return method.request.FromString(data)
    except Exception:
        name = method.request.DESCRIPTOR.full_name
        raise Refused(Reason.BAD_REQUEST, f"the request is not a {name} message") from None
