"""Calls that change a session: each is carried out once, whatever happens to the connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import grpc
from wmrun_envserver.wire import messages

from wmrun.envs.channel import is_outage, is_timeout, meaning
from wmrun.envs.errors import EnvProtocolError, EnvServerLost
from wmrun.envs.heartbeat import Heartbeat

DEADLINE_MARGIN_S = 5.0
"""How much longer a call may take than the environments are allowed."""
_RETRY_PAUSE_S = 0.1
_MAX_RESENDS = 2

Mutation = messages.ResetRequest | messages.StepRequest


class Sent(Protocol):
    """A call on its way: the future of one of gRPC, or a step over a step socket."""

    def result(self) -> messages.StepReply:
        """Wait for the reply; raises `grpc.RpcError`."""

    def exception(self, timeout: float) -> grpc.RpcError | None:
        """Wait for the outcome, raising `grpc.FutureTimeoutError` after `timeout` seconds."""


@dataclass(frozen=True)
class Patience:
    """How long a session waits for what."""

    lease_s: float
    """An outage may last: after it the server has closed the session."""
    hang_s: float | None
    """A server that ends simulators that hang may be busy with one call; None: it does not."""


class Exchange:
    """Sends Reset and Step until there is a reply, the session is lost, or the server refuses.

    A call that got no answer is sent again under its sequence number; the server answers from
    memory if it ran already. `server_gone(within_s)` says whether the server's process has ended.
    """

    def __init__(
        self,
        address: str,
        heartbeat: Heartbeat,
        patience: Patience,
        server_gone: Callable[[float], bool],
    ) -> None:
        self.seq = 0
        """Of the last call that was carried out."""
        self.cancelled: str | None = None
        """Set by another thread: why whatever call is under way ends with `EnvServerLost`."""
        self._address = address
        self._heartbeat = heartbeat
        self._patience = patience
        self._server_gone = server_gone

    def send(
        self,
        method: grpc.UnaryUnaryMultiCallable,
        request: Mutation,
        limit_s: float,
        sent: Sent | None = None,
    ) -> messages.StepReply:
        """Return the reply to `request`, which the environments may take `limit_s` for.

        `sent` is its first sending, where that has happened already.
        """
        reply = self._until_answered(method, request, limit_s, sent)
        if reply.seq != request.seq:
            raise EnvProtocolError(
                f"the env server at {self._address} answered call {request.seq} with the reply "
                f"to call {reply.seq}"
            )
        self.seq = request.seq
        return reply

    def _until_answered(
        self,
        method: grpc.UnaryUnaryMultiCallable,
        request: Mutation,
        limit_s: float,
        sent: Sent | None,
    ) -> messages.StepReply:
        began = time.monotonic()
        outage_began: float | None = None
        timeouts = 0
        while True:
            try:
                if sent is not None:
                    return sent.result()
                return method(request, timeout=limit_s + DEADLINE_MARGIN_S)
            except (ValueError, grpc.FutureCancelledError):
                if self.cancelled is None:
                    raise
                raise EnvServerLost(self.cancelled) from None
            except grpc.RpcError as error:
                sent = None
                if self.cancelled is not None:
                    raise EnvServerLost(self.cancelled) from None
                if is_outage(error):
                    outage_began = outage_began or time.monotonic()
                    self._bear_outage(error, outage_began)
                elif is_timeout(error):
                    timeouts += 1
                    self._bear_timeout(limit_s, began, timeouts)
                else:
                    raise meaning(error) from None

    def _bear_outage(self, error: grpc.RpcError, began: float) -> None:
        if self._server_gone(_RETRY_PAUSE_S):
            raise EnvServerLost("the env server ended") from None
        lease_s = self._patience.lease_s
        if time.monotonic() - began > lease_s:
            raise EnvServerLost(
                f"no connection to {self._address} for {lease_s:g} s, the session's lease: "
                f"{error.details()}"
            ) from None

    def _bear_timeout(self, limit_s: float, began: float, timeouts: int) -> None:
        """Return if the call is worth another wait."""
        state = self._heartbeat.probe()
        if state is None:
            raise EnvServerLost(
                f"the env server hangs: no reply within {limit_s + DEADLINE_MARGIN_S:g} s, "
                "and none to heartbeats"
            ) from None
        hang_s = self._patience.hang_s
        if state.busy and hang_s is not None:
            if time.monotonic() - began > hang_s + DEADLINE_MARGIN_S:
                raise EnvServerLost(
                    f"the env server did not end a simulator that hangs: no reply within {hang_s:g}"
                    " s (env.server.step_timeout_s, reset_timeout_s and start_timeout_s together)"
                ) from None
        elif state.busy or timeouts > _MAX_RESENDS:
            raise EnvServerLost(
                f"an environment hangs: no reply within {limit_s:g} s "
                "(env.server.step_timeout_s, env.server.reset_timeout_s)"
            ) from None
