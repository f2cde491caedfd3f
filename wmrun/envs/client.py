"""One session with an env server: opened, kept alive, stepped, closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import grpc
import numpy as np
from wmrun_envserver.wire import messages, tensors

from wmrun.envs.access import OPEN_ACCESS, Access
from wmrun.envs.channel import check_server, open_channel, unary
from wmrun.envs.errors import EnvProtocolError, EnvServerLost
from wmrun.envs.exchange import DEADLINE_MARGIN_S, Patience
from wmrun.envs.heartbeat import Heartbeat
from wmrun.envs.opening import (
    PARTIAL_BATCH,
    SHM,
    STEP_TIMEOUT,
    SessionRequest,
    accepted_spec,
    check_family,
    open_session,
)
from wmrun.envs.reply import read_partial_rows, read_rows
from wmrun.envs.rows import Rows
from wmrun.envs.session_calls import SessionCalls
from wmrun.envs.shared_memory import SharedMemory
from wmrun.envs.spec import EnvSpec

__all__ = ["EnvSession", "SessionRequest"]

_CLOSED = "the session was closed"


class EnvSession:
    """Slots of one server that are reset and stepped, each call carried out exactly once.

    `server_gone(within_s)` says whether the process behind `address` has ended, waiting at most
    that long; without it only the lease bounds an outage. `server_stopped` says whether it is there
    but stopped (SIGSTOP). `label` names the server to the user who waits for it. Not for use by
    several threads, but for `cancel`.

    Every method raises `EnvServerLost` when the session is gone, `EnvRequestError` when the server
    refuses, `EnvProtocolError` when it answers what the protocol does not allow.
    """

    spec: EnvSpec
    is_partial: bool
    """Whether a step may be of some slots, and its reply have rows of others."""

    def __init__(
        self,
        address: str,
        request: SessionRequest,
        *,
        access: Access = OPEN_ACCESS,
        connect_timeout_s: float = 5.0,
        server_gone: Callable[[float], bool] | None = None,
        server_stopped: Callable[[], bool] = lambda: False,
        label: str | None = None,
    ) -> None:
        self._address = address
        self._wanted = request
        self._access = access
        self._connect_timeout_s = connect_timeout_s
        self._server_gone = server_gone or _no_process
        self._server_stopped = server_stopped
        self._label = label or f"the env server at {address}"
        self._channel = open_channel(address, access)
        self._heartbeat: Heartbeat | None = None
        self._calls: SessionCalls | None = None
        self._memory: SharedMemory | None = None
        self._is_cancelled = False
        self._unanswered: frozenset[int] = frozenset()
        self._ended: frozenset[int] = frozenset()

    def __enter__(self) -> EnvSession:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_envs(self) -> int:
        return self._wanted.num_envs

    def open(self) -> EnvSpec:
        """Connect, open the session and return what it offers; nothing stays open if it raises."""
        try:
            info = check_server(self._channel, self._address, self._connect_timeout_s, self._access)
            check_family(info, self._wanted, self._address)
            self._begin(self._open_sharing())
        except BaseException as error:
            self.close()
            if self._is_cancelled and isinstance(error, ValueError):  # of a channel that is closed
                raise EnvServerLost(_CLOSED) from None
            raise
        return self.spec

    def reset(self, seeds: Sequence[int] = ()) -> Rows:
        """Begin an episode in every slot; a partial session returns rows of those that are there.

        `seeds`, one per slot, start its randomness anew if environments take seeds at resets.
        """
        calls = self._opened
        if calls.is_stepping:  # whoever began this step was stopped before its end
            self.step_end()
        request = messages.ResetRequest(session_id=self._id, seq=calls.next_seq)
        if self.spec.seeds_per_reset:
            request.seeds.extend(seeds)
        reply = calls.reset(request, self._wanted.reset_timeout_s)
        rows = read_rows(
            reply.rows,
            self.spec.obs_space,
            self.num_envs,
            may_be_absent=self.is_partial,
            read_shared=self._reader(reply.seq),
        )
        self._unanswered = self._ended = frozenset()
        return self._accept(rows)

    def step(self, actions: Sequence[np.ndarray], slots: Sequence[int] | None = None) -> Rows:
        """Apply one action per slot: an array `[n, ...]` for each leaf of the action space.

        `slots` are those that the `n` actions are for, None for all. Only a partial session takes
        some: any whose last row was not answered. It returns the rows that are there, of these
        slots or of others that were answered before.
        """
        request = self._step_request(actions, slots)
        return self._stepped(request, self._opened.step(request, self._step_limit_s))

    def step_begin(self, actions: Sequence[np.ndarray], slots: Sequence[int] | None = None) -> None:
        """Send the actions of a step and return at once; the next call must be `step_end`."""
        self._opened.step_begin(self._step_request(actions, slots), self._step_limit_s)

    def answered(self, within_s: float) -> bool:
        """Wait up to `within_s` for the reply to the step begun, and say whether it came."""
        return self._opened.answered(within_s)

    def step_end(self) -> Rows:
        """Return the rows of the step begun."""
        return self._stepped(*self._opened.step_end())

    def close(self) -> None:
        """Close the session, if the server still answers, and the connections."""
        if self._heartbeat is not None:
            self._heartbeat.close_session()
        self.abandon()

    def abandon(self) -> None:
        """Close the connections alone: the session was lost."""
        if self._calls is not None:
            self._calls.close()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._channel.close()
        if self._memory is not None:
            self._memory.close()

    def cancel(self) -> None:
        """Make the call that another thread is in, and every later one, raise `EnvServerLost`."""
        self._is_cancelled = True
        self._channel.close()
        if self._calls is not None:
            self._calls.give_up(_CLOSED)

    def _open_sharing(self) -> messages.OpenSessionReply:
        """Open the session and map its shared file; without one where that cannot be reached."""
        reply = open_session(self._channel, self._wanted, self._address)
        if SHM not in reply.capabilities:
            return reply
        try:
            self._memory = SharedMemory(reply.shm_path, reply.shm_bytes)
        except OSError:  # the server's files are not ours: another container, the end of a tunnel
            wanted = replace(self._wanted, may_share=False)
            return open_session(self._channel, wanted, self._address)
        except EnvProtocolError:
            closing = messages.CloseSessionRequest(session_id=reply.session_id)
            with suppress(grpc.RpcError):  # the lease ends it, too
                unary(self._channel, "CloseSession")(closing, timeout=DEADLINE_MARGIN_S)
            raise
        return reply

    def _reader(self, seq: int) -> tensors.ReadShared | None:
        return None if self._memory is None else self._memory.reader(seq)

    def _begin(self, reply: messages.OpenSessionReply) -> None:
        """Keep the session that was opened alive, and see that it is what was asked for."""
        self._id = reply.session_id
        lease_s = reply.lease_ms / 1000
        self._heartbeat = Heartbeat(self._address, self._id, lease_s, self._access)
        self.spec = accepted_spec(reply, self._wanted, self._address)
        self.is_partial = PARTIAL_BATCH in reply.capabilities
        wanted = self._wanted
        hang_s = wanted.step_timeout_s + wanted.reset_timeout_s + wanted.open_timeout_s
        patience = Patience(lease_s, hang_s if STEP_TIMEOUT in reply.capabilities else None)
        self._calls = SessionCalls(
            self._address,
            self._channel,
            reply,
            self._heartbeat,
            patience,
            server_gone=self._server_gone,
            server_stopped=self._server_stopped,
            label=self._label,
        )
        if self._is_cancelled:  # meanwhile
            self._calls.give_up(_CLOSED)

    @property
    def _opened(self) -> SessionCalls:
        assert self._calls is not None, "EnvSession.open was not called"
        return self._calls

    @property
    def _step_limit_s(self) -> float:
        # A step resets the slots whose episode has ended.
        resets_s = self._wanted.reset_timeout_s if self._ended else 0.0
        return self._wanted.step_timeout_s + resets_s

    def _step_request(
        self, actions: Sequence[np.ndarray], slots: Sequence[int] | None
    ) -> messages.StepRequest:
        return messages.StepRequest(
            session_id=self._id,
            seq=self._opened.next_seq,
            slots=() if slots is None else slots,
            action=[tensors.encode(action) for action in actions],
        )

    def _stepped(self, request: messages.StepRequest, reply: messages.StepReply) -> Rows:
        obs_space = self.spec.obs_space
        if not self.is_partial:
            rows = read_rows(
                reply.rows, obs_space, self.num_envs, read_shared=self._reader(reply.seq)
            )
            return self._accept(rows)
        self._unanswered = self._unanswered.difference(request.slots or range(self.num_envs))
        rows = read_partial_rows(
            reply.rows,
            obs_space,
            self.num_envs,
            unanswered=self._unanswered,
            read_shared=self._reader(reply.seq),
        )
        return self._accept(rows)

    def _accept(self, rows: Rows) -> Rows:
        """Note which slots are to be answered, and which begin an episode next."""
        slots = rows.slots.tolist()
        if not (slots or rows.failed or self._unanswered):
            raise EnvProtocolError(
                f"the env server at {self._address} sent no row, and there is no slot left that "
                "waits for an action"
            )
        self._unanswered = self._unanswered.union(slots)
        ended = rows.slots[rows.terminated | rows.truncated].tolist()
        self._ended = self._ended.difference(slots).union(ended)
        return rows


def _no_process(within_s: float) -> bool:
    time.sleep(within_s)
    return False
