"""One session: its environments, and the rule that each mutating call happens exactly once."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from wmrun_envserver.server.leases import Lease
from wmrun_envserver.server.refusal import Refused
from wmrun_envserver.server.slots import Slots
from wmrun_envserver.server.worker import Task, Worker
from wmrun_envserver.wire import messages
from wmrun_envserver.wire.status import Reason

_LOG = logging.getLogger(__name__)

Mutation = Callable[[messages.Rows], int]
"""Checks its request, changes the slots, writes the rows, and returns the nanoseconds it took.

Raises `Refused` where the request is wrong and nothing was changed.
"""


class Outcome(NamedTuple):
    """The reply of a mutating call as bytes, and whether this call is the one that did the work."""

    reply: bytes
    replayed: bool


class _Call(NamedTuple):
    seq: int
    task: Task[bytes]


class Session:
    """Runs Reset and Step one at a time, and keeps the last reply for a client that never saw it.

    `seq` grows by one with each call that runs. The last one again gives the stored reply, or waits
    for it while the call is running; a call that is refused leaves `seq` as it was.
    """

    def __init__(
        self,
        client_id: str,
        slots: Slots,
        worker: Worker,
        lease: Lease,
        max_message_bytes: int,
        *,
        renders: bool = False,
        capabilities: Collection[str] = (),
        any_thread: bool = False,
    ) -> None:
        """With `any_thread`, calls run in the thread that brings them where `worker` is idle."""
        self.id = secrets.token_hex(16)
        self.client_id = client_id
        self.slots = slots
        self.lease = lease
        self.renders = renders
        """Whether it was opened with a render mode."""
        self.capabilities = capabilities
        """What OpenSession granted."""
        self._worker = worker
        self._any_thread = any_thread
        self._max_message_bytes = max_message_bytes
        self._lock = threading.Lock()
        self._running: _Call | None = None
        self._last: _Call | None = None
        self._last_seq = 0
        self._closing: Task[None] | None = None

    @property
    def label(self) -> str:
        """What logs call the session: its id is a secret."""
        return self.id[:8]

    @property
    def last_seq(self) -> int:
        """The seq of the last call that ran, 0 before the first."""
        return self._last_seq

    @property
    def is_busy(self) -> bool:
        """Whether a mutating call is running."""
        return self._running is not None

    @property
    def running(self) -> Task[bytes] | None:
        """The mutating call that is running, if any."""
        call = self._running
        return None if call is None else call.task

    @property
    def is_closed(self) -> bool:
        """Whether the session takes no more calls."""
        return self._closing is not None

    def run(
        self, seq: int, mutation: Mutation, *, wanted: Callable[[], bool], admit_new: bool = True
    ) -> Outcome:
        """Return the reply of the call numbered `seq`, running it if that has not happened yet.

        Raises `Refused`, or `Abandoned` once `wanted()` is false; the call then runs to its end.
        With `admit_new` false, only a call that already ran, or is running, is answered.
        """
        call, is_new, here = self._admit(seq, mutation, admit_new)
        if here:
            try:
                call.task.run()
            finally:
                self._worker.end_turn()
        return Outcome(call.task.wait(wanted), not is_new)

    def render(
        self, request: messages.RenderRequest, wanted: Callable[[], bool]
    ) -> messages.RenderReply:
        """Return frames of the slots as they are.

        Raises `Refused`, while a mutating call runs too, or `Abandoned` once `wanted()` is false.
        """
        with self._lock:
            if self._closing is not None:
                raise Refused(Reason.SESSION_UNKNOWN, "the session was closed")
            if self._running is not None:
                raise Refused(Reason.BUSY, f"call {self._running.seq} is running")
            drawing = self._worker.submit(lambda: self.slots.render(request))
        return drawing.wait(wanted)

    def close(self) -> Task[None]:
        """Take no more calls and close the environments after the running one, if any."""
        with self._lock:
            if self._closing is None:
                self._closing = self._worker.finish(self.slots.close)
            return self._closing

    def _admit(self, seq: int, mutation: Mutation, admit_new: bool) -> tuple[_Call, bool, bool]:
        """Return the call, whether it is new, and whether the caller has the turn to run it."""
        with self._lock:
            if self._closing is not None:
                raise Refused(Reason.SESSION_UNKNOWN, "the session was closed")
            if self._running is not None:
                if seq != self._running.seq:
                    raise Refused(
                        Reason.BUSY, f"call {self._running.seq} is running; call {seq} must wait"
                    )
                return self._running, False, False
            if self._last is not None and seq == self._last_seq:
                return self._last, False, False
            if seq != self._last_seq + 1:
                raise Refused(
                    Reason.SEQ_GAP,
                    f"seq is {seq}, expected {self._last_seq + 1}, "
                    f"or {self._last_seq} for the last reply again",
                    field="seq",
                )
            if not admit_new:
                raise Refused(Reason.DRAINING, "the server is shutting down")
            here = self._any_thread and self._worker.take_turn()
            perform = partial(self._perform, seq, mutation)
            task = Task(perform) if here else self._worker.submit(perform)
            self._running = _Call(seq, task)
            return self._running, True, here

    def _perform(self, seq: int, mutation: Mutation) -> bytes:
        reply = messages.StepReply(seq=seq)
        try:
            reply.server_step_ns = mutation(reply.rows)
            data: bytes = reply.SerializeToString()
        except Refused as refused:
            self._settle(consumed=False)
            if refused.ends_session:
                self.close()
            raise
        except BaseException:
            # The slots may be half way through the call: nothing that follows could be trusted.
            _LOG.exception("session %s: call %d failed; closing the session", self.label, seq)
            self._settle(consumed=False)
            self.close()
            raise
        self._settle(consumed=True)
        if len(data) > self._max_message_bytes:
            raise Refused(
                Reason.TOO_LARGE,
                f"the reply has {len(data)} bytes; a message may have {self._max_message_bytes} "
                "(--max-message-mb). The call ran: go on with the next seq",
            )
        return data

    def _settle(self, *, consumed: bool) -> None:
        self.lease.renew()
        with self._lock:
            if consumed:
                assert self._running is not None
                self._last, self._last_seq = self._running, self._running.seq
            self._running = None
