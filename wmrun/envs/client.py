"""One session with an env server: opened, kept alive, stepped, closed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from wmrun_envserver.wire import messages, tensors
from wmrun_envserver.wire.service import PROTOCOL_MINOR

from wmrun.envs.access import OPEN_ACCESS, Access
from wmrun.envs.channel import check_server, is_outage, is_timeout, meaning, open_channel, unary
from wmrun.envs.errors import EnvProtocolError, EnvServerLost, EnvStartError
from wmrun.envs.heartbeat import Heartbeat
from wmrun.envs.rows import Rows, read_rows
from wmrun.envs.spec import EnvSpec, read_spec
from wmrun.errors import EnvError

DEADLINE_MARGIN_S = 5.0
"""How much longer a call may take than the environments are allowed."""
_RETRY_PAUSE_S = 0.1
_MAX_RESENDS = 2
_CLOSE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class SessionRequest:
    """What to open: `num_envs` slots of `task`, slot `i` seeded with `seeds[i]`.

    `client_id` stays the same over restarts of one learner: its new session replaces the old one.
    """

    task: str
    num_envs: int
    client_id: str
    options: Mapping[str, Any]
    seeds: Sequence[int] = ()
    open_timeout_s: float = 60.0
    reset_timeout_s: float = 60.0
    step_timeout_s: float = 60.0
    lease_s: float = 60.0


class EnvSession:
    """Slots that are reset and stepped together, each call carried out exactly once.

    A call that got no answer is sent again under its sequence number; the server answers from
    memory if it ran already. `server_gone(within_s)` says whether the process behind `address` has
    ended, waiting at most that long; without it only the lease bounds an outage. Not for use by
    several threads.

    Every method raises `EnvServerLost` when the session is gone, `EnvRequestError` when the server
    refuses.
    """

    def __init__(
        self,
        address: str,
        request: SessionRequest,
        *,
        access: Access = OPEN_ACCESS,
        connect_timeout_s: float = 5.0,
        server_gone: Callable[[float], bool] | None = None,
    ) -> None:
        self._address = address
        self._wanted = request
        self._server_gone = server_gone or _no_process
        self._channel = open_channel(address, access)
        try:
            check_server(self._channel, address, connect_timeout_s, access)
            reply = self._open()
            self.spec = _read_spec(reply)
        except BaseException:
            self._channel.close()
            raise
        self.num_envs = reply.num_envs
        self._id = reply.session_id
        self._lease_s = reply.lease_ms / 1000
        self._heartbeat = Heartbeat(address, self._id, self._lease_s, access)
        self._reset = unary(self._channel, "Reset")
        self._step = unary(self._channel, "Step")
        self._seq = 0
        self._resets_next = False
        self._begun: tuple[messages.StepRequest, grpc.Future] | None = None

    def __enter__(self) -> EnvSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reset(self, seeds: Sequence[int] = ()) -> Rows:
        """Begin an episode in every slot; `seeds`, one per slot, start its randomness anew."""
        if self._begun is not None:  # whoever began this step was stopped before its end
            self.step_end()
        request = messages.ResetRequest(session_id=self._id, seq=self._seq + 1, seeds=seeds)
        return self._finish(self._reset, request, self._wanted.reset_timeout_s)

    def step(self, actions: Sequence[np.ndarray]) -> Rows:
        """Apply one action per slot: an array `[N, ...]` for each leaf of the action space."""
        return self._finish(self._step, self._step_request(actions), self._step_limit_s)

    def step_begin(self, actions: Sequence[np.ndarray]) -> None:
        """Send the actions of a step and return at once; the next call must be `step_end`."""
        request = self._step_request(actions)
        deadline_s = self._step_limit_s + DEADLINE_MARGIN_S
        self._begun = request, self._step.future(request, timeout=deadline_s)

    def step_end(self) -> Rows:
        """Return the rows of the step begun."""
        assert self._begun is not None, "step_end without step_begin"
        (request, sent), self._begun = self._begun, None
        return self._finish(self._step, request, self._step_limit_s, sent)

    def close(self) -> None:
        """Close the session, if the server still answers, and the connections."""
        request = messages.CloseSessionRequest(session_id=self._id)
        try:
            unary(self._channel, "CloseSession")(request, timeout=_CLOSE_TIMEOUT_S)
        except grpc.RpcError:
            pass  # The lease ends it.
        self.abandon()

    def abandon(self) -> None:
        """Close the connections alone: the session was lost."""
        self._heartbeat.stop()
        self._channel.close()

    def _open(self) -> messages.OpenSessionReply:
        wanted = self._wanted
        request = messages.OpenSessionRequest(
            protocol_minor=PROTOCOL_MINOR,
            client_name="wmrun",
            client_id=wanted.client_id,
            supersede=True,
            env_id=wanted.task,
            env_config_json=json.dumps(wanted.options),
            num_envs=wanted.num_envs,
            autoreset=messages.NEXT_STEP,
            lease_ms=round(wanted.lease_s * 1000),
            step_timeout_ms=round(wanted.step_timeout_s * 1000),
            reset_timeout_ms=round(wanted.reset_timeout_s * 1000),
            seeds=wanted.seeds,
        )
        open_session = unary(self._channel, "OpenSession")
        try:
            reply: messages.OpenSessionReply = open_session(
                request, timeout=wanted.open_timeout_s + DEADLINE_MARGIN_S
            )
        except grpc.RpcError as error:
            raise _open_error(error, wanted, self._address) from None
        return reply

    @property
    def _step_limit_s(self) -> float:
        # A step resets the slots whose episode the last one ended.
        resets_s = self._wanted.reset_timeout_s if self._resets_next else 0.0
        return self._wanted.step_timeout_s + resets_s

    def _step_request(self, actions: Sequence[np.ndarray]) -> messages.StepRequest:
        return messages.StepRequest(
            session_id=self._id,
            seq=self._seq + 1,
            action=[tensors.encode(action) for action in actions],
        )

    def _finish(
        self,
        method: grpc.UnaryUnaryMultiCallable,
        request: messages.ResetRequest | messages.StepRequest,
        limit_s: float,
        sent: grpc.Future | None = None,
    ) -> Rows:
        reply = self._exchange(method, request, limit_s, sent)
        if reply.seq != request.seq:
            raise EnvProtocolError(
                f"the env server at {self._address} answered call {request.seq} with the reply "
                f"to call {reply.seq}"
            )
        self._seq = request.seq
        rows = read_rows(reply.rows, self.spec.obs_space, self.num_envs)
        self._resets_next = bool((rows.terminated | rows.truncated).any())
        return rows

    def _exchange(
        self,
        method: grpc.UnaryUnaryMultiCallable,
        request: messages.ResetRequest | messages.StepRequest,
        limit_s: float,
        sent: grpc.Future | None,
    ) -> messages.StepReply:
        """Send until there is a reply, the session is lost, or the server refuses."""
        outage_began: float | None = None
        timeouts = 0
        while True:
            try:
                if sent is not None:
                    return sent.result()
                return method(request, timeout=limit_s + DEADLINE_MARGIN_S)
            except grpc.RpcError as error:
                sent = None
                if is_outage(error):
                    outage_began = outage_began or time.monotonic()
                    self._bear_outage(error, outage_began)
                elif is_timeout(error):
                    timeouts += 1
                    self._bear_timeout(limit_s, timeouts)
                else:
                    raise meaning(error) from None

    def _bear_outage(self, error: grpc.RpcError, began: float) -> None:
        if self._server_gone(_RETRY_PAUSE_S):
            raise EnvServerLost("the env server ended") from None
        if time.monotonic() - began > self._lease_s:
            raise EnvServerLost(
                f"no connection to {self._address} for {self._lease_s:g} s, the session's lease: "
                f"{error.details()}"
            ) from None

    def _bear_timeout(self, limit_s: float, timeouts: int) -> None:
        """Return if the request or its reply got lost on the way to a server that is well."""
        state = self._heartbeat.probe()
        if state is None:
            raise EnvServerLost(
                f"the env server hangs: no reply within {limit_s + DEADLINE_MARGIN_S:g} s, "
                "and none to heartbeats"
            ) from None
        if state.busy or timeouts > _MAX_RESENDS:
            raise EnvServerLost(
                f"an environment hangs: no reply within {limit_s:g} s "
                "(env.server.step_timeout_s, env.server.reset_timeout_s)"
            ) from None


def _no_process(within_s: float) -> bool:
    time.sleep(within_s)
    return False


def _read_spec(reply: messages.OpenSessionReply) -> EnvSpec:
    try:
        return read_spec(reply)
    except ValueError as error:
        raise EnvProtocolError(f"the env server sent a malformed space: {error}") from error


def _open_error(error: grpc.RpcError, wanted: SessionRequest, address: str) -> EnvError:
    what = f"{wanted.num_envs} x {wanted.task}"
    if is_timeout(error):
        return EnvStartError(
            f"opening {what} took longer than {wanted.open_timeout_s:g} s "
            "(env.server.start_timeout_s)"
        )
    if is_outage(error):
        return EnvServerLost(f"the env server ended while it opened {what}: {error.details()}")
    return meaning(error)
